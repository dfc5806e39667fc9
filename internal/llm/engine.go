// Package llm is the language-model engine: it loads a model of a GGUF file or a
// Hugging Face folder, and answers any number of requests at once.
//
// The way through it: Generate (generate.go) checks a request and queues it. The
// engine's goroutine (this file) goes round: the scheduler (schedule.go) decides
// which tokens of which sequences a step computes, the runner (runner.go) computes
// them all in one run of the model's graph, a sampler chooses each sequence's
// next token, and the pieces go to the goroutines that wait for them.
//
// The answer to a request does not depend on the others: neither which tokens
// share a step, nor cached prefixes, nor preemption change a bit of its logits.
package llm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/salver-ml/salver/internal/llm/sample"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/textgen"
)

// engine is the loop and what it works on.
type engine struct {
	run      func(context.Context, []work) ([][]float32, error) // computes a step
	copy     func(blockCopy)
	pool     *pool.Pool // chooses tokens
	eos      []int32
	context  int // tokens of a sequence, at most
	maxQueue int
	sched    *scheduler

	mu      sync.Mutex // guards what follows
	wake    *sync.Cond
	arrived []*request
	aborted []*request
	enders  []ender // choices that their readers have ended
	closed  bool
	waiting int // requests that have no running sequence yet
	number  uint64
	stats   textgen.Stats

	stopped chan struct{}
	step    []work
	draws   draws
}

// ender says that a choice is complete, since its text has a stop string.
type ender struct {
	*request
	choice int
}

func newEngine(run func(context.Context, []work) ([][]float32, error), cp func(blockCopy), p *pool.Pool, s *scheduler, eos []int32, contextLen, maxQueue int) *engine {
	e := &engine{run: run, copy: cp, pool: p, sched: s, eos: eos, context: contextLen, maxQueue: maxQueue, stopped: make(chan struct{})}
	e.wake = sync.NewCond(&e.mu)
	e.stats = newStats()
	go e.loop()
	return e
}

// submit queues a request.
func (e *engine) submit(r *request) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return textgen.ErrClosed
	}
	if e.waiting >= e.maxQueue {
		return &textgen.FullError{Waiting: e.waiting}
	}
	e.number++
	e.waiting++
	r.number = e.number
	e.arrived = append(e.arrived, r)
	e.wake.Signal()
	return nil
}

// abort ends a request whose reader has gone.
func (e *engine) abort(r *request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.aborted = append(e.aborted, r)
	e.wake.Signal()
}

// end completes one choice.
func (e *engine) end(r *request, choice int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.enders = append(e.enders, ender{r, choice})
	e.wake.Signal()
}

// close ends the loop; requests that are not finished get textgen.ErrClosed.
func (e *engine) close() {
	e.mu.Lock()
	e.closed = true
	e.wake.Signal()
	e.mu.Unlock()
	<-e.stopped
}

func (e *engine) loop() {
	defer close(e.stopped)
	e.pool.Keep()
	defer e.pool.Release()
	for e.receive() {
		start := time.Now()
		e.step = e.sched.next(e.step)
		for _, c := range e.sched.copies {
			e.copy(c)
		}
		decided := time.Now()
		if len(e.step) == 0 {
			continue
		}
		logits, err := e.run(context.Background(), e.step)
		computed := time.Now()
		if err != nil {
			e.fail(err)
			continue
		}
		e.sched.computed(e.step)
		e.choose(logits)
		e.account(decided.Sub(start)+time.Since(computed), time.Since(start))
	}
	e.sched.each(func(q *sequence) { q.out.put(piece{err: textgen.ErrClosed}) })
}

// receive takes in what came since the last step, waiting if there is nothing
// to do; false ends the loop.
func (e *engine) receive() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.closed && e.sched.idle() && len(e.arrived) == 0 {
		e.drop()
		e.pool.Release()
		e.wake.Wait()
		e.pool.Keep()
	}
	for _, r := range e.arrived {
		e.sched.submit(newSequence(r, 0))
	}
	e.arrived = e.arrived[:0]
	e.drop()
	return !e.closed
}

// drop ends what its readers do not want any more.
func (e *engine) drop() {
	for _, r := range e.aborted {
		e.sched.each(func(q *sequence) {
			if q.request == r {
				e.finish(q, "abort")
			}
		})
	}
	for _, d := range e.enders {
		e.sched.each(func(q *sequence) {
			if q.request == d.request && q.choice == d.choice {
				e.finish(q, string(textgen.FinishStop))
			}
		})
	}
	e.aborted, e.enders = e.aborted[:0], e.enders[:0]
	e.gauge()
}

// finish ends a sequence; the lock is held.
func (e *engine) finish(q *sequence, why string) {
	if q.done {
		return
	}
	e.sched.finish(q)
	if !q.forked {
		e.waiting--
		q.forked = true
		q.open = 1
	}
	if q.open--; q.open == 0 {
		e.stats.Requests[why]++
		observe(&e.stats.Request, time.Since(q.arrived).Seconds())
	}
}

// fail ends all sequences of a step that could not be computed.
func (e *engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.gauge() // whoever has an answer sees the figures with it
	for _, w := range e.step {
		w.out.put(piece{err: fmt.Errorf("a step of %d sequences: %w", len(e.step), err)})
		e.finish(w.sequence, "error")
	}
}

// choose gives each sequence whose tokens are all computed its next one.
func (e *engine) choose(logits [][]float32) {
	e.gather(logits)
	e.pool.Run(len(e.draws), &e.draws)
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.gauge() // whoever has an answer sees the figures with it
	for i := range e.draws {
		e.append(&e.draws[i])
	}
}

// gather lists the tokens that are to be chosen after a step, and notes what it says
// about prompts.
func (e *engine) gather(logits [][]float32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.draws = e.draws[:0]
	for _, w := range e.step {
		q := w.sequence
		for p := q.computed - w.n; p < q.computed; p++ {
			if p == len(q.tokens)-1 || !q.wants(p) {
				continue
			}
			q.asked = append(q.asked, probability(logits[0], q.tokens[p+1], q.PromptLogprobs))
			if q.visit != nil {
				q.visit(p, logits[0])
			}
			logits = logits[1:]
		}
		if q.left() > 0 {
			continue
		}
		for _, c := range append(e.first(q), q) {
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

// first notes that the prompt of a request is computed and makes its other choices.
func (e *engine) first(q *sequence) (others []*sequence) {
	if q.forked {
		return nil
	}
	e.waiting--
	q.forked, q.open = true, q.choices
	q.usage.FirstToken, q.usage.Queue = time.Since(q.arrived), q.admitted.Sub(q.arrived)
	observe(&e.stats.FirstToken, q.usage.FirstToken.Seconds())
	observe(&e.stats.Queue, q.usage.Queue.Seconds())
	observe(&e.stats.Prompt, (q.usage.FirstToken - q.usage.Queue).Seconds())
	e.stats.PromptTokens += uint64(q.prompt)
	if q.PromptLogprobs >= 0 {
		q.out.put(piece{prompt: q.asked})
	}
	for i := 1; i < q.choices; i++ {
		others = append(others, e.sched.fork(q, i))
	}
	return others
}

// append hands a token that was chosen over.
func (e *engine) append(d *draw) {
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
