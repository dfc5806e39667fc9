package jinja

import "strings"

type testFunc func(in *interp, v any, a args) bool

// tests by name, as in `x is NAME`.
var tests map[string]testFunc

func init() {
	tests = map[string]testFunc{
		"boolean":     is(func(v any) bool { _, ok := v.(bool); return ok }),
		"true":        is(func(v any) bool { return v == true }),
		"false":       is(func(v any) bool { return v == false }),
		"none":        is(func(v any) bool { return v == nil }),
		"defined":     is(func(v any) bool { _, ok := v.(*undefined); return !ok }),
		"undefined":   is(func(v any) bool { _, ok := v.(*undefined); return ok }),
		"integer":     is(func(v any) bool { _, isBool := v.(bool); _, ok := asBig(v); return ok && !isBool }),
		"float":       is(func(v any) bool { _, ok := v.(float64); return ok }),
		"number":      is(isNumber),
		"string":      is(func(v any) bool { _, ok := asString(v); return ok }),
		"mapping":     is(func(v any) bool { _, ok := v.(*Map); return ok }),
		"iterable":    is(isSeq),
		"sequence":    is(isSequence),
		"callable":    is(isCallable),
		"escaped":     is(isMarkup),
		"sameas":      is1(same),
		"in":          is1(func(in *interp, v, c any) bool { return in.contains(c, v) }),
		"lower":       func(in *interp, v any, a args) bool { in.bind("lower", a); return isCase(in.str(v), isLower, isUpper) },
		"upper":       func(in *interp, v any, a args) bool { in.bind("upper", a); return isCase(in.str(v), isUpper, isLower) },
		"odd":         func(in *interp, v any, a args) bool { in.bind("odd", a); return in.remainder(v, 2, 1) },
		"even":        func(in *interp, v any, a args) bool { in.bind("even", a); return in.remainder(v, 2, 0) },
		"divisibleby": is1(func(in *interp, v, n any) bool { return in.equal(in.binary("%", v, n), int64(0)) }),
		"filter":      known(func(name string) bool { return filters[name] != nil }),
		"test":        known(func(name string) bool { return tests[name] != nil }),
	}
	for names, op := range map[string]string{"eq equalto ==": "==", "ne !=": "!=", "gt greaterthan >": ">", "ge >=": ">=", "lt lessthan <": "<", "le <=": "<="} {
		for _, name := range strings.Fields(names) {
			tests[name] = is1(func(in *interp, x, y any) bool { return in.compare(op, x, y) })
		}
	}
}

// is makes a test of a property.
func is(f func(any) bool) testFunc {
	return func(in *interp, v any, a args) bool {
		in.bind("test", a)
		return f(v)
	}
}

// known makes a test of whether a name is known.
func known(f func(name string) bool) testFunc {
	return func(in *interp, v any, a args) bool {
		in.bind("test", a)
		in.hash(v)
		name, ok := asString(v)
		return ok && f(name)
	}
}

// is1 makes a test with one argument.
func is1(f func(in *interp, v, arg any) bool) testFunc {
	return func(in *interp, v any, a args) bool { return f(in, v, in.bind("test", a, "other")[0]) }
}

func isSequence(v any) bool {
	if _, ok := v.(*view); ok {
		return false
	}
	_, ok := length(v)
	_, isLoop := v.(*loop)
	return ok && !isLoop
}

func isCallable(v any) bool {
	switch v.(type) {
	case *function, *macro, *loop, *joiner, *undefined:
		return true
	}
	return false
}

// same is `is`: for values without an identity, equality of what has the same type.
func same(in *interp, v, w any) bool {
	switch v.(type) {
	case List, Tuple:
		a, _ := sequence(v)
		b, _ := sequence(w)
		return typeName(v) == typeName(w) && len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
	}
	return typeName(v) == typeName(w) && in.equal(v, w)
}

func (in *interp) remainder(v any, n, want int64) bool {
	return in.equal(in.binary("%", v, n), want)
}
