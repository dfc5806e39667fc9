package token

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Vocabularies and merges make up nearly all of a tokenizer.json. They are read
// by a scanner of their own, whose strings are parts of the file's text.

// scored is a piece of a vocabulary.
type scored struct {
	piece string
	id    int32
	score float64
}

// scanner reads the parts of a JSON text that it is asked for, and skips others
// unchecked. Its first error stays.
type scanner struct {
	s   string
	at  int
	err error
}

func (s *scanner) space() {
	for s.at < len(s.s) && strings.IndexByte(" \t\r\n", s.s[s.at]) >= 0 {
		s.at++
	}
}

// take consumes c if it is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.s) && s.s[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) expect(c byte) {
	if !s.take(c) {
		s.fail("expected %q", c)
	}
}

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		end := min(len(s.s), s.at+20)
		s.err = fmt.Errorf("%s, found %q", fmt.Sprintf(format, args...), s.s[min(s.at, end):end])
	}
}

// next reports whether another element comes before the closing bracket.
func (s *scanner) next(first bool, end byte) bool {
	if s.err != nil || s.take(end) {
		return false
	}
	if !first {
		s.expect(',')
	}
	return s.err == nil
}

// quoted consumes a string and gives it with its quotes.
func (s *scanner) quoted() string {
	s.space()
	start := s.at
	s.expect('"')
	for s.at < len(s.s) && s.s[s.at] != '"' {
		if s.s[s.at] == '\\' {
			s.at++
		}
		s.at++
	}
	if s.at >= len(s.s) {
		s.at = len(s.s)
		s.fail("a string has no end")
		return ""
	}
	s.at++
	return s.s[start:s.at]
}

func (s *scanner) text() string {
	quoted := s.quoted()
	if s.err != nil {
		return ""
	}
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var out string
	if err := json.Unmarshal([]byte(quoted), &out); err != nil {
		s.fail("%v", err)
	}
	return out
}

func (s *scanner) number() float64 {
	x, _ := s.digits()
	return x
}

// digits consumes a number, and gives its text, too.
func (s *scanner) digits() (float64, string) {
	s.space()
	start := s.at
	for s.at < len(s.s) && strings.IndexByte("+-.eE0123456789", s.s[s.at]) >= 0 {
		s.at++
	}
	text := s.s[start:s.at]
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		s.at = start
		s.fail("expected a number")
	}
	return x, text
}

// score consumes a number as the tokenizers library reads it: its first digits as an
// integer, divided by a power of ten, which can be one off in the last place. Where ways
// to cut a word have the same score, that decides between them.
func (s *scanner) score() float64 {
	x, text := s.digits()
	digits, sign := strings.TrimPrefix(text, "-"), 1.0
	if digits != text {
		sign = -1
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	if strings.ContainsAny(text, "eE+") || len(whole)+len(fraction) > 19 {
		return x
	}
	n, err := strconv.ParseUint(whole+fraction, 10, 64)
	if err != nil {
		return x
	}
	return sign * (float64(n) / math.Pow10(len(fraction)))
}

func (s *scanner) id() int32 {
	x := s.number()
	if x < 0 || x > math.MaxInt32 || x != math.Trunc(x) {
		s.fail("expected a token's number, not %v", x)
		return 0
	}
	return int32(x)
}

// value gives the text of the next value of any kind.
func (s *scanner) value() string {
	s.space()
	start, depth := s.at, 0
	for s.at < len(s.s) && s.err == nil {
		switch s.s[s.at] {
		case '"':
			s.quoted()
			s.at--
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				return s.s[start:s.at]
			}
		}
		if depth < 0 {
			return s.s[start:s.at]
		}
		s.at++
	}
	return s.s[start:s.at]
}

// scanObject gives the fields of an object, each once.
func scanObject(data string) (map[string]json.RawMessage, error) {
	s, fields := &scanner{s: data}, map[string]json.RawMessage{}
	s.expect('{')
	for first := true; s.next(first, '}'); first = false {
		key := s.text()
		s.expect(':')
		if _, double := fields[key]; double {
			s.fail("the field %q is there twice", key)
		}
		fields[key] = json.RawMessage(s.value())
	}
	if s.space(); s.err == nil && s.at < len(data) {
		s.fail("expected the end")
	}
	return fields, s.err
}

// scanNumbered reads {"piece": 5, …}.
func scanNumbered(data string) (list []scored, err error) {
	s := &scanner{s: data}
	s.expect('{')
	for first := true; s.next(first, '}'); first = false {
		p := scored{piece: s.text()}
		s.expect(':')
		p.id = s.id()
		list = append(list, p)
	}
	return list, s.err
}

// scanScored reads [["piece", -7.5], …], whose numbers are their places.
func scanScored(data string) (list []scored, err error) {
	s := &scanner{s: data}
	s.expect('[')
	for first := true; s.next(first, ']'); first = false {
		s.expect('[')
		p := scored{piece: s.text(), id: int32(len(list))}
		s.expect(',')
		p.score = s.score()
		s.expect(']')
		list = append(list, p)
	}
	return list, s.err
}

// scanMerges reads ["a b", …] or [["a", "b"], …].
func scanMerges(data string) (list [][2]string, err error) {
	if data == "" || data == "null" {
		return nil, nil
	}
	s := &scanner{s: data}
	s.expect('[')
	for first := true; s.next(first, ']'); first = false {
		if s.take('[') {
			left := s.text()
			s.expect(',')
			list = append(list, [2]string{left, s.text()})
			s.expect(']')
			continue
		}
		merge := s.text()
		if strings.HasPrefix(merge, "#version") {
			continue
		}
		left, right, ok := strings.Cut(merge, " ")
		if !ok || strings.Contains(right, " ") {
			s.fail("expected two pieces with a blank between, not %q", merge)
		}
		list = append(list, [2]string{left, right})
	}
	return list, s.err
}
