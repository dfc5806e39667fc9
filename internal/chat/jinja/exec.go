package jinja

func (t *textStmt) exec(in *interp, _ *scope) flow {
	in.write(t.text)
	return flowNext
}

func (o *outputStmt) exec(in *interp, s *scope) flow {
	in.line = o.line
	in.write(in.str(in.eval(o.x, s)))
	return flowNext
}

func (f *flowStmt) exec(*interp, *scope) flow { return f.flow }

func (i *ifStmt) exec(in *interp, s *scope) flow {
	for n, test := range i.tests {
		in.line = i.line
		if truth(in.eval(test, s)) {
			return in.run(i.bodies[n], s)
		}
	}
	return in.run(i.other, s)
}

func (st *setStmt) exec(in *interp, s *scope) flow {
	in.line = st.line
	in.assign(st.target, in.eval(st.value, s), s)
	return flowNext
}

func (st *setBlockStmt) exec(in *interp, s *scope) flow {
	text := in.capture(func() { in.run(st.body, newScope(s)) })
	in.line = st.line
	in.assign(st.target, in.filterText(st.filter, text, s), s)
	return flowNext
}

func (f *filterStmt) exec(in *interp, s *scope) flow {
	text := in.capture(func() { in.run(f.body, newScope(s)) })
	in.line = f.line
	out, ok := asString(in.filterText(f.filter, text, s))
	if !ok {
		in.typeError("the filters of a block must give a string")
	}
	in.write(out)
	return flowNext
}

// filterText gives what filters, which may be nil, make of the text of a block.
func (in *interp) filterText(x expr, text string, s *scope) any {
	f, ok := x.(*filterExpr)
	if !ok {
		return text
	}
	return in.filter(f, in.filterText(f.x, text, s), s)
}

func (w *withStmt) exec(in *interp, s *scope) flow {
	in.line = w.line
	inner := newScope(s)
	for i, x := range w.values {
		in.assign(w.targets[i], in.eval(x, s), inner)
	}
	return in.run(w.body, inner)
}

func (b *scopeStmt) exec(in *interp, s *scope) flow {
	return in.run(b.body, newScope(s))
}

func (m *macroStmt) exec(in *interp, s *scope) flow {
	s.set(m.def.name, &macro{m.def, s})
	return flowNext
}

func (c *callStmt) exec(in *interp, s *scope) flow {
	in.line = c.line
	fn := in.eval(c.call.fn, s)
	a := in.arguments(&c.call.args, s)
	if a.named == nil {
		a.named = &Map{}
	}
	a.named.Set("caller", &macro{c.caller, s})
	in.write(in.str(in.call(fn, a)))
	return flowNext
}

// assign stores a value in a target.
func (in *interp) assign(t target, v any, s *scope) {
	switch {
	case t.tuple:
		values := in.list(v)
		switch {
		case len(values) < len(t.items):
			in.fail("ValueError", "not enough values to unpack (expected %d, got %d)", len(t.items), len(values))
		case len(values) > len(t.items):
			in.fail("ValueError", "too many values to unpack (expected %d)", len(t.items))
		}
		for i, item := range t.items {
			in.assign(item, values[i], s)
		}
	case t.attr != "":
		x, _ := s.lookup(t.name)
		ns, ok := x.(*namespace)
		if !ok {
			in.fail("TemplateRuntimeError", "cannot assign attribute on non-namespace object")
		}
		in.checkAttr(t.attr)
		ns.attrs.Set(t.attr, v)
	default:
		s.set(t.name, v)
	}
}

// list gives all items of a value.
func (in *interp) list(v any) []any {
	if items, ok := sequence(v); ok {
		in.step(1)
		return items
	}
	if n, ok := length(v); ok {
		in.items(n)
	}
	var items []any
	for next := in.iter(v); ; {
		item, ok := next()
		if !ok {
			return items
		}
		in.step(1)
		items = append(items, item)
	}
}

// iter gives the items of a value one by one.
func (in *interp) iter(v any) func() (any, bool) {
	next, ok := iterator(v)
	if !ok {
		in.refuse(v)
		in.typeError("'%s' object is not iterable", typeName(v))
	}
	return next
}

// refuse fails if v is undefined.
func (in *interp) refuse(v any) {
	if u, ok := v.(*undefined); ok {
		in.fail(u.kind, "%s", u.text)
	}
}
