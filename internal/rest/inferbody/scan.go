package inferbody

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/rest/jsonnum"
	"github.com/salver-ml/salver/internal/serve"
)

// scanner reads JSON (RFC 8259, strictly) from front to back. It never recurses,
// so no nesting can exhaust the stack.
type scanner struct {
	b       []byte
	i       int
	scratch []byte // the last string that had escapes
}

// errorf is an InvalidArgument that names the place.
func (s *scanner) errorf(format string, args ...any) error {
	return serve.Errorf(serve.InvalidArgument, "request's JSON, byte %d: %s", s.i, fmt.Sprintf(format, args...))
}

// found describes what stands at the current place.
func (s *scanner) found() string {
	if s.i >= len(s.b) {
		return "its end"
	}
	end := s.i + 1
	for end < len(s.b) && end < s.i+20 && s.b[end] > ' ' && s.b[end] != ',' && s.b[end] != ']' && s.b[end] != '}' {
		end++
	}
	return fmt.Sprintf("%q", s.b[s.i:end])
}

// peek skips white space and returns the byte there, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.i < len(s.b); s.i++ {
		if c := s.b[s.i]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// expect reads one byte of punctuation.
func (s *scanner) expect(c byte, what string) error {
	if s.peek() != c {
		return s.errorf("expected %s, found %s", what, s.found())
	}
	s.i++
	return nil
}

// object calls field with each key of an object, the scanner standing before the value.
func (s *scanner) object(what string, field func(key []byte) error) error {
	if err := s.expect('{', what); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		key, err := s.text("a field's name")
		if err != nil {
			return err
		}
		if err := s.expect(':', "':'"); err != nil {
			return err
		}
		if err := field(key); err != nil {
			return err
		}
		if s.peek() != ',' {
			return s.expect('}', "',' or '}'")
		}
		s.i++
	}
}

// array calls element before each element of an array.
func (s *scanner) array(what string, element func() error) error {
	if err := s.expect('[', what); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.peek() != ',' {
			return s.expect(']', "',' or ']'")
		}
		s.i++
	}
}

// text reads a string. The result is valid until the next call, and UTF-8.
func (s *scanner) text(what string) ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.errorf("expected %s, found %s", what, s.found())
	}
	s.i++
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			t := s.b[start:s.i]
			s.i++
			return t, s.checkUTF8(t, start)
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return nil, s.errorf("expected no control character in a string, found %q", c)
		}
		s.i++
	}
	return nil, s.errorf("expected '\"' at the end of a string, found the end of the request")
}

func (s *scanner) checkUTF8(t []byte, start int) error {
	if !utf8.Valid(t) {
		s.i = start
		return s.errorf("expected UTF-8 in a string, found other bytes; send them as a binary tensor")
	}
	return nil
}

// escaped reads the rest of a string that began at start, from its first backslash on.
func (s *scanner) escaped(start int) ([]byte, error) {
	t := append(s.scratch[:0], s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			s.scratch = t
			return t, s.checkUTF8(t, start)
		case c < ' ':
			return nil, s.errorf("expected no control character in a string, found %q", c)
		case c != '\\':
			t = append(t, c)
			s.i++
			continue
		}
		r, n := unescape(s.b[s.i:])
		if n == 0 {
			return nil, s.errorf("expected an escape of JSON, found %.6q", s.b[s.i:])
		}
		t = utf8.AppendRune(t, r)
		s.i += n
	}
	return nil, s.errorf("expected '\"' at the end of a string, found the end of the request")
}

// unescape reads the escape sequence at the start of b; n is 0 if it is none of
// JSON's or half of a surrogate pair.
func unescape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	if k := bytes.IndexByte([]byte(`"\/bfnrt`), b[1]); k >= 0 {
		return rune("\"\\/\b\f\n\r\t"[k]), 2
	}
	r = hex4(b)
	if r < 0 {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if r = utf16.DecodeRune(r, hex4(b[6:])); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// hex4 is the value of the \uXXXX at the start of b, or -1.
func hex4(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// literal reads a word such as true.
func (s *scanner) literal(word string) bool {
	if len(s.b)-s.i >= len(word) && string(s.b[s.i:s.i+len(word)]) == word {
		s.i += len(word)
		return true
	}
	return false
}

// param reads the value of a parameter.
func (s *scanner) param(name []byte) (p oip.Param, err error) {
	switch c := s.peek(); {
	case c == '"':
		name := string(name) // text may overwrite it
		t, err := s.text("")
		if err != nil {
			return p, fmt.Errorf("parameter %q: %w", name, err)
		}
		return oip.Param{Kind: oip.ParamText, Text: string(t)}, nil
	case s.literal("true"):
		return oip.Param{Kind: oip.ParamBool, Bool: true}, nil
	case s.literal("false"):
		return oip.Param{Kind: oip.ParamBool}, nil
	}
	v, next, err := jsonnum.Int(s.b, s.i, 64)
	p = oip.Param{Kind: oip.ParamInt, Int: v}
	if err == jsonnum.ErrInteger || err == jsonnum.ErrRange {
		p = oip.Param{Kind: oip.ParamFloat}
		p.Float, next, err = jsonnum.Float64(s.b, s.i)
	}
	if err != nil {
		return p, s.errorf("parameter %q: expected a string, a number, true or false, found %s", name, s.found())
	}
	s.i = next
	return p, nil
}

// skipArray reads an array of scalars and arrays, at most maxDepth deep, without looking at them closely.
func (s *scanner) skipArray(maxDepth int) error {
	if s.peek() != '[' {
		return s.errorf("expected an array of tensor elements, found %s", s.found())
	}
	for depth := 0; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '[':
			if depth++; depth > maxDepth {
				return s.errorf("expected arrays nested at most %d deep", maxDepth)
			}
		case ']':
			if depth--; depth == 0 {
				s.i++
				return nil
			}
		case '"':
			s.skipText()
		case '{', '}':
			return s.errorf("expected tensor elements, found %s", s.found())
		}
	}
	return s.errorf("expected ']' at the end of an array, found the end of the request")
}

// skipText moves from a string's first quote to its last one.
func (s *scanner) skipText() {
	for s.i++; s.i < len(s.b) && s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			s.i++
		}
	}
}
