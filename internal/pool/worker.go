package pool

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A worker's state. Whoever changes asleep to awake owes it a send on wake,
// unless that is the worker itself.
const (
	awake uint32 = iota
	asleep
)

// maxIdle is how long a worker spins without work while a graph runs. Longer
// and it takes time from others on a busy machine; shorter and it sleeps
// through an operator that has only one chunk. It does not yield meanwhile:
// runtime.Gosched hands it to any thread of the runtime, and waking those takes
// 15 % of the time of a network of many small operators.
const maxIdle = 200 * time.Microsecond

// linger is how long it spins after the last graph has run: a next one is
// often there at once, and waking takes longer than that.
const linger = 20 * time.Microsecond

// spinsPerLook is after how many spins of 15 to 50 ns a worker looks at the clock.
const spinsPerLook = 32

type worker struct {
	pool *Pool
	rank int // 1 to threads-1
	wake chan struct{}

	_     line
	state atomic.Uint32
	_     line
}

func (w *worker) loop() {
	p := w.pool
	defer p.stopped.Done()
	for !p.quit.Load() {
		if w.spin() {
			continue
		}
		w.park()
		if p.running.Load() > 0 || p.claimable() {
			p.wakeOne() // each wakes two: the caller pays for the first only
			p.wakeOne()
		}
	}
}

// spin works and looks for work, until there has been none for too long. It
// reports whether to go on.
func (w *worker) spin() (again bool) {
	idle := time.Now()
	for n := 1; ; n++ {
		if w.pool.work(w.rank) {
			return true
		}
		pause()
		if n%spinsPerLook == 0 && time.Since(idle) > w.patience() {
			return false
		}
	}
}

// patience is how long this worker waits for work awake.
func (w *worker) patience() time.Duration {
	p := w.pool
	switch {
	case w.rank > p.wanted() || p.quit.Load():
		return 0
	case p.running.Load()+p.kept.Load() > 0:
		return maxIdle
	}
	return linger
}

// work does chunks of the jobs there are, and reports whether it did any.
// Workers begin at different jobs so that they spread over several Runs.
func (p *Pool) work(rank int) (any bool) {
	for busy := p.busy.Load(); busy != 0; {
		slot := rank & (maxJobs - 1)
		if later := busy >> slot; later != 0 {
			slot += bits.TrailingZeros64(later)
		} else {
			slot = bits.TrailingZeros64(busy)
		}
		busy &^= 1 << slot
		if p.jobs[slot].claimable() && p.jobs[slot].work(rank) {
			any = true
		}
	}
	return any
}

// park sleeps until roused. The state is set before the last look for work, and
// Run publishes before it looks for sleepers, so that no wake-up is lost.
func (w *worker) park() {
	p := w.pool
	w.state.Store(asleep)
	p.parked.Add(1)
	if (p.claimable() || p.quit.Load()) && w.state.CompareAndSwap(asleep, awake) {
		p.parked.Add(-1)
		return
	}
	<-w.wake
}

// rouse wakes a sleeping worker, and reports whether it did.
func (w *worker) rouse() bool {
	if !w.state.CompareAndSwap(asleep, awake) {
		return false
	}
	w.pool.parked.Add(-1)
	w.wake <- struct{}{}
	return true
}

func (p *Pool) claimable() bool {
	for busy := p.busy.Load(); busy != 0; busy &= busy - 1 {
		if p.jobs[bits.TrailingZeros64(busy)].claimable() {
			return true
		}
	}
	return false
}
