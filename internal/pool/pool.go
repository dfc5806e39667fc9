// Package pool runs the chunks of an operator on several threads, at a cost of
// well under a microsecond when the workers are awake.
//
// Workers spin while a graph runs (Begin to End), and a moment longer, and park
// otherwise. The caller of Run claims chunks like a worker does and waits only
// for chunks that a worker has begun, so it finishes alone where the workers are
// busy, parked or descheduled. Any number of goroutines may Run at once, and a
// task may Run.
package pool

import (
	"math/bits"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// A Task is an operator's work in chunks. An implementation is a pointer to a
// struct that is prepared once, so that handing it to Run allocates nothing.
type Task interface {
	Do(i int)
}

// A Pool is a set of workers. The nil *Pool runs everything on the caller.
type Pool struct {
	threads int
	workers []worker
	stopped sync.WaitGroup

	_       line
	busy    atomic.Uint64 // one bit per job in use
	_       line
	running atomic.Int32 // Begin less End
	kept    atomic.Int32 // Keep less Release
	quit    atomic.Bool
	_       line
	parked  atomic.Int32 // workers asleep or about to be
	_       line
	jobs    [maxJobs]job
}

// maxJobs is how many Runs can share the workers at once. More run alone.
const maxJobs = 64

// line keeps what different threads write apart: two cache lines, since
// processors fetch them in pairs.
type line [128]byte

// New starts a pool that computes on the given number of threads: the caller's
// and threads-1 workers. GOMAXPROCS should be at least one more, so that the
// collector and the network find a processor while a graph runs.
func New(threads int) *Pool {
	p := &Pool{threads: max(threads, 1)}
	for i := range p.jobs {
		p.jobs[i].done = make(chan struct{}, 1)
	}
	p.workers = make([]worker, p.threads-1)
	p.stopped.Add(len(p.workers))
	for i := range p.workers {
		w := &p.workers[i]
		w.pool, w.rank, w.wake = p, i+1, make(chan struct{}, 1)
		go w.loop()
	}
	return p
}

// Threads is how many threads a lone caller can count on, 1 for nil.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.threads
}

// Begin says that a graph starts to run: workers wake and spin for its
// operators until the matching End, which the same goroutine calls. Run works without it, but then has to wake
// a worker for each operator.
//
// Without workers the goroutine keeps its thread meanwhile. The scheduler interrupts it every 10 ms, and would give it to a
// thread that it wakes on an idle processor, whose caches are cold: on two processors ResNet-50 on one thread takes 7 % less so.
func (p *Pool) Begin() {
	if p.alone() {
		runtime.LockOSThread()
		return
	}
	p.running.Add(1)
	p.wakeOne() // who wakes the others
}

// End says that the graph of the matching Begin has run.
func (p *Pool) End() {
	if p.alone() {
		runtime.UnlockOSThread()
		return
	}
	p.running.Add(-1)
}

// alone reports whether a caller is the only thread.
func (p *Pool) alone() bool { return p == nil || len(p.workers) == 0 }

// Keep says that graphs will run one right after the other until the matching Release:
// workers wait for the next awake. Waking one takes as long as a small operator, and the
// system may put it where another thread still runs.
func (p *Pool) Keep() {
	if p != nil {
		p.kept.Add(1)
	}
}

// Release says that the last of the graphs of the matching Keep has run.
func (p *Pool) Release() {
	if p != nil {
		p.kept.Add(-1)
	}
}

// Close stops the workers and waits for them. No Run may be in progress; one
// that comes later runs on its caller alone.
func (p *Pool) Close() {
	if p == nil {
		return
	}
	p.quit.Store(true)
	for i := range p.workers {
		p.workers[i].rouse()
	}
	p.stopped.Wait()
}

// Run does t.Do(0) to t.Do(n-1), in any order and on any thread, and returns
// when all are done. If some panic, the others are still done, and Run panics
// with a *Panic that holds the first.
func (p *Pool) Run(n int, t Task) { p.run(n, 0, t) }

// RunFromEnds is Run in which every other thread claims chunks from the last one
// backwards. So a thread gets about the same part of each task of such a sequence, and
// what it reads is in its own cache where it has written that itself.
func (p *Pool) RunFromEnds(n int, t Task) { p.run(n, fromEnds, t) }

func (p *Pool) run(n int, how uint64, t Task) {
	if n <= 1 || p.alone() {
		for i := range n {
			t.Do(i)
		}
		return
	}
	slot, ok := p.acquire()
	if !ok {
		for i := range n {
			t.Do(i)
		}
		return
	}
	j := &p.jobs[slot]
	j.publish(n, how, t)
	p.wakeOne()
	j.work(0)
	j.wait()
	fault := j.clear()
	p.busy.And(^(uint64(1) << slot))
	if fault != nil {
		panic(fault)
	}
}

// acquire takes a job that no other Run uses.
func (p *Pool) acquire() (slot int, ok bool) {
	for {
		b := p.busy.Load()
		slot = bits.TrailingZeros64(^b)
		if slot == maxJobs {
			return 0, false
		}
		if p.busy.CompareAndSwap(b, b|1<<slot) {
			return slot, true
		}
	}
}

// wakeOne wakes a sleeping worker, if there is one among those wanted.
func (p *Pool) wakeOne() {
	if p.parked.Load() == 0 {
		return
	}
	for i := range p.workers[:p.wanted()] {
		if w := &p.workers[i]; w.state.Load() == asleep && w.rouse() {
			return
		}
	}
}

// wanted is how many workers have a use, those of the lowest ranks. Each graph
// that runs brings a thread of its own, its caller's, for which a worker makes
// room.
func (p *Pool) wanted() int {
	return max(0, p.threads-max(1, int(p.running.Load())))
}

// A Panic is what Run panics with when a chunk did.
type Panic struct {
	Value any    // what the chunk panicked with
	Stack []byte // where
}

func (p *Panic) Error() string {
	return "pool: a task panicked: " + describe(p.Value) + "\n" + string(p.Stack)
}

func describe(v any) string {
	switch v := v.(type) {
	case error:
		return v.Error()
	case string:
		return v
	case interface{ String() string }:
		return v.String()
	}
	return "unprintable value"
}

// Unwrap gives the chunk's error, such as a runtime.Error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// A job is one Run. It is reused: a claim is a compare-and-swap on state, and
// after a successful one the job can't end, nor task change, before the claimed
// chunk is counted off pending.
type job struct {
	_       line
	state   atomic.Uint64 // next chunk << 32 | end of those that are left, and fromEnds
	task    Task
	_       line
	pending atomic.Int64 // chunks not yet counted as done
	waiting atomic.Bool  // the caller sleeps on done
	done    chan struct{}
	fault   atomic.Pointer[Panic]
	_       line
}

// fromEnds is the bit of a job's state that lets workers of odd ranks claim at the end.
const fromEnds = 1 << 63

func (j *job) publish(n int, how uint64, t Task) {
	j.task = t
	j.pending.Store(int64(n))
	j.state.Store(uint64(uint32(n)) | how)
}

// left gives the chunks [next, end) that have not begun.
func left(state uint64) (next, end uint32) { return uint32(state &^ fromEnds >> 32), uint32(state) }

func (j *job) clear() *Panic {
	j.task = nil
	if j.fault.Load() == nil {
		return nil
	}
	return j.fault.Swap(nil)
}

// claimable reports whether some chunk has not begun.
func (j *job) claimable() bool {
	next, end := left(j.state.Load())
	return next < end
}

func (j *job) claim(rank int) (i int, ok bool) {
	for {
		s := j.state.Load()
		next, end := left(s)
		switch {
		case next >= end:
			return 0, false
		case s&fromEnds != 0 && rank&1 != 0:
			if j.state.CompareAndSwap(s, s-1) {
				return int(end - 1), true
			}
		case j.state.CompareAndSwap(s, s+1<<32):
			return int(next), true
		}
	}
}

// work does chunks until none is left to claim, and reports whether it did any.
// It counts them off once, at the end.
func (j *job) work(rank int) bool {
	var did int64
	for !j.workUntilPanic(rank, &did) {
	}
	if did == 0 {
		return false
	}
	if j.pending.Add(-did) == 0 && j.waiting.CompareAndSwap(true, false) {
		select {
		case j.done <- struct{}{}:
		default: // a signal that an earlier Run didn't need is still there
		}
	}
	return true
}

func (j *job) workUntilPanic(rank int, did *int64) (finished bool) {
	defer func() {
		if !finished {
			*did++
			j.fault.CompareAndSwap(nil, &Panic{Value: recover(), Stack: debug.Stack()})
		}
	}()
	for {
		i, ok := j.claim(rank)
		if !ok {
			return true
		}
		j.task.Do(i)
		*did++
	}
}

// How long the caller waits for others' chunks before it takes the next
// measure: a spin is 15 to 50 ns. A chunk takes up to some 100 µs, and what
// yielding costs, maxIdle says.
const (
	waitSpins  = 8000 // then lets other goroutines run
	waitYields = 9000 // then sleeps
)

// wait returns when all chunks are done.
func (j *job) wait() {
	for n := 0; j.pending.Load() != 0; n++ {
		switch {
		case n < waitSpins:
			pause()
		case n < waitYields:
			runtime.Gosched()
		default:
			j.waiting.Store(true)
			if j.pending.Load() != 0 {
				<-j.done
			}
			j.waiting.Store(false)
		}
	}
}
