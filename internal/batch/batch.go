// Package batch puts requests together into executions of a model.
//
// A request is a list of tensors with the same number of rows (their first
// dimension). While all instances of the model are busy, requests queue; when one
// becomes free it takes what is queued, up to a number of rows, and runs it as
// one execution: the rows are gathered into one tensor per input, and each
// request gets its rows of the outputs. Nothing is ever padded, and requests
// whose other dimensions differ are not put together, so an answer is the same
// in any company. A request never waits while an instance is idle, unless
// Options.MaxDelay asks for that.
//
// There are no goroutines while nothing runs. A request that finds an instance
// idle leads: it yields the processor once, so that requests whose goroutines
// are ready to run can join it, and then takes what is queued. Without that
// nothing would ever be put together on few processors, where the executions
// themselves keep other requests from arriving. If nobody joined, it runs on its caller's goroutine.
package batch

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/salver-ml/salver/internal/tensor"
)

// RunFunc executes the model; serve.Backend.Run says what it has to keep to.
// It must not panic.
type RunFunc func(ctx context.Context, inputs []*tensor.Tensor) (outputs []*tensor.Tensor, release func(), err error)

// Options configure a Batcher.
type Options struct {
	MaxRows          int           // rows of one execution; 1 or less: every request runs alone
	Unbatched        bool          // the model has no batch dimension: every request runs alone and counts as one row
	Sizes            []int         // where queued requests allow it an execution has one of these numbers of rows; none: any number. See Steps
	Preferred        []int         // sizes that are dispatched without waiting for MaxDelay
	MaxDelay         time.Duration // how long a request may wait for company while an instance is idle
	PreserveOrdering bool          // answers leave in the order in which requests came
	Instances        int           // executions at once; 0 means 1

	// Levels has the policy of each priority level, the highest first; none
	// means one level with DefaultPolicy. DefaultLevel (from 1) is for requests that name none.
	Levels       []Policy
	DefaultLevel int

	// OnExecution, if set, is told of every execution that succeeded.
	OnExecution func(Execution)
}

// Policy bounds the queue of one priority level.
type Policy struct {
	MaxQueue      int           // requests that may wait; 0 means no bound
	Timeout       time.Duration // time that a request may wait; 0 means any
	AllowOverride bool          // a request may shorten Timeout
	Postpone      bool          // after Timeout a request is served last within its level, instead of refused
}

// Steps are numbers of rows up to most, each at most half as large again as
// the one before: 1, 2, 3, 4, 6, 8, 12, 16 and so on. As Options.Sizes they keep
// small the number of sizes that an engine has to prepare itself for, at little cost.
func Steps(most int) (sizes []int) {
	for n := 1; n < most; n *= 2 {
		sizes = append(sizes, n)
		if half := n + n/2; n > 1 && half < most {
			sizes = append(sizes, half)
		}
	}
	return append(sizes, most)
}

// DefaultPolicy is that of a model whose configuration has none: eight full
// executions may wait per instance, and at least 128 requests; requests may
// limit the time they wait.
func DefaultPolicy(maxRows, instances int) Policy {
	return Policy{MaxQueue: max(128, 8*maxRows*instances), AllowOverride: true}
}

// Execution describes one successful execution.
type Execution struct {
	Requests, Rows       int
	Gather, Infer, Split time.Duration
}

// ErrQueueTimeout is the error of a request that waited longer than its policy allows.
var ErrQueueTimeout = errors.New("the request waited in the queue longer than its timeout")

// ErrClosed is the error of requests that come after, or wait at, Close.
var ErrClosed = errors.New("the batcher is closed")

// FullError refuses a request because the queue of its level has no room.
type FullError struct {
	Waiting    int           // requests in the queue
	RetryAfter time.Duration // when about half of them should be done
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the queue is full with %d requests", e.Waiting)
}

// Batcher runs requests on one model.
type Batcher struct {
	run RunFunc
	o   Options

	calls sync.Pool // *Call
	execs sync.Pool // *execution

	mu      sync.Mutex
	levels  []level
	queued  int
	idle    int  // instances without an execution
	leading bool // a call is about to take what is queued
	closed  bool
	timer   *time.Timer // wakes a batch whose delay is over; nil until first used
	picked  []*Call     // scratch of form

	meanRun      time.Duration // moving averages over executions
	meanRequests float64

	orderMu sync.Mutex
	order   []*execution // PreserveOrdering: begun and not delivered, oldest first
}

// New makes a Batcher for a model.
func New(run RunFunc, o Options) (*Batcher, error) {
	o.Instances = max(o.Instances, 1)
	o.MaxRows = max(o.MaxRows, 1)
	if len(o.Levels) == 0 {
		o.Levels = []Policy{DefaultPolicy(o.MaxRows, o.Instances)}
	}
	if o.DefaultLevel == 0 {
		o.DefaultLevel = 1
	}
	if o.DefaultLevel < 0 || o.DefaultLevel > len(o.Levels) {
		return nil, fmt.Errorf("default priority level %d: expected 1 to %d", o.DefaultLevel, len(o.Levels))
	}
	for _, p := range o.Preferred {
		if p < 1 || p > o.MaxRows {
			return nil, fmt.Errorf("preferred batch size %d: expected 1 to the maximum batch size %d", p, o.MaxRows)
		}
	}
	b := &Batcher{run: run, o: o, idle: o.Instances, levels: make([]level, len(o.Levels))}
	for i := range b.levels {
		b.levels[i].Policy = o.Levels[i]
	}
	b.calls.New = func() any { return &Call{b: b, done: make(chan struct{}, 1)} }
	b.execs.New = func() any { return &execution{b: b} }
	return b, nil
}

// Levels is the number of priority levels.
func (b *Batcher) Levels() int { return len(b.levels) }

// Waiting is the number of requests in the queue.
func (b *Batcher) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queued
}

// Do runs a request and returns when it is done: the caller reads the
// outputs and then calls Release. Level 0 is the default one; timeout bounds the
// time in the queue as far as the level's policy lets it. Every input that is
// not nil has the same first dimension, if the model batches at all. After an
// error the inputs are free; otherwise outputs may alias them until Release.
func (b *Batcher) Do(ctx context.Context, inputs []*tensor.Tensor, lvl int, timeout time.Duration) (*Call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if lvl == 0 {
		lvl = b.o.DefaultLevel
	}
	if lvl < 1 || lvl > len(b.levels) {
		return nil, fmt.Errorf("priority %d: expected 1 to %d", lvl, len(b.levels))
	}
	c := b.calls.Get().(*Call)
	c.begin(ctx, inputs)
	leads, err := b.admit(c, &b.levels[lvl-1], timeout)
	if err != nil {
		c.recycle()
		return nil, err
	}
	if leads {
		if e := b.lead(c); e != nil {
			b.runHere(e, c)
			return c.result()
		}
	}
	return b.await(c)
}

// admit queues a call. If leads is true, it was the first to find an idle
// instance and has to call lead.
func (b *Batcher) admit(c *Call, l *level, timeout time.Duration) (leads bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false, ErrClosed
	}
	leads = b.idle > 0 && b.queued == 0 && b.startsAtOnce(c)
	room := l.MaxQueue
	if b.leading {
		room += b.o.MaxRows // they are about to run
	}
	if !leads && l.MaxQueue > 0 && l.n() >= room {
		return false, &FullError{Waiting: l.n(), RetryAfter: b.retryAfter(l.n())}
	}
	c.level, c.limit = l, l.timeout(timeout)
	l.main.push(c)
	b.queued++
	switch {
	case leads:
		b.leading = true
	case !b.leading:
		b.dispatch(c.start)
	}
	return leads, nil
}

// startsAtOnce reports whether a call that finds an idle instance and no queue
// need not wait for Options.MaxDelay.
func (b *Batcher) startsAtOnce(c *Call) bool {
	return b.o.MaxDelay == 0 || !c.merges || c.rows >= b.o.MaxRows || slices.Contains(b.o.Preferred, c.rows)
}

// lead starts executions of what has come together. It returns the one that
// has only c, if c is to run alone on its caller's goroutine.
func (b *Batcher) lead(c *Call) *execution {
	runtime.Gosched()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leading = false
	if b.idle == 0 || b.queued == 0 {
		return nil
	}
	now := time.Now()
	e := b.form(now)
	if e == nil {
		return nil
	}
	b.idle--
	defer b.dispatch(now)
	if len(e.calls) == 1 && e.calls[0] == c && !b.o.PreserveOrdering {
		return e
	}
	go b.work(e)
	return nil
}

// runHere runs an execution that has only c, on the goroutine of its caller.
func (b *Batcher) runHere(e *execution, c *Call) {
	took := e.run()
	c.state.Store(delivered)
	e.unref()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learn(took, 1)
	if b.queued > 0 {
		go b.work(nil)
	} else {
		b.idle++
	}
}

// work runs executions on one instance, e being the first if it is not nil, as
// long as there are any.
func (b *Batcher) work(e *execution) {
	for {
		if e != nil {
			took, n := e.run(), len(e.calls)
			b.finish(e)
			b.mu.Lock()
			b.learn(took, n)
			b.mu.Unlock()
		}
		runtime.Gosched() // as in lead
		if e = b.next(); e == nil {
			return
		}
	}
}

// next gives a free instance its next execution, or nil and the instance is idle.
func (b *Batcher) next() *execution {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queued > 0 {
		if e := b.form(time.Now()); e != nil {
			return e
		}
	}
	b.idle++
	return nil
}

// learn updates the averages behind retryAfter. b.mu is held.
func (b *Batcher) learn(took time.Duration, n int) {
	const weight = 0.1
	if b.meanRequests == 0 {
		b.meanRun, b.meanRequests = took, float64(n)
		return
	}
	b.meanRun += time.Duration(weight * float64(took-b.meanRun))
	b.meanRequests += weight * (float64(n) - b.meanRequests)
}

// dispatch starts executions on idle instances. b.mu is held.
func (b *Batcher) dispatch(now time.Time) {
	for b.idle > 0 && b.queued > 0 {
		e := b.form(now)
		if e == nil {
			return
		}
		b.idle--
		go b.work(e)
	}
}

// wake is called when the delay of a waiting batch is over.
func (b *Batcher) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dispatch(time.Now())
}

func (b *Batcher) wakeIn(d time.Duration) {
	if b.timer == nil {
		b.timer = time.AfterFunc(d, b.wake)
		return
	}
	b.timer.Reset(d)
}

// await waits for a queued call.
func (b *Batcher) await(c *Call) (*Call, error) {
	var expired <-chan time.Time
	if c.limit > 0 && !c.level.Postpone {
		t := time.NewTimer(c.limit)
		defer t.Stop()
		expired = t.C
	}
	for {
		select {
		case <-c.done:
			return c.result()
		case <-expired:
			if b.withdraw(c) {
				c.recycle()
				return nil, ErrQueueTimeout
			}
			expired = nil // it is running: the limit was for the queue
		case <-c.ctx.Done():
			return b.abandon(c)
		}
	}
}

// abandon ends a call whose context is done: at once where it is queued or its
// inputs have been copied, else when the execution has come that far.
func (b *Batcher) abandon(c *Call) (*Call, error) {
	err := c.ctx.Err()
	if b.withdraw(c) {
		c.recycle()
		return nil, err
	}
	for {
		switch c.state.Load() {
		case taken:
			if c.state.CompareAndSwap(taken, leaving) {
				<-c.done
				return c.result()
			}
		case copied:
			company := c.company
			if c.state.CompareAndSwap(copied, left) { // c is the execution's now
				company.leave()
				return nil, err
			}
		default:
			<-c.done
			return c.result()
		}
	}
}

// withdraw takes a call out of the queue; false if it is not there any more.
func (b *Batcher) withdraw(c *Call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.list == nil {
		return false
	}
	b.unqueue(c)
	return true
}

func (b *Batcher) unqueue(c *Call) {
	c.list.remove(c)
	b.queued--
}

// retryAfter estimates when half of n waiting requests will be done.
func (b *Batcher) retryAfter(n int) time.Duration {
	if b.meanRequests == 0 {
		return time.Second
	}
	runs := float64(n) / 2 / b.meanRequests / float64(b.o.Instances)
	return max(time.Millisecond, time.Duration(runs*float64(b.meanRun)))
}

// Close fails the requests that still wait. It does not wait for executions.
func (b *Batcher) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
	for i := range b.levels {
		for _, l := range []*list{&b.levels[i].main, &b.levels[i].late} {
			for l.head != nil {
				c := l.head
				b.unqueue(c)
				c.fail(ErrClosed)
			}
		}
	}
}
