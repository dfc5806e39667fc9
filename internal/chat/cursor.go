package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// A cursor reads what may be a call. It is a pure function of the text: once a
// longer text can't change the outcome it is bad or has read to the end of the call; until
// then it is short. After either, all further reading does nothing.
type cursor struct {
	s          string
	i          int
	end        bool // no more text will come
	short, bad bool
}

func (c *cursor) ok() bool { return !c.short && !c.bad }

func (c *cursor) rest() string { return c.s[c.i:] }

// fail notes that the text is no call, or that it may still become one.
func (c *cursor) fail(undecided bool) {
	if c.ok() {
		c.short = undecided && !c.end
		c.bad = !c.short
	}
}

// back returns to an earlier place, to read from there what may be a call.
func (c *cursor) back(i int) {
	if c.ok() {
		c.i = i
	}
}

func (c *cursor) space() {
	if c.ok() {
		c.i = len(c.s) - len(strings.TrimLeft(c.rest(), whitespace))
	}
}

const whitespace = " \t\r\n"

// has moves behind a marker if it comes next.
func (c *cursor) has(marker string) bool {
	if !c.ok() {
		return false
	}
	if strings.HasPrefix(c.rest(), marker) {
		c.i += len(marker)
		return true
	}
	if !c.end && strings.HasPrefix(marker, c.rest()) {
		c.fail(true)
	}
	return false
}

// lit expects a marker.
func (c *cursor) lit(marker string) {
	if !c.has(marker) {
		c.fail(false)
	}
}

// closing expects a marker that the end of the text may cut off or stand for.
func (c *cursor) closing(marker string) {
	if c.ok() && c.end && strings.HasPrefix(marker, c.rest()) {
		c.i = len(c.s)
		return
	}
	c.lit(marker)
}

// until gives the text before a marker and moves behind it.
func (c *cursor) until(marker string) string {
	if !c.ok() {
		return ""
	}
	n := strings.Index(c.rest(), marker)
	if n < 0 {
		c.fail(true)
		return ""
	}
	text := c.rest()[:n]
	c.i += n + len(marker)
	return text
}

// word reads the name of a function.
func (c *cursor) word() string {
	if !c.ok() {
		return ""
	}
	n := strings.IndexFunc(c.rest(), func(r rune) bool { return !isWord(r) })
	if n < 0 {
		c.fail(true)
		return ""
	}
	if n == 0 {
		c.fail(false)
	}
	name := c.rest()[:n]
	c.i += n
	return name
}

func isWord(r rune) bool {
	return r == '_' || r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x80
}

// json reads an object or an array.
func (c *cursor) json() any {
	c.space()
	if !c.ok() {
		return nil
	}
	n := jsonEnd(c.rest())
	if n <= 0 {
		c.fail(n == 0)
		return nil
	}
	v, err := jinja.DecodeJSON(c.rest()[:n])
	if err != nil {
		c.fail(false)
		return nil
	}
	c.i += n
	return v
}

// object reads an object.
func (c *cursor) object() *jinja.Map {
	m, ok := c.json().(*jinja.Map)
	if !ok {
		c.fail(false)
	}
	return m
}

// jsonEnd gives the length of the object or array at the start of s, 0 if it has no
// end yet, and -1 if there is none.
func jsonEnd(s string) int {
	if s == "" {
		return 0
	}
	if s[0] != '{' && s[0] != '[' {
		return -1
	}
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}
