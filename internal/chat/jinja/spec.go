package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A spec is how a value is formatted: [[fill]align][sign][#][0][width][,][.precision][type],
// as both `%` and str.format use it.
type spec struct {
	fill      rune
	align     byte // '<', '>', '^', '=', or 0
	sign      byte // '+', ' ', or 0
	alternate bool
	width     int
	group     byte // ',' or '_' between digits, or 0
	precision int  // -1 without
	kind      byte // the type's letter, or 0
}

// maxWidth bounds the width and precision of a format.
const maxWidth = 100_000

// parseSpec reads the format specification of str.format.
func (in *interp) parseSpec(s string) spec {
	f := spec{fill: ' ', precision: -1}
	if r, n := utf8.DecodeRuneInString(s); n > 0 && n < len(s) && isAlign(s[n]) {
		f.fill, f.align, s = r, s[n], s[n+1:]
	} else if s != "" && isAlign(s[0]) {
		f.align, s = s[0], s[1:]
	}
	take := func(set string) byte {
		if s == "" || !strings.Contains(set, s[:1]) {
			return 0
		}
		c := s[0]
		s = s[1:]
		return c
	}
	f.sign = take("+- ")
	f.alternate = take("#") != 0
	if take("0") != 0 && f.align == 0 {
		f.fill, f.align = '0', '='
	}
	f.width, s = in.count(s)
	f.width = max(f.width, 0)
	f.group = take(",_")
	if take(".") != 0 {
		if f.precision, s = in.count(s); f.precision < 0 {
			in.fail("ValueError", "Format specifier missing precision")
		}
	}
	if len(s) == 1 {
		f.kind, s = s[0], ""
	}
	if s != "" {
		in.fail("ValueError", "Invalid format specifier")
	}
	return f
}

func isAlign(c byte) bool { return c == '<' || c == '>' || c == '^' || c == '=' }

// count reads the digits at the start of s; it is -1 without any.
func (in *interp) count(s string) (int, string) {
	n := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if n == 0 {
		return -1, s
	}
	v, err := strconv.Atoi(s[:n])
	if err != nil || v > maxWidth {
		in.limit("format's width", maxWidth, "characters")
	}
	return v, s[n:]
}

// pad brings text, which may start with a sign or prefix of n bytes, to the width.
func (in *interp) pad(f spec, n int, text string, align byte) string {
	missing := f.width - utf8.RuneCountInString(text)
	if missing <= 0 {
		return text
	}
	if f.align != 0 {
		align = f.align
	}
	in.alloc(len(text) + missing*utf8.RuneLen(f.fill))
	fill := func(n int) string { return strings.Repeat(string(f.fill), n) }
	switch align {
	case '<':
		return text + fill(missing)
	case '^':
		return fill(missing/2) + text + fill(missing-missing/2)
	case '=':
		return text[:n] + fill(missing) + text[n:]
	}
	return fill(missing) + text
}

// formatText formats a string.
func (in *interp) formatText(f spec, s string) string {
	if f.precision >= 0 {
		s = firstChars(s, f.precision)
	}
	return in.pad(f, 0, s, '<')
}

func firstChars(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// number joins a sign, a prefix such as 0x, and digits.
func (in *interp) number(f spec, negative bool, prefix, digits string) string {
	sign := ""
	switch {
	case negative:
		sign = "-"
	case f.sign == '+' || f.sign == ' ':
		sign = string(f.sign)
	}
	if f.group != 0 {
		if f.align == '=' && f.fill == '0' {
			in.fail("ValueError", "zeros before digits that are grouped by '%c' are not supported", f.group)
		}
		digits = grouped(digits, f.group, bases[f.kind].base)
	}
	return in.pad(f, len(sign)+len(prefix), sign+prefix+digits, '>')
}

// grouped puts a mark between each three digits of the integer part, or each four of
// a base other than ten.
func grouped(digits string, mark byte, base int) string {
	size, set := 3, "0123456789"
	if base != 0 && base != 10 {
		size, set = 4, "0123456789abcdefABCDEF"
	}
	n := len(digits) - len(strings.TrimLeft(digits, set))
	var b strings.Builder
	for i := range n {
		if i > 0 && (n-i)%size == 0 {
			b.WriteByte(mark)
		}
		b.WriteByte(digits[i])
	}
	return b.String() + digits[n:]
}

var bases = map[byte]struct {
	base   int
	prefix string
}{'d': {10, ""}, 'i': {10, ""}, 'u': {10, ""}, 'b': {2, "0b"}, 'o': {8, "0o"}, 'x': {16, "0x"}, 'X': {16, "0X"}}

// formatInt formats an integer with a type of bases.
func (in *interp) formatInt(f spec, v *big.Int) string {
	base := bases[f.kind]
	digits := new(big.Int).Abs(v).Text(base.base)
	if f.kind == 'X' {
		digits = strings.ToUpper(digits)
	}
	prefix := ""
	if f.alternate {
		prefix = base.prefix
	}
	return in.number(f, v.Sign() < 0, prefix, digits)
}

// formatFloat formats a float with the type e, f, g, % or none.
func (in *interp) formatFloat(f spec, v float64) string {
	precision, kind := f.precision, f.kind|0x20
	if kind == '%'|0x20 {
		v, kind = v*100, 'f'
	}
	digits := ""
	abs := math.Abs(v)
	switch {
	case math.IsInf(v, 0):
		digits = "inf"
	case math.IsNaN(v):
		digits = "nan"
	case f.kind == 0 && precision < 0:
		digits = formatFloat(abs)
	case kind == 'e' || kind == 'f':
		if precision < 0 {
			precision = 6
		}
		digits = strconv.FormatFloat(abs, kind, precision, 64)
	default:
		digits = general(abs, precision, f.kind == 0, f.alternate)
	}
	if f.kind == '%' {
		digits += "%"
	}
	if f.kind == 'E' || f.kind == 'F' || f.kind == 'G' {
		digits = strings.ToUpper(digits)
	}
	if digits == "nan" || digits == "inf" {
		f.group = 0
	}
	return in.number(f, math.Signbit(v) && !math.IsNaN(v), "", digits)
}

// general is the format g: a number of significant digits, without trailing zeros
// unless asked for. The format without a type keeps one digit behind the point.
func general(v float64, precision int, untyped, zeros bool) string {
	if precision < 0 {
		precision = 6
	}
	precision = max(precision, 1)
	s := strconv.FormatFloat(v, 'e', precision-1, 64)
	mant, exp, _ := strings.Cut(s, "e")
	e, _ := strconv.Atoi(exp)
	last := precision
	if untyped {
		last--
	}
	if e < -4 || e >= last {
		if !zeros && strings.Contains(mant, ".") {
			mant = strings.TrimRight(strings.TrimRight(mant, "0"), ".")
		}
		return mant + "e" + exp
	}
	s = strconv.FormatFloat(v, 'f', precision-1-e, 64)
	if !zeros && strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if untyped && !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
