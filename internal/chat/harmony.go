package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// harmony reads gpt-oss's channels. The prompt ends with <|start|>assistant, and the model goes on
//
//	<|channel|>analysis<|message|>reasoning<|end|><|start|>assistant<|channel|>final<|message|>text<|return|>
//
// or calls a function:
//
//	<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
type harmony struct {
	continued bool // the answer goes on within a text
	inBody    bool
	began     bool // something was read
	kind      messageKind
	name      string // of the function that is called
	header    string // as it was written
}

type messageKind uint8

const (
	bodyText messageKind = iota
	bodyReasoning
	bodyCall
)

const (
	harmonyStart   = "<|start|>"
	harmonyMessage = "<|message|>"
)

// bodyEnds are what a message may end with.
var bodyEnds = []string{"<|end|>", "<|return|>", "<|call|>", harmonyStart}

func (h *harmony) step(p *Parser, end bool) bool {
	if h.continued && !h.began {
		h.began, h.inBody = true, true
	}
	if h.inBody {
		return h.body(p, end)
	}
	return h.head(p, end)
}

// head reads up to a message's text.
func (h *harmony) head(p *Parser, end bool) bool {
	n := strings.Index(p.buf, harmonyMessage)
	if n < 0 && !end && h.mayBeHead(p.buf) {
		return false
	}
	if n < 0 && end { // a header without a message
		if h.kind = bodyText; strings.TrimSpace(p.buf) != "" {
			h.give(p, p.buf)
		}
		p.buf = ""
		return false
	}
	if n < 0 || !h.mayBeHead(p.buf[:n]) { // no channels: text
		h.inBody, h.began, h.kind, h.header = true, true, bodyText, ""
		return true
	}
	h.header = p.buf[:n+len(harmonyMessage)]
	h.kind, h.name = headOf(p.buf[:n])
	if h.kind == bodyCall && len(p.tools) == 0 {
		h.kind = bodyText
	}
	h.inBody, h.began = true, true
	p.buf = p.buf[len(h.header):]
	return true
}

// mayBeHead reports whether text can begin a header.
func (h *harmony) mayBeHead(text string) bool {
	text = strings.TrimLeft(text, whitespace)
	for _, begin := range []string{harmonyStart, "<|channel|>", "to=", "assistant", "<|constrain|>"} {
		if strings.HasPrefix(text, begin) || strings.HasPrefix(begin, text) {
			return true
		}
	}
	return false
}

// headOf reads a header, such as "<|channel|>commentary to=functions.f <|constrain|>json".
func headOf(head string) (messageKind, string) {
	_, recipient, _ := strings.Cut(head, "to=")
	if n := strings.IndexAny(recipient, whitespace+"<"); n >= 0 {
		recipient = recipient[:n]
	}
	_, channel, _ := strings.Cut(head, "<|channel|>")
	name, isFunction := strings.CutPrefix(recipient, "functions.")
	switch {
	case isFunction && name != "":
		return bodyCall, name
	case strings.HasPrefix(channel, "analysis"):
		return bodyReasoning, ""
	}
	return bodyText, ""
}

// body reads a message's text up to what ends it.
func (h *harmony) body(p *Parser, end bool) bool {
	at, marker, keep := -1, "", 0
	for _, m := range bodyEnds {
		if i := strings.Index(p.buf, m); i >= 0 && (at < 0 || i < at) {
			at, marker = i, m
		}
		keep = max(keep, partial(p.buf, m))
	}
	if at >= 0 {
		h.give(p, p.buf[:at])
		if p.buf = p.buf[at:]; marker != harmonyStart {
			p.buf = p.buf[len(marker):]
		}
		h.inBody = false
		return true
	}
	if end {
		h.give(p, p.buf)
		p.buf = ""
		return false
	}
	if h.kind != bodyCall {
		n := len(p.buf) - keep
		if n > 0 {
			p.emit(p.buf[:n], h.kind == bodyReasoning)
		}
		p.buf = p.buf[n:]
	}
	return false
}

// give gives the last of a message's text, or the call that it is.
func (h *harmony) give(p *Parser, text string) {
	if h.kind == bodyCall {
		if m, err := jinja.DecodeJSON(text); err == nil {
			if arguments, ok := m.(*jinja.Map); ok {
				if s, err := jinja.ToJSON(arguments); err == nil {
					p.addCalls([]call{{"", h.name, s}})
					return
				}
			}
		}
		text = h.header + text
	}
	if text != "" {
		p.emit(text, h.kind == bodyReasoning)
	}
}
