package pattern

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Flavor is the library whose reading of an expression is meant, where they differ.
type Flavor int

const (
	// Perl is what tiktoken uses: $ is the end of the text, {n,m}+ is possessive.
	Perl Flavor = iota
	// Oniguruma is what tokenizer.json is written for: ^ and $ stand at line
	// breaks too, (?m) lets . match them, and {n,m}+ repeats {n,m}.
	Oniguruma
)

const (
	maxExpr   = 64 << 10 // bytes of an expression
	maxDepth  = 100      // nested groups
	maxRepeat = 1000     // bound in {n,m}
	forever   = -1       // no upper bound
)

type kind uint8

const (
	kEmpty  kind = iota
	kSet         // one rune of set
	kCat         // subs in order
	kAlt         // the first of subs that leads to a match
	kRepeat      // subs[0], min to max times
	kLook        // subs[0] matches here, or ends here if behind
	kAtomic      // subs[0], whose first match is final
	kAssert      // assert holds here
)

type mode uint8

const (
	greedy mode = iota
	lazy
	possessive
)

type node struct {
	kind        kind
	subs        []*node
	set         set
	min, max    int
	mode        mode
	neg, behind bool
	assert      assertion
}

type assertion uint8

const (
	textStart    assertion = iota // \A, and ^ in Perl
	textEnd                       // \z
	textEndBreak                  // \Z: the end, or a line break before it
	lineStart
	lineEnd
	wordEdge   // \b
	noWordEdge // \B
)

type flags struct{ fold, dotAll, multiLine bool }

type parser struct {
	expr   string
	at     int
	flavor Flavor
	flags  flags
	depth  int
}

func parse(expr string, f Flavor) (n *node, err error) {
	switch {
	case len(expr) > maxExpr:
		return nil, fmt.Errorf("pattern has %d bytes, expected at most %d", len(expr), maxExpr)
	case !utf8.ValidString(expr):
		return nil, fmt.Errorf("pattern %q is not UTF-8", expr)
	}
	p := &parser{expr: expr, flavor: f, flags: flags{multiLine: f == Oniguruma}}
	if n, err = p.alternatives(); err == nil && p.at < len(expr) {
		err = p.errorf("unexpected )")
	}
	return n, err
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("pattern %q: at byte %d: %s", p.expr, p.at, fmt.Sprintf(format, args...))
}

func (p *parser) more() bool { return p.at < len(p.expr) }

// take consumes prefix if it is next.
func (p *parser) take(prefix string) bool {
	if strings.HasPrefix(p.expr[p.at:], prefix) {
		p.at += len(prefix)
		return true
	}
	return false
}

func (p *parser) next() rune {
	r, size := utf8.DecodeRuneInString(p.expr[p.at:])
	p.at += size
	return r
}

func (p *parser) alternatives() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("more than %d nested groups", maxDepth)
	}
	defer func() { p.depth-- }()
	saved := p.flags
	alt := &node{kind: kAlt}
	for {
		cat, err := p.sequence()
		if err != nil {
			return nil, err
		}
		alt.subs = append(alt.subs, cat)
		if !p.take("|") {
			break
		}
	}
	p.flags = saved
	if len(alt.subs) == 1 {
		return alt.subs[0], nil
	}
	return alt, nil
}

func (p *parser) sequence() (*node, error) {
	cat := &node{kind: kCat}
	for p.more() && p.expr[p.at] != '|' && p.expr[p.at] != ')' {
		n, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n, err = p.quantified(n); err != nil {
			return nil, err
		}
		if n.kind != kEmpty {
			cat.subs = append(cat.subs, n)
		}
	}
	if len(cat.subs) == 1 {
		return cat.subs[0], nil
	}
	return cat, nil
}

func (p *parser) atom() (*node, error) {
	switch c := p.next(); c {
	case '(':
		return p.group()
	case '[':
		s, err := p.class()
		return &node{kind: kSet, set: s}, err
	case '.':
		if p.flags.dotAll {
			return &node{kind: kSet, set: set{{0, unicode.MaxRune}}}, nil
		}
		return &node{kind: kSet, set: one('\n').not()}, nil
	case '^':
		return &node{kind: kAssert, assert: choose(p.flags.multiLine, lineStart, textStart)}, nil
	case '$':
		return &node{kind: kAssert, assert: choose(p.flags.multiLine, lineEnd, textEnd)}, nil
	case '\\':
		return p.escape()
	case '*', '+', '?':
		return nil, p.errorf("nothing to repeat before %c", c)
	default:
		return p.literal(c), nil
	}
}

func choose[T any](cond bool, yes, no T) T {
	if cond {
		return yes
	}
	return no
}

func (p *parser) literal(r rune) *node { return &node{kind: kSet, set: p.cased(one(r))} }

func (p *parser) cased(s set) set {
	if p.flags.fold {
		return s.fold()
	}
	return s
}

func (p *parser) group() (*node, error) {
	n := &node{kind: kLook}
	switch {
	case p.take("?="):
	case p.take("?!"):
		n.neg = true
	case p.take("?<="):
		n.behind = true
	case p.take("?<!"):
		n.behind, n.neg = true, true
	case p.take("?>"):
		n.kind = kAtomic
	case p.take("?P<"), p.take("?<"):
		_, rest, ok := strings.Cut(p.expr[p.at:], ">")
		if !ok {
			return nil, p.errorf("a group's name has no end")
		}
		p.at = len(p.expr) - len(rest)
		return p.groupBody()
	case p.take("?"):
		return p.flagGroup()
	default:
		return p.groupBody()
	}
	sub, err := p.groupBody()
	n.subs = []*node{sub}
	return n, err
}

func (p *parser) groupBody() (*node, error) {
	n, err := p.alternatives()
	if err == nil && !p.take(")") {
		err = p.errorf("missing )")
	}
	return n, err
}

// flagGroup reads what follows (? in (?i), (?i:…) and (?:…).
func (p *parser) flagGroup() (*node, error) {
	f, on := p.flags, true
	for p.more() {
		switch c := p.next(); {
		case c == '-':
			on = false
		case c == 'i':
			f.fold = on
		case c == 's' && p.flavor == Perl, c == 'm' && p.flavor == Oniguruma:
			f.dotAll = on
		case c == 'm':
			f.multiLine = on
		case c == ')':
			p.flags = f
			return &node{}, nil
		case c == ':':
			saved := p.flags
			p.flags = f
			n, err := p.groupBody()
			p.flags = saved
			return n, err
		default:
			return nil, p.errorf("unsupported group (?%c", c)
		}
	}
	return nil, p.errorf("missing )")
}

func (p *parser) quantified(n *node) (*node, error) {
	for p.more() {
		lo, hi, ok, err := p.bounds()
		if err != nil || !ok {
			return n, err
		}
		braces := p.expr[p.at-1] == '}'
		n = &node{kind: kRepeat, subs: []*node{n}, min: lo, max: hi}
		switch {
		case p.take("?"):
			n.mode = lazy
		case braces && p.flavor == Oniguruma:
		case p.take("+"):
			n.mode = possessive
		}
	}
	return n, nil
}

// bounds reads *, +, ? or {n,m}. A brace that opens no bound is a literal.
func (p *parser) bounds() (lo, hi int, ok bool, err error) {
	switch {
	case p.take("*"):
		return 0, forever, true, nil
	case p.take("+"):
		return 1, forever, true, nil
	case p.take("?"):
		return 0, 1, true, nil
	case p.expr[p.at] != '{':
		return 0, 0, false, nil
	}
	inside, _, closed := strings.Cut(p.expr[p.at+1:], "}")
	from, to, comma := strings.Cut(inside, ",")
	if !closed || strings.Trim(inside, "0123456789,") != "" || strings.Count(inside, ",") > 1 || inside == "" || inside == "," {
		return 0, 0, false, nil
	}
	if from != "" {
		if lo, err = strconv.Atoi(from); err != nil {
			return 0, 0, false, p.errorf("{%s}: %v", inside, err)
		}
	}
	switch {
	case !comma:
		hi = lo
	case to == "":
		hi = forever
	default:
		if hi, err = strconv.Atoi(to); err != nil {
			return 0, 0, false, p.errorf("{%s}: %v", inside, err)
		}
	}
	if lo > maxRepeat || hi > maxRepeat || hi != forever && hi < lo {
		return 0, 0, false, p.errorf("{%s}: expected bounds in order and at most %d", inside, maxRepeat)
	}
	p.at += len(inside) + 2
	return lo, hi, true, nil
}
