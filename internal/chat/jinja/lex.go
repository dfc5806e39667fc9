package jinja

import (
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind is what a token is; operators are kinds of their own by their text.
type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokData
	tokBlockBegin
	tokBlockEnd
	tokVarBegin
	tokVarEnd
	tokName
	tokString
	tokNumber
	tokOp
)

type token struct {
	kind tokenKind
	text string // the name, operator, data or string's value
	num  any    // of a number: int64, *big.Int or float64
	line int
}

// describe names a token in a message.
func (t token) describe() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokData:
		return "template text"
	case tokBlockBegin:
		return "{%"
	case tokBlockEnd:
		return "%}"
	case tokVarBegin:
		return "{{"
	case tokVarEnd:
		return "}}"
	case tokNumber:
		return "number " + t.text
	case tokString:
		return "string"
	}
	return t.text
}

// A lexer splits a template into tokens. Like jinja2's it removes one newline at
// the end of the source, the newline behind a block, and white space that stands
// alone between the start of a line and a block.
type lexer struct {
	src       string
	pos, line int
	lineStart bool     // what precedes pos ends with a newline, or is nothing
	open      []string // the closing brackets that are expected
	out       []token
}

func lex(source string) []token {
	if !utf8.ValidString(source) {
		syntaxError(1, "the source is not UTF-8")
	}
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(source, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.text()
	}
	l.emit(token{kind: tokEOF})
	return l.out
}

func (l *lexer) emit(t token) {
	t.line = l.line
	l.out = append(l.out, t)
}

// advance moves behind n bytes and counts their lines.
func (l *lexer) advance(n int) {
	if n == 0 {
		return
	}
	l.line += strings.Count(l.src[l.pos:l.pos+n], "\n")
	l.pos += n
	l.lineStart = l.src[l.pos-1] == '\n'
}

// text reads data up to the next tag, and the tag.
func (l *lexer) text() {
	rest := l.src[l.pos:]
	n := nextTag(rest)
	if n < 0 {
		l.emit(token{kind: tokData, text: rest})
		l.advance(len(rest))
		return
	}
	kind, sign := rest[n+1], signAt(rest, n+2)
	l.data(rest[:n], sign, kind != '{')
	l.advance(2 + len(sign))
	switch kind {
	case '#':
		l.comment()
	case '{':
		l.emit(token{kind: tokVarBegin})
		l.tag(tokVarEnd)
	default:
		if m := l.rawBegin(); m > 0 {
			l.advance(m)
			l.raw()
			return
		}
		l.emit(token{kind: tokBlockBegin})
		l.tag(tokBlockEnd)
	}
}

// nextTag gives the index of the first {{, {% or {#, or -1.
func nextTag(s string) int {
	for i := 0; ; i++ {
		n := strings.IndexByte(s[i:], '{')
		if n < 0 || i+n+1 >= len(s) {
			return -1
		}
		i += n
		if c := s[i+1]; c == '{' || c == '%' || c == '#' {
			return i
		}
	}
}

func signAt(s string, i int) string {
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		return s[i : i+1]
	}
	return ""
}

// data emits text as it stands before a tag with the given sign, and moves behind it.
func (l *lexer) data(text, sign string, block bool) {
	kept := text
	if sign == "-" {
		kept = strings.TrimRightFunc(text, isSpace)
	} else if sign == "" && block {
		start := strings.LastIndexByte(text, '\n') + 1
		if (start > 0 || l.lineStart) && strings.TrimLeftFunc(text[start:], isSpace) == "" {
			kept = text[:start]
		}
	}
	if kept != "" {
		l.emit(token{kind: tokData, text: kept})
	}
	l.advance(len(text))
}

// end gives the length of a tag's end at i, such as `-%}` with the white space
// behind it, or 0.
func end(s string, i int, mark string) int {
	rest := s[i:]
	block := mark != "}}"
	if tail, ok := strings.CutPrefix(rest, "-"+mark); ok {
		return len(rest) - len(strings.TrimLeftFunc(tail, isSpace))
	}
	if block && strings.HasPrefix(rest, "+"+mark) {
		return 1 + len(mark)
	}
	tail, ok := strings.CutPrefix(rest, mark)
	switch {
	case !ok:
		return 0
	case block && strings.HasPrefix(tail, "\n"):
		return len(mark) + 1
	}
	return len(mark)
}

func (l *lexer) comment() {
	for i := l.pos; i < len(l.src); i++ {
		if n := end(l.src, i, "#}"); n > 0 {
			l.advance(i + n - l.pos)
			return
		}
	}
	syntaxError(l.line, "a comment {# has no end #}")
}

// rawBegin gives the length of `raw %}` at the position, or 0.
func (l *lexer) rawBegin() int {
	i := skipSpace(l.src, l.pos)
	if !strings.HasPrefix(l.src[i:], "raw") {
		return 0
	}
	i = skipSpace(l.src, i+3)
	if strings.HasPrefix(l.src[i:], "%}") {
		return i + 2 - l.pos
	}
	if strings.HasPrefix(l.src[i:], "-%}") {
		return skipSpace(l.src, i+3) - l.pos
	}
	return 0
}

// raw reads text up to {% endraw %}.
func (l *lexer) raw() {
	for from := l.pos; ; {
		n := strings.Index(l.src[from:], "{%")
		if n < 0 {
			syntaxError(l.line, "a raw block has no {%% endraw %%}")
		}
		i := from + n
		sign := signAt(l.src, i+2)
		j := skipSpace(l.src, i+2+len(sign))
		if strings.HasPrefix(l.src[j:], "endraw") {
			j = skipSpace(l.src, j+len("endraw"))
			if m := end(l.src, j, "%}"); m > 0 {
				l.data(l.src[l.pos:i], sign, true)
				l.advance(j + m - l.pos)
				return
			}
		}
		from = i + 2
	}
}

func skipSpace(s string, i int) int {
	return len(s) - len(strings.TrimLeftFunc(s[i:], isSpace))
}

// tag reads the tokens inside {{ }} or {% %}.
func (l *lexer) tag(closing tokenKind) {
	mark := map[tokenKind]string{tokVarEnd: "}}", tokBlockEnd: "%}"}[closing]
	for {
		l.advance(skipSpace(l.src, l.pos) - l.pos)
		if l.pos >= len(l.src) {
			return // the parser says what is missing
		}
		if n := end(l.src, l.pos, mark); n > 0 && len(l.open) == 0 {
			l.emit(token{kind: closing})
			l.advance(n)
			return
		}
		l.inner()
	}
}

// inner reads one token of an expression.
func (l *lexer) inner() {
	rest := l.src[l.pos:]
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r >= '0' && r <= '9':
		n, value := number(rest, l.pos > 0 && l.src[l.pos-1] == '.')
		if value == nil {
			syntaxError(l.line, "a number has %d digits, the limit is %d", n, maxDigits)
		}
		l.emit(token{kind: tokNumber, text: rest[:n], num: value})
		l.advance(n)
	case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
		n := strings.IndexFunc(rest, func(r rune) bool {
			return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
		})
		if n < 0 {
			n = len(rest)
		}
		if unicode.IsDigit(r) {
			syntaxError(l.line, "invalid character in the name %q", rest[:n])
		}
		l.emit(token{kind: tokName, text: rest[:n]})
		l.advance(n)
	case r == '\'' || r == '"':
		n := stringEnd(rest)
		if n < 0 {
			syntaxError(l.line, "a string has no closing %c", r)
		}
		l.emit(token{kind: tokString, text: unescape(rest[1:n-1], l.line)})
		l.advance(n)
	default:
		l.operator(rest)
	}
}

// operators by falling length, so that the first match is the longest.
var operators = []string{
	"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

var closers = map[string]string{"(": ")", "[": "]", "{": "}"}

func (l *lexer) operator(rest string) {
	for _, op := range operators {
		if !strings.HasPrefix(rest, op) {
			continue
		}
		switch op {
		case "(", "[", "{":
			l.open = append(l.open, closers[op])
		case ")", "]", "}":
			if len(l.open) == 0 {
				syntaxError(l.line, "unexpected %q", op)
			}
			if want := l.open[len(l.open)-1]; want != op {
				syntaxError(l.line, "unexpected %q, expected %q", op, want)
			}
			l.open = l.open[:len(l.open)-1]
		}
		l.emit(token{kind: tokOp, text: op})
		l.advance(len(op))
		return
	}
	r, _ := utf8.DecodeRuneInString(rest)
	syntaxError(l.line, "unexpected character %q", r)
}

// stringEnd gives the length of the quoted string at the start of s, or -1.
func stringEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return -1
}

// maxDigits is the length of the longest integer, which has fewer than maxBits bits.
const maxDigits = 4200

// number reads the number at the start of s. After a dot (`x.0.1`) only integers are read.
func number(s string, afterDot bool) (int, any) {
	n := digits(s, 0)
	if !afterDot {
		if m := floatEnd(s, n); m > 0 {
			v, _ := parseFloat(s[:m])
			return m, v
		}
	}
	if s[0] == '0' {
		n = 1
		if len(s) > 2 && strings.ContainsRune("xXoObB", rune(s[1])) {
			n = 2
			for n < len(s) && (isAlnum(s[n]) || s[n] == '_') {
				n++
			}
		} else {
			for n < len(s) && (s[n] == '0' || s[n] == '_' && n+1 < len(s) && s[n+1] == '0') {
				n++
			}
		}
	}
	if n > maxDigits {
		return n, nil
	}
	b, ok := new(big.Int).SetString(s[:n], 0)
	if !ok {
		return 1, int64(s[0] - '0')
	}
	return n, normal(b)
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// digits gives the end of the digits at i, which may have single underscores between them.
func digits(s string, i int) int {
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '_' && i > 0 && i+1 < len(s) && s[i-1] != '_' && s[i+1] >= '0' && s[i+1] <= '9') {
		i++
	}
	return i
}

// floatEnd gives the end of the fraction and exponent that follow n digits, or 0 if
// there is neither.
func floatEnd(s string, n int) int {
	m := 0
	if n+1 < len(s) && s[n] == '.' && s[n+1] >= '0' && s[n+1] <= '9' {
		n = digits(s, n+1)
		m = n
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		i := n + 1
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if i < len(s) && s[i] >= '0' && s[i] <= '9' {
			return digits(s, i)
		}
	}
	return m
}
