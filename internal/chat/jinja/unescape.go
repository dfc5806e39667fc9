package jinja

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

var simpleEscapes = map[byte]byte{
	'\\': '\\', '\'': '\'', '"': '"', 'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
}

var hexEscapes = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// unescape decodes the escapes of a Python string; an unknown one keeps its backslash.
func unescape(s string, line int) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++ // a string never ends in a lone backslash
		c := s[i]
		simple, isSimple := simpleEscapes[c]
		switch {
		case c == '\n':
		case isSimple:
			b.WriteByte(simple)
		case c >= '0' && c <= '7':
			n := i + 1
			for n < len(s) && n < i+3 && s[n] >= '0' && s[n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(s[i:n], 8, 32)
			b.WriteRune(rune(v))
			i = n - 1
		case hexEscapes[c] > 0:
			n := hexEscapes[c]
			b.WriteRune(hexRune(s, i+1, n, line))
			i += n
		case c == 'N':
			syntaxError(line, `characters by name (\N{…}) are not supported: write the character itself`)
		default:
			b.WriteByte('\\')
			i-- // c itself may begin a longer character
			r, n := utf8.DecodeRuneInString(s[i+1:])
			b.WriteRune(r)
			i += n
		}
	}
	return b.String()
}

func hexRune(s string, i, n, line int) rune {
	if i+n > len(s) {
		syntaxError(line, "an escape in a string has fewer than %d hexadecimal digits", n)
	}
	v, err := strconv.ParseUint(s[i:i+n], 16, 32)
	switch {
	case err != nil:
		syntaxError(line, `the escape \%s in a string is not hexadecimal`, s[i-1:i+n])
	case v > utf8.MaxRune || v >= 0xd800 && v < 0xe000:
		syntaxError(line, `the escape \%s in a string is no character`, s[i-1:i+n])
	}
	return rune(v)
}
