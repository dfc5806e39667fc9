package llm

import (
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/llm/sample"
	"github.com/salver-ml/salver/internal/textgen"
)

// choose gives each sequence whose tokens are all computed its next one.
func (e *engine) choose(logits [][]float32) {
	e.gather(logits)
	e.pool.Run(len(e.draws), &e.draws)
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.gauge() // whoever has an answer sees the figures with it
	for i := range e.draws {
		e.deliver(&e.draws[i])
	}
}

// gather lists the tokens that are to be chosen after a step, and notes what it says
// about prompts.
func (e *engine) gather(logits [][]float32) {
	e.draws = e.draws[:0]
	for _, w := range e.step {
		q := w.sequence
		for p := w.from; p < w.from+w.n; p++ {
			if p == len(q.tokens)-1 || !q.wants(p) {
				continue
			}
			q.echo = append(q.echo, probability(logits[0], q.tokens[p+1], q.PromptLogprobs))
			if q.visit != nil {
				q.visit(p, logits[0])
			}
			logits = logits[1:]
		}
		if q.left() > 0 {
			continue
		}
		for _, c := range append(e.promptDone(q), q) {
			e.draws = append(e.draws, draw{sequence: c, logits: logits[0], eos: e.eos})
		}
		logits = logits[1:]
	}
}

// A draw is a token that is to be chosen.
type draw struct {
	*sequence
	logits []float32
	eos    []int32
	token  textgen.Token
}

// draws are those of a step, on as many threads as there are: each sequence has a
// sampler of its own.
type draws []draw

// Do chooses token number i.
func (d *draws) Do(i int) {
	c := &(*d)[i]
	var forbidden []int32
	if c.generated() < c.MinTokens {
		forbidden = slices.Concat(c.eos, c.StopTokens)
	}
	c.token.ID = c.sampler.Next(c.logits, forbidden)
	if c.Logprobs >= 0 || c.choices > max(c.N, 1) { // the best are chosen by them
		c.token = probability(c.logits, c.token.ID, max(c.Logprobs, 0))
	}
}

// promptDone notes that the prompt of a request is computed and makes its other choices.
func (e *engine) promptDone(q *sequence) (others []*sequence) {
	if q.forked {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting--
	q.forked, q.open = true, q.choices
	q.usage.FirstToken, q.usage.Queue = time.Since(q.arrived), q.admitted.Sub(q.arrived)
	observe(&e.stats.FirstToken, q.usage.FirstToken.Seconds())
	observe(&e.stats.Queue, q.usage.Queue.Seconds())
	observe(&e.stats.Prompt, (q.usage.FirstToken - q.usage.Queue).Seconds())
	e.stats.PromptTokens += uint64(q.prompt)
	if len(q.echo) > 0 { // a prompt of one token has none
		q.out.put(piece{prompt: q.echo})
	}
	for i := 1; i < q.choices; i++ {
		others = append(others, e.sched.fork(q, i))
	}
	return others
}

// deliver hands a token that was chosen to the request's reader.
func (e *engine) deliver(d *draw) {
	q, id := d.sequence, d.token.ID
	q.tokens = append(q.tokens, id)
	e.stats.GeneratedTokens++
	p := piece{choice: q.choice, token: d.token}
	switch {
	case !q.IgnoreEOS && slices.Contains(e.eos, id) || slices.Contains(q.StopTokens, id):
		p.finish, p.end = textgen.FinishStop, true
	case q.generated() == q.MaxTokens || len(q.tokens) >= e.context:
		p.finish = textgen.FinishLength
	}
	q.out.put(p)
	if p.finish != "" {
		e.finish(q, string(p.finish))
	}
}

func probability(logits []float32, id int32, n int) textgen.Token {
	t := textgen.Token{ID: id}
	t.Logprob, t.Top = sample.Logprobs(logits, id, n)
	return t
}
