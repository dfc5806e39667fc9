package jinja

import "strings"

// globals are the names that every template knows.
var globals map[string]any

func init() {
	globals = map[string]any{
		"range":           &function{"range", globalRange},
		"dict":            &function{"dict", globalDict},
		"namespace":       &function{"namespace", globalNamespace},
		"cycler":          &function{"cycler", globalCycler},
		"joiner":          &function{"joiner", globalJoiner},
		"raise_exception": &function{"raise_exception", raiseException},
		"strftime_now":    &function{"strftime_now", strftimeNow},
	}
}

// maxRange is the length of the longest range, as in jinja2's sandbox.
const maxRange = 100_000

func globalRange(in *interp, a args) any {
	n := len(a.pos)
	if a.named != nil || n < 1 || n > 3 {
		in.typeError("range expected 1 to 3 positional arguments, got %d", n)
	}
	whole := make([]int64, n)
	for i, v := range a.pos {
		var ok bool
		if whole[i], ok = asInt(v); !ok {
			in.refuse(v)
			in.typeError("'%s' object cannot be interpreted as an integer", typeName(v))
		}
		if whole[i] > 1<<40 || whole[i] < -1<<40 {
			in.fail("OverflowError", "Range too big. Its bounds must lie within 2**40.")
		}
	}
	r := &rangeValue{stop: whole[0], step: 1}
	if n > 1 {
		r.start, r.stop = whole[0], whole[1]
	}
	if n > 2 {
		r.step = whole[2]
	}
	if r.step == 0 {
		in.fail("ValueError", "range() arg 3 must not be zero")
	}
	if r.len() > maxRange {
		in.fail("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	return r
}

// pairs builds a dict from a mapping or pairs, and named arguments.
func (in *interp) pairs(fn string, a args) *Map {
	m := &Map{}
	if len(a.pos) > 1 {
		in.typeError("%s expected at most 1 argument, got %d", fn, len(a.pos))
	}
	if len(a.pos) == 1 {
		if from, ok := a.pos[0].(*Map); ok {
			in.items(from.Len())
			m = from.copy()
		} else {
			for i, p := range in.list(a.pos[0]) {
				kv := in.list(p)
				if len(kv) != 2 {
					in.fail("ValueError", "dictionary update sequence element #%d has length %d; 2 is required", i, len(kv))
				}
				in.store(m, kv[0], kv[1])
			}
		}
	}
	if a.named != nil {
		for name, v := range a.named.All {
			m.Set(name, v)
		}
	}
	return m
}

func globalDict(in *interp, a args) any { return in.pairs("dict", a) }

func globalNamespace(in *interp, a args) any {
	attrs := in.pairs("namespace", a)
	for name := range attrs.All {
		in.checkAttr(name)
	}
	return &namespace{attrs}
}

// checkAttr refuses attributes that transformers refuses in a namespace.
func (in *interp) checkAttr(name string) {
	if strings.HasPrefix(name, "_") {
		in.fail("SecurityError", "a chat template can't store '%s' in a namespace: a name must not begin with an underscore", name)
	}
}

// raiseException ends the run with the template's own message.
func raiseException(in *interp, a args) any {
	panic(&Raised{Line: in.line, Message: in.str(in.bind("raise_exception", a, "message")[0])})
}

func strftimeNow(in *interp, a args) any {
	return in.strftime(in.opt.Now, in.text("strftime_now", in.bind("strftime_now", a, "format")[0]))
}

// A cycler gives its items in turn.
type cycler struct {
	items []any
	at    int
}

func globalCycler(in *interp, a args) any {
	if len(a.pos) == 0 || a.named != nil {
		in.fail("RuntimeError", "at least one item has to be provided")
	}
	return &cycler{items: a.pos}
}

func (c *cycler) attr(name string) (any, bool) {
	switch name {
	case "current":
		return c.items[c.at], true
	case "next":
		return &function{"next", func(in *interp, a args) any {
			in.bind("next", a)
			v := c.items[c.at]
			c.at = (c.at + 1) % len(c.items)
			return v
		}}, true
	case "reset":
		return &function{"reset", func(in *interp, a args) any {
			in.bind("reset", a)
			c.at = 0
			return nil
		}}, true
	}
	return nil, false
}

// A joiner gives nothing when it is first called, and then its separator.
type joiner struct {
	sep  any
	used bool
}

func globalJoiner(in *interp, a args) any {
	sep := in.bind("joiner", a, "sep?")[0]
	if _, missing := sep.(absent); missing {
		sep = ", "
	}
	return &joiner{sep: sep}
}

func (j *joiner) call() any {
	if !j.used {
		j.used = true
		return ""
	}
	return j.sep
}
