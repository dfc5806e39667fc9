package chat

import (
	"strings"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// A dialect is a form in which an answer consists of messages with headers. The prompt
// ends within the first header, behind <|start|>assistant.
type dialect struct {
	ends []string // what a message may end with
	// head reads a header.
	head func(text string) (kind messageKind, function string)
	// call reads the text of a call.
	call func(text, function string, t tools) (call, bool)
}

// harmony is gpt-oss's dialect:
//
//	<|channel|>analysis<|message|>reasoning<|end|><|start|>assistant<|channel|>final<|message|>text<|return|>
//	<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
var harmony = &dialect{
	ends: []string{"<|end|>", "<|return|>", "<|call|>", messagesStart},
	head: func(text string) (messageKind, string) {
		_, channel, _ := strings.Cut(text, "<|channel|>")
		name, isFunction := strings.CutPrefix(recipient(text), "functions.")
		switch {
		case isFunction && name != "":
			return bodyCall, name
		case strings.HasPrefix(channel, "analysis"):
			return bodyReasoning, ""
		}
		return bodyText, ""
	},
	call: func(text, function string, _ tools) (call, bool) {
		v, err := jinja.DecodeJSON(text)
		m, ok := v.(*jinja.Map)
		if err != nil || !ok {
			return call{}, false
		}
		arguments, err := jinja.ToJSON(m)
		return call{"", function, arguments}, err == nil
	},
}

// atem is a dialect that says by recipients what a message is, and calls by tags:
//
//	to=self<|message|>reasoning<|eom|><|start|>assistant to=user<|message|>text<|eot|>
//	to=NAME<|message|><atem:function_calls>…</atem:function_calls><|eot|>
var atem = &dialect{
	ends: []string{"<|eom|>", "<|eot|>", messagesStart},
	head: func(text string) (messageKind, string) {
		switch to := recipient(text); to {
		case "", "user":
			return bodyText, ""
		case "self":
			return bodyReasoning, ""
		default:
			return bodyCall, to
		}
	},
	call: func(text, _ string, t tools) (call, bool) {
		c := &cursor{s: text, end: true}
		f := invokeForm("atem:", "<atem:function_calls>")
		c.space()
		calls := f.read(c, t)
		c.space()
		c.closing("</atem:function_calls>")
		c.space()
		if !c.ok() || c.rest() != "" {
			return call{}, false
		}
		return calls[0], true
	},
}

// recipient is what a header says behind to=.
func recipient(head string) string {
	_, to, _ := strings.Cut(head, "to=")
	if n := strings.IndexAny(to, whitespace+"<"); n >= 0 {
		to = to[:n]
	}
	return to
}

// messages reads an answer in a dialect.
type messages struct {
	*dialect
	continued bool // the answer goes on within a text
	inBody    bool
	began     bool // something was read
	kind      messageKind
	name      string // of the function that is called
	written   string // the header
	searched  int    // how much of a call's text has no end
}

type messageKind uint8

const (
	bodyText messageKind = iota
	bodyReasoning
	bodyCall
)

const (
	messagesStart = "<|start|>"
	messagesText  = "<|message|>"
)

// inCall reports whether the text of a call is being read; all that ends it has a ">".
func (h *messages) inCall() bool { return h != nil && h.inBody && h.kind == bodyCall }

func (h *messages) step(p *Parser, end bool) bool {
	if h.continued && !h.began {
		h.began, h.inBody = true, true
	}
	if h.inBody {
		return h.body(p, end)
	}
	return h.header(p, end)
}

// header reads up to a message's text.
func (h *messages) header(p *Parser, end bool) bool {
	n := strings.Index(p.buf, messagesText)
	if n < 0 && !end && mayBeHead(p.buf, false) {
		return false
	}
	if n < 0 && end { // a header without a message
		if h.kind = bodyText; strings.TrimSpace(p.buf) != "" {
			h.give(p, p.buf)
		}
		p.buf = ""
		return false
	}
	if n < 0 || !mayBeHead(p.buf[:n], true) { // no channels: text
		h.inBody, h.began, h.kind, h.written, h.searched = true, true, bodyText, "", 0
		return true
	}
	h.written = p.buf[:n+len(messagesText)]
	h.kind, h.name = h.dialect.head(p.buf[:n])
	if h.kind == bodyCall && len(p.tools) == 0 {
		h.kind = bodyText
	}
	h.inBody, h.began, h.searched = true, true, 0
	p.buf = p.buf[len(h.written):]
	return true
}

// mayBeHead reports whether text can begin a header, or, where all of it is there, be one.
func mayBeHead(text string, whole bool) bool {
	text = strings.TrimLeft(text, whitespace)
	for _, begin := range []string{messagesStart, messagesText, "<|channel|>", "to=", "assistant", "<|constrain|>"} {
		if strings.HasPrefix(text, begin) || !whole && strings.HasPrefix(begin, text) {
			return true
		}
	}
	return text == ""
}

// body reads a message's text up to what ends it.
func (h *messages) body(p *Parser, end bool) bool {
	at, marker, keep := -1, "", 0
	for _, m := range h.ends {
		if i := strings.Index(p.buf[h.searched:], m); i >= 0 && (at < 0 || h.searched+i < at) {
			at, marker = h.searched+i, m
		}
		keep = max(keep, partial(p.buf, m))
	}
	if at >= 0 {
		h.give(p, p.buf[:at])
		if p.buf = p.buf[at:]; marker != messagesStart {
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
	n := len(p.buf) - keep
	if h.kind == bodyCall {
		h.searched = n
		return false
	}
	if n > 0 {
		p.emit(p.buf[:n], h.kind == bodyReasoning)
	}
	p.buf = p.buf[n:]
	return false
}

// give gives the last of a message's text, or the call that it is.
func (h *messages) give(p *Parser, text string) {
	if h.kind == bodyCall {
		if c, ok := h.call(text, h.name, p.tools); ok {
			p.addCalls([]call{c})
			return
		}
		text = h.written + text
	}
	if text != "" {
		p.emit(text, h.kind == bodyReasoning)
	}
}
