package jinja

func (c *callExpr) eval(in *interp, s *scope) any {
	fn := in.eval(c.fn, s)
	a := in.arguments(&c.args, s)
	in.line = c.line
	v := in.call(fn, a)
	in.line = c.line
	return v
}

// arguments evaluates the arguments of a call.
func (in *interp) arguments(x *arguments, s *scope) args {
	var a args
	if len(x.pos) > 0 {
		a.pos = make([]any, len(x.pos))
	}
	for i, p := range x.pos {
		a.pos[i] = in.eval(p, s)
	}
	if x.star != nil {
		a.pos = append(a.pos, in.list(in.eval(x.star, s))...)
	}
	if x.names == nil && x.dict == nil {
		return a
	}
	a.named = &Map{}
	for i, name := range x.names {
		a.named.Set(name, in.eval(x.named[i], s))
	}
	if x.dict != nil {
		in.spread(a.named, in.eval(x.dict, s))
	}
	return a
}

// spread adds the pairs of a ** argument.
func (in *interp) spread(named *Map, v any) {
	m, ok := v.(*Map)
	if !ok {
		in.typeError("argument after ** must be a mapping, not %s", typeName(v))
	}
	in.items(m.Len())
	for i, k := range m.keys {
		name, ok := asString(k)
		if !ok {
			in.typeError("keywords must be strings")
		}
		if _, twice := named.Get(name); twice {
			in.typeError("got multiple values for keyword argument '%s'", name)
		}
		named.Set(name, m.values[i])
	}
}

// call calls a value.
func (in *interp) call(fn any, a args) any {
	defer in.enter()()
	in.step(1 + weights(a))
	switch fn := fn.(type) {
	case *function:
		return fn.call(in, a)
	case *macro:
		return in.callMacro(fn, a)
	case *loop:
		if fn.recurse == nil {
			in.typeError("The loop must have the 'recursive' marker to be called recursively.")
		}
		return fn.recurse(in.bind("loop", a, "iterable")[0], fn.depth0+1)
	case *joiner:
		return fn.call()
	case *undefined:
		in.refuse(fn)
	}
	in.typeError("'%s' object is not callable", typeName(fn))
	return nil
}

// absent stands for an argument that was not given.
type absent struct{}

// bind orders the arguments of a function by its parameters. A name that ends in "?"
// is optional; what isn't given is absent.
func (in *interp) bind(fn string, a args, params ...string) []any {
	if len(a.pos) > len(params) {
		in.typeError("%s() takes at most %d arguments (%d given)", fn, len(params), len(a.pos))
	}
	given := 0
	out := make([]any, len(params))
	for i, p := range params {
		name, optional := p, false
		if p[len(p)-1] == '?' {
			name, optional = p[:len(p)-1], true
		}
		v, named := any(nil), false
		if a.named != nil {
			v, named = a.named.Get(name)
		}
		switch {
		case i < len(a.pos) && named:
			in.typeError("%s() got multiple values for argument '%s'", fn, name)
		case i < len(a.pos):
			out[i] = a.pos[i]
		case named:
			out[i] = v
			given++
		case optional:
			out[i] = absent{}
		default:
			in.typeError("%s() missing 1 required positional argument: '%s'", fn, name)
		}
	}
	if a.named != nil && given < a.named.Len() {
		in.typeError("%s() got an unexpected keyword argument", fn)
	}
	return out
}

// callMacro runs a macro: what it writes is its value.
func (in *interp) callMacro(m *macro, a args) any {
	d := m.def
	inner := newScope(m.scope)
	n := min(len(a.pos), len(d.params))
	for i, p := range a.pos[:n] {
		inner.set(d.params[i], p)
	}
	rest := &Map{}
	if a.named != nil {
		rest = a.named.copy()
	}
	hasCaller := in.missingParams(d, n, rest, inner)
	if d.caller && !hasCaller {
		caller, ok := rest.pop("caller")
		if !ok || caller == nil {
			caller = undefinedOf("No caller defined")
		}
		inner.set("caller", caller)
	}
	in.surplus(d, a.pos[n:], rest, inner)
	return in.capture(func() { in.run(d.body, inner) })
}

// missingParams sets the parameters from the n-th on: by name, by default, or to
// undefined. It reports whether one is called caller.
func (in *interp) missingParams(d *macroDef, n int, named *Map, inner *scope) (caller bool) {
	firstDefault := len(d.params) - len(d.defaults)
	given := make([]bool, len(d.params))
	for i := n; i < len(d.params); i++ {
		in.step(1 + named.Len()/8)
		var v any
		if v, given[i] = named.pop(d.params[i]); !given[i] {
			v = undefinedOf("parameter '" + d.params[i] + "' was not provided")
		}
		inner.set(d.params[i], v)
	}
	for i, name := range d.params {
		caller = caller || name == "caller"
		if i >= n && !given[i] && i >= firstDefault { // in order: a default may use the parameters before it
			inner.set(name, in.eval(d.defaults[i-firstDefault], inner))
		}
	}
	return caller
}

// surplus passes the arguments that no parameter takes, or refuses them.
func (in *interp) surplus(d *macroDef, pos []any, named *Map, inner *scope) {
	switch {
	case d.kwargs:
		inner.set("kwargs", named)
	case named.Len() > 0:
		in.typeError("macro '%s' takes no keyword argument %s", d.name, in.repr(named.keys[0]))
	}
	switch {
	case d.varargs:
		inner.set("varargs", Tuple(pos))
	case len(pos) > 0:
		in.typeError("macro '%s' takes not more than %d argument(s)", d.name, len(d.params))
	}
}

// pop removes a string key, which only the interpreter may do.
func (m *Map) pop(name string) (any, bool) {
	i := m.find(name)
	if i < 0 {
		return nil, false
	}
	v := m.values[i]
	rest := &Map{}
	for j, k := range m.keys {
		if j != i {
			rest.set(m.hashes[j], k, m.values[j])
		}
	}
	*m = *rest
	return v, true
}
