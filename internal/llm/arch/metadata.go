package arch

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// metadata are the keys of a GGUF file, of which those of an architecture are read. Each
// that is read is noted, so that those which nothing understands can be refused. The first
// defect is kept.
type metadata struct {
	meta   map[string]any
	prefix string
	read   map[string]bool // by key without the prefix
	err    error
}

func (m *metadata) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

func (m *metadata) float(key string, otherwise float64) float64 {
	m.read[key] = true
	v, ok := m.meta[m.prefix+key]
	if !ok {
		return otherwise
	}
	f, ok := number(v)
	if !ok {
		m.fail("%s%s is %v (%T), expected a number", m.prefix, key, v, v)
	}
	return f
}

// number converts any number of metadata; arrays have one if all are the same.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case uint8:
		return float64(v), true
	case int8:
		return float64(v), true
	case uint16:
		return float64(v), true
	case int16:
		return float64(v), true
	case uint32:
		return float64(v), true
	case int32:
		return float64(v), true
	case uint64:
		return float64(v), true
	case int64:
		return float64(v), true
	case float32:
		return float64(v), true
	case float64:
		return v, true
	case []int32:
		return same(v)
	case []uint32:
		return same(v)
	}
	return 0, false
}

func same[T int32 | uint32](v []T) (float64, bool) {
	if len(v) == 0 || slices.ContainsFunc(v, func(x T) bool { return x != v[0] }) {
		return 0, false
	}
	return float64(v[0]), true
}

func (m *metadata) int(key string, otherwise int) int {
	f := m.float(key, float64(otherwise))
	if f != math.Trunc(f) || math.Abs(f) > 1<<40 {
		m.fail("%s%s is %v, expected a whole number", m.prefix, key, f)
		return otherwise
	}
	return int(f)
}

// needed is a number that every model has.
func (m *metadata) needed(key string) int {
	if _, ok := m.meta[m.prefix+key]; !ok {
		m.fail("%s%s is missing, expected a number", m.prefix, key)
	}
	return m.int(key, 0)
}

// plain is a number whose key has no prefix.
func (m *metadata) plain(key string, otherwise float64) float64 {
	if f, ok := number(m.meta[key]); ok {
		return f
	}
	return otherwise
}

func (m *metadata) text(key string) string { return exactly(m, key, "", "a text") }

func (m *metadata) bool(key string, otherwise bool) bool {
	return exactly(m, key, otherwise, "true or false")
}

// exactly is a value of one type, or another one if it is absent.
func exactly[T any](m *metadata, key string, otherwise T, expected string) T {
	m.read[key] = true
	v, ok := m.meta[m.prefix+key]
	if !ok {
		return otherwise
	}
	x, ok := v.(T)
	if !ok {
		m.fail("%s%s is %v (%T), expected %s", m.prefix, key, v, v, expected)
	}
	return x
}

// known are keys that are read elsewhere, or change no answer.
var known = []string{"pooling_type", "classifier.output_labels", "rope.scaling.finetuned", "tensor_data_layout"}

// rest refuses keys of the architecture that nothing read.
func (m *metadata) rest() error {
	if m.err != nil {
		return m.err
	}
	var unknown []string
	for key, v := range m.meta {
		if short, ok := strings.CutPrefix(key, m.prefix); ok && !m.read[short] && !slices.Contains(known, short) {
			unknown = append(unknown, fmt.Sprintf("%s (%v)", key, v))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("not understood, and it might change the answer: %.400s", strings.Join(unknown, ", "))
	}
	return nil
}

// only refuses a key with another value than those that are supported.
func (m *metadata) only(key string, values ...any) {
	m.read[key] = true
	v, ok := m.meta[m.prefix+key]
	if !ok {
		return
	}
	if f, ok := number(v); ok {
		v = f
	}
	if !slices.Contains(values, v) {
		m.fail("%s%s is %v, supported is only %v", m.prefix, key, v, values)
	}
}
