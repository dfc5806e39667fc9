package jinja

// A loop is the variable `loop` in the body of a for. It asks for items as they are
// needed, since the test of a for may depend on what its body did before.
type loop struct {
	next      func() (any, bool)
	n         int // number of items, or -1 while it is not known
	at        int // from 0
	before    any
	current   any
	ahead     []any // items asked for before their turn
	depth0    int
	arguments *Tuple // the last arguments of changed()
	recurse   func(v any, depth0 int) any
}

func (f *forStmt) exec(in *interp, s *scope) flow {
	in.line = f.line
	f.loop(in, s, in.eval(f.iter, s), 0)
	return flowNext
}

func (f *forStmt) loop(in *interp, s *scope, over any, depth0 int) {
	l := &loop{next: in.iter(over), n: -1, at: -1, depth0: depth0}
	if n, ok := length(over); ok {
		l.n = n
	}
	if f.test != nil {
		l.next, l.n = f.selected(in, s, l.next), -1
	}
	if f.recursive {
		l.recurse = func(v any, depth0 int) any {
			return in.capture(func() {
				defer in.enter()()
				f.loop(in, s, v, depth0)
			})
		}
	}
	for l.advance() {
		in.step(1)
		in.line = f.line
		inner := newScope(s)
		inner.set("loop", l)
		in.assign(f.target, l.current, inner)
		if in.run(f.body, inner) == flowBreak {
			break
		}
	}
	if l.at < 0 {
		in.run(f.other, newScope(s))
	}
}

// selected gives the items that pass the test of `for … in … if …`.
func (f *forStmt) selected(in *interp, s *scope, next func() (any, bool)) func() (any, bool) {
	return func() (any, bool) {
		for {
			item, ok := next()
			if !ok {
				return nil, false
			}
			in.step(1)
			inner := newScope(s)
			in.assign(f.target, item, inner)
			if truth(in.eval(f.test, inner)) {
				return item, true
			}
		}
	}
}

// advance goes to the next item.
func (l *loop) advance() bool {
	item, ok := l.peek()
	if !ok {
		return false
	}
	l.ahead = l.ahead[1:]
	l.before, l.current = l.current, item
	l.at++
	return true
}

func (l *loop) peek() (any, bool) {
	if len(l.ahead) == 0 {
		item, ok := l.next()
		if !ok {
			return nil, false
		}
		l.ahead = append(l.ahead, item)
	}
	return l.ahead[0], true
}

// size is the number of items, for which it may have to ask for all of them.
func (l *loop) size() int {
	if l.n < 0 {
		for item, ok := l.next(); ok; item, ok = l.next() {
			l.ahead = append(l.ahead, item)
		}
		l.n = l.at + 1 + len(l.ahead)
	}
	return l.n
}

func (l *loop) attr(name string) (any, bool) {
	switch name {
	case "index":
		return int64(l.at + 1), true
	case "index0":
		return int64(l.at), true
	case "revindex":
		return int64(l.size() - l.at), true
	case "revindex0":
		return int64(l.size() - l.at - 1), true
	case "first":
		return l.at == 0, true
	case "last":
		_, more := l.peek()
		return !more, true
	case "length":
		return int64(l.size()), true
	case "depth":
		return int64(l.depth0 + 1), true
	case "depth0":
		return int64(l.depth0), true
	case "previtem":
		if l.at == 0 {
			return undefinedOf("there is no previous item"), true
		}
		return l.before, true
	case "nextitem":
		if item, ok := l.peek(); ok {
			return item, true
		}
		return undefinedOf("there is no next item"), true
	case "cycle":
		return &function{"cycle", l.cycle}, true
	case "changed":
		return &function{"changed", l.changed}, true
	}
	return nil, false
}

func (l *loop) cycle(in *interp, a args) any {
	if len(a.pos) == 0 {
		in.typeError("no items for cycling given")
	}
	return a.pos[l.at%len(a.pos)]
}

func (l *loop) changed(in *interp, a args) any {
	now := Tuple(a.pos)
	if l.arguments != nil && in.equal(*l.arguments, now) {
		return false
	}
	l.arguments = &now
	return true
}
