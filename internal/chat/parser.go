package chat

import "strings"

// Delta is what an answer gained.
type Delta struct {
	Content   string
	Reasoning string
	ToolCalls []ToolCallDelta // one at most
}

// ToolCallDelta is a tool call, or more of one. A call comes whole, when it is known to
// be one; ID is "" where the model gives none.
type ToolCallDelta struct {
	Index     int // of the call in the answer, from 0
	ID        string
	Name      string
	Arguments string // JSON
}

// Parser tells text, reasoning and tool calls of an answer apart. It is for one answer.
type Parser struct {
	form  form
	tools tools
	calls *callForm       // nil if none are looked for
	buf   string          // what is not decided yet
	later strings.Builder // what follows it and can't decide anything

	thinks  string // the marker that ends the reasoning which the text is in, or ""
	fresh   bool   // no text since the beginning or the last marker
	skip    bool   // white space that comes next stands beside a marker
	gap     string // white space before the call that is being read
	inCall  string // the marker that began it, or ""
	reread  int    // bytes that were read in search of the ends of calls
	implied int    // how much of buf the prompt wrote and not the model
	count   int    // calls
	out     []Delta

	messages *messages // of a form that has them, or nil
}

// Parser gives a parser for the answer to a conversation. Tool calls are looked
// for only if the conversation has tools.
func (t *Template) Parser(c Conversation) *Parser {
	p := &Parser{form: t.form, tools: toolsOf(c.Tools), fresh: true}
	if p.form.messages != nil {
		p.messages = &messages{dialect: p.form.messages, continued: c.ContinueFinalMessage}
		return p
	}
	if p.form.calls != nil && (len(c.Tools) > 0 || p.form.calls.always) {
		p.calls = p.form.calls
	}
	if prompt, err := t.Render(c); err == nil { // otherwise there will be no answer
		p.begin(prompt, c)
	}
	return p
}

// begin finds out whether the prompt has begun what the model goes on with.
func (p *Parser) begin(prompt string, c Conversation) {
	prompt = strings.TrimRight(prompt, whitespace)
	for _, t := range p.form.thinks {
		open := strings.TrimSpace(t.open)
		if c.ContinueFinalMessage {
			final := c.Messages[len(c.Messages)-1]
			text := final.Content + strings.Join(final.Parts, "")
			if strings.LastIndex(text, open) > strings.LastIndex(text, t.close) {
				p.thinks = t.close
			}
		} else if strings.HasSuffix(prompt, open) {
			p.thinks, p.skip = t.close, true
		}
	}
	if p.calls != nil && p.calls.implied != "" && strings.HasSuffix(prompt, p.calls.implied) {
		p.buf, p.implied = p.calls.implied, len(p.calls.implied)
	}
}

// Tools reports whether the template's form of tool calls is known.
func (p *Parser) Tools() bool { return p.form.messages != nil || p.form.calls != nil }

// Special reports whether the parser looks for markers that may be special tokens, so that
// these must stay in the text that it is given.
func (p *Parser) Special() bool {
	return p.form.messages != nil || p.calls != nil || len(p.form.thinks) > 0 || len(p.form.drop) > 0
}

// shortCall is how long a call may be and still be read anew for each piece of text, so
// that what turns out to be none is given at once.
const shortCall = 128

// Push takes more of the answer's text and gives what is decided by it.
func (p *Parser) Push(text string) []Delta {
	if p.messages.inCall() && !strings.Contains(text, ">") || p.inCall != "" && len(p.buf) > shortCall && !p.mayEnd(text) {
		p.later.WriteString(text) // a long call isn't copied for each token
		return nil
	}
	return p.run(text, false)
}

// maxReread is how much is read in search of the ends of calls before they are looked
// for seldom: an answer of many brackets takes no time that grows with its square.
const maxReread = 8 << 20

// mayEnd reports whether the end of a long call is worth looking for, now that text has come.
func (p *Parser) mayEnd(text string) bool {
	return strings.ContainsAny(text, closers) && (p.reread < maxReread || p.later.Len() >= len(p.buf)/4)
}

// Finish gives what was held back. Nothing may be pushed after it.
func (p *Parser) Finish() []Delta { return p.run("", true) }

func (p *Parser) run(text string, end bool) []Delta {
	p.buf += p.later.String() + text
	p.later.Reset()
	if p.messages != nil {
		for p.messages.step(p, end) {
		}
	} else {
		for p.step(end) {
		}
	}
	out := p.out
	p.out = nil
	return out
}

// step decides about the beginning of buf; it reports whether there is more to decide.
func (p *Parser) step(end bool) bool {
	if p.inCall != "" {
		return p.readCall(end)
	}
	marker, at := p.nextMarker()
	if at < 0 {
		p.plain(end)
		return false
	}
	before := p.buf[:at]
	trimmed := strings.TrimRight(before, whitespace)
	switch {
	case p.thinks != "" && marker == p.thinks:
		p.text(trimmed)
		p.leave(at+len(marker), "")
	case p.isCall(marker):
		p.text(trimmed)
		p.gap, p.inCall = before[len(trimmed):], marker
		p.buf = p.buf[at:]
	default:
		p.text(trimmed)
		p.leave(at+len(marker), p.closeOf(marker))
	}
	return true
}

// leave moves behind a marker, into reasoning if thinks is what ends it.
func (p *Parser) leave(n int, thinks string) {
	p.buf, p.thinks = p.buf[n:], thinks
	p.fresh, p.skip = true, true
}

// closeOf gives what ends the reasoning that a marker begins, or "".
func (p *Parser) closeOf(marker string) string {
	for _, t := range p.form.thinks {
		if t.open == marker {
			return t.close
		}
	}
	return ""
}

func (p *Parser) isCall(marker string) bool {
	if p.calls == nil {
		return false
	}
	for _, o := range p.calls.opens {
		if o == marker {
			return true
		}
	}
	return marker == p.calls.bare
}

// markers calls f with each marker that counts here; one that is atStart counts only
// where no text stands before it.
func (p *Parser) markers(f func(marker string, atStart bool)) {
	if p.thinks != "" {
		f(p.thinks, false)
		if p.calls != nil && p.calls.interrupts {
			f(p.calls.opens[0], false)
		}
		return
	}
	for _, t := range p.form.thinks {
		f(t.open, true)
	}
	for _, d := range p.form.drop {
		f(d, false)
	}
	if p.calls == nil {
		return
	}
	for _, o := range p.calls.opens {
		f(o, false)
	}
	if p.count > 0 {
		for _, a := range p.calls.after {
			f(a, true)
		}
	}
	if p.calls.bare != "" {
		f(p.calls.bare, true)
	}
}

// start is the index of the first text in buf, or -1 if a marker can't stand there
// as the first.
func (p *Parser) start() int {
	if !p.fresh {
		return -1
	}
	return len(p.buf) - len(strings.TrimLeft(p.buf, whitespace))
}

// nextMarker finds the first marker in buf; it is at -1 if there is none.
func (p *Parser) nextMarker() (marker string, at int) {
	at = -1
	start := p.start()
	p.markers(func(m string, atStart bool) {
		i := strings.Index(p.buf, m)
		if atStart && i != start || i < 0 || at >= 0 && i >= at {
			return
		}
		marker, at = m, i
	})
	return marker, at
}

// plain gives the text of buf, but for what may be the beginning of a marker and
// the white space before it.
func (p *Parser) plain(end bool) {
	keep := 0
	if !end {
		start := p.start()
		p.markers(func(m string, atStart bool) {
			n := partial(p.buf, m)
			if !atStart || len(p.buf)-n == start {
				keep = max(keep, n)
			}
		})
	}
	n := len(p.buf) - keep
	if !end {
		n = len(strings.TrimRight(p.buf[:n], whitespace))
	}
	p.text(p.buf[:n])
	p.buf = p.buf[n:]
}

// partial gives the length of the longest end of s that begins marker.
func partial(s, marker string) int {
	for n := min(len(s), len(marker)-1); n > 0; n-- {
		if s[len(s)-n:] == marker[:n] {
			return n
		}
	}
	return 0
}

// text gives text of the kind that the answer is in.
func (p *Parser) text(s string) {
	if p.skip {
		s = strings.TrimLeft(s, whitespace)
	}
	if s == "" {
		return
	}
	p.skip = false
	if strings.TrimLeft(s, whitespace) != "" {
		p.fresh = false
	}
	p.emit(s, p.thinks != "")
}

func (p *Parser) emit(s string, reasoning bool) {
	d := Delta{Content: s}
	if reasoning {
		d = Delta{Reasoning: s}
	}
	if n := len(p.out); n > 0 && p.out[n-1].ToolCalls == nil && (p.out[n-1].Reasoning != "") == reasoning {
		p.out[n-1].Content += d.Content
		p.out[n-1].Reasoning += d.Reasoning
		return
	}
	p.out = append(p.out, d)
}

// closers are the characters of which one decides, at the latest, whether a text is a call.
const closers = ">]})`:;\n"

// readCall reads the call at the beginning of buf, if all of it is there.
func (p *Parser) readCall(end bool) bool {
	p.reread += len(p.buf)
	c := &cursor{s: p.buf, end: end}
	calls := p.calls.read(c, p.tools)
	switch {
	case c.short:
		return false
	case c.bad:
		p.noCall()
	default:
		p.addCalls(calls)
		p.inCall, p.implied = "", 0
		p.leave(c.i, "")
	}
	return true
}

// noCall goes on behind a marker that began no call: it is text.
func (p *Parser) noCall() {
	marker := p.inCall
	p.inCall = ""
	p.buf = p.buf[len(marker):]
	p.text(p.gap)
	p.text(marker[p.implied:])
	p.implied = 0
	p.fresh = false
}

func (p *Parser) addCalls(calls []call) {
	for _, c := range calls {
		p.out = append(p.out, Delta{ToolCalls: []ToolCallDelta{{p.count, c.id, c.name, c.arguments}}})
		p.count++
	}
}
