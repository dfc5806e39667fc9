package llm

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

func refuse(field, format string, args ...any) error {
	return &textgen.RequestError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// Bounds of a request.
const (
	maxChoices  = 128
	maxLogprobs = 100
	maxStops    = 64
	maxStopLen  = 4096 // bytes
)

// check refuses what cannot be computed.
func (m *Model) check(r *textgen.Request) error {
	limit := m.engine.context
	for _, id := range r.Prompt {
		if id < 0 || int(id) >= m.info.Vocabulary {
			return refuse("prompt", "token %d is not in the vocabulary of %d", id, m.info.Vocabulary)
		}
	}
	switch n := len(r.Prompt); {
	case n == 0:
		return refuse("prompt", "the prompt is empty: it needs at least one token")
	case n >= limit:
		return &textgen.RequestError{Field: "prompt", TooLong: true, Message: fmt.Sprintf("the prompt has %d tokens; with room for an answer it may have %d, since the context is %d", n, limit-1, limit)}
	case r.MaxTokens > 0 && n+r.MaxTokens > limit:
		return &textgen.RequestError{Field: "max_tokens", TooLong: true, Message: fmt.Sprintf("a prompt of %d tokens and an answer of %d are %d, the context is %d", n, r.MaxTokens, n+r.MaxTokens, limit)}
	}
	for _, f := range []struct {
		name      string
		v, lo, hi float64
	}{
		{"max_tokens", float64(r.MaxTokens), 0, math.MaxInt32}, {"min_tokens", float64(r.MinTokens), 0, float64(limit)},
		{"n", float64(r.N), 0, maxChoices}, {"best_of", float64(r.BestOf), 0, maxChoices},
		{"temperature", float64(r.Temperature), 0, 100}, {"top_k", float64(r.TopK), 0, math.MaxInt32}, {"top_p", float64(r.TopP), 0, 1},
		{"min_p", float64(r.MinP), 0, 1}, {"typical_p", float64(r.TypicalP), 0, 1}, {"repetition_penalty", float64(r.Repetition), 0, 100},
		{"presence_penalty", float64(r.Presence), -2, 2}, {"frequency_penalty", float64(r.Frequency), -2, 2},
		{"logprobs", float64(r.Logprobs), -1, maxLogprobs}, {"prompt_logprobs", float64(r.PromptLogprobs), -1, maxLogprobs},
		{"stop", float64(len(r.Stop)), 0, maxStops}, {"stop_token_ids", float64(len(r.StopTokens)), 0, maxStops},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return refuse(f.name, "%s is %v, expected %v to %v", f.name, f.v, f.lo, f.hi)
		}
	}
	if r.BestOf > 0 && r.BestOf < r.N {
		return refuse("best_of", "best_of is %d, expected at least n, which is %d", r.BestOf, r.N)
	}
	if n := max(r.N, r.BestOf, 1); n > m.engine.sched.most {
		field := "n"
		if r.BestOf > 0 {
			field = "best_of"
		}
		return refuse(field, "%d answers at once, the engine computes at most %d (--max-sequences)", n, m.engine.sched.most)
	}
	return checkStops(r)
}

func checkStops(r *textgen.Request) error {
	for _, s := range r.Stop {
		if s == "" || len(s) > maxStopLen {
			return refuse("stop", "a stop string has %d bytes, expected 1 to %d", len(s), maxStopLen)
		}
	}
	for _, id := range r.StopTokens {
		if id < 0 {
			return refuse("stop_token_ids", "the stop token %d is not one of the vocabulary", id)
		}
	}
	for id, b := range r.LogitBias {
		if id < 0 || !(b >= -100 && b <= 100) {
			return refuse("logit_bias", "the bias of token %d is %v, expected -100 to 100 of a token of the vocabulary", id, b)
		}
	}
	return nil
}

// Generate continues a prompt: see textgen.Model.
func (m *Model) Generate(ctx context.Context, r *textgen.Request, emit func(*textgen.Event) error) (*textgen.Usage, error) {
	return m.generate(ctx, &request{Request: r}, emit)
}

func (m *Model) generate(ctx context.Context, q *request, emit func(*textgen.Event) error) (*textgen.Usage, error) {
	r := q.Request
	if err := m.check(r); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q.ctx, q.choices, q.arrived, q.out = ctx, max(r.N, r.BestOf, 1), time.Now(), newQueue()
	if r.Seed != nil {
		q.seed = *r.Seed
	} else {
		q.seed = rand.Uint64()
	}
	if err := m.engine.submit(q); err != nil {
		return nil, err
	}
	w := newReader(m, q, emit)
	if err := w.read(ctx); err != nil {
		m.engine.abort(q)
		return nil, err
	}
	u := q.usage
	u.PromptTokens, u.GeneratedTokens, u.Total = len(r.Prompt), w.generated, time.Since(q.arrived)
	return &u, nil
}

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
