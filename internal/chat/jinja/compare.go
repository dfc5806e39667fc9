package jinja

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"
)

// compare is x op y for == != < <= > >= in and not in.
func (in *interp) compare(op string, x, y any) bool {
	in.step(1)
	switch op {
	case "==":
		return in.equal(x, y)
	case "!=":
		return !in.equal(x, y)
	case "in":
		return in.contains(y, x)
	case "not in":
		return !in.contains(y, x)
	}
	c, ordered := in.order(op, x, y)
	if !ordered { // one is not a number
		return false
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (in *interp) equal(x, y any) bool {
	defer in.enter()()
	if isNumber(x) && isNumber(y) {
		c, ok := compareNumbers(x, y)
		return ok && c == 0
	}
	if a, ok := asString(x); ok {
		b, ok := asString(y)
		in.step(min(len(a), len(b))/stepBytes + 1)
		return ok && a == b
	}
	switch x := x.(type) {
	case nil:
		return y == nil
	case List:
		y, ok := y.(List)
		return ok && in.equalItems(x, y)
	case *Map:
		y, ok := y.(*Map)
		return ok && in.equalMaps(x, y)
	case *undefined:
		_, ok := y.(*undefined)
		return ok
	case *rangeValue:
		y, ok := y.(*rangeValue)
		return ok && in.equalItems(in.list(x), in.list(y))
	case *view:
		y, ok := y.(*view)
		return ok && x.kind == y.kind && x.kind != "values" && in.equalMaps(x.of, y.of)
	}
	if a, ok := sequence(x); ok { // a tuple
		b, ok := sequence(y)
		_, list := y.(List)
		return ok && !list && in.equalItems(a, b)
	}
	k, ok := key(x)
	l, ok2 := key(y)
	return ok && ok2 && k == l
}

func (in *interp) equalItems(x, y []any) bool {
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		in.step(1)
		if !in.equal(x[i], y[i]) {
			return false
		}
	}
	return true
}

func (in *interp) equalMaps(x, y *Map) bool {
	if x.Len() != y.Len() {
		return false
	}
	for i := range x.keys {
		in.step(1)
		v, ok := y.get(x.hashes[i])
		if !ok || !in.equal(x.values[i], v) {
			return false
		}
	}
	return true
}

// compareNumbers compares exactly; it is not ok if one is NaN.
func compareNumbers(x, y any) (int, bool) {
	a, okA := asInt(x)
	b, okB := asInt(y)
	if okA && okB {
		return cmp.Compare(a, b), true
	}
	f, okF := x.(float64)
	g, okG := y.(float64)
	switch {
	case okF && okG:
		return cmp.Compare(f, g), !math.IsNaN(f) && !math.IsNaN(g)
	case okF:
		c, ok := compareFloat(f, y)
		return c, ok
	case okG:
		c, ok := compareFloat(g, x)
		return -c, ok
	}
	m, _ := asBig(x)
	n, _ := asBig(y)
	return m.Cmp(n), true
}

func compareFloat(f float64, integer any) (int, bool) {
	switch {
	case math.IsNaN(f):
		return 0, false
	case math.IsInf(f, 0):
		return int(math.Copysign(1, f)), true
	}
	n, _ := asBig(integer)
	return new(big.Float).SetFloat64(f).Cmp(new(big.Float).SetInt(n)), true
}

// order compares values that Python can order, and fails for others.
func (in *interp) order(op string, x, y any) (c int, ordered bool) {
	defer in.enter()()
	in.step(1)
	if isNumber(x) && isNumber(y) {
		return compareNumbers(x, y)
	}
	a, okA := asString(x)
	b, okB := asString(y)
	if okA && okB {
		return strings.Compare(a, b), true
	}
	s, okS := sequence(x)
	t, okT := sequence(y)
	_, listX := x.(List)
	_, listY := y.(List)
	if !okS || !okT || listX != listY {
		in.refuse(x)
		in.refuse(y)
		in.typeError("'%s' not supported between instances of '%s' and '%s'", op, typeName(x), typeName(y))
	}
	for i := range min(len(s), len(t)) {
		if !in.equal(s[i], t[i]) {
			return in.order(op, s[i], t[i])
		}
	}
	return cmp.Compare(len(s), len(t)), true
}

// contains is x in c.
func (in *interp) contains(c, x any) bool {
	if text, ok := asString(c); ok {
		part, ok := asString(x)
		if !ok {
			in.typeError("'in <string>' requires string as left operand, not %s", typeName(x))
		}
		in.step(len(text)/stepBytes + 1)
		return strings.Contains(text, part)
	}
	switch c := c.(type) {
	case *Map:
		_, ok := c.get(in.hash(x))
		return ok
	case *view:
		if c.kind == "keys" {
			return c.of.find(in.hash(x)) >= 0
		}
	}
	next, ok := iterator(c)
	if !ok {
		in.typeError("argument of type '%s' is not iterable", typeName(c))
	}
	for {
		item, more := next()
		if !more {
			return false
		}
		in.step(1)
		if in.equal(item, x) {
			return true
		}
	}
}

// sorted gives the items in the order of their keys, equal ones as they came.
func (in *interp) sorted(items []any, keyOf func(any) any, reverse bool) []any {
	in.items(len(items))
	type pair struct{ key, item any }
	pairs := make([]pair, len(items))
	for i, item := range items {
		pairs[i] = pair{keyOf(item), item}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		x, y := a.key, b.key
		if reverse {
			x, y = y, x
		}
		c, _ := in.order("<", x, y)
		return c
	})
	out := make([]any, len(items))
	for i, p := range pairs {
		out[i] = p.item
	}
	return out
}
