package jinja

import "strings"

func (c *constExpr) eval(*interp, *scope) any { return c.value }

func (n *nameExpr) eval(_ *interp, s *scope) any {
	if v, ok := s.lookup(n.name); ok {
		return v
	}
	return undefinedOf("'" + n.name + "' is undefined")
}

func undefinedOf(text string) *undefined { return &undefined{text, "UndefinedError"} }

func (in *interp) all(items []expr, s *scope) []any {
	values := make([]any, len(items))
	for i, x := range items {
		values[i] = in.eval(x, s)
	}
	return values
}

func (l *listExpr) eval(in *interp, s *scope) any  { return List(in.all(l.items, s)) }
func (t *tupleExpr) eval(in *interp, s *scope) any { return Tuple(in.all(t.items, s)) }

func (d *dictExpr) eval(in *interp, s *scope) any {
	m := &Map{}
	for i := range d.keys {
		k := in.eval(d.keys[i], s)
		in.store(m, k, in.eval(d.values[i], s))
	}
	return m
}

// store sets an item of a dict.
func (in *interp) store(m *Map, name, v any) { m.set(in.hash(name), name, v) }

// hash gives a value as a key, or fails if Python could not hash it.
func (in *interp) hash(v any) any {
	in.step(weight(v))
	if t, ok := v.(Tuple); ok {
		return in.hashTuple(t)
	}
	k, ok := key(v)
	if !ok {
		in.typeError("unhashable type: '%s'", typeName(v))
	}
	return k
}

func (in *interp) hashTuple(t Tuple) any {
	defer in.enter()()
	var b strings.Builder
	for _, item := range t {
		in.step(1)
		tupleKeyPart(&b, in.hash(item))
		in.fits(b.Len())
	}
	in.alloc(b.Len())
	return tupleKey(b.String())
}

// weight is the work that reading a value once is: strings may be long.
func weight(v any) int {
	s, _ := asString(v)
	return len(s) / stepBytes
}

func weights(a args) int {
	n := 0
	for _, v := range a.pos {
		n += weight(v)
	}
	if a.named != nil {
		for _, v := range a.named.values {
			n += weight(v)
		}
	}
	return n
}

func (n *notExpr) eval(in *interp, s *scope) any { return !truth(in.eval(n.x, s)) }

func (a *andExpr) eval(in *interp, s *scope) any {
	if v := in.eval(a.x, s); !truth(v) {
		return v
	}
	return in.eval(a.y, s)
}

func (o *orExpr) eval(in *interp, s *scope) any {
	if v := in.eval(o.x, s); truth(v) {
		return v
	}
	return in.eval(o.y, s)
}

func (c *condExpr) eval(in *interp, s *scope) any {
	switch {
	case truth(in.eval(c.test, s)):
		return in.eval(c.yes, s)
	case c.no == nil:
		return undefinedOf("the inline if-expression evaluated to false and no else section was defined.")
	}
	return in.eval(c.no, s)
}

func (c *concatExpr) eval(in *interp, s *scope) any {
	var b strings.Builder
	for _, x := range c.items {
		t := in.str(in.eval(x, s))
		in.alloc(len(t))
		in.fits(b.Len() + len(t))
		b.WriteString(t)
	}
	return b.String()
}

func (u *unaryExpr) eval(in *interp, s *scope) any {
	v := in.eval(u.x, s)
	if u.op == "-" {
		return in.negate(v)
	}
	if b, ok := v.(bool); ok {
		v, _ = asInt(b)
	}
	if !isNumber(v) {
		in.refuse(v)
		in.typeError("bad operand type for unary +: '%s'", typeName(v))
	}
	return v
}

func (b *binaryExpr) eval(in *interp, s *scope) any {
	x := in.eval(b.x, s)
	return in.binary(b.op, x, in.eval(b.y, s))
}

func (c *compareExpr) eval(in *interp, s *scope) any {
	x := in.eval(c.x, s)
	for i, op := range c.ops {
		y := in.eval(c.rest[i], s)
		if !in.compare(op, x, y) {
			return false
		}
		x = y
	}
	return true
}

func (f *filterExpr) eval(in *interp, s *scope) any {
	return in.filter(f, in.eval(f.x, s), s)
}

func (in *interp) filter(f *filterExpr, v any, s *scope) any {
	a := in.arguments(&f.args, s)
	in.line = f.line
	return in.applyFilter(f.name, v, a)
}

func (in *interp) applyFilter(name string, v any, a args) any {
	fn := filters[name]
	if fn == nil {
		in.fail("TemplateRuntimeError", "%s", unknown("filter", name))
	}
	in.step(1 + weight(v) + weights(a))
	return fn(in, v, a)
}

func (t *testExpr) eval(in *interp, s *scope) any {
	v := in.eval(t.x, s)
	a := in.arguments(&t.args, s)
	in.line = t.line
	return in.applyTest(t.name, v, a)
}

func (in *interp) applyTest(name string, v any, a args) bool {
	fn := tests[name]
	if fn == nil {
		in.fail("TemplateRuntimeError", "%s", unknown("test", name))
	}
	in.step(1 + weight(v) + weights(a))
	return fn(in, v, a)
}
