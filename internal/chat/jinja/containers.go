package jinja

// The methods of list, tuple and dict that change nothing.
var listMethods, tupleMethods, dictMethods map[string]method

func init() {
	tupleMethods = map[string]method{"count": seqCount, "index": seqIndex}
	listMethods = map[string]method{"count": seqCount, "index": seqIndex, "copy": func(in *interp, self any, a args) any {
		in.bind("copy", a)
		return self // nothing can change it
	}}
	dictMethods = map[string]method{
		"get": dictGet, "keys": dictView("keys"), "values": dictView("values"), "items": dictView("items"),
		"copy": func(in *interp, self any, a args) any {
			in.bind("copy", a)
			return self
		},
	}
}

func seqCount(in *interp, self any, a args) any {
	x := in.bind("count", a, "value")[0]
	n := int64(0)
	for _, item := range in.list(self) {
		if in.equal(item, x) {
			n++
		}
	}
	return n
}

func seqIndex(in *interp, self any, a args) any {
	b := in.bind("index", a, "value", "start?", "stop?")
	items := in.list(self)
	first, _, n := in.span(optional(b[1]), optional(b[2]), nil, len(items))
	for i, item := range items[first : first+n] {
		if in.equal(item, b[0]) {
			return int64(first + i)
		}
	}
	in.fail("ValueError", "%s is not in %s", in.repr(b[0]), typeName(self))
	return nil
}

// optional turns an absent argument into None.
func optional(v any) any {
	if given(v) {
		return v
	}
	return nil
}

func dictGet(in *interp, self any, a args) any {
	b := in.bind("get", a, "key", "default?")
	if v, ok := self.(*Map).get(in.hash(b[0])); ok {
		return v
	}
	return optional(b[1])
}

func dictView(kind string) method {
	return func(in *interp, self any, a args) any {
		in.bind(kind, a)
		return &view{kind, self.(*Map)}
	}
}
