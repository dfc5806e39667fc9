package jinja

import (
	"math"
	"math/big"
	"unicode/utf8"
)

// List and Tuple are Python's sequences. Templates can't change a list.
type (
	List  []any
	Tuple []any
)

// Markup is a string that the filter `safe` or `escape` made: text that joins it is escaped.
type Markup string

type (
	// undefined is a name, attribute or item that isn't there. It prints as
	// nothing and is false; most else that is done with it is an error, which text tells.
	undefined struct {
		text string
		kind string // UndefinedError or SecurityError
	}
	// namespace holds attributes that a template may assign to.
	namespace struct{ attrs *Map }
	// generator gives values once, as they are asked for.
	generator struct {
		name string
		next func() (any, bool)
	}
	rangeValue struct{ start, stop, step int64 }
	// view is what the methods keys, values and items of a dict give.
	view struct {
		kind string
		of   *Map
	}
	// function is a global, or a method bound to its value.
	function struct {
		name string
		call func(in *interp, a args) any
	}
	macro struct {
		def   *macroDef
		scope *scope
	}
	// group is an item of the filter groupby: a tuple with names.
	group struct {
		key   any
		items List
	}
)

// args are the evaluated arguments of a call.
type args struct {
	pos   []any
	named *Map // nil without
}

func (r *rangeValue) len() int64 {
	switch {
	case r.step > 0 && r.start < r.stop:
		return (r.stop-r.start-1)/r.step + 1
	case r.step < 0 && r.start > r.stop:
		return (r.start-r.stop-1)/-r.step + 1
	}
	return 0
}

func (r *rangeValue) at(i int64) any { return r.start + i*r.step }

// normal gives an integer as an int64 if it fits.
func normal(b *big.Int) any {
	if b.IsInt64() {
		return b.Int64()
	}
	return b
}

// asString gives the text of a string or Markup.
func asString(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}

// like gives s the type of the string v.
func like(v any, s string) any {
	if _, ok := v.(Markup); ok {
		return Markup(s)
	}
	return s
}

// asInt gives the value of an integer or a bool, which is an integer in Python. A big
// integer is not ok.
func asInt(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// asBig gives any integer.
func asBig(v any) (*big.Int, bool) {
	if i, ok := asInt(v); ok {
		return big.NewInt(i), true
	}
	b, ok := v.(*big.Int)
	return b, ok
}

// typeName is Python's name of a value's type.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Markup:
		return "Markup"
	case List:
		return "list"
	case Tuple:
		return "tuple"
	case *group:
		return "_GroupTuple"
	case *Map:
		return "dict"
	case *undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *generator:
		return "generator"
	case *rangeValue:
		return "range"
	case *view:
		return "dict_" + v.kind
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	case *cycler:
		return "Cycler"
	case *joiner:
		return "Joiner"
	}
	return "builtin_function_or_method"
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case *big.Int:
		return v.Sign() != 0
	case float64:
		return v != 0
	case loopOrSized:
		return v.size() != 0
	}
	n, ok := length(v)
	return !ok || n != 0
}

// loopOrSized are values of the interpreter with a length.
type loopOrSized interface{ size() int }

// length is Python's len(), if v has one.
func length(v any) (int, bool) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case Markup:
		return utf8.RuneCountInString(string(v)), true
	case List:
		return len(v), true
	case Tuple:
		return len(v), true
	case *group:
		return 2, true
	case *Map:
		return v.Len(), true
	case *view:
		return v.of.Len(), true
	case *rangeValue:
		return int(v.len()), true
	case *undefined:
		return 0, true
	case loopOrSized:
		return v.size(), true
	}
	return 0, false
}

// sequence gives the items of a list or a tuple.
func sequence(v any) ([]any, bool) {
	switch v := v.(type) {
	case List:
		return v, true
	case Tuple:
		return v, true
	case *group:
		return []any{v.key, v.items}, true
	}
	return nil, false
}

// iterator gives the items of a value one after the other; ok is false if it has none to give.
func iterator(v any) (next func() (any, bool), ok bool) {
	if items, ok := sequence(v); ok {
		return each(items), true
	}
	switch v := v.(type) {
	case string:
		return runes(v, false), true
	case Markup:
		return runes(string(v), false), true
	case *Map:
		return each(v.keys), true
	case *view:
		i := -1
		return func() (any, bool) {
			if i++; i >= v.of.Len() {
				return nil, false
			}
			return v.at(i), true
		}, true
	case *generator:
		return v.next, true
	case *rangeValue:
		i := int64(-1)
		return func() (any, bool) {
			if i++; i >= v.len() {
				return nil, false
			}
			return v.at(i), true
		}, true
	case *undefined:
		return each(nil), true
	}
	return nil, false
}

func (v *view) at(i int) any {
	switch v.kind {
	case "keys":
		return v.of.keys[i]
	case "values":
		return v.of.values[i]
	}
	return Tuple{v.of.keys[i], v.of.values[i]}
}

func each(items []any) func() (any, bool) {
	i := -1
	return func() (any, bool) {
		if i++; i >= len(items) {
			return nil, false
		}
		return items[i], true
	}
}

// runes gives the characters of a string, from behind if reverse.
func runes(s string, reverse bool) func() (any, bool) {
	return func() (any, bool) {
		if s == "" {
			return nil, false
		}
		var c string
		if reverse {
			_, n := utf8.DecodeLastRuneInString(s)
			c, s = s[len(s)-n:], s[:len(s)-n]
		} else {
			_, n := utf8.DecodeRuneInString(s)
			c, s = s[:n], s[n:]
		}
		return c, true
	}
}

// key gives what stands for a value as a key of a Go map: values that are equal
// in Python have the same. It is not ok for what Python can't hash, and for a tuple,
// which only interp.hash takes.
func key(v any) (any, bool) {
	switch v := v.(type) {
	case nil:
		return struct{}{}, true
	case string:
		return v, true
	case Markup:
		return string(v), true
	case bool, int64:
		i, _ := asInt(v)
		return i, true
	case *big.Int:
		return bigKey(v.String()), true
	case float64:
		if i := int64(v); v == math.Trunc(v) && math.Abs(v) < 1<<63 {
			return i, true
		}
		return v, true
	case List, Tuple, *Map, *view, *group:
		return nil, false
	case *undefined:
		return undefinedKey{}, true
	}
	return v, true // by identity
}

type (
	bigKey       string
	tupleKey     string
	undefinedKey struct{}
)
