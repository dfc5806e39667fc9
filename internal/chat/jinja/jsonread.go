package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxJSONDepth bounds how deep the values of DecodeJSON nest.
const MaxJSONDepth = 256

// DecodeJSON reads one JSON value (RFC 8259), with the order of keys and integers of any size
// kept; of keys that are given twice the last value counts, as in Python.
func DecodeJSON(text string) (v any, err error) {
	d := &jsonReader{s: text}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("JSON: the text is not UTF-8")
	}
	v, err = d.value(0)
	if err != nil {
		return nil, err
	}
	if d.space(); d.i < len(d.s) {
		return nil, d.errorf("expected the end, found %q", d.s[d.i:d.i+1])
	}
	return v, nil
}

type jsonReader struct {
	s string
	i int
}

func (d *jsonReader) errorf(format string, a ...any) error {
	return fmt.Errorf("JSON at byte %d: "+format, append([]any{d.i}, a...)...)
}

func (d *jsonReader) space() {
	for d.i < len(d.s) && strings.IndexByte(" \t\n\r", d.s[d.i]) >= 0 {
		d.i++
	}
}

// take moves behind c if it comes next, after white space.
func (d *jsonReader) take(c byte) bool {
	d.space()
	if d.i < len(d.s) && d.s[d.i] == c {
		d.i++
		return true
	}
	return false
}

var jsonWords = map[string]any{"null": nil, "true": true, "false": false}

func (d *jsonReader) value(depth int) (any, error) {
	if depth > MaxJSONDepth {
		return nil, d.errorf("values nest deeper than %d levels", MaxJSONDepth)
	}
	switch {
	case d.take('{'):
		return d.object(depth)
	case d.take('['):
		return d.array(depth)
	case d.take('"'):
		return d.text()
	}
	for word, v := range jsonWords {
		if strings.HasPrefix(d.s[d.i:], word) {
			d.i += len(word)
			return v, nil
		}
	}
	return d.number()
}

func (d *jsonReader) object(depth int) (any, error) {
	m := &Map{}
	if d.take('}') {
		return m, nil
	}
	for {
		if !d.take('"') {
			return nil, d.errorf("expected a key in quotes")
		}
		k, err := d.text()
		if err != nil {
			return nil, err
		}
		if !d.take(':') {
			return nil, d.errorf("expected ':' behind a key")
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m.Set(k, v)
		if d.take('}') {
			return m, nil
		}
		if !d.take(',') {
			return nil, d.errorf("expected ',' or '}' in an object")
		}
	}
}

func (d *jsonReader) array(depth int) (any, error) {
	l := List{}
	if d.take(']') {
		return l, nil
	}
	for {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
		if d.take(']') {
			return l, nil
		}
		if !d.take(',') {
			return nil, d.errorf("expected ',' or ']' in an array")
		}
	}
}

func (d *jsonReader) number() (any, error) {
	start := d.i
	if d.i < len(d.s) && d.s[d.i] == '-' {
		d.i++
	}
	whole := d.digits()
	if whole == 0 || whole > 1 && d.s[d.i-whole] == '0' {
		d.i = start
		return nil, d.errorf("expected a value")
	}
	integer := true
	if d.i < len(d.s) && d.s[d.i] == '.' {
		integer = false
		d.i++
		if d.digits() == 0 {
			return nil, d.errorf("expected digits behind the point")
		}
	}
	if d.i < len(d.s) && d.s[d.i]|0x20 == 'e' {
		integer = false
		d.i++
		if d.i < len(d.s) && (d.s[d.i] == '+' || d.s[d.i] == '-') {
			d.i++
		}
		if d.digits() == 0 {
			return nil, d.errorf("expected digits in the exponent")
		}
	}
	text := d.s[start:d.i]
	if !integer {
		f, _ := strconv.ParseFloat(text, 64) // beyond its range: infinite, as in Python
		return f, nil
	}
	if len(text) > maxDigits {
		return nil, d.errorf("an integer has %d digits, the limit is %d", len(text), maxDigits)
	}
	b, _ := new(big.Int).SetString(text, 10)
	return normal(b), nil
}

func (d *jsonReader) digits() int {
	start := d.i
	for d.i < len(d.s) && d.s[d.i] >= '0' && d.s[d.i] <= '9' {
		d.i++
	}
	return d.i - start
}

// text reads a string behind its opening quote.
func (d *jsonReader) text() (string, error) {
	var b strings.Builder
	for {
		n := strings.IndexFunc(d.s[d.i:], func(r rune) bool { return r == '"' || r == '\\' || r < 0x20 })
		if n < 0 {
			return "", d.errorf("a string has no closing quote")
		}
		b.WriteString(d.s[d.i : d.i+n])
		d.i += n
		switch d.s[d.i] {
		case '"':
			d.i++
			return b.String(), nil
		case '\\':
			r, err := d.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
		default:
			return "", d.errorf("a control character in a string must be escaped")
		}
	}
}

var jsonSimple = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (d *jsonReader) escape() (rune, error) {
	if d.i+1 >= len(d.s) {
		return 0, d.errorf("a string has no closing quote")
	}
	c := d.s[d.i+1]
	if r, ok := jsonSimple[c]; ok {
		d.i += 2
		return r, nil
	}
	r, ok := d.unit()
	if !ok {
		return 0, d.errorf(`unknown escape \%c in a string`, c)
	}
	if r < 0xd800 || r >= 0xe000 {
		return r, nil
	}
	low, ok := d.unit()
	if r >= 0xdc00 || !ok || low < 0xdc00 || low >= 0xe000 {
		return 0, d.errorf("half of a surrogate pair in a string")
	}
	return 0x10000 + (r-0xd800)<<10 + low - 0xdc00, nil
}

// unit reads \uXXXX.
func (d *jsonReader) unit() (rune, bool) {
	if d.i+6 > len(d.s) || d.s[d.i:d.i+2] != `\u` {
		return 0, false
	}
	v, err := strconv.ParseUint(d.s[d.i+2:d.i+6], 16, 32)
	if err != nil {
		return 0, false
	}
	d.i += 6
	return rune(v), true
}
