package model

import "math/bits"

// Trie holds the pieces of a vocabulary by their bytes. Node 0 is the root; the
// edges of all nodes are in one hash table.
type Trie struct {
	ids   []int32 // by node: the piece that ends there, or None
	slots []edge
	shift int
}

type edge struct {
	key   uint64 // node<<8 | byte, plus 1; 0 is free
	child int32
}

// NewTrie makes a trie of the pieces that v finds, but for those that skip names;
// it may be nil.
func NewTrie(v *Vocab, skip func(id int32) bool) *Trie {
	t := &Trie{ids: []int32{None}}
	t.resize(1024)
	for id, piece := range v.pieces {
		if !v.own[id] || skip != nil && skip(int32(id)) {
			continue // a hole, a double, or one that is not to be found
		}
		node := int32(0)
		for i := range len(piece) {
			node = t.grow(node, piece[i])
		}
		t.ids[node] = int32(id)
	}
	return t
}

func (t *Trie) slot(node int32, b byte) *edge {
	key, mask := uint64(uint32(node))<<8|uint64(b)+1, len(t.slots)-1
	at := int(key * 0x9e3779b97f4a7c15 >> t.shift)
	for t.slots[at].key != key && t.slots[at].key != 0 {
		at = (at + 1) & mask
	}
	return &t.slots[at]
}

// child gives the node behind an edge, or None.
func (t *Trie) child(node int32, b byte) int32 {
	if e := t.slot(node, b); e.key != 0 {
		return e.child
	}
	return None
}

// Longest finds the longest piece that text begins with, and its length; or None.
func (t *Trie) Longest(text string) (id int32, size int) {
	id, node := None, int32(0)
	for i := range len(text) {
		if node = t.child(node, text[i]); node == None {
			break
		}
		if t.ids[node] != None {
			id, size = t.ids[node], i+1
		}
	}
	return id, size
}

func (t *Trie) grow(node int32, b byte) int32 {
	if c := t.child(node, b); c != None {
		return c
	}
	if 2*len(t.ids) >= len(t.slots) {
		t.resize(2 * len(t.slots))
	}
	child := int32(len(t.ids))
	t.ids = append(t.ids, None)
	*t.slot(node, b) = edge{uint64(uint32(node))<<8 | uint64(b) + 1, child}
	return child
}

func (t *Trie) resize(n int) {
	old := t.slots
	t.slots, t.shift = make([]edge, n), 64-(bits.Len(uint(n))-1)
	for _, e := range old {
		if e.key != 0 {
			*t.slot(int32((e.key-1)>>8), byte(e.key-1)) = e
		}
	}
}
