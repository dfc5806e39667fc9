package arch

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// fields are the members of a JSON object. Each that is read is noted, so that
// those which nothing understands can be refused. The first defect is kept.
type fields struct {
	values map[string]json.RawMessage
	read   map[string]bool
	err    error
}

func parseFields(b []byte) (*fields, error) {
	f := &fields{read: map[string]bool{}}
	return f, json.Unmarshal(b, &f.values)
}

// get gives a member under the first of its names that is there and not null.
func (f *fields) get(names ...string) (raw json.RawMessage, name string) {
	for _, n := range names {
		f.read[n] = true
		if v := f.values[n]; raw == nil && v != nil && string(v) != "null" {
			raw, name = v, n
		}
	}
	return raw, name
}

func (f *fields) has(names ...string) bool {
	raw, _ := f.get(names...)
	return raw != nil
}

// value decodes a member, if it is there.
func (f *fields) value(into any, names ...string) {
	if raw, name := f.get(names...); raw != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			f.fail("%s is %.40s: %w", name, raw, err)
		}
	}
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// number is a number, or another one if it is absent.
func (f *fields) number(otherwise float64, names ...string) float64 {
	f.value(&otherwise, names...)
	return otherwise
}

// int is a whole number.
func (f *fields) int(otherwise int, names ...string) int {
	v := f.number(float64(otherwise), names...)
	if v != math.Trunc(v) || math.Abs(v) > 1<<40 {
		f.fail("%s is %v, expected a whole number", names[0], v)
		return otherwise
	}
	return int(v)
}

func (f *fields) bool(otherwise bool, names ...string) bool {
	f.value(&otherwise, names...)
	return otherwise
}

func (f *fields) text(otherwise string, names ...string) string {
	f.value(&otherwise, names...)
	return otherwise
}

// only refuses a member with another value than those that are supported.
func (f *fields) only(name string, values ...any) {
	raw, _ := f.get(name)
	if raw == nil {
		return
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil || !slices.Contains(values, v) {
		f.fail("%s is %.60s, supported is only %v", name, raw, values)
	}
}

// sub gives a member that is an object, or nil.
func (f *fields) sub(names ...string) *fields {
	raw, name := f.get(names...)
	if raw == nil {
		return nil
	}
	s, err := parseFields(raw)
	if err != nil {
		f.fail("%s: %w", name, err)
		return nil
	}
	return s
}

// join takes over a defect of a member, and refuses what was not read in it.
func (f *fields) join(s *fields, name string) {
	if s == nil {
		return
	}
	if err := s.rest(); err != nil {
		f.fail("%s: %w", name, err)
	}
}

// rest refuses the members that were not read, unless they say nothing: null,
// false, and empty lists and texts.
func (f *fields) rest() error {
	if f.err != nil {
		return f.err
	}
	var unknown []string
	for name, raw := range f.values {
		if !f.read[name] && !slices.Contains([]string{"null", "false", "[]", "{}", `""`}, string(raw)) && !strings.HasPrefix(name, "_") {
			unknown = append(unknown, fmt.Sprintf("%s (%.60s)", name, raw))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("not understood, and it might change the answer: %s", strings.Join(unknown, ", "))
	}
	return nil
}

// ignore notes members that change no answer.
func (f *fields) ignore(names ...string) {
	for _, n := range names {
		f.read[n] = true
	}
}
