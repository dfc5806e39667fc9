package jinja

import (
	"fmt"
	"strings"
)

// A Map is Python's dict: it keeps the order in which keys came. Keys are strings in
// data from outside; a template may use any value that Python can hash.
type Map struct {
	keys, values []any
	hashes       []any       // of the keys
	index        map[any]int // by hash; only of larger maps
}

// indexFrom is the size from which a Map is searched by an index.
const indexFrom = 9

// NewMap gives a map of the given pairs: a string key, its value, and so on.
func NewMap(pairs ...any) *Map {
	m := &Map{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m.Set(pairs[i].(string), pairs[i+1])
	}
	return m
}

// Len gives the number of keys.
func (m *Map) Len() int { return len(m.keys) }

// Get gives the value of a key.
func (m *Map) Get(name string) (any, bool) { return m.get(name) }

// Set sets the value of a key, which keeps its place if it is there already.
func (m *Map) Set(name string, v any) { m.set(name, name, v) }

// All calls yield for each string key and its value in order.
func (m *Map) All(yield func(string, any) bool) {
	for i, k := range m.keys {
		if name, ok := asString(k); ok && !yield(name, m.values[i]) {
			return
		}
	}
}

func (m *Map) get(k any) (any, bool) {
	if i := m.find(k); i >= 0 {
		return m.values[i], true
	}
	return nil, false
}

// find gives the place of a key by its hash, or -1.
func (m *Map) find(k any) int {
	if m.index != nil {
		if i, ok := m.index[k]; ok {
			return i
		}
		return -1
	}
	for i, other := range m.hashes {
		if other == k {
			return i
		}
	}
	return -1
}

// set sets the value of a key with the hash k.
func (m *Map) set(k, name, v any) {
	if i := m.find(k); i >= 0 {
		m.values[i] = v
		return
	}
	m.keys, m.values, m.hashes = append(m.keys, name), append(m.values, v), append(m.hashes, k)
	switch {
	case m.index != nil:
		m.index[k] = len(m.keys) - 1
	case len(m.keys) >= indexFrom:
		m.index = make(map[any]int, 2*len(m.keys))
		for i, other := range m.hashes {
			m.index[other] = i
		}
	}
}

func (m *Map) copy() *Map {
	c := &Map{}
	for i, k := range m.keys {
		c.set(m.hashes[i], k, m.values[i])
	}
	return c
}

// tupleKeyPart writes one hashed item of a tuple so that no two tuples look alike.
func tupleKeyPart(b *strings.Builder, k any) {
	part := fmt.Sprintf("%T %v", k, k)
	fmt.Fprintf(b, "%d:%s", len(part), part)
}
