package repo

import (
	"strings"
	"unicode/utf8"
)

// Bounds of a configuration file.
const (
	maxConfigBytes = 1 << 20
	maxConfigDepth = 32
)

// message is a parsed message: its fields in the order of the file, with the
// elements of a list as fields of their own.
type message struct {
	fields []field
}

// field is a field with one value: a message, or a scalar as written.
type field struct {
	name string
	pos  pos // of the name
	at   pos // of the value
	msg  *message
	kind tokenKind // of a scalar
	text string    // of a scalar, with its sign
}

// parseText reads the protobuf text format. It knows no message types: those
// are checked afterwards, so that all problems can be told at once.
// Specification: https://protobuf.dev/reference/protobuf/textformat-spec/
func parseText(src []byte) (m *message, problem *Problem) {
	if len(src) > maxConfigBytes {
		return nil, &Problem{Line: 1, Col: 1, Message: "the file is larger than 1 MiB"}
	}
	if !utf8.Valid(src) {
		return nil, &Problem{Line: 1, Col: 1, Message: "the file is not UTF-8 text"}
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			m, problem = nil, &Problem{Line: e.pos.line, Col: e.pos.col, Message: e.msg}
		}
	}()
	p := &parser{lexer: lexer{src: strings.TrimPrefix(string(src), "\ufeff"), line: 1}}
	p.advance()
	m = p.message("", 0)
	return m, nil
}

type parser struct {
	lexer
	tok token
}

func (p *parser) advance() { p.tok = p.next() }

func (p *parser) is(punct string) bool { return p.tok.kind == tokPunct && p.tok.text == punct }

func (p *parser) accept(punct string) bool {
	if p.is(punct) {
		p.advance()
		return true
	}
	return false
}

// message reads fields up to the closing bracket, which is taken, or the end of the file if that is "".
func (p *parser) message(closing string, depth int) *message {
	m := &message{}
	if depth > maxConfigDepth {
		p.failf(p.tok.pos, "messages are nested more than %d deep", maxConfigDepth)
	}
	for {
		switch {
		case p.tok.kind == tokEOF && closing == "":
			return m
		case closing != "" && p.accept(closing):
			return m
		case p.tok.kind == tokEOF:
			p.failf(p.tok.pos, "expected %q, found the end of the file", closing)
		case p.is("["):
			p.failf(p.tok.pos, "extension and Any fields are not supported")
		case p.tok.kind != tokIdent:
			p.failf(p.tok.pos, "expected a field name, found %s", p.tok)
		}
		p.field(m, depth)
		if !p.accept(",") {
			p.accept(";")
		}
	}
}

func (p *parser) field(m *message, depth int) {
	f := field{name: p.tok.text, pos: p.tok.pos}
	p.advance()
	colon := p.accept(":")
	if !p.is("[") {
		p.value(&f, colon, depth)
		m.fields = append(m.fields, f)
		return
	}
	p.advance()
	for !p.accept("]") {
		p.value(&f, colon, depth)
		m.fields = append(m.fields, f)
		if !p.accept(",") && !p.is("]") {
			p.failf(p.tok.pos, "expected ',' or ']' in the list of %s, found %s", f.name, p.tok)
		}
	}
}

func (p *parser) value(f *field, colon bool, depth int) {
	f.at, f.msg, f.text = p.tok.pos, nil, ""
	switch {
	case p.accept("{"):
		f.msg = p.message("}", depth+1)
	case p.accept("<"):
		f.msg = p.message(">", depth+1)
	case !colon:
		p.failf(p.tok.pos, "expected ':' or a message after %s, found %s", f.name, p.tok)
	default:
		p.scalar(f)
	}
}

func (p *parser) scalar(f *field) {
	sign := ""
	if p.accept("-") {
		sign = "-"
	}
	f.kind, f.text = p.tok.kind, sign+p.tok.text
	switch {
	case p.tok.kind == tokString && sign == "":
		p.advance()
		var b strings.Builder
		b.WriteString(f.text)
		for p.tok.kind == tokString { // adjacent literals are one
			b.WriteString(p.tok.text)
			p.advance()
		}
		f.text = b.String()
		return
	case p.tok.kind == tokNumber, p.tok.kind == tokIdent:
		p.advance()
		return
	}
	p.failf(p.tok.pos, "expected a value for %s, found %s", f.name, p.tok)
}
