package jinja

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

func (a *attrExpr) eval(in *interp, s *scope) any {
	x := in.eval(a.x, s)
	in.line = a.line
	return in.attr(x, a.name)
}

// attr is x.name: an attribute if the value has one, else the item of that name.
func (in *interp) attr(x any, name string) any {
	in.refuse(x)
	if v, ok := attribute(x, name); ok {
		return v
	}
	if m, ok := x.(*Map); ok {
		if v, ok := m.Get(name); ok {
			return v
		}
	}
	return noAttribute(x, name)
}

func noAttribute(x any, name string) *undefined {
	return undefinedOf(fmt.Sprintf("'%s' has no attribute '%s'", objectName(x), name))
}

// objectName is how jinja2 names a value in a message.
func objectName(x any) string {
	switch x.(type) {
	case nil:
		return "None"
	case *namespace:
		return "jinja2.utils.Namespace object"
	}
	return typeName(x) + " object"
}

func (e *itemExpr) eval(in *interp, s *scope) any {
	x := in.eval(e.x, s)
	k := in.eval(e.key, s)
	in.line = e.line
	return in.item(x, k)
}

// item is x[k]: an item, or else the attribute of that name.
func (in *interp) item(x, k any) any {
	in.refuse(x)
	in.step(weight(k))
	if v, ok := in.subscript(x, k); ok {
		return v
	}
	name, ok := asString(k)
	if !ok {
		return undefinedOf(fmt.Sprintf("%s has no element %s", objectName(x), in.repr(k)))
	}
	if v, ok := attribute(x, name); ok {
		return v
	}
	return noAttribute(x, name)
}

// subscript is x[k] without the attributes.
func (in *interp) subscript(x, k any) (any, bool) {
	if m, ok := x.(*Map); ok {
		switch k.(type) {
		case List, *Map, *view, *group:
			return nil, false
		}
		return m.get(in.hash(k))
	}
	i, ok := asInt(k)
	if !ok {
		return nil, false
	}
	if items, ok := sequence(x); ok {
		if i, ok := place(i, len(items)); ok {
			return items[i], true
		}
		return nil, false
	}
	if s, ok := asString(x); ok {
		in.step(weight(x))
		c, ok := charAt(s, i)
		return like(x, c), ok
	}
	if r, ok := x.(*rangeValue); ok {
		if i, ok := place(i, int(r.len())); ok {
			return r.at(int64(i)), true
		}
	}
	return nil, false
}

// place gives the index that i means in n items; negative ones count from the end.
func place(i int64, n int) (int, bool) {
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

func (e *sliceExpr) eval(in *interp, s *scope) any {
	get := func(x expr) any {
		if x == nil {
			return nil
		}
		return in.eval(x, s)
	}
	x, from, to, step := get(e.x), get(e.from), get(e.to), get(e.step)
	in.line = e.line
	return in.slice(x, from, to, step)
}

// slice is x[from:to:step]; nil bounds are open.
func (in *interp) slice(x, from, to, step any) any {
	in.refuse(x)
	n, ok := length(x)
	items, isSeq := sequence(x)
	text, isText := asString(x)
	r, isRange := x.(*rangeValue)
	if !ok || !isSeq && !isText && !isRange {
		if _, dict := x.(*Map); dict {
			in.typeError("unhashable type: 'slice'")
		}
		in.typeError("'%s' object is not subscriptable", typeName(x))
	}
	first, by, count := in.span(from, to, step, n)
	switch {
	case isRange:
		return &rangeValue{r.start + int64(first)*r.step, r.start + int64(first+count*by)*r.step, r.step * int64(by)}
	case isText:
		return like(x, in.sliceText(text, first, by, count))
	}
	in.items(count)
	out := make([]any, count)
	for i := range out {
		out[i] = items[first+i*by]
	}
	if _, ok := x.(List); ok {
		return List(out)
	}
	return Tuple(out)
}

func (in *interp) sliceText(text string, first, by, count int) string {
	in.alloc(len(text))
	if by == 1 && isASCII(text) {
		return text[first : first+count]
	}
	rs := []rune(text)
	out := make([]rune, count)
	for i := range out {
		out[i] = rs[first+i*by]
	}
	return string(out)
}

// span turns the bounds of a slice of n items into the first index, the distance and the number.
func (in *interp) span(from, to, step any, n int) (first, by, count int) {
	by64 := in.bound(step, 1)
	if by64 == 0 {
		in.fail("ValueError", "slice step cannot be zero")
	}
	low, high := int64(0), int64(n)
	if by64 < 0 {
		low, high = -1, int64(n)-1
	}
	clamp := func(v any, open int64) int64 {
		i := in.bound(v, open)
		if v != nil && i < 0 {
			i += int64(n)
		}
		return max(low, min(i, high))
	}
	start, stop := clamp(from, low), clamp(to, high)
	if by64 < 0 {
		start, stop = clamp(from, high), clamp(to, low)
	}
	r := rangeValue{start, stop, max(-int64(n)-1, min(by64, int64(n)+1))}
	return int(start), int(r.step), int(r.len())
}

// bound reads a bound of a slice; integers beyond int64 are clamped, which gives the same slice.
func (in *interp) bound(v any, open int64) int64 {
	if v == nil {
		return open
	}
	if b, ok := v.(*big.Int); ok {
		return int64(b.Sign()) << 40
	}
	i, ok := asInt(v)
	if !ok {
		in.refuse(v)
		in.typeError("slice indices must be integers or None or have an __index__ method")
	}
	return max(-1<<40, min(i, 1<<40))
}

var mutators = map[string][]string{
	"list": {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"},
	"dict": {"clear", "pop", "popitem", "setdefault", "update"},
}

// attribute gives an attribute of a value: a method, or one of a few fields. What the
// sandbox hides is an undefined value that says so.
func attribute(x any, name string) (any, bool) {
	kind := typeName(x)
	hidden := strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") && len(name) > 4 || slices.Contains(mutators[kind], name)
	if hidden {
		return &undefined{fmt.Sprintf("access to attribute '%s' of '%s' object is unsafe.", name, kind), "SecurityError"}, true
	}
	switch x := x.(type) {
	case bool, int64, *big.Int, float64:
		return numberPart(x, name)
	case string, Markup:
		return bound(x, name, stringMethods)
	case *rangeValue:
		return bound(x, name, tupleMethods)
	case List:
		return bound(x, name, listMethods)
	case Tuple:
		return bound(x, name, tupleMethods)
	case *group:
		switch name {
		case "grouper":
			return x.key, true
		case "list":
			return x.items, true
		}
		return bound(Tuple{x.key, x.items}, name, tupleMethods)
	case *Map:
		return bound(x, name, dictMethods)
	case *namespace:
		return x.attrs.Get(name)
	case *loop:
		return x.attr(name)
	case *cycler:
		return x.attr(name)
	case *macro:
		return x.def.attr(name)
	}
	return nil, false
}

// attr is an attribute of a macro: what it is called, and what it takes.
func (d *macroDef) attr(name string) (any, bool) {
	switch name {
	case "name":
		return d.name, true
	case "arguments":
		names := make(Tuple, len(d.params))
		for i, p := range d.params {
			names[i] = p
		}
		return names, true
	case "catch_kwargs":
		return d.kwargs, true
	case "catch_varargs":
		return d.varargs, true
	case "caller":
		return d.readsCaller, true
	case "explicit_caller":
		return slices.Contains(d.params, "caller"), true
	}
	return nil, false
}

// numberPart is an attribute of a number.
func numberPart(x any, name string) (any, bool) {
	_, isFloat := x.(float64)
	switch {
	case name == "real" || name == "numerator" && !isFloat:
		if i, ok := asInt(x); ok {
			return i, true
		}
		return x, true
	case name == "imag" && isFloat:
		return 0.0, true
	case name == "imag":
		return int64(0), true
	case name == "denominator" && !isFloat:
		return int64(1), true
	}
	return nil, false
}

// method is a method of a Python type.
type method func(in *interp, self any, a args) any

func bound(self any, name string, table map[string]method) (any, bool) {
	m, ok := table[name]
	if !ok {
		return nil, false
	}
	return &function{name, func(in *interp, a args) any {
		in.step(weight(self))
		return m(in, self, a)
	}}, true
}
