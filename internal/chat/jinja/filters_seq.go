package jinja

import (
	"strconv"
	"strings"
)

// attrGetter gives the attribute of an item that a filter's argument names: a path
// such as "function.name" or "0.x", or an index.
func (in *interp) attrGetter(path any, defaultValue any) func(any) any {
	parts := []any{path}
	if s, ok := asString(path); ok {
		parts = nil
		for _, p := range strings.Split(s, ".") {
			if i, err := strconv.ParseInt(p, 10, 64); err == nil && p[0] >= '0' {
				parts = append(parts, i)
			} else {
				parts = append(parts, p)
			}
		}
	}
	if !given(path) {
		parts = nil
	}
	return func(item any) any {
		for _, p := range parts {
			item = in.item(item, p)
			if _, ok := item.(*undefined); ok && given(defaultValue) {
				item = defaultValue
			}
		}
		return item
	}
}

// ignoreCase is the key of a value where case doesn't count.
func ignoreCase(v any) any {
	if s, ok := asString(v); ok {
		return lower(s)
	}
	return v
}

// sortKey gives the key function of sort, unique, min, max and groupby.
func (in *interp) sortKey(path, caseSensitive, defaultValue any) func(any) any {
	get := in.attrGetter(path, defaultValue)
	if given(caseSensitive) && truth(caseSensitive) {
		return get
	}
	return func(item any) any { return ignoreCase(get(item)) }
}

func filterBatch(in *interp, v any, a args) any {
	b := in.bind("batch", a, "linecount", "fill_with?")
	size := int(in.bound(b[0], 0))
	next := in.iter(v)
	done := false
	return &generator{"batch", func() (any, bool) {
		var row List
		for !done && len(row) != size || size <= 0 && !done {
			item, ok := next()
			if !ok {
				done = true
				break
			}
			in.step(1)
			row = append(row, item)
		}
		if len(row) == 0 {
			return nil, false
		}
		if given(b[1]) && len(row) < size {
			in.items(size)
			for len(row) < size {
				row = append(row, b[1])
			}
		}
		return row, true
	}}
}

func filterSlice(in *interp, v any, a args) any {
	b := in.bind("slice", a, "slices", "fill_with?")
	items, slices := in.list(v), int(in.bound(b[0], 0))
	if slices == 0 {
		in.fail("ZeroDivisionError", "integer division or modulo by zero")
	}
	in.items(max(slices, 0))
	i, from := -1, 0
	return &generator{"slice", func() (any, bool) {
		if i++; i >= slices {
			return nil, false
		}
		n := len(items) / slices
		extra := i < len(items)%slices
		if extra {
			n++
		}
		row := append(List{}, items[from:from+n]...)
		from += n
		if given(b[1]) && !extra {
			row = append(row, b[1])
		}
		return row, true
	}}
}

func filterDictsort(in *interp, v any, a args) any {
	b := in.bind("dictsort", a, "case_sensitive?", "by?", "reverse?")
	m, ok := v.(*Map)
	if !ok {
		in.refuse(v)
		in.fail("AttributeError", "'%s' object has no attribute 'items'", typeName(v))
	}
	place := 0
	if given(b[1]) {
		switch in.text("dictsort", b[1]) {
		case "key":
		case "value":
			place = 1
		default:
			in.fail("FilterArgumentError", `You can only sort by either "key" or "value"`)
		}
	}
	keyOf := in.sortKey(int64(place), b[0], nil)
	return List(in.sorted(in.list(&view{"items", m}), keyOf, given(b[2]) && truth(b[2])))
}

func filterFirst(in *interp, v any, a args) any {
	in.bind("first", a)
	if item, ok := in.iter(v)(); ok {
		return item
	}
	return undefinedOf("No first item, sequence was empty.")
}

func filterLast(in *interp, v any, a args) any {
	in.bind("last", a)
	if _, lazy := v.(*generator); lazy {
		in.typeError("'generator' object is not reversible")
	}
	if s, ok := asString(v); ok {
		if c, ok := charAt(s, -1); ok {
			return like(v, c)
		}
	} else if items := in.list(v); len(items) > 0 {
		return items[len(items)-1]
	}
	return undefinedOf("No last item, sequence was empty.")
}

func filterGroupby(in *interp, v any, a args) any {
	b := in.bind("groupby", a, "attribute", "default?", "case_sensitive?")
	keyOf := in.sortKey(b[0], b[2], b[1])
	real := in.attrGetter(b[0], b[1])
	var groups List
	var last *group
	var lastKey any
	for _, item := range in.sorted(in.list(v), keyOf, false) {
		k := keyOf(item)
		if last == nil || !in.equal(k, lastKey) {
			last, lastKey = &group{key: real(item)}, k
			groups = append(groups, last)
		}
		last.items = append(last.items, item)
	}
	return groups
}

func filterItems(in *interp, v any, a args) any {
	in.bind("items", a)
	switch v := v.(type) {
	case *Map:
		next, _ := iterator(&view{"items", v})
		return &generator{"items", next}
	case *undefined:
		return &generator{"items", each(nil)}
	}
	return &generator{"items", func() (any, bool) {
		in.typeError("Can only get item pairs from a mapping.")
		return nil, false
	}}
}

func filterJoin(in *interp, v any, a args) any {
	b := in.bind("join", a, "d?", "attribute?")
	sep := ""
	if _, missing := b[0].(absent); !missing {
		sep = in.str(b[0])
	}
	get := in.attrGetter(b[1], nil)
	var out strings.Builder
	next := in.iter(v)
	for i := 0; ; i++ {
		item, ok := next()
		if !ok {
			break
		}
		if i > 0 {
			out.WriteString(sep)
		}
		text := in.str(get(item))
		in.alloc(len(sep) + len(text))
		in.fits(out.Len() + len(sep) + len(text))
		out.WriteString(text)
	}
	return out.String()
}

func filterLength(in *interp, v any, a args) any {
	in.bind("length", a)
	n, ok := length(v)
	if !ok {
		in.typeError("object of type '%s' has no len()", typeName(v))
	}
	return int64(n)
}

func filterList(in *interp, v any, a args) any {
	in.bind("list", a)
	return List(in.list(v))
}

func filterMap(in *interp, v any, a args) any {
	var f func(any) any
	return lazily(in, "sync_do_map", v, func(next func() (any, bool)) (any, bool) {
		if f == nil {
			f = in.mapper(a)
		}
		item, ok := next()
		if !ok {
			return nil, false
		}
		return f(item), true
	})
}

// lazily gives a generator that asks f for each value. Like jinja2's it looks at
// what it goes over only when it is asked for something.
func lazily(in *interp, name string, over any, f func(next func() (any, bool)) (any, bool)) any {
	var next func() (any, bool)
	return &generator{name, func() (any, bool) {
		if next == nil {
			if !truth(over) {
				return nil, false
			}
			next = in.iter(over)
		}
		in.step(1)
		return f(next)
	}}
}

func (in *interp) mapper(a args) func(any) any {
	if len(a.pos) == 0 && a.named != nil {
		if path, ok := a.named.Get("attribute"); ok {
			defaultValue, has := a.named.Get("default")
			if a.named.Len() > 1 && !has || a.named.Len() > 2 {
				in.fail("FilterArgumentError", "Unexpected keyword argument")
			}
			return in.attrGetter(path, defaultValue)
		}
	}
	if len(a.pos) == 0 {
		in.fail("FilterArgumentError", "map requires a filter argument")
	}
	name, rest := in.text("map", a.pos[0]), args{a.pos[1:], a.named}
	return func(item any) any { return in.applyFilter(name, item, rest) }
}

// selecting makes select, reject, selectattr and rejectattr.
func selecting(reject, byAttr bool) filterFunc {
	return func(in *interp, v any, a args) any {
		var keep func(any) bool
		return lazily(in, "select_or_reject", v, func(next func() (any, bool)) (any, bool) {
			if keep == nil {
				keep = in.chooser(a, byAttr)
			}
			for {
				item, ok := next()
				if !ok || keep(item) != reject {
					return item, ok
				}
				in.step(1)
			}
		})
	}
}

func (in *interp) chooser(a args, byAttr bool) func(any) bool {
	get := func(item any) any { return item }
	pos := a.pos
	if byAttr {
		if len(pos) == 0 {
			in.fail("FilterArgumentError", "Missing parameter for attribute name")
		}
		get, pos = in.attrGetter(pos[0], nil), pos[1:]
	}
	if len(pos) == 0 {
		return func(item any) bool { return truth(get(item)) }
	}
	name, rest := in.text("select", pos[0]), args{pos[1:], a.named}
	return func(item any) bool { return in.applyTest(name, get(item), rest) }
}

// extreme makes min (sign 1) and max (sign -1); of equal ones the first is taken.
func extreme(name string, sign int) filterFunc {
	return func(in *interp, v any, a args) any {
		b := in.bind(name, a, "case_sensitive?", "attribute?")
		keyOf := in.sortKey(b[1], b[0], nil)
		next := in.iter(v)
		best, ok := next()
		if !ok {
			return undefinedOf("No aggregated item, sequence was empty.")
		}
		bestKey := keyOf(best)
		for {
			item, ok := next()
			if !ok {
				return best
			}
			k := keyOf(item)
			if c, ordered := in.order("<", k, bestKey); ordered && c*sign < 0 {
				best, bestKey = item, k
			}
		}
	}
}

func filterReverse(in *interp, v any, a args) any {
	in.bind("reverse", a)
	if s, ok := asString(v); ok {
		in.alloc(len(s))
		return like(v, reverseText(s))
	}
	if !isSeq(v) {
		in.fail("FilterArgumentError", "argument must be iterable")
	}
	items := append([]any{}, in.list(v)...)
	for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
		items[i], items[j] = items[j], items[i]
	}
	if _, lazy := v.(*generator); lazy {
		return List(items)
	}
	return &generator{"list_reverseiterator", each(items)}
}

func filterSort(in *interp, v any, a args) any {
	b := in.bind("sort", a, "reverse?", "case_sensitive?", "attribute?")
	return List(in.sorted(in.list(v), in.multiKey(b[2], b[1]), given(b[0]) && truth(b[0])))
}

// multiKey is the key of sort: a list, since its attribute may name several ("a,b.c").
func (in *interp) multiKey(path, caseSensitive any) func(any) any {
	paths := []any{path}
	if s, ok := asString(path); ok {
		paths = nil
		for _, p := range strings.Split(s, ",") {
			paths = append(paths, p)
		}
	}
	var getters []func(any) any
	for _, p := range paths {
		getters = append(getters, in.sortKey(p, caseSensitive, nil))
	}
	return func(item any) any {
		k := make(List, len(getters))
		for i, get := range getters {
			k[i] = get(item)
		}
		return k
	}
}

func filterSum(in *interp, v any, a args) any {
	b := in.bind("sum", a, "attribute?", "start?")
	get := in.attrGetter(b[0], nil)
	total := any(int64(0))
	if given(b[1]) {
		total = b[1]
	}
	if _, ok := asString(total); ok {
		in.typeError("sum() can't sum strings [use ''.join(seq) instead]")
	}
	for _, item := range in.list(v) {
		total = in.binary("+", total, get(item))
	}
	return total
}

func filterUnique(in *interp, v any, a args) any {
	b := in.bind("unique", a, "case_sensitive?", "attribute?")
	keyOf := in.sortKey(b[1], b[0], nil)
	seen := map[any]bool{}
	next := in.iter(v)
	return &generator{"sync_do_unique", func() (any, bool) {
		for {
			item, ok := next()
			if !ok {
				return nil, false
			}
			in.step(1)
			if k := in.hash(keyOf(item)); !seen[k] {
				seen[k] = true
				return item, true
			}
		}
	}}
}
