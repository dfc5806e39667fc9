package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// stringMethods are the methods of str and Markup, set at start since they refer to
// each other by way of the interpreter.
var stringMethods map[string]method

func init() {
	stringMethods = map[string]method{
		"format": strFormat, "format_map": strFormatMap, "join": strJoin, "replace": strReplace,
		"split": strSplit, "rsplit": strRsplit, "splitlines": strSplitlines, "partition": strPartition, "rpartition": strRpartition,
		"strip": strStrip, "lstrip": strLstrip, "rstrip": strRstrip, "removeprefix": strRemoveprefix, "removesuffix": strRemovesuffix,
		"startswith": strAffix("startswith", strings.HasPrefix), "endswith": strAffix("endswith", strings.HasSuffix),
		"find": strFind("find", strings.Index), "rfind": strFind("rfind", strings.LastIndex),
		"index": strFind("index", strings.Index), "rindex": strFind("rindex", strings.LastIndex), "count": strCount,
		"center": strJustify("center", '^'), "ljust": strJustify("ljust", '<'), "rjust": strJustify("rjust", '>'),
		"zfill": strZfill, "expandtabs": strExpandtabs,
		"upper": mapped(upper), "lower": mapped(lower), "title": mapped(title), "capitalize": mapped(capitalize),
		"swapcase": mapped(swapcase), "casefold": mapped(casefold),
		"isspace": asks(func(s string) bool { return every(s, isSpace) }),
		"isalpha": asks(func(s string) bool { return every(s, isAlpha) }),
		"isalnum": asks(func(s string) bool {
			return every(s, func(r rune) bool { return isAlpha(r) || isNumeric(r) })
		}),
		"isdecimal":    asks(func(s string) bool { return every(s, unicode.IsDigit) }),
		"isdigit":      asks(func(s string) bool { return every(s, isDigit) }),
		"isnumeric":    asks(func(s string) bool { return every(s, isNumeric) }),
		"isascii":      asks(isASCII),
		"isprintable":  asks(func(s string) bool { return s == "" || every(s, printable) }),
		"isidentifier": asks(isIdentifier),
		"isupper":      asks(func(s string) bool { return isCase(s, isUpper, isLower) }),
		"islower":      asks(func(s string) bool { return isCase(s, isLower, isUpper) }),
		"istitle":      asks(isTitle),
	}
}

// mapped makes a method of a function that changes a string.
func mapped(f func(string) string) method {
	return func(in *interp, self any, a args) any {
		in.bind("method", a)
		s, _ := asString(self)
		in.alloc(len(s))
		s2 := f(s)
		in.fits(len(s2))
		return like(self, s2)
	}
}

// asks makes a method of a question about a string.
func asks(f func(string) bool) method {
	return func(in *interp, self any, a args) any {
		in.bind("method", a)
		s, _ := asString(self)
		in.step(len(s)/stepBytes + 1)
		return f(s)
	}
}

// text reads a string argument.
func (in *interp) text(fn string, v any) string {
	s, ok := asString(v)
	if !ok {
		in.refuse(v)
		in.typeError("%s() argument must be str, not %s", fn, typeName(v))
	}
	return s
}

// int reads an integer argument, or gives the default for one that is absent.
func (in *interp) int(v any, absentValue int64) int64 {
	if v == (any)(absent{}) {
		return absentValue
	}
	return in.bound(v, absentValue)
}

// given reports whether an argument is there and not None.
func given(v any) bool {
	_, missing := v.(absent)
	return !missing && v != nil
}

func strFormatMap(in *interp, self any, a args) any {
	m, ok := in.bind("format_map", a, "mapping")[0].(*Map)
	if !ok {
		in.typeError("format_map() argument must be a dict")
	}
	return strFormat(in, self, args{named: m})
}

// strings turns Go's strings into a list of self's type.
func (in *interp) strings(self any, parts []string) any {
	in.items(len(parts))
	out := make(List, len(parts))
	for i, p := range parts {
		out[i] = like(self, p)
	}
	return out
}

func strJoin(in *interp, self any, a args) any {
	sep, _ := asString(self)
	parts := in.list(in.bind("join", a, "iterable")[0])
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString(sep)
		}
		text := ""
		if isMarkup(self) {
			text = in.escape(p)
		} else if s, ok := asString(p); ok {
			text = s
		} else {
			in.typeError("sequence item %d: expected str instance, %s found", i, typeName(p))
		}
		in.alloc(b.Len() + len(sep) + len(text))
		b.WriteString(text)
	}
	return like(self, b.String())
}

func strReplace(in *interp, self any, a args) any {
	b := in.bind("replace", a, "old", "new", "count?")
	s, _ := asString(self)
	replacement := in.text("replace", b[1])
	if isMarkup(self) {
		replacement = in.escape(b[1])
	}
	return like(self, in.replace(s, in.text("replace", b[0]), replacement, int(in.int(b[2], -1))))
}

// replace counts what strings.Replace would make before it does.
func (in *interp) replace(s, old, replacement string, count int) string {
	n := strings.Count(s, old)
	if count >= 0 {
		n = min(n, count)
	}
	in.alloc(len(s))
	in.alloc(len(s) + product(max(len(replacement)-len(old), 0), int64(n)))
	return strings.Replace(s, old, replacement, count)
}

// separator reads the arguments of split: no separator means white space.
func (in *interp) separator(fn string, self any, a args) (s, sep string, space bool, limit int) {
	b := in.bind(fn, a, "sep?", "maxsplit?")
	s, _ = asString(self)
	in.alloc(len(s))
	limit = int(in.int(b[1], -1))
	if !given(b[0]) {
		return s, "", true, limit
	}
	if sep = in.text(fn, b[0]); sep == "" {
		in.fail("ValueError", "empty separator")
	}
	return s, sep, false, limit
}

func strSplit(in *interp, self any, a args) any {
	s, sep, space, limit := in.separator("split", self, a)
	if space {
		return in.strings(self, splitSpace(s, limit))
	}
	if limit >= 0 {
		limit++
	}
	return in.strings(self, strings.SplitN(s, sep, limit))
}

func strRsplit(in *interp, self any, a args) any {
	s, sep, space, limit := in.separator("rsplit", self, a)
	if space {
		return in.strings(self, rsplitSpace(s, limit))
	}
	return in.strings(self, rsplit(s, sep, limit))
}

func strSplitlines(in *interp, self any, a args) any {
	b := in.bind("splitlines", a, "keepends?")
	s, _ := asString(self)
	in.alloc(len(s))
	return in.strings(self, splitLines(s, given(b[0]) && truth(b[0])))
}

func strPartition(in *interp, self any, a args) any {
	return in.partition("partition", self, a, strings.Index)
}

func strRpartition(in *interp, self any, a args) any {
	return in.partition("rpartition", self, a, strings.LastIndex)
}

func (in *interp) partition(fn string, self any, a args, index func(s, sep string) int) any {
	sep := in.text(fn, in.bind(fn, a, "sep")[0])
	s, _ := asString(self)
	in.alloc(len(s))
	if sep == "" {
		in.fail("ValueError", "empty separator")
	}
	i := index(s, sep)
	if i >= 0 {
		return Tuple{like(self, s[:i]), like(self, sep), like(self, s[i+len(sep):])}
	}
	parts := Tuple{like(self, s), like(self, ""), like(self, "")}
	if fn == "rpartition" {
		parts[0], parts[2] = parts[2], parts[0]
	}
	return parts
}

func strStrip(in *interp, self any, a args) any  { return in.strip("strip", self, a, true, true) }
func strLstrip(in *interp, self any, a args) any { return in.strip("lstrip", self, a, true, false) }
func strRstrip(in *interp, self any, a args) any { return in.strip("rstrip", self, a, false, true) }

func (in *interp) strip(fn string, self any, a args, left, right bool) any {
	chars := in.bind(fn, a, "chars?")[0]
	s, _ := asString(self)
	in.step(len(s)/stepBytes + 1)
	in1 := isSpace
	if given(chars) {
		set := in.text(fn, chars)
		in1 = func(r rune) bool { return strings.ContainsRune(set, r) }
		in.step(len(set))
	}
	if left {
		s = strings.TrimLeftFunc(s, in1)
	}
	if right {
		s = strings.TrimRightFunc(s, in1)
	}
	return like(self, s)
}

func strRemoveprefix(in *interp, self any, a args) any {
	s, _ := asString(self)
	return like(self, strings.TrimPrefix(s, in.text("removeprefix", in.bind("removeprefix", a, "prefix")[0])))
}

func strRemovesuffix(in *interp, self any, a args) any {
	s, _ := asString(self)
	return like(self, strings.TrimSuffix(s, in.text("removesuffix", in.bind("removesuffix", a, "suffix")[0])))
}

// window is s[start:end] for methods that search there; ok is false where start is behind the end.
func (in *interp) window(s string, start, stop any) (part string, before int, ok bool) {
	in.step(len(s)/stepBytes + 1)
	if !given(start) && !given(stop) {
		return s, 0, true
	}
	bound := func(v any) any {
		if !given(v) {
			return nil
		}
		return v
	}
	n := utf8.RuneCountInString(s)
	first, _, count := in.span(bound(start), bound(stop), nil, n)
	if given(start) && in.bound(start, 0) > int64(n) {
		return "", 0, false
	}
	return in.sliceText(s, first, 1, count), first, true
}

func strAffix(fn string, has func(s, affix string) bool) method {
	return func(in *interp, self any, a args) any {
		b := in.bind(fn, a, "prefix", "start?", "end?")
		s, _ := asString(self)
		s, _, ok := in.window(s, b[1], b[2])
		if options, tuple := b[0].(Tuple); tuple {
			for _, o := range options {
				if ok && has(s, in.text(fn, o)) {
					return true
				}
			}
			return false
		}
		return has(s, in.text(fn, b[0])) && ok
	}
}

func strFind(fn string, index func(s, sub string) int) method {
	return func(in *interp, self any, a args) any {
		b := in.bind(fn, a, "sub", "start?", "end?")
		s, _ := asString(self)
		s, before, ok := in.window(s, b[1], b[2])
		i := index(s, in.text(fn, b[0]))
		if i >= 0 && ok {
			return int64(before + utf8.RuneCountInString(s[:i]))
		}
		if strings.HasSuffix(fn, "index") {
			in.fail("ValueError", "substring not found")
		}
		return int64(-1)
	}
}

func strCount(in *interp, self any, a args) any {
	b := in.bind("count", a, "sub", "start?", "end?")
	s, _ := asString(self)
	s, _, ok := in.window(s, b[1], b[2])
	if !ok {
		return int64(0)
	}
	return int64(strings.Count(s, in.text("count", b[0])))
}

func strJustify(fn string, align byte) method {
	return func(in *interp, self any, a args) any {
		b := in.bind(fn, a, "width", "fillchar?")
		s, _ := asString(self)
		f := spec{fill: ' ', align: align, width: int(in.int(b[0], 0))}
		if given(b[1]) {
			fill := in.text(fn, b[1])
			if utf8.RuneCountInString(fill) != 1 {
				in.typeError("The fill character must be exactly one character long")
			}
			f.fill, _ = utf8.DecodeRuneInString(fill)
		}
		if align == '^' { // str.center leans the other way than format
			return like(self, in.center(f, s))
		}
		return like(self, in.pad(f, 0, s, align))
	}
}

// center is str.center: of an odd number of fill characters the left side gets more
// if the width is odd.
func (in *interp) center(f spec, s string) string {
	missing := f.width - utf8.RuneCountInString(s)
	if missing <= 0 {
		return s
	}
	left := missing/2 + missing&f.width&1
	in.alloc(len(s) + missing*utf8.RuneLen(f.fill))
	fill := string(f.fill)
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, missing-left)
}

func strZfill(in *interp, self any, a args) any {
	s, _ := asString(self)
	f := spec{fill: '0', align: '=', width: int(in.int(in.bind("zfill", a, "width")[0], 0))}
	sign := 0
	if s != "" && (s[0] == '+' || s[0] == '-') {
		sign = 1
	}
	return like(self, in.pad(f, sign, s, '='))
}

func strExpandtabs(in *interp, self any, a args) any {
	size := int(in.int(in.bind("expandtabs", a, "tabsize?")[0], 8))
	s, _ := asString(self)
	in.alloc(len(s) + product(strings.Count(s, "\t"), int64(max(size, 0))))
	return like(self, expandTabs(s, size))
}
