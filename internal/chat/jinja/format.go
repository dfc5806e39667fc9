package jinja

import (
	"strconv"
	"strings"
)

// A formatter is one call of str.format.
type formatter struct {
	in     *interp
	args   args
	auto   int  // the next field without a number
	manual bool // fields have numbers
	escape bool
}

func strFormat(in *interp, self any, a args) any {
	s, _ := asString(self)
	f := &formatter{in: in, args: a, escape: isMarkup(self)}
	return like(self, f.text(s, 2))
}

// text replaces the fields {…} of s; fields may stand in specifications to the given depth.
func (f *formatter) text(s string, depth int) string {
	in := f.in
	if depth == 0 {
		in.fail("ValueError", "Max string recursion exceeded")
	}
	var b strings.Builder
	for {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		if i+1 < len(s) && s[i+1] == s[i] {
			b.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		if s[i] == '}' {
			in.fail("ValueError", "Single '}' encountered in format string")
		}
		n := fieldEnd(s[i:])
		if n < 0 {
			in.fail("ValueError", "expected '}' before end of string")
		}
		out := f.field(s[i+1:i+n], depth)
		in.fits(b.Len() + len(out))
		b.WriteString(out)
		s = s[i+n+1:]
	}
	in.alloc(b.Len())
	return b.String()
}

// fieldEnd gives the index of the bracket that closes the field at the start of s, or -1.
func fieldEnd(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// field formats one field: name[!conversion][:specification].
func (f *formatter) field(field string, depth int) string {
	in := f.in
	in.step(1)
	name, form := field, ""
	if i := strings.IndexAny(field, "!:"); i >= 0 {
		name, form = field[:i], field[i:]
	}
	v := f.value(name)
	if tail, ok := strings.CutPrefix(form, "!"); ok {
		if tail == "" || len(tail) > 1 && tail[1] != ':' {
			in.fail("ValueError", "expected ':' after conversion specifier")
		}
		switch tail[0] {
		case 's':
			v = in.str(v)
		case 'r':
			v = in.repr(v)
		case 'a':
			v = asciiOnly(in.repr(v))
		default:
			in.fail("ValueError", "Unknown conversion specifier %c", tail[0])
		}
		form = tail[1:]
	}
	specText := ""
	if form != "" {
		specText = f.text(form[1:], depth-1)
	}
	if m, ok := v.(Markup); ok && f.escape {
		if specText != "" {
			in.fail("ValueError", "Unsupported format specification for Markup.")
		}
		return string(m)
	}
	text := in.formatValue(v, specText)
	if f.escape {
		return escapeHTML(text)
	}
	return text
}

// value finds the value of a field's name, such as 0, who, who.name or list[2].
func (f *formatter) value(name string) any {
	in := f.in
	n := strings.IndexAny(name, ".[")
	if n < 0 {
		n = len(name)
	}
	v := f.first(name[:n])
	for rest := name[n:]; rest != ""; {
		if tail, ok := strings.CutPrefix(rest, "."); ok {
			m := strings.IndexAny(tail, ".[")
			if m < 0 {
				m = len(tail)
			}
			v, rest = in.attr(v, tail[:m]), tail[m:]
			continue
		}
		m := strings.IndexByte(rest, ']')
		if rest[0] != '[' || m < 2 {
			in.fail("ValueError", "Missing ']' in format string")
		}
		v, rest = in.item(v, indexKey(rest[1:m])), rest[m+1:]
	}
	return v
}

// indexKey is an integer if it is written as one.
func indexKey(s string) any {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return s
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return s
	}
	return n
}

func (f *formatter) first(name string) any {
	in := f.in
	i, isIndex := indexKey(name).(int64)
	switch {
	case name == "" && f.manual, isIndex && f.auto > 0:
		in.fail("ValueError", "cannot switch between manual field specification and automatic field numbering")
	case name == "":
		i, isIndex = int64(f.auto), true
		f.auto++
	case isIndex:
		f.manual = true
	}
	if isIndex {
		if i >= int64(len(f.args.pos)) {
			in.fail("IndexError", "Replacement index %d out of range for positional args tuple", i)
		}
		return f.args.pos[i]
	}
	if f.args.named != nil {
		if v, ok := f.args.named.Get(name); ok {
			return v
		}
	}
	in.fail("KeyError", "'%s'", name)
	return nil
}

// formatValue is Python's format(v, specification).
func (in *interp) formatValue(v any, specification string) string {
	if specification == "" {
		return in.str(v)
	}
	f := in.parseSpec(specification)
	unknown := func() string {
		in.fail("ValueError", "Unknown format code '%c' for object of type '%s'", f.kind, typeName(v))
		return ""
	}
	if s, ok := asString(v); ok {
		switch {
		case f.kind != 0 && f.kind != 's':
			return unknown()
		case f.align == '=' && f.fill != '0', f.sign != 0:
			in.fail("ValueError", "alignment and sign are for numbers, not for strings")
		case f.align == '=':
			f.align = '<'
		}
		return in.formatText(f, s)
	}
	_, isFloat := v.(float64)
	switch {
	case !isNumber(v):
		in.typeError("unsupported format string passed to %s.__format__", typeName(v))
	case strings.IndexByte("eEfFgG%", f.kind) >= 0, isFloat && f.kind == 0:
		return in.formatFloat(f, in.toFloat(v))
	case isFloat:
		return unknown()
	case f.kind == 0 || f.kind == 'n':
		f.kind = 'd'
	case f.kind == 'c':
		return in.pad(f, 0, in.char(v), '<')
	}
	if _, ok := bases[f.kind]; !ok || f.kind == 'i' || f.kind == 'u' {
		return unknown()
	}
	if f.precision >= 0 {
		in.fail("ValueError", "Precision not allowed in integer format specifier")
	}
	if f.group == ',' && f.kind != 'd' {
		in.fail("ValueError", "Cannot specify ',' with '%c'.", f.kind)
	}
	b, _ := asBig(v)
	return in.formatInt(f, b)
}
