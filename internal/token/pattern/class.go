package pattern

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape reads what follows a backslash outside of a class.
func (p *parser) escape() (*node, error) {
	if !p.more() {
		return nil, p.errorf("nothing after the last backslash")
	}
	asserts := map[byte]assertion{'A': textStart, 'z': textEnd, 'Z': textEndBreak, 'b': wordEdge, 'B': noWordEdge}
	if a, ok := asserts[p.expr[p.at]]; ok {
		p.at++
		return &node{kind: kAssert, assert: a}, nil
	}
	named := p.flavor == Oniguruma && strings.IndexByte("pPdDsSwWhH", p.expr[p.at]) >= 0
	s, err := p.escapedSet(false)
	if !named { // Oniguruma folds the case of named sets within classes alone
		s = p.cased(s)
	}
	return &node{kind: kSet, set: s}, err
}

// escapedSet reads what follows a backslash: a rune, or a named set.
func (p *parser) escapedSet(inClass bool) (set, error) {
	if !p.more() {
		return nil, p.errorf("nothing after the last backslash")
	}
	c := p.next()
	if s, ok := p.flavor.escaped(c, inClass); ok {
		return s, nil
	}
	switch c {
	case 'p', 'P':
		return p.property(c == 'P')
	case 'n':
		return one('\n'), nil
	case 'r':
		return one('\r'), nil
	case 't':
		return one('\t'), nil
	case 'f':
		return one('\f'), nil
	case 'v':
		return one('\v'), nil
	case 'a':
		return one('\a'), nil
	case 'e':
		return one(0x1b), nil
	case '0':
		return one(0), nil
	case 'x':
		if p.take("{") {
			digits, rest, _ := strings.Cut(p.expr[p.at:], "}")
			p.at = len(p.expr) - len(rest)
			return p.hex(digits)
		}
		return p.hexDigits(2)
	case 'u':
		return p.hexDigits(4)
	}
	if c < utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
		return nil, p.errorf(`unsupported escape \%c`, c)
	}
	return one(c), nil
}

func (p *parser) hexDigits(n int) (set, error) {
	n = min(n, len(p.expr)-p.at)
	digits := p.expr[p.at : p.at+n]
	p.at += n
	return p.hex(digits)
}

func (p *parser) hex(digits string) (set, error) {
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || v > unicode.MaxRune {
		return nil, p.errorf("%q is no hexadecimal code point", digits)
	}
	return one(rune(v)), nil
}

// property reads what follows \p or \P: L, {Lu} or {^Lu}.
func (p *parser) property(neg bool) (set, error) {
	if !p.more() {
		return nil, p.errorf(`\p without a name`)
	}
	name := string(p.expr[p.at])
	if name == "{" {
		var closed bool
		if name, _, closed = strings.Cut(p.expr[p.at+1:], "}"); !closed {
			return nil, p.errorf(`\p{ has no end`)
		}
		p.at += len(name) + 1
	}
	p.at++
	if rest, ok := strings.CutPrefix(name, "^"); ok {
		name, neg = rest, !neg
	}
	s, ok := property(name)
	if !ok {
		return nil, p.errorf("unknown property %q", name)
	}
	if neg {
		s = s.not()
	}
	return s, nil
}

// class reads what follows [, to the matching ].
func (p *parser) class() (set, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("more than %d nested groups", maxDepth)
	}
	defer func() { p.depth-- }()
	neg := p.take("^")
	var all, part set
	intersecting := false
	flush := func() {
		part = p.cased(part.normal())
		if intersecting {
			part = all.and(part)
		}
		all, part = part, nil
	}
	for first := true; ; first = false {
		switch {
		case !p.more():
			return nil, p.errorf("missing ]")
		case !first && p.take("]"):
			flush()
			if neg {
				all = all.not()
			}
			return all, nil
		case p.take("&&"):
			flush()
			intersecting = true
		default:
			s, err := p.classItem()
			if err != nil {
				return nil, err
			}
			part = append(part, s...)
		}
	}
}

// classItem reads a rune, a range, an escape, or a class inside of a class.
func (p *parser) classItem() (set, error) {
	if p.take("[:") {
		name, rest, closed := strings.Cut(p.expr[p.at:], ":]")
		bare, neg := strings.CutPrefix(name, "^")
		s, ok := posix(bare)
		if !closed || !ok {
			return nil, p.errorf("unknown class [:%s:]", name)
		}
		p.at = len(p.expr) - len(rest)
		if neg {
			s = s.not()
		}
		return s, nil
	}
	if p.take("[") {
		return p.class()
	}
	lo, err := p.classRune()
	if err != nil || !single(lo) || !strings.HasPrefix(p.expr[p.at:], "-") || strings.HasPrefix(p.expr[p.at:], "-]") {
		return lo, err
	}
	p.at++
	hi, err := p.classRune()
	switch {
	case err != nil:
		return nil, err
	case !single(hi):
		return union(lo, one('-'), hi), nil
	case hi[0].lo < lo[0].lo:
		return nil, p.errorf("the range %c-%c is empty", lo[0].lo, hi[0].lo)
	}
	return set{{lo[0].lo, hi[0].lo}}, nil
}

func single(s set) bool { return len(s) == 1 && s[0].lo == s[0].hi }

func (p *parser) classRune() (set, error) {
	switch {
	case !p.more():
		return nil, p.errorf("missing ]")
	case p.take(`\b`):
		return one('\b'), nil
	case p.take(`\`):
		return p.escapedSet(true)
	}
	return one(p.next()), nil
}
