package llm

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/salver-ml/salver/internal/textgen"
)

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
	q.choices, q.arrived, q.out = max(r.N, r.BestOf, 1), time.Now(), newQueue()
	if r.Seed != nil {
		q.seed = *r.Seed
	} else {
		q.seed = rand.Uint64()
	}
	if err := m.engine.submit(q); err != nil {
		return nil, err
	}
	finished := false
	defer func() {
		if !finished { // it fails, or emit panics
			m.engine.abort(q)
		}
	}()
	w := newReader(m, q, emit)
	if err := w.read(ctx); err != nil {
		return nil, err
	}
	finished = true
	u := q.usage
	u.PromptTokens, u.GeneratedTokens, u.Total = len(r.Prompt), w.generated, time.Since(q.arrived)
	return &u, nil
}

func refuse(field, format string, args ...any) error {
	return &textgen.RequestError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// MaxTemperature is the largest that a request may have.
const MaxTemperature = 100

// Other bounds of a request.
const (
	maxChoices  = 128
	maxLogprobs = 100
	maxStops    = 64
	maxStopLen  = 4096 // bytes
)

// check refuses what cannot be computed.
func (m *Model) check(r *textgen.Request) error {
	return cmp.Or(m.checkPrompt(r), m.checkNumbers(r), m.checkChoices(r), m.checkTokens(r))
}

// checkPrompt refuses a prompt that the context has no room for.
func (m *Model) checkPrompt(r *textgen.Request) error {
	for _, id := range r.Prompt {
		if !m.has(id) {
			return refuse("prompt", "token %d is not in the vocabulary of %d", id, m.info.Vocabulary)
		}
	}
	limit := m.engine.context
	switch n := len(r.Prompt); {
	case n == 0:
		return refuse("prompt", "the prompt is empty: it needs at least one token")
	case n >= limit:
		return &textgen.RequestError{Field: "prompt", TooLong: true, Message: fmt.Sprintf("the prompt has %s tokens; with room for an answer it may have %d, since the context is %d", textgen.Count(n, limit-1), limit-1, limit)}
	case r.MaxTokens > 0 && n+r.MaxTokens > limit:
		return &textgen.RequestError{Field: "max_tokens", TooLong: true, Message: fmt.Sprintf("a prompt of %d tokens and an answer of %d are %d, the context is %d", n, r.MaxTokens, n+r.MaxTokens, limit)}
	}
	return nil
}

// checkNumbers refuses numbers that are out of their bounds.
func (m *Model) checkNumbers(r *textgen.Request) error {
	for _, f := range []struct {
		name      string
		v, lo, hi float64
	}{
		{"max_tokens", float64(r.MaxTokens), 0, math.MaxInt32}, {"min_tokens", float64(r.MinTokens), 0, float64(m.engine.context)},
		{"n", float64(r.N), 0, maxChoices}, {"best_of", float64(r.BestOf), 0, maxChoices},
		{"temperature", float64(r.Temperature), 0, MaxTemperature}, {"top_k", float64(r.TopK), 0, math.MaxInt32}, {"top_p", float64(r.TopP), 0, 1},
		{"min_p", float64(r.MinP), 0, 1}, {"typical_p", float64(r.TypicalP), 0, 1}, {"repetition_penalty", float64(r.Repetition), 0, 100},
		{"presence_penalty", float64(r.Presence), -2, 2}, {"frequency_penalty", float64(r.Frequency), -2, 2},
		{"logprobs", float64(r.Logprobs), -1, maxLogprobs}, {"prompt_logprobs", float64(r.PromptLogprobs), -1, maxLogprobs},
		{"stop", float64(len(r.Stop)), 0, maxStops}, {"stop_token_ids", float64(len(r.StopTokens)), 0, maxStops},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return refuse(f.name, "%s is %s, expected %s to %s", f.name, plain(f.v), plain(f.lo), plain(f.hi))
		}
	}
	return nil
}

// plain writes a number without an exponent.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// checkChoices refuses more answers than are computed at once.
func (m *Model) checkChoices(r *textgen.Request) error {
	field, n := "n", max(r.N, 1)
	if r.BestOf > 0 {
		field, n = "best_of", r.BestOf
	}
	switch most := m.Sequences(); {
	case n < r.N:
		return refuse(field, "best_of is %d, expected at least n, which is %d", n, r.N)
	case n > most:
		return refuse(field, "%d answers at once, the engine computes at most %d (--max-sequences)", n, most)
	}
	return nil
}

// checkTokens refuses stop strings that are none, and tokens that the model has not.
func (m *Model) checkTokens(r *textgen.Request) error {
	for _, s := range r.Stop {
		if s == "" || len(s) > maxStopLen {
			return refuse("stop", "a stop string has %d bytes, expected 1 to %d", len(s), maxStopLen)
		}
	}
	for _, id := range r.StopTokens {
		if !m.has(id) {
			return refuse("stop_token_ids", "the stop token %d is not in the vocabulary of %d", id, m.info.Vocabulary)
		}
	}
	for id, b := range r.LogitBias {
		if !m.has(id) || !(b >= -100 && b <= 100) {
			return refuse("logit_bias", "the bias of token %d is %v, expected -100 to 100 of a token of the vocabulary of %d", id, b, m.info.Vocabulary)
		}
	}
	return nil
}

// has reports whether a token is in the vocabulary.
func (m *Model) has(id int32) bool { return id >= 0 && int(id) < m.info.Vocabulary }
