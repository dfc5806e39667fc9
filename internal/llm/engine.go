package llm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/textgen"
)

// engine is the loop and what it works on. What is above mu is set before the loop
// begins, or belongs to its goroutine.
type engine struct {
	run      func(context.Context, []work) ([][]float32, error) // computes a step
	copy     func(blockCopy)
	packing  packing
	pool     *pool.Pool // chooses tokens
	eos      []int32
	context  int // tokens of a sequence, at most
	maxQueue int
	sched    *scheduler
	step     []work // the one that is computed
	draws    draws  // the tokens that it lets choose
	stopped  chan struct{}

	mu      sync.Mutex // guards what follows
	wake    *sync.Cond
	arrived []*request
	aborted []*request
	enders  []ender // choices that their readers have ended
	closed  bool
	waiting int // requests whose prompts are not computed yet
	number  uint64
	stats   textgen.Stats
}

// ender says that a choice is complete, since its text has a stop string.
type ender struct {
	*request
	choice int
}

// start sets an engine going whose fields above mu are filled in.
func (e *engine) start() *engine {
	e.wake, e.stats, e.stopped = sync.NewCond(&e.mu), newStats(), make(chan struct{})
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
	for e.turn() {
	}
	e.sched.each(func(q *sequence) { q.out.put(piece{err: textgen.ErrClosed}) })
}

// turn computes a step; false ends the loop. A defect of ours, which panics, fails all
// that is in progress, and no more.
func (e *engine) turn() (more bool) {
	defer func() {
		if v := recover(); v != nil {
			e.startOver(exec.Panicked("", v))
			more = true
		}
	}()
	if !e.receive() {
		return false
	}
	start := time.Now()
	e.step = e.sched.next(e.step)
	for _, c := range e.sched.copies {
		e.copy(c)
	}
	decided := time.Now()
	if len(e.step) == 0 {
		return true
	}
	logits, err := e.run(context.Background(), e.step)
	computed := time.Now()
	if err != nil {
		e.fail(err)
		return true
	}
	e.sched.computed(e.step)
	e.choose(logits)
	e.account(decided.Sub(start)+time.Since(computed), time.Since(start))
	if e.step[0].role() == 0 { // it generates, if only in part: that comes first
		e.packBetween(time.Since(start))
	}
	return true
}

// startOver fails all requests: what is known of them may be wrong.
func (e *engine) startOver(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	failed := map[*request]bool{}
	for _, r := range e.arrived {
		failed[r] = true
	}
	for _, w := range e.step {
		failed[w.request] = !w.done
	}
	e.sched.each(func(q *sequence) { failed[q.request] = true })
	for r, open := range failed {
		if open {
			r.out.put(piece{err: err})
			e.stats.Requests["error"]++
			observe(&e.stats.Request, time.Since(r.arrived).Seconds())
		}
	}
	e.waiting, e.arrived, e.aborted, e.enders = 0, nil, nil, nil
	e.step, e.draws = nil, nil
	e.sched.reset()
	e.gauge()
}

// receive takes in what came since the last step, waiting if there is nothing
// to do; false ends the loop.
func (e *engine) receive() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for more := true; !e.closed && e.sched.idle() && len(e.arrived) == 0; {
		e.drop()
		e.pool.Release()
		if more || e.packing.again {
			more = e.packIdle()
		} else {
			e.wake.Wait()
			more = true
		}
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
	if !q.forked { // its prompt is not computed: it is all there is of the request
		e.waiting--
		q.forked, q.open = true, 1
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
