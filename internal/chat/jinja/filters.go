package jinja

import (
	"math"
	"math/big"
	"strings"
)

type filterFunc func(in *interp, v any, a args) any

// filters by name; see also filters_seq.go.
var filters map[string]filterFunc

func init() {
	filters = map[string]filterFunc{
		"abs": filterAbs, "attr": filterAttr, "default": filterDefault, "d": filterDefault,
		"escape": filterEscape, "e": filterEscape, "forceescape": filterForceEscape, "safe": filterSafe, "striptags": filterStriptags,
		"float": filterFloat, "int": filterInt, "round": filterRound, "filesizeformat": filterFilesize,
		"format": filterFormat, "indent": filterIndent, "replace": filterReplace, "string": filterString, "trim": filterTrim,
		"truncate": filterTruncate, "urlencode": filterUrlencode, "wordcount": filterWordcount, "tojson": filterTojson,
		"upper": textFilter(upper), "lower": textFilter(lower), "capitalize": textFilter(capitalize), "title": textFilter(jinjaTitle),
		"center": filterCenter,
		"batch":  filterBatch, "dictsort": filterDictsort, "first": filterFirst, "groupby": filterGroupby, "items": filterItems,
		"join": filterJoin, "last": filterLast, "length": filterLength, "count": filterLength, "list": filterList,
		"map": filterMap, "max": extreme("max", -1), "min": extreme("min", 1), "reverse": filterReverse, "slice": filterSlice,
		"select": selecting(false, false), "reject": selecting(true, false), "selectattr": selecting(false, true), "rejectattr": selecting(true, true),
		"sort": filterSort, "sum": filterSum, "unique": filterUnique,
	}
}

// soft is markupsafe's soft_str: Markup stays Markup.
func (in *interp) soft(v any) any {
	if _, ok := asString(v); ok {
		return v
	}
	return in.str(v)
}

// textFilter makes a filter of a function that changes a string.
func textFilter(f func(string) string) filterFunc {
	return func(in *interp, v any, a args) any { return mapped(f)(in, in.soft(v), a) }
}

func filterAbs(in *interp, v any, a args) any {
	in.bind("abs", a)
	switch n := v.(type) {
	case float64:
		return math.Abs(n)
	case *big.Int:
		return normal(new(big.Int).Abs(n))
	}
	i, ok := asInt(v)
	if !ok {
		in.typeError("bad operand type for abs(): '%s'", typeName(v))
	}
	if i < 0 {
		return in.negate(i)
	}
	return i
}

func filterAttr(in *interp, v any, a args) any {
	in.refuse(v)
	name := in.text("attr", in.bind("attr", a, "name")[0])
	if x, ok := attribute(v, name); ok {
		return x
	}
	return noAttribute(v, name)
}

func filterDefault(in *interp, v any, a args) any {
	b := in.bind("default", a, "default_value?", "boolean?")
	_, isUndefined := v.(*undefined)
	if !isUndefined && !(given(b[1]) && truth(b[1]) && !truth(v)) {
		return v
	}
	if _, missing := b[0].(absent); missing {
		return ""
	}
	return b[0]
}

func filterEscape(in *interp, v any, a args) any {
	in.bind("escape", a)
	return Markup(in.escape(v))
}

func filterForceEscape(in *interp, v any, a args) any {
	in.bind("forceescape", a)
	return Markup(in.escape(in.str(v)))
}

func filterSafe(in *interp, v any, a args) any {
	in.bind("safe", a)
	return Markup(in.str(v))
}

// filterStriptags removes tags and comments and joins the words.
func filterStriptags(in *interp, v any, a args) any {
	in.bind("striptags", a)
	s := in.str(v)
	in.alloc(len(s))
	var b strings.Builder
	for rest := s; ; {
		i := strings.IndexByte(rest, '<')
		end, tail := ">", 1
		if i >= 0 && strings.HasPrefix(rest[i:], "<!--") {
			end, tail = "-->", 4
		}
		n := -1
		if i >= 0 {
			n = strings.Index(rest[min(i+tail, len(rest)):], end)
		}
		if n < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		rest = rest[i+tail+n+len(end):]
	}
	return in.unescapeHTML(strings.Join(splitSpace(b.String(), -1), " "))
}

// unescapeHTML decodes the five characters that escape writes; other entities are refused.
func (in *interp) unescapeHTML(s string) string {
	known := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#39;", "'", "&#34;", `"`, "&quot;", `"`, "&amp;", "&")
	rest := strings.NewReplacer("&lt;", "", "&gt;", "", "&#39;", "", "&#34;", "", "&quot;", "", "&amp;", "").Replace(s)
	if i := strings.IndexByte(rest, '&'); i >= 0 && strings.Contains(rest[i:], ";") {
		in.fail("ValueError", "striptags decodes only the entities that escape writes, found %q", rest[i:min(i+12, len(rest))])
	}
	return known.Replace(s)
}

func filterFloat(in *interp, v any, a args) any {
	b := in.bind("float", a, "default?")
	if f, ok := in.asFloat(v); ok {
		return f
	}
	if _, missing := b[0].(absent); missing {
		return 0.0
	}
	return b[0]
}

func (in *interp) asFloat(v any) (float64, bool) {
	if isNumber(v) {
		return in.toFloat(v), true
	}
	in.refuse(v)
	s, ok := asString(v)
	if !ok {
		return 0, false
	}
	return parseFloat(s)
}

func filterInt(in *interp, v any, a args) any {
	b := in.bind("int", a, "default?", "base?")
	if s, ok := asString(v); ok {
		if i, ok := parseInt(s, int(in.int(b[1], 10))); ok && i.BitLen() <= maxBits {
			return normal(i)
		}
	} else if i, ok := asBig(v); ok {
		return normal(i)
	}
	if f, ok := in.asFloat(v); ok && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return normal(in.floor(f))
	}
	if _, missing := b[0].(absent); missing {
		return int64(0)
	}
	return b[0]
}

// parseInt is int(s, base): a sign, underscores between digits, and a prefix that fits the base.
func parseInt(s string, base int) (*big.Int, bool) {
	s = asciiDigits(strings.TrimFunc(s, isSpace))
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || len(s) > 5000 || base < 2 && base != 0 || base > 36 ||
		strings.HasPrefix(digits, "_") && base != 0 || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") {
		return nil, false
	}
	if len(digits) > 2 && digits[0] == '0' && base != 0 {
		if prefix := map[byte]int{'b': 2, 'o': 8, 'x': 16}[digits[1]|0x20]; prefix == base {
			digits = strings.TrimPrefix(digits[2:], "_")
		}
	}
	if base != 0 {
		digits = strings.ReplaceAll(digits, "_", "")
	} else if len(digits) > 1 && digits[0] == '0' && isAlnum(digits[1]) && digits[1] <= '9' && strings.Trim(digits, "0_") != "" {
		return nil, false // 012 is no Python literal
	}
	i, ok := new(big.Int).SetString(digits, base)
	if ok && strings.HasPrefix(s, "-") {
		i.Neg(i)
	}
	return i, ok
}

func filterFormat(in *interp, v any, a args) any {
	s := in.soft(v)
	text, _ := asString(s)
	if len(a.pos) > 0 && a.named != nil {
		in.fail("FilterArgumentError", "can't handle positional and keyword arguments at the same time")
	}
	if a.named != nil && a.named.Len() > 0 {
		return like(s, in.percent(text, a.named, isMarkup(s)))
	}
	return like(s, in.percent(text, Tuple(a.pos), isMarkup(s)))
}

func filterIndent(in *interp, v any, a args) any {
	b := in.bind("indent", a, "width?", "first?", "blank?")
	s, ok := asString(v)
	if !ok {
		in.refuse(v)
		in.typeError("unsupported operand type(s) for +=: '%s' and 'str'", typeName(v))
	}
	indention, ok := asString(b[0])
	if !ok {
		width := max(in.int(b[0], 4), 0)
		in.alloc(int(width))
		indention = strings.Repeat(" ", int(width))
	}
	blank := given(b[2]) && truth(b[2])
	lines := splitLines(s+"\n", false)
	in.items(len(lines))
	in.alloc(len(s) + product(len(indention), int64(len(lines))))
	var out strings.Builder
	if given(b[1]) && truth(b[1]) {
		out.WriteString(indention)
	}
	for i, line := range lines {
		if i > 0 {
			out.WriteByte('\n')
			if line != "" || blank {
				out.WriteString(indention)
			}
		}
		out.WriteString(line)
	}
	return like(v, out.String())
}

func filterReplace(in *interp, v any, a args) any {
	b := in.bind("replace", a, "old", "new", "count?")
	return in.replace(in.str(v), in.str(b[0]), in.str(b[1]), int(in.int(optional(b[2]), -1)))
}

func filterString(in *interp, v any, a args) any {
	in.bind("string", a)
	return in.soft(v)
}

func filterTrim(in *interp, v any, a args) any {
	return in.strip("trim", in.soft(v), a, true, true)
}

func filterTruncate(in *interp, v any, a args) any {
	b := in.bind("truncate", a, "length?", "killwords?", "end?", "leeway?")
	tail := "..."
	if given(b[2]) {
		tail = in.text("truncate", b[2])
	}
	n, endLen := int(in.int(b[0], 255)), len([]rune(tail))
	leeway := int(in.int(optional(b[3]), 5))
	if n < endLen || leeway < 0 {
		in.fail("AssertionError", "expected length >= %d, got %d, and leeway >= 0, got %d", endLen, n, leeway)
	}
	size, ok := length(v)
	if !ok {
		in.typeError("object of type '%s' has no len()", typeName(v))
	}
	if size <= n+leeway {
		return v
	}
	s := in.text("truncate", v)
	in.alloc(len(s))
	cut := firstChars(s, n-endLen)
	if !given(b[1]) || !truth(b[1]) {
		cut = rsplit(cut, " ", 1)[0]
	}
	return in.binary("+", like(v, cut), optionalText(b[2], tail))
}

func optionalText(v any, text string) any {
	if given(v) {
		return v
	}
	return text
}

func filterCenter(in *interp, v any, a args) any {
	width := in.bind("center", a, "width?")[0]
	return strJustify("center", '^')(in, in.soft(v), args{pos: []any{in.int(width, 80)}})
}

const urlSafe = "_.-~/"

func filterUrlencode(in *interp, v any, a args) any {
	in.bind("urlencode", a)
	m, isMap := v.(*Map)
	if _, isText := asString(v); isText || !isMap && !isSeq(v) {
		return in.quoteURL(v, false)
	}
	pairs := in.list(v)
	if isMap {
		pairs = in.list(&view{"items", m})
	}
	parts := make([]string, len(pairs))
	for i, p := range pairs {
		kv := in.list(p)
		if len(kv) != 2 {
			in.fail("ValueError", "expected pairs to encode, found %d values", len(kv))
		}
		parts[i] = in.quoteURL(kv[0], true) + "=" + in.quoteURL(kv[1], true)
	}
	return strings.Join(parts, "&")
}

func isSeq(v any) bool {
	_, ok := iterator(v)
	return ok
}

func (in *interp) quoteURL(v any, query bool) string {
	s := in.str(v)
	in.alloc(3 * len(s))
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case query && c == ' ':
			b.WriteByte('+')
		case isAlnum(c) || strings.IndexByte(urlSafe, c) >= 0 && !(query && c == '/'):
			b.WriteByte(c)
		default:
			b.WriteString("%" + strings.ToUpper(hex(rune(c), 2)))
		}
	}
	return b.String()
}

func filterWordcount(in *interp, v any, a args) any {
	in.bind("wordcount", a)
	words := strings.FieldsFunc(in.str(v), func(r rune) bool { return r != '_' && !isAlpha(r) && !isNumeric(r) })
	in.items(len(words))
	return int64(len(words))
}

// jinjaTitle is the filter title: a capital behind each space, hyphen or opening bracket.
func jinjaTitle(s string) string {
	var b strings.Builder
	rest := s
	for rest != "" {
		n := len(rest) - len(strings.TrimLeftFunc(rest, isTitleGap))
		b.WriteString(lower(rest[:n]))
		rest = rest[n:]
		if n = strings.IndexFunc(rest, isTitleGap); n < 0 {
			n = len(rest)
		}
		first := firstChars(rest[:n], 1)
		b.WriteString(upper(first))
		b.WriteString(lower(rest[len(first):n]))
		rest = rest[n:]
	}
	return b.String()
}

func isTitleGap(r rune) bool { return isSpace(r) || strings.ContainsRune("-({[<", r) }
