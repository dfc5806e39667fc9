package repo

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pos is a place in a configuration file, counted from 1; columns in characters.
type pos struct{ line, col int }

func (p pos) String() string { return fmt.Sprintf("%d:%d", p.line, p.col) }

type tokenKind uint8

const (
	tokEOF    tokenKind = iota
	tokIdent            // name, true, TYPE_FP32
	tokNumber           // 12, 0x1f, 1.5e3f; without a sign
	tokString           // text has the escapes resolved
	tokPunct            // one of { } [ ] < > : , ; - . /
)

type token struct {
	kind tokenKind
	text string
	pos  pos
}

func (t token) String() string {
	if t.kind == tokEOF {
		return "the end of the file"
	}
	return strconv.Quote(t.text)
}

// syntaxError is what the lexer and parser panic with; parseText recovers it.
type syntaxError struct {
	pos pos
	msg string
}

type lexer struct {
	src  string
	at   int
	line int

	counted int // up to where the characters of the line are counted
	col     int // their number
}

func (l *lexer) pos() pos {
	l.col += utf8.RuneCountInString(l.src[l.counted:l.at])
	l.counted = l.at
	return pos{l.line, l.col + 1}
}

func (l *lexer) failf(p pos, format string, args ...any) {
	panic(syntaxError{p, fmt.Sprintf(format, args...)})
}

// next reads a token.
func (l *lexer) next() token {
	l.skipSpace()
	p := l.pos()
	if l.at == len(l.src) {
		return token{tokEOF, "", p}
	}
	start := l.at
	switch c := l.src[l.at]; {
	case isLetter(c):
		l.skipWhile(func(c byte) bool { return isLetter(c) || isDigit(c) })
		return token{tokIdent, l.src[start:l.at], p}
	case isDigit(c) || c == '.' && l.at+1 < len(l.src) && isDigit(l.src[l.at+1]):
		l.number()
		return token{tokNumber, l.src[start:l.at], p}
	case c == '"' || c == '\'':
		return token{tokString, l.quoted(c, p), p}
	case strings.IndexByte("{}[]<>:,;-./", c) >= 0:
		l.at++
		return token{tokPunct, l.src[start:l.at], p}
	}
	r, _ := utf8.DecodeRuneInString(l.src[l.at:])
	l.failf(p, "unexpected character %q", r)
	return token{}
}

func (l *lexer) skipSpace() {
	for l.at < len(l.src) {
		switch c := l.src[l.at]; {
		case c == '\n':
			l.at++
			l.line, l.counted, l.col = l.line+1, l.at, 0
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			l.at++
		case c == '#':
			l.skipWhile(func(c byte) bool { return c != '\n' })
		default:
			return
		}
	}
}

func (l *lexer) skipWhile(f func(byte) bool) {
	for l.at < len(l.src) && f(l.src[l.at]) {
		l.at++
	}
}

// number takes all characters that a number may have; the parser checks it. A
// sign belongs to it after an exponent's e.
func (l *lexer) number() {
	hex := strings.HasPrefix(l.src[l.at:], "0x") || strings.HasPrefix(l.src[l.at:], "0X")
	var before byte
	l.skipWhile(func(c byte) bool {
		ok := isLetter(c) || isDigit(c) || c == '.' || !hex && (c == '+' || c == '-') && (before == 'e' || before == 'E')
		before = c
		return ok
	})
}

// quoted reads a string literal that begins at p.
func (l *lexer) quoted(quote byte, p pos) string {
	var b strings.Builder
	l.at++
	for {
		if l.at == len(l.src) || l.src[l.at] == '\n' {
			l.failf(p, "this string has no closing %c on its line", quote)
		}
		c := l.src[l.at]
		l.at++
		switch c {
		case quote:
			if !utf8.ValidString(b.String()) {
				l.failf(p, "this string is not valid UTF-8")
			}
			return b.String()
		case '\\':
			l.escape(&b)
		default:
			b.WriteByte(c)
		}
	}
}

var simpleEscapes = map[byte]byte{'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v', '\\': '\\', '\'': '\'', '"': '"', '?': '?'}

// escape reads what follows a backslash.
func (l *lexer) escape(b *strings.Builder) {
	p := l.pos()
	if l.at == len(l.src) {
		l.failf(p, "the file ends within a string")
	}
	c := l.src[l.at]
	if e, ok := simpleEscapes[c]; ok {
		l.at++
		b.WriteByte(e)
		return
	}
	switch c {
	case 'x', 'X':
		l.at++
		b.WriteByte(byte(l.digits(p, 16, 1, 2)))
	case 'u':
		l.at++
		l.rune(b, p, l.digits(p, 16, 4, 4))
	case 'U':
		l.at++
		l.rune(b, p, l.digits(p, 16, 8, 8))
	default:
		if c < '0' || c > '7' {
			l.failf(p, `unknown escape \%c`, c)
		}
		n := l.digits(p, 8, 1, 3)
		if n > 255 {
			l.failf(p, "octal escape is above 255")
		}
		b.WriteByte(byte(n))
	}
}

func (l *lexer) rune(b *strings.Builder, p pos, n uint64) {
	if n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		l.failf(p, "%#x is not a Unicode character", n)
	}
	b.WriteRune(rune(n))
}

// digits reads between least and most digits.
func (l *lexer) digits(p pos, base, least, most int) uint64 {
	start := l.at
	for l.at < len(l.src) && l.at-start < most {
		if _, err := strconv.ParseUint(l.src[l.at:l.at+1], base, 8); err != nil {
			break
		}
		l.at++
	}
	if l.at-start < least {
		l.failf(p, "this escape needs at least %d digits", least)
	}
	n, _ := strconv.ParseUint(l.src[start:l.at], base, 64)
	return n
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
