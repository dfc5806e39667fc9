package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// str is Python's str().
func (in *interp) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Markup:
		return string(v)
	case *undefined:
		return ""
	}
	return in.repr(v)
}

// repr is Python's repr().
func (in *interp) repr(v any) string {
	var b strings.Builder
	in.writeRepr(&b, v)
	in.alloc(b.Len())
	return b.String()
}

func (in *interp) writeRepr(b *strings.Builder, v any) {
	defer in.enter()()
	in.step(1)
	in.fits(b.Len())
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		b.WriteString(formatFloat(v))
	case string:
		quote(b, v)
	case Markup:
		b.WriteString("Markup(")
		quote(b, string(v))
		b.WriteByte(')')
	case List:
		in.writeItems(b, "[", v, "]")
	case Tuple:
		in.writeTuple(b, v)
	case *group:
		in.writeTuple(b, Tuple{v.key, v.items})
	case *Map:
		in.writeMap(b, v)
	case *undefined:
		b.WriteString("Undefined")
	case *namespace:
		b.WriteString("<Namespace ")
		in.writeMap(b, v.attrs)
		b.WriteByte('>')
	case *rangeValue:
		b.WriteString("range(" + strconv.FormatInt(v.start, 10) + ", " + strconv.FormatInt(v.stop, 10))
		if v.step != 1 {
			b.WriteString(", " + strconv.FormatInt(v.step, 10))
		}
		b.WriteByte(')')
	case *view:
		b.WriteString(typeName(v) + "(")
		items := make([]any, v.of.Len())
		for i := range items {
			items[i] = v.at(i)
		}
		in.writeItems(b, "[", items, "])")
	case *macro:
		b.WriteString("<Macro ")
		quote(b, v.def.name)
		b.WriteByte('>')
	case *loop:
		b.WriteString("<LoopContext " + strconv.Itoa(v.at+1) + "/" + strconv.Itoa(v.size()) + ">")
	default:
		in.fail("TypeError", "a %s has no text that is the same every time", typeName(v))
	}
}

func (in *interp) writeItems(b *strings.Builder, open string, items []any, closing string) {
	b.WriteString(open)
	for i, item := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		in.writeRepr(b, item)
	}
	b.WriteString(closing)
}

func (in *interp) writeTuple(b *strings.Builder, t Tuple) {
	if len(t) == 1 {
		in.writeItems(b, "(", t, ",)")
		return
	}
	in.writeItems(b, "(", t, ")")
}

func (in *interp) writeMap(b *strings.Builder, m *Map) {
	b.WriteByte('{')
	for i, k := range m.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		in.writeRepr(b, k)
		b.WriteString(": ")
		in.writeRepr(b, m.values[i])
	}
	b.WriteByte('}')
}

// quote writes a string as Python's repr does: in single quotes unless it has some
// and no double ones, unprintable characters escaped.
func quote(b *strings.Builder, s string) {
	mark := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		mark = '"'
	}
	b.WriteByte(mark)
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\\' || r == rune(mark):
			b.WriteByte('\\')
			b.WriteRune(r)
		case printable(r):
			b.WriteRune(r)
		case r < 0x100:
			b.WriteString(`\x` + hex(r, 2))
		case r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	b.WriteByte(mark)
}

func hex(r rune, width int) string {
	s := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", width-len(s)) + s
}

// printable is str.isprintable of one character.
func printable(r rune) bool { return r == ' ' || unicode.IsPrint(r) }

// formatFloat is repr of a float: the shortest digits that give it back.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mant, exp, _ := strings.Cut(s, "e")
	if e, _ := strconv.Atoi(exp); e < -4 || e >= 16 {
		return mant + "e" + exp
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// parseFloat is Python's float() of a text.
func parseFloat(s string) (float64, bool) {
	s = asciiDigits(strings.TrimFunc(s, isSpace))
	t := strings.ToLower(strings.TrimLeft(s, "+-"))
	switch {
	case strings.HasPrefix(t, "0x"), strings.HasPrefix(t, "_"), strings.HasSuffix(t, "_"), strings.Contains(t, "__"):
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}
