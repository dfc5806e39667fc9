package llm

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// reader turns the pieces of a request into events.
type reader struct {
	model     *Model
	request   *request
	emit      func(*textgen.Event) error
	choices   []*answer
	open      int
	generated int
}

// answer is a choice as its reader sees it.
type answer struct {
	index   int
	text    *token.Stream
	held    string // text that may be the beginning of a stop string
	done    bool
	sum     float64 // of logprobs
	count   int
	pending textgen.Event
	all     []textgen.Event // kept until the best are known
}

func newReader(m *Model, r *request, emit func(*textgen.Event) error) *reader {
	w := &reader{model: m, request: r, emit: emit, open: r.choices}
	for i := range r.choices {
		w.choices = append(w.choices, &answer{index: i, text: w.stream()})
	}
	return w
}

// textContext is how many tokens of the prompt decide how the next one is written:
// a character is four bytes at most, and a space at the beginning of a text may
// be none.
const textContext = 8

// stream decodes what comes after the prompt.
func (w *reader) stream() *token.Stream {
	s := w.model.tokenizer.Stream(!w.request.KeepSpecial)
	p := w.request.Prompt
	for _, id := range p[max(0, len(p)-textContext):] {
		s.Push(id)
	}
	return s
}

// choosing reports whether only the best of the answers are given.
func (w *reader) choosing() bool { return w.request.choices > max(w.request.N, 1) }

func (w *reader) read(ctx context.Context) error {
	var pieces []piece
	for w.open > 0 {
		select {
		case <-w.request.out.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pieces = w.request.out.take(pieces)
		for _, p := range pieces {
			if p.err != nil {
				return p.err
			}
			w.take(p)
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.choosing() {
		return w.giveBest()
	}
	return nil
}

// take adds a piece to its choice's event.
func (w *reader) take(p piece) {
	c := w.choices[p.choice]
	if p.prompt != nil {
		c.pending.Prompt = p.prompt
		return
	}
	if c.done {
		return // came while the engine did not know yet
	}
	w.generated++
	c.count++
	c.sum += float64(p.token.Logprob)
	c.pending.Tokens = append(c.pending.Tokens, p.token)
	if !p.end {
		c.held += c.text.Push(p.token.ID)
	}
	if p.finish != "" {
		c.held += c.text.Flush()
	}
	stopped := w.cut(c)
	switch {
	case stopped:
		c.pending.Finish = textgen.FinishStop
		if p.finish == "" {
			w.model.engine.end(w.request, p.choice)
		}
	case p.finish != "":
		c.pending.Text += c.held
		c.held = ""
		c.pending.Finish = p.finish
	}
	if c.pending.Finish != "" {
		c.done = true
		w.open--
	}
}

// cut moves text that is complete to the event: all but what may be the
// beginning of a stop string. It reports whether one is there.
func (w *reader) cut(c *answer) bool {
	if c.count <= w.request.MinTokens { // as vLLM does: what may not end the answer is not looked at later either
		c.pending.Text += c.held
		c.held = ""
		return false
	}
	at, stop := -1, ""
	for _, s := range w.request.Stop {
		if i := strings.Index(c.held, s); i >= 0 && (at < 0 || i < at) {
			at, stop = i, s
		}
	}
	if at >= 0 {
		if w.request.IncludeStop {
			at += len(stop)
		}
		c.pending.Text += c.held[:at]
		c.pending.Stop = stop
		c.held = ""
		return true
	}
	keep := 0
	for _, s := range w.request.Stop {
		keep = max(keep, overlap(c.held, s))
	}
	c.pending.Text += c.held[:len(c.held)-keep]
	c.held = c.held[len(c.held)-keep:]
	return false
}

// overlap is how much of the end of text is a beginning of s.
func overlap(text, s string) int {
	for n := min(len(text), len(s)-1); n > 0; n-- {
		if strings.HasSuffix(text, s[:n]) && utf8.RuneStart(text[len(text)-n]) {
			return n
		}
	}
	return 0
}

// flush gives the events that have something to say.
func (w *reader) flush() error {
	for _, c := range w.choices {
		e := &c.pending
		if e.Text == "" && e.Finish == "" && len(e.Prompt) == 0 && (len(e.Tokens) == 0 || w.request.Logprobs < 0) {
			continue
		}
		out := *e
		out.Choice = c.index
		c.pending = textgen.Event{}
		if w.choosing() {
			c.all = append(c.all, out)
			continue
		}
		if err := w.emit(&out); err != nil {
			return err
		}
	}
	return nil
}

// giveBest gives the likeliest answers, by the mean of their tokens' logprobs.
func (w *reader) giveBest() error {
	best := slices.Clone(w.choices)
	slices.SortStableFunc(best, func(a, b *answer) int {
		return cmp.Compare(b.sum/float64(b.count), a.sum/float64(a.count))
	})
	prompt := w.choices[0].all[0].Prompt // it came with the first, which may be left out
	w.choices[0].all[0].Prompt = nil
	best[0].all[0].Prompt = prompt
	for i, c := range best[:max(w.request.N, 1)] {
		for _, e := range c.all {
			e.Choice = i
			if err := w.emit(&e); err != nil {
				return err
			}
		}
	}
	return nil
}
