package image

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Recipes are a small part of YAML: one mapping, in block or flow style, of
// names to scalars or lists of scalars. What it reads, a YAML parser reads as
// the same; all else (nesting, anchors, tags, values of several lines) is
// refused with the line. A whole parser would be a thirtieth of the program.

// yamlField is one name of a recipe with what stands behind it.
type yamlField struct {
	name   string
	line   int
	list   bool // [a, b], or lines of "- a"
	values []yamlScalar
}

// yamlScalar is a value as it was written, without its quotes.
type yamlScalar struct {
	text   string
	line   int
	quoted bool
}

// null says whether the value states nothing.
func (s yamlScalar) null() bool {
	switch s.text {
	case "", "~", "null", "Null", "NULL":
		return !s.quoted
	}
	return false
}

type yamlReader struct {
	text  string
	at    int
	line  int // of at, from 1
	begin int // where that line begins
}

// readYAML gives the fields of a recipe in their order.
func readYAML(data []byte) ([]yamlField, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("expected text in UTF-8")
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	r := &yamlReader{text: text, line: 1}
	for i, c := range text {
		if c != '\n' && c != '\t' && !unicode.IsPrint(c) {
			return nil, fmt.Errorf("line %d: expected text, found the character %U", 1+strings.Count(text[:i], "\n"), c)
		}
	}
	r.blanks()
	if r.marker("---") {
		r.blanks()
	}
	var fields []yamlField
	var err error
	switch {
	case r.ended() || r.atMarker("..."):
	case r.peek() == '{':
		fields, err = r.flow()
	default:
		fields, err = r.block()
	}
	if err != nil {
		return nil, err
	}
	r.blanks()
	if r.marker("...") {
		r.blanks()
	}
	if !r.ended() {
		return nil, r.expected("the end of the recipe")
	}
	return fields, nil
}

func (r *yamlReader) ended() bool { return r.at == len(r.text) }

// peek gives the next byte, a line feed at the end.
func (r *yamlReader) peek() byte { return r.peekAt(0) }

func (r *yamlReader) peekAt(n int) byte {
	if r.at+n >= len(r.text) {
		return '\n'
	}
	return r.text[r.at+n]
}

func (r *yamlReader) column() int { return r.at - r.begin }

// expected says what should stand where the reader is, and what does.
func (r *yamlReader) expected(what string) error {
	found, _, _ := strings.Cut(r.text[r.at:], "\n")
	if len(found) > 40 {
		found = strings.ToValidUTF8(found[:40], "") + "…"
	}
	if found == "" {
		return fmt.Errorf("line %d: expected %s, found the end of the line", r.line, what)
	}
	return fmt.Errorf("line %d: expected %s, found %q", r.line, what, found)
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// spaces goes to the next byte on the line that is neither blank nor comment.
func (r *yamlReader) spaces() {
	start := r.at
	for !r.ended() && blank(r.peek()) {
		r.at++
	}
	if r.peek() == '#' && (r.at > start || r.column() == 0) {
		for !r.ended() && r.peek() != '\n' {
			r.at++
		}
	}
}

// blanks goes to the next byte that is neither blank nor comment.
func (r *yamlReader) blanks() {
	for r.spaces(); !r.ended() && r.peek() == '\n'; r.spaces() {
		r.at++
		r.line++
		r.begin = r.at
	}
}

func (r *yamlReader) atMarker(m string) bool {
	return r.column() == 0 && strings.HasPrefix(r.text[r.at:], m) && (blank(r.peekAt(len(m))) || r.peekAt(len(m)) == '\n')
}

func (r *yamlReader) marker(m string) bool {
	if !r.atMarker(m) {
		return false
	}
	r.at += len(m)
	return true
}

// block reads fields of one line each, all from the same column.
func (r *yamlReader) block() (fields []yamlField, err error) {
	column := r.column()
	for !r.ended() && !r.atMarker("...") {
		if r.column() != column || strings.Contains(r.text[r.begin:r.at], "\t") {
			return nil, r.expected(fmt.Sprintf("a field after %d spaces", column))
		}
		f := yamlField{line: r.line}
		if f.name, err = r.name(false); err != nil {
			return nil, err
		}
		r.spaces()
		switch {
		case r.peek() == '[':
			f.list = true
			f.values, err = r.list()
		case r.peek() == '\n':
			f.list, f.values, err = r.items(column)
		default:
			f.values, err = r.one(false)
		}
		if err != nil {
			return nil, err
		}
		if r.spaces(); r.peek() != '\n' {
			return nil, r.expected("the end of the line")
		}
		fields = append(fields, f)
		r.blanks()
	}
	return fields, nil
}

// items reads the lines of "- value" below a field whose own line says nothing.
func (r *yamlReader) items(column int) (list bool, values []yamlScalar, err error) {
	item := func() bool { return r.peek() == '-' && (blank(r.peekAt(1)) || r.peekAt(1) == '\n') }
	back := *r
	r.blanks()
	at := r.column()
	if at < column || !item() {
		*r = back
		return false, nil, nil
	}
	for r.column() == at && item() {
		if strings.Contains(r.text[r.begin:r.at], "\t") {
			return true, nil, r.expected("spaces before an item")
		}
		r.at++
		r.spaces()
		s, err := r.scalar(false)
		if err != nil {
			return true, nil, err
		}
		values = append(values, s)
		if r.spaces(); r.peek() != '\n' {
			return true, nil, r.expected("the end of the line")
		}
		back = *r
		r.blanks()
	}
	*r = back
	return true, values, nil
}

// flow reads {name: value, …}.
func (r *yamlReader) flow() (fields []yamlField, err error) {
	r.at++
	for r.blanks(); r.peek() != '}'; r.blanks() {
		f := yamlField{line: r.line}
		if f.name, err = r.name(true); err != nil {
			return nil, err
		}
		r.blanks()
		if r.peek() == '[' {
			f.list = true
			f.values, err = r.list()
		} else {
			f.values, err = r.one(true)
		}
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
		if err := r.comma('}'); err != nil {
			return nil, err
		}
	}
	r.at++
	return fields, nil
}

// list reads [value, …].
func (r *yamlReader) list() (values []yamlScalar, err error) {
	r.at++
	for r.blanks(); r.peek() != ']'; r.blanks() {
		s, err := r.scalar(true)
		if err != nil {
			return nil, err
		}
		if s.text == "" && !s.quoted {
			return nil, r.expected("a value")
		}
		values = append(values, s)
		if err := r.comma(']'); err != nil {
			return nil, err
		}
	}
	r.at++
	return values, nil
}

// comma goes over a comma, or stays before the end.
func (r *yamlReader) comma(end byte) error {
	r.blanks()
	switch r.peek() {
	case end:
	case ',':
		r.at++
	default:
		return r.expected(fmt.Sprintf("a comma or %q", end))
	}
	return nil
}

// name reads a field's name and the colon behind it.
func (r *yamlReader) name(flow bool) (string, error) {
	s, err := r.scalar(flow)
	if err != nil {
		return "", err
	}
	for blank(r.peek()) {
		r.at++
	}
	if s.text == "" || r.peek() != ':' || !blank(r.peekAt(1)) && r.peekAt(1) != '\n' && !(flow && s.quoted) {
		return "", r.expected("a name and a colon")
	}
	r.at++
	return s.text, nil
}

func (r *yamlReader) one(flow bool) ([]yamlScalar, error) {
	s, err := r.scalar(flow)
	return []yamlScalar{s}, err
}

// scalar reads a quoted or plain value that ends on this line.
func (r *yamlReader) scalar(flow bool) (yamlScalar, error) {
	s := yamlScalar{line: r.line}
	switch c := r.peek(); c {
	case '"', '\'':
		var err error
		s.quoted = true
		s.text, err = r.quoted(c)
		return s, err
	case '-', '?', ':':
		if next := r.peekAt(1); blank(next) || next == '\n' || flow && strings.IndexByte(",[]{}", next) >= 0 {
			return s, r.expected("a value")
		}
	case '&', '*', '!', '|', '>', '%', '@', '`', '#', '[', '{', ']', '}', ',':
		if flow && (c == ',' || c == '}') {
			return s, nil
		}
		return s, r.expected("one plain or quoted value")
	}
	start := r.at
	for !r.ended() && !r.plainEnds(flow) {
		r.at++
	}
	s.text = strings.TrimRight(r.text[start:r.at], " \t")
	r.at = start + len(s.text)
	return s, nil
}

// plainEnds says whether a plain value ends before the next byte.
func (r *yamlReader) plainEnds(flow bool) bool {
	inFlow := func(c byte) bool { return flow && strings.IndexByte(",[]{}", c) >= 0 }
	switch c := r.peek(); c {
	case '\n':
		return true
	case '#':
		return blank(r.text[r.at-1])
	case ':':
		next := r.peekAt(1)
		return blank(next) || next == '\n' || inFlow(next)
	default:
		return inFlow(c)
	}
}

// quoted reads text between quotes, on one line. Of the escapes of double
// quotes it knows those of the quote and of the backslash.
func (r *yamlReader) quoted(quote byte) (string, error) {
	var b strings.Builder
	for r.at++; ; r.at++ {
		c := r.peek()
		switch {
		case c == '\n':
			return "", r.expected(fmt.Sprintf("a closing %q on the same line", quote))
		case c == quote && quote == '\'' && r.peekAt(1) == '\'':
			r.at++
		case c == quote:
			r.at++
			return b.String(), nil
		case c == '\\' && quote == '"':
			r.at++
			if c = r.peek(); c != '"' && c != '\\' {
				return "", r.expected(`\" or \\`)
			}
		}
		b.WriteByte(c)
	}
}
