package fields

import (
	"bytes"
	"strings"
)

// space is what may stand between the parts of JSON.
const space = " \t\r\n"

// scanner cuts valid JSON into its parts without copying them.
type scanner struct {
	b []byte
	i int
}

// more reports whether a part comes before the closing character; it passes a comma.
func (s *scanner) more(closing byte) bool {
	s.blank()
	if s.b[s.i] == ',' {
		s.i++
		s.blank()
	}
	return s.b[s.i] != closing
}

func (s *scanner) blank() {
	for strings.IndexByte(space, s.b[s.i]) >= 0 {
		s.i++
	}
}

// pass goes behind a character that has to come.
func (s *scanner) pass(c byte) {
	s.i += bytes.IndexByte(s.b[s.i:], c) + 1
	s.blank()
}

// value passes a value and gives it.
func (s *scanner) value() []byte {
	start, depth := s.i, 0
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.text()
			if depth == 0 {
				return s.b[start:s.i]
			}
			continue
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			if depth--; depth == 0 {
				s.i++
				return s.b[start:s.i]
			}
		case depth == 0 && strings.IndexByte(",}]"+space, c) >= 0:
			return s.b[start:s.i]
		}
		s.i++
	}
	return s.b[start:]
}

// text passes a string.
func (s *scanner) text() {
	for s.i++; s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			s.i++
		}
	}
	s.i++
}
