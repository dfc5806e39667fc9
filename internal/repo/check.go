package repo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// checker compares a parsed message with its type. It collects all problems
// and turns values into what encoding/json makes a Config of.
type checker struct {
	s        *schema
	problems Problems
}

func (c *checker) failf(p pos, path, format string, args ...any) {
	c.add(Problem{Line: p.line, Col: p.col, Field: path, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) unsupported(p pos, path, reason string) {
	c.add(Problem{Line: p.line, Col: p.col, Field: path, Message: "not supported: " + reason, Unsupported: true})
}

// maxProblems bounds how many problems of one file are told.
const maxProblems = 200

func (c *checker) add(p Problem) {
	switch len(c.problems) {
	case maxProblems:
		p = Problem{Line: p.Line, Col: p.Col, Message: "there are more problems from here on"}
	case maxProblems + 1:
		return
	}
	c.problems = append(c.problems, p)
}

// message checks the fields of m, whose place is path ("" or ending in a dot).
func (c *checker) message(m *message, t *messageType, path string) map[string]any {
	values := map[string]any{}
	first := map[string]pos{}
	for i := range m.fields {
		if len(c.problems) > maxProblems {
			break // it is an error anyway
		}
		f := &m.fields[i]
		ft := t.field(f.name)
		if ft == nil {
			c.failf(f.pos, path+f.name, "%s", unknown("field of "+t.name, f.name, fieldNames(t)))
			continue
		}
		if p, dup := first[f.name]; dup && !ft.repeated && ft.key == "" {
			c.failf(f.pos, path+f.name, "given twice, first at %s", p)
			continue
		} else if !dup {
			first[f.name] = f.pos
			c.oneof(f, t, first, path)
		}
		c.field(f, t, ft, path, values)
	}
	return values
}

// oneof checks that a field is the only one given of its group.
func (c *checker) oneof(f *field, t *messageType, first map[string]pos, path string) {
	for _, group := range t.oneofs {
		if !slices.Contains(group, f.name) {
			continue
		}
		for _, other := range group {
			if p, ok := first[other]; ok && other != f.name {
				c.failf(f.pos, path+f.name, "only one of %s may be given; %s is at %s", strings.Join(group, ", "), other, p)
			}
		}
	}
}

func (c *checker) field(f *field, t *messageType, ft *fieldType, path string, values map[string]any) {
	path += f.name
	if ft.key != "" {
		if ft.reason != "" {
			c.unsupported(f.pos, path, ft.reason)
			return
		}
		c.entry(f, ft, path, values)
		return
	}
	if ft.reason != "" && (f.msg != nil || ft.repeated) {
		c.unsupported(f.pos, path, ft.reason)
		return
	}
	v, ok := c.value(f, ft.typ, path)
	if !ok {
		return
	}
	if ft.reason != "" {
		if !isDefault(v, c.s.enums[ft.typ]) {
			c.unsupported(f.pos, path, ft.reason)
		}
		return
	}
	if rule := valueRules[t.name+"."+f.name]; rule != nil {
		if p := rule(v); p != "" {
			c.failf(f.at, path, "%s", p)
			return
		}
	}
	if ft.repeated {
		list, _ := values[f.name].([]any)
		values[f.name] = append(list, v)
		return
	}
	values[f.name] = v
}

// entry checks an entry of a map: a message with key and value.
func (c *checker) entry(f *field, ft *fieldType, path string, values map[string]any) {
	if f.msg == nil {
		c.failf(f.at, path, "expected an entry { key: … value: … }, found %q", f.text)
		return
	}
	e := c.message(f.msg, ft.entry(), path+".")
	if e["key"] == nil {
		c.failf(f.at, path, "the entry has no key")
		return
	}
	all, _ := values[f.name].(map[string]any)
	if all == nil {
		all = map[string]any{}
		values[f.name] = all
	}
	key := fmt.Sprint(e["key"])
	if _, dup := all[key]; dup {
		c.failf(f.pos, path, "the key %q is given twice", key)
	}
	all[key] = e["value"]
}

// value converts one value to its type.
func (c *checker) value(f *field, typ, path string) (v any, ok bool) {
	if mt := c.s.messages[typ]; mt != nil {
		if f.msg == nil {
			c.failf(f.at, path, "expected a message { … }, found %q", f.text)
			return nil, false
		}
		return c.message(f.msg, mt, path+"."), true
	}
	if f.msg != nil {
		c.failf(f.at, path, "expected a value of type %s, found a message", typ)
		return nil, false
	}
	if e := c.s.enums[typ]; e != nil {
		return c.enum(f, e, typ, path)
	}
	if v, ok = scalar(f, typ); !ok {
		c.failf(f.at, path, "expected a value of type %s, found %s", typ, f.literal())
	}
	return v, ok
}

// literal is the scalar as written.
func (f *field) literal() string {
	if f.kind == tokString {
		return strconv.Quote(f.text)
	}
	return f.text
}

func (c *checker) enum(f *field, e *enumType, typ, path string) (any, bool) {
	name := f.text
	if n, err := strconv.ParseInt(f.text, 0, 32); err == nil && f.kind == tokNumber && n >= 0 && int(n) < len(e.values) {
		name = e.values[n]
	}
	if f.kind == tokString || !slices.Contains(e.values, name) {
		c.failf(f.at, path, "%s: %s", f.literal(), unknown(typ, name, e.values))
		return nil, false
	}
	if reason := e.reasons[name]; reason != "" {
		c.unsupported(f.at, path, name+": "+reason)
		return nil, false
	}
	return name, true
}

func scalar(f *field, typ string) (any, bool) {
	switch typ {
	case "string":
		return f.text, f.kind == tokString
	case "bool":
		switch f.text {
		case "true", "True", "t", "1":
			return true, f.kind != tokString
		case "false", "False", "f", "0":
			return false, f.kind != tokString
		}
		return nil, false
	case "float", "double":
		v, err := strconv.ParseFloat(strings.TrimRight(f.text, "fF"), 64)
		return v, err == nil && f.kind == tokNumber
	}
	if f.kind != tokNumber || strings.ContainsAny(f.text, "_oObB") && !strings.HasPrefix(strings.TrimPrefix(f.text, "-"), "0x") {
		return nil, false
	}
	bits := 64
	if strings.HasSuffix(typ, "32") {
		bits = 32
	}
	if strings.HasPrefix(typ, "u") {
		v, err := strconv.ParseUint(f.text, 0, bits)
		return v, err == nil
	}
	v, err := strconv.ParseInt(f.text, 0, bits)
	return v, err == nil
}

func isDefault(v any, e *enumType) bool {
	switch v := v.(type) {
	case string:
		return v == "" || e != nil && v == e.values[0]
	case bool:
		return !v
	case int64:
		return v == 0
	case uint64:
		return v == 0
	case float64:
		return v == 0
	}
	return false
}

func fieldNames(t *messageType) []string {
	names := make([]string, len(t.fields))
	for i, f := range t.fields {
		names[i] = f.name
	}
	return names
}
