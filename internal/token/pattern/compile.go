package pattern

import (
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Pattern is a compiled expression, safe for concurrent use.
type Pattern struct {
	expr     string
	word     set // \w
	prog     []inst
	start    [256]bool // the bytes that a match can begin with
	anywhere bool      // a match may be empty
	loops    int       // number of opLoop instructions
}

// String gives the expression.
func (p *Pattern) String() string { return p.expr }

const (
	maxProg    = 20000 // instructions
	maxClasses = 1000  // different sets of runes, some 10 KB each
)

type opcode uint8

const (
	opMatch  opcode = iota
	opSet           // one rune of class, then next
	opLoop          // min to max runes of class, then next
	opJump          // to next
	opSplit         // try next, then other
	opAlt           // try those targets that the next byte allows, in order
	opLook          // the program at other matches here (unless neg), then next
	opBehind        // the program at other matches a stretch that ends here
	opAtomic        // the program at other, then next
	opAssert
)

type inst struct {
	op       opcode
	mode     mode
	neg      bool
	assert   assertion
	loop     int32 // number of this loop
	next     int32
	other    int32
	min, max int32
	class    *class
	targets  *dispatch
	begins   *[256]bool // what the first way of a choice can begin with; nil if anything
}

// dispatch lists the alternatives that can match before each byte; the last
// list is for the end of the text.
type dispatch [257][]int32

// Compile reads an expression. Back references, conditions, and groups that
// can be empty and are repeated without bound are errors.
func Compile(expr string, f Flavor) (*Pattern, error) {
	root, err := parse(expr, f)
	if err != nil {
		return nil, err
	}
	c := &compiler{classes: map[string]*class{}, sets: map[int32]set{}}
	end := c.emit(inst{op: opMatch})
	start := c.compile(root, end)
	if c.err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, c.err)
	}
	// Matching begins at the last instruction.
	c.emit(inst{op: opJump, next: start})
	p := &Pattern{expr: expr, word: f.wordSet(false), prog: c.prog, loops: int(c.loops)}
	first := firstOf(root)
	p.start, p.anywhere = first.bytes, first.empty
	return p, nil
}

// compiler writes instructions back to front: each is given what follows it.
type compiler struct {
	prog    []inst
	classes map[string]*class
	sets    map[int32]set // by opSet or opLoop
	loops   int32
	err     error
}

func (c *compiler) fail(text string) int32 {
	if c.err == nil {
		c.err = errors.New(text)
	}
	return 0
}

func (c *compiler) emit(i inst) int32 {
	if len(c.prog) >= maxProg {
		return c.fail(fmt.Sprintf("more than %d instructions", maxProg))
	}
	c.prog = append(c.prog, i)
	return int32(len(c.prog) - 1)
}

func (c *compiler) class(s set) *class {
	key := fmt.Sprint(s)
	if c.classes[key] == nil {
		if len(c.classes) == maxClasses {
			c.fail(fmt.Sprintf("more than %d different classes", maxClasses))
			return nil
		}
		c.classes[key] = newClass(s)
	}
	return c.classes[key]
}

func (c *compiler) compile(n *node, next int32) int32 {
	if c.err != nil {
		return 0
	}
	switch n.kind {
	case kSet:
		at := c.emit(inst{op: opSet, class: c.class(n.set), next: next})
		c.noteSet(at, n.set)
		return at
	case kCat:
		for _, sub := range slices.Backward(n.subs) {
			next = c.compile(sub, next)
		}
	case kAlt:
		return c.alternatives(n, next)
	case kRepeat:
		return c.repeat(n, next)
	case kLook:
		if n.behind {
			w := width(n.subs[0])
			if w.min != w.max {
				return c.fail("lookbehind of variable length")
			}
			return c.emit(inst{op: opBehind, neg: n.neg, other: c.compile(n.subs[0], 0), next: next, min: int32(w.min)})
		}
		return c.emit(inst{op: opLook, neg: n.neg, other: c.compile(n.subs[0], 0), next: next})
	case kAtomic:
		return c.emit(inst{op: opAtomic, other: c.compile(n.subs[0], 0), next: next})
	case kAssert:
		return c.emit(inst{op: opAssert, assert: n.assert, next: next})
	}
	return next
}

func (c *compiler) alternatives(n *node, next int32) int32 {
	table := &dispatch{}
	for _, sub := range n.subs {
		first, target := firstOf(sub), c.compile(sub, next)
		for b := range table {
			if first.empty || b < 256 && first.bytes[b] {
				table[b] = append(table[b], target)
			}
		}
	}
	return c.emit(inst{op: opAlt, targets: table})
}

func (c *compiler) repeat(n *node, next int32) int32 {
	sub := n.subs[0]
	if sub.kind == kSet && n.mode != lazy {
		c.loops++
		loop := inst{op: opLoop, mode: n.mode, class: c.class(sub.set), min: int32(n.min), max: int32(n.max), next: next, loop: c.loops - 1}
		if c.greedIsFinal(sub.set, next) {
			loop.mode = possessive
		}
		at := c.emit(loop)
		c.noteSet(at, sub.set)
		return at
	}
	if n.mode == possessive {
		return c.emit(inst{op: opAtomic, other: c.repeat(&node{subs: n.subs, min: n.min, max: n.max}, 0), next: next})
	}
	if n.max == forever {
		if firstOf(sub).empty && width(sub).min == 0 {
			return c.fail("a group that can be empty is repeated without bound")
		}
		again := c.emit(inst{op: opSplit, begins: begins(n), other: next}) // greedIsFinal looks at it
		c.branch(again, c.compile(sub, again), next, n.mode)
		next = again
	} else {
		for range n.max - n.min {
			opt := c.emit(inst{op: opSplit, begins: begins(n)})
			c.branch(opt, c.compile(sub, next), next, n.mode)
			next = opt
		}
	}
	for range n.min {
		next = c.compile(sub, next)
	}
	return next
}

func (c *compiler) noteSet(pc int32, s set) {
	if c.err == nil {
		c.sets[pc] = s
	}
}

// greedIsFinal reports whether a loop over s need not give runes back: either
// the match is complete after it, or what follows begins with none of s.
func (c *compiler) greedIsFinal(s set, next int32) bool {
	if c.err != nil {
		return false
	}
	for {
		switch i := &c.prog[next]; {
		case i.op == opMatch:
			return true
		case i.op == opSplit && i.begins != nil && !overlap(leads(s), *i.begins):
			next = i.other
		case i.op != opSet && i.op != opLoop || len(s.and(c.sets[next])) > 0:
			return false
		case i.op == opSet || i.min > 0:
			return true
		default:
			next = i.next
		}
	}
}

// begins gives the bytes that a repeated part begins with; nil if it can be
// empty, or comes second.
func begins(n *node) *[256]bool {
	first := firstOf(n.subs[0])
	if first.empty || n.mode == lazy {
		return nil
	}
	return &first.bytes
}

func overlap(a, b [256]bool) bool {
	for i := range a {
		if a[i] && b[i] {
			return true
		}
	}
	return false
}

func (c *compiler) branch(split, body, rest int32, m mode) {
	if c.err != nil {
		return
	}
	if m == lazy {
		body, rest = rest, body
	}
	c.prog[split].next, c.prog[split].other = body, rest
}

// widths are the fewest and the most runes of a match.
type widths struct{ min, max int }

func width(n *node) widths {
	switch n.kind {
	case kSet:
		return widths{1, 1}
	case kCat, kAtomic:
		var w widths
		for _, sub := range n.subs {
			w = w.plus(width(sub))
		}
		return w
	case kAlt:
		w := width(n.subs[0])
		for _, sub := range n.subs[1:] {
			v := width(sub)
			w.min = min(w.min, v.min)
			if w.max = max(w.max, v.max); v.max == forever {
				w.max = forever
			}
		}
		return w
	case kRepeat:
		w := width(n.subs[0])
		if n.max == forever || w.max == forever {
			return widths{w.min * n.min, forever}
		}
		return widths{w.min * n.min, w.max * n.max}
	}
	return widths{}
}

func (w widths) plus(v widths) widths {
	if w.max == forever || v.max == forever {
		return widths{w.min + v.min, forever}
	}
	return widths{w.min + v.min, w.max + v.max}
}

// first is what a match can begin with: these bytes, or nothing.
type first struct {
	bytes [256]bool
	empty bool
}

func firstOf(n *node) first {
	var f first
	switch n.kind {
	case kSet:
		f.bytes = leads(n.set)
	case kCat:
		f.empty = true
		for _, sub := range n.subs {
			f.join(firstOf(sub))
			if !f.empty {
				break
			}
		}
	case kAlt:
		for _, sub := range n.subs {
			g := firstOf(sub)
			empty := f.empty || g.empty
			f.join(g)
			f.empty = empty
		}
	case kRepeat:
		f = firstOf(n.subs[0])
		f.empty = f.empty || n.min == 0
	case kAtomic:
		f = firstOf(n.subs[0])
	default:
		f.empty = true
	}
	return f
}

func (f *first) join(g first) {
	for b := range f.bytes {
		f.bytes[b] = f.bytes[b] || g.bytes[b]
	}
	f.empty = g.empty
}

// leads are the bytes that the runes of s begin with.
func leads(s set) (b [256]bool) {
	for _, p := range s {
		for r := p.lo; r <= min(p.hi, unicode.MaxASCII); r++ {
			b[r] = true
		}
		if p.hi >= utf8.RuneSelf {
			for i := utf8.RuneSelf; i < 256; i++ {
				b[i] = true
			}
		}
	}
	return b
}
