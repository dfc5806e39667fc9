package jinja

import (
	"fmt"
	"strings"
	"time"
)

// Options bound what a template may do; a zero field takes its default.
type Options struct {
	// Steps bounds the work: nodes evaluated, items visited, and one for each 32
	// bytes of text read or made. The default is 20 million, a few seconds at most;
	// templates that go over all messages for each message need it for long conversations.
	Steps int
	// Depth bounds how deep evaluation nests: expressions, macros, loops. The default is 1500.
	Depth int
	// Output bounds the bytes of the result, and of any string on the way. The default is 16 MiB.
	Output int
	// Now is the time that strftime_now formats; the zero time means time.Now().
	Now time.Time
}

// stepBytes is the text that counts as one step.
const stepBytes = 32

func (o Options) withDefaults() Options {
	if o.Steps == 0 {
		o.Steps = 20_000_000
	}
	if o.Depth == 0 {
		o.Depth = 1500
	}
	if o.Output == 0 {
		o.Output = 16 << 20
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	return o
}

// Render runs the template with variables. The error is an *Error, or a *Raised if
// the template called raise_exception.
func (t *Template) Render(vars *Map, opt Options) (text string, err error) {
	in := &interp{opt: opt.withDefaults(), out: &strings.Builder{}, line: 1}
	defer catch(&err)
	given := newScope(nil)
	for name, v := range vars.All {
		given.set(name, v)
	}
	in.run(t.body, newScope(given))
	return in.out.String(), nil
}

// An interp is one run of a template.
type interp struct {
	opt   Options
	out   *strings.Builder
	line  int // of what is being evaluated, for messages
	steps int
	depth int
}

// fail ends the run with an error of a Python kind.
func (in *interp) fail(kind, format string, a ...any) {
	panic(&Error{Line: in.line, Kind: kind, Text: fmt.Sprintf(format, a...)})
}

func (in *interp) typeError(format string, a ...any) { in.fail("TypeError", format, a...) }

func (in *interp) limit(what string, n int, unit string) {
	in.fail("LimitError", "the template passes the limit of its %s: %d %s", what, n, unit)
}

// step counts work.
func (in *interp) step(n int) {
	if in.steps += n; in.steps > in.opt.Steps || in.steps < 0 {
		in.limit("work", in.opt.Steps, "steps")
	}
}

// alloc counts a string of n bytes before it is made.
func (in *interp) alloc(n int) {
	in.fits(n)
	in.step(n/stepBytes + 1)
}

// fits fails if a string of n bytes is longer than the output may be.
func (in *interp) fits(n int) {
	if n > in.opt.Output || n < 0 {
		in.limit("output", in.opt.Output, "bytes")
	}
}

// items counts a list of n items before it is made.
func (in *interp) items(n int) {
	if n > in.opt.Steps || n < 0 {
		in.limit("work", in.opt.Steps, "steps")
	}
	in.step(n)
}

// enter counts a level of nesting; the function that it gives leaves it.
func (in *interp) enter() func() {
	if in.depth++; in.depth > in.opt.Depth {
		in.limit("depth", in.opt.Depth, "levels")
	}
	return in.leave
}

func (in *interp) leave() { in.depth-- }

func (in *interp) write(s string) {
	in.alloc(len(s))
	in.fits(in.out.Len() + len(s))
	in.out.WriteString(s)
}

// capture gives what f writes.
func (in *interp) capture(f func()) string {
	outer := in.out
	in.out = &strings.Builder{}
	f()
	s := in.out.String()
	in.out = outer
	return s
}

// eval gives the value of an expression.
func (in *interp) eval(x expr, s *scope) any {
	in.step(1)
	if in.depth++; in.depth > in.opt.Depth {
		in.limit("depth", in.opt.Depth, "levels")
	}
	v := x.eval(in, s)
	in.depth--
	return v
}

// run executes statements up to the first that leaves the loop around them.
func (in *interp) run(body []stmt, s *scope) flow {
	defer in.enter()()
	for _, st := range body {
		in.step(1)
		if f := st.exec(in, s); f != flowNext {
			return f
		}
	}
	return flowNext
}

// A scope holds the names of a body: of the template, a loop's pass, a macro's call.
// They are few, so a list is faster than a map.
type scope struct {
	vars   []variable
	few    [3]variable    // where vars begins
	index  map[string]int // only where there are many after all
	parent *scope
}

type variable struct {
	name  string
	value any
}

// manyVars is the size from which a scope has an index.
const manyVars = 32

func newScope(parent *scope) *scope {
	s := &scope{parent: parent}
	s.vars = s.few[:0]
	return s
}

func (s *scope) find(name string) int {
	if s.index != nil {
		if i, ok := s.index[name]; ok {
			return i
		}
		return -1
	}
	for i := range s.vars {
		if s.vars[i].name == name {
			return i
		}
	}
	return -1
}

func (s *scope) set(name string, v any) {
	if i := s.find(name); i >= 0 {
		s.vars[i].value = v
		return
	}
	s.vars = append(s.vars, variable{name, v})
	switch n := len(s.vars); {
	case s.index != nil:
		s.index[name] = n - 1
	case n == manyVars:
		s.index = make(map[string]int, 2*n)
		for i, v := range s.vars {
			s.index[v.name] = i
		}
	}
}

func (s *scope) lookup(name string) (any, bool) {
	for ; s != nil; s = s.parent {
		if i := s.find(name); i >= 0 {
			return s.vars[i].value, true
		}
	}
	v, ok := globals[name]
	return v, ok
}
