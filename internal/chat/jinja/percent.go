package jinja

import (
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// percent is text % values: Python's printf. With escape, strings that are put in
// are escaped.
func (in *interp) percent(text string, values any, escape bool) string {
	p := &printf{in: in, values: []any{values}, escape: escape}
	switch v := values.(type) {
	case Tuple:
		p.values = v
	case *group:
		p.values = []any{v.key, v.items}
	case *Map:
		p.named = v
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		out, rest := p.conversion(text[i+1:])
		in.fits(b.Len() + len(out) + len(rest))
		b.WriteString(out)
		text = rest
	}
	if p.used < len(p.values) && !isIndexed(values) {
		in.typeError("not all arguments converted during string formatting")
	}
	in.alloc(b.Len())
	return b.String()
}

// isIndexed reports whether Python takes a value for a mapping, of which % need not use all.
func isIndexed(v any) bool {
	switch v.(type) {
	case *Map, List, *rangeValue, *undefined:
		return true
	}
	return false
}

type printf struct {
	in     *interp
	values []any
	used   int
	named  *Map
	escape bool
}

func (p *printf) next() any {
	if p.used >= len(p.values) {
		p.in.typeError("not enough arguments for format string")
	}
	p.used++
	return p.values[p.used-1]
}

// conversion reads what follows a % and gives its text and the rest.
func (p *printf) conversion(s string) (string, string) {
	in := p.in
	in.step(1)
	value, chosen := any(nil), false
	if strings.HasPrefix(s, "(") {
		value, s = p.byName(s)
		chosen = true
	}
	f := spec{fill: ' ', precision: -1}
	zero := false
	for s != "" && strings.Contains("-+ #0", s[:1]) {
		switch s[0] {
		case '-':
			f.align = '<'
		case '+':
			f.sign = '+'
		case ' ':
			if f.sign == 0 {
				f.sign = ' '
			}
		case '#':
			f.alternate = true
		case '0':
			zero = true
		}
		s = s[1:]
	}
	f.width, s = p.size(s)
	if f.width < -1 {
		f.align, f.width = '<', -f.width
	}
	if tail, ok := strings.CutPrefix(s, "."); ok {
		f.precision, s = p.size(tail)
		f.precision = max(f.precision, 0)
	}
	s = strings.TrimLeft(s, "hlL")
	if s == "" {
		in.fail("ValueError", "incomplete format")
	}
	f.kind, s = s[0], s[1:]
	if f.kind == '%' {
		return "%", s
	}
	if !chosen {
		value = p.next()
	}
	if zero && f.align == 0 && !strings.Contains("srac", string(f.kind)) {
		f.fill, f.align = '0', '='
	}
	return p.format(f, value), s
}

func (p *printf) byName(s string) (any, string) {
	in, depth := p.in, 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth > 0 {
			continue
		}
		if p.named == nil {
			in.typeError("format requires a mapping")
		}
		v, ok := p.named.Get(s[1:i])
		if !ok {
			in.fail("KeyError", "'%s'", s[1:i])
		}
		return v, s[i+1:]
	}
	in.fail("ValueError", "incomplete format key")
	return nil, ""
}

// size reads a width or precision: digits, or * for the next value; -1 without either.
func (p *printf) size(s string) (int, string) {
	tail, star := strings.CutPrefix(s, "*")
	if !star {
		return p.in.count(s)
	}
	n, ok := asInt(p.next())
	switch {
	case !ok:
		p.in.typeError("* wants int")
	case n > maxWidth || n < -maxWidth:
		p.in.limit("format's width", maxWidth, "characters")
	}
	return int(n), tail
}

func (p *printf) format(f spec, v any) string {
	in := p.in
	switch f.kind {
	case 's', 'r', 'a':
		text := ""
		switch {
		case f.kind == 'a':
			text = asciiOnly(in.repr(v))
		case f.kind == 'r':
			text = in.repr(v)
		case p.escape:
			text = in.escape(v)
		default:
			text = in.str(v)
		}
		if p.escape && f.kind != 's' {
			text = escapeHTML(text)
		}
		if f.precision >= 0 {
			text = firstChars(text, f.precision)
		}
		return in.pad(f, 0, text, '>')
	case 'c':
		return in.pad(f, 0, in.char(v), '>')
	case 'd', 'i', 'u':
		return in.zeros(f, in.integer(f.kind, v, true))
	case 'x', 'X', 'o':
		return in.zeros(f, in.integer(f.kind, v, false))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if !isNumber(v) {
			in.refuse(v)
			in.typeError("must be real number, not %s", typeName(v))
		}
		return in.formatFloat(f, in.toFloat(v))
	}
	in.fail("ValueError", "unsupported format character '%c'", f.kind)
	return ""
}

// zeros formats an integer whose precision is its least number of digits.
func (in *interp) zeros(f spec, v *big.Int) string {
	if f.precision < 0 {
		return in.formatInt(f, v)
	}
	inner := f
	inner.width, inner.align, inner.fill = f.precision, '=', '0'
	inner.width += len(in.formatInt(spec{fill: ' ', sign: f.sign, alternate: f.alternate, kind: f.kind}, v)) - len(new(big.Int).Abs(v).Text(bases[f.kind].base))
	text := in.formatInt(inner, v)
	return in.pad(f, 0, text, '>')
}

// integer gives a number as an integer; %d cuts floats.
func (in *interp) integer(kind byte, v any, cut bool) *big.Int {
	if b, ok := asBig(v); ok {
		return b
	}
	f, ok := v.(float64)
	if !ok || !cut {
		in.refuse(v)
		in.typeError("%%%c format: a real number is required, not %s", kind, typeName(v))
	}
	return in.floor(f)
}

// floor cuts a float to an integer.
func (in *interp) floor(f float64) *big.Int {
	if math.IsNaN(f) {
		in.fail("ValueError", "cannot convert float NaN to integer")
	}
	if math.IsInf(f, 0) {
		in.fail("OverflowError", "cannot convert float infinity to integer")
	}
	b, _ := new(big.Float).SetFloat64(f).Int(nil)
	return b
}

func (in *interp) char(v any) string {
	if s, ok := asString(v); ok && utf8.RuneCountInString(s) == 1 {
		return s
	}
	i, ok := asInt(v)
	switch {
	case !ok:
		in.typeError("%%c requires int or char")
	case i < 0 || i > utf8.MaxRune || !utf8.ValidRune(rune(i)):
		in.fail("OverflowError", "%%c arg not in range(0x110000)")
	}
	return string(rune(i))
}

// asciiOnly escapes what isn't ASCII in a repr.
func asciiOnly(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x100:
			b.WriteString(`\x` + hex(r, 2))
		case r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	return b.String()
}
