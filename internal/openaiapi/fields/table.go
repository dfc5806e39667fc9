package fields

import (
	"fmt"
	"slices"
	"strings"
)

// Status says what becomes of a member.
type Status string

// The statuses.
const (
	Supported Status = "yes"
	Extension Status = "extension" // supported, and not part of the API that is followed
	Ignored   Status = "ignored"
	Refused   Status = "error"
)

// Field is the row of a member of an object that is read into what a T points
// to: all pointers are alike to the compiler, which makes the code once then.
type Field[T any] struct {
	Name   string
	Form   string // what values it takes
	Doc    string // what it does, or why it does nothing
	Status Status

	set func(T, Value) error
}

// Table is the rows of an object. A composed table is a concatenation.
type Table[T any] []*Field[T]

// Read reads an object. null stands for an absent member.
func (t Table[T]) Read(v Value, into T) error {
	members, err := v.Object()
	if err != nil {
		return err
	}
	for _, m := range members {
		f := t.row(m.Name)
		if f == nil {
			return m.noSuchField()
		}
		if m.IsNull() || f.set == nil {
			continue
		}
		if err := f.set(into, m.Value); err != nil {
			return err
		}
	}
	return nil
}

func (t Table[T]) row(name string) *Field[T] {
	for _, f := range t {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// ReadBody reads a request's body, one object.
func ReadBody[T any](t Table[*T], b []byte) (*T, error) {
	q := new(T)
	return q, t.readBody(b, q)
}

func (t Table[T]) readBody(b []byte, into T) error {
	v, err := parseBody(b)
	if err != nil {
		return err
	}
	return t.Read(v, into)
}

// Markdown is the rows for a document.
func (t Table[T]) Markdown() string {
	var b strings.Builder
	b.WriteString("| Field | Supported | Value | Meaning |\n| --- | --- | --- | --- |\n")
	for _, f := range t {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Status, f.Form, f.Doc)
	}
	return b.String()
}

// Names lists the fields.
func (t Table[T]) Names() []string {
	var names []string
	for _, f := range t {
		names = append(names, f.Name)
	}
	return names
}

// The functions that make rows are not inlined: there are hundreds of calls, each
// of them made once, when the program starts.

// In makes a table's rows those of an object that has theirs inside.
//
//go:noinline
func In[O, T any](t Table[T], at func(O) T) Table[O] {
	var out Table[O]
	for _, f := range t {
		g := &Field[O]{Name: f.Name, Form: f.Form, Doc: f.Doc, Status: f.Status}
		if f.set != nil {
			g.set = func(o O, v Value) error { return f.set(at(o), v) }
		}
		out = append(out, g)
	}
	return out
}

// But gives the table without the fields of these names.
func (t Table[T]) But(names ...string) Table[T] {
	return slices.DeleteFunc(slices.Clone(t), func(f *Field[T]) bool { return slices.Contains(names, f.Name) })
}

// Any is a member that set reads.
//
//go:noinline
func Any[T any](name, form, doc string, set func(T, Value) error) *Field[T] {
	return &Field[T]{name, form, doc, Supported, set}
}

// Float is a number within bounds.
//
//go:noinline
func Float[T any](name, doc string, lo, hi float64, at func(T) **float32) *Field[T] {
	return Any(name, numberForm(lo, hi), doc, func(t T, v Value) error { return v.float32(at(t), lo, hi) })
}

// Int is an integer within bounds.
//
//go:noinline
func Int[T any](name, doc string, lo, hi int, at func(T) **int) *Field[T] {
	return Any(name, integerForm(lo, hi), doc, func(t T, v Value) error { return v.int(at(t), lo, hi) })
}

// Bool is true or false.
//
//go:noinline
func Bool[T any](name, doc string, at func(T) *bool) *Field[T] {
	return Any(name, "boolean", doc, func(t T, v Value) (err error) {
		*at(t), err = v.Bool()
		return err
	})
}

// Text is a string of at most some bytes.
//
//go:noinline
func Text[T any](name, doc string, most int, at func(T) *string) *Field[T] {
	return Any(name, "string", doc, func(t T, v Value) error { return v.text(at(t), most) })
}

// OneOf is one of some strings.
//
//go:noinline
func OneOf[T any](name, doc string, at func(T) *string, values ...string) *Field[T] {
	return Any(name, listForm(values), doc, func(t T, v Value) error { return v.oneOf(at(t), values) })
}

// Object is an object with a table of its own.
//
//go:noinline
func Object[T, U any](name, doc string, table Table[U], at func(T) U) *Field[T] {
	return Any(name, "object: "+listForm(table.Names()), doc, func(t T, v Value) error {
		return table.Read(v, at(t))
	})
}

// Ignore is a member that may come and has no effect.
//
//go:noinline
func Ignore[T any](name, why string) *Field[T] {
	return &Field[T]{name, "any", why, Ignored, nil}
}

// Refuse is a member that may not come, but with values that ask for nothing.
//
//go:noinline
func Refuse[T any](name, why string, harmless ...string) *Field[T] {
	return &Field[T]{name, harmlessForm(harmless), why, Refused, func(_ T, v Value) error { return v.refuse(why, harmless) }}
}

// Extend marks a field as no part of the API that is followed.
//
//go:noinline
func Extend[T any](f *Field[T]) *Field[T] {
	g := *f
	g.Status = Extension
	return &g
}
