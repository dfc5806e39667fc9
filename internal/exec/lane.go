package exec

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// lanes is the state of a frame's stretch. It is the pool's task: chunk i is round i.
type lanes struct {
	frame  *frame
	all    []*lane
	free   chan *lane
	failed atomic.Pointer[error] // the first error
}

// lane computes a round of a stretch at a time, in memory of its own.
type lane struct {
	frame   *frame
	kernels []op.Kernel // by step of the stretch, as calls
	calls   []op.Call
	out     [][]*tensor.Tensor // of calls, as planned
	tensors []*tensor.Tensor   // by slot; nil for those that the stretch does not use
	at      int                // step in progress
	times   []time.Duration    // by step of the stretch, if they are wanted
}

func (f *frame) newLanes() (*lanes, error) {
	s := f.plan.stretch
	l := &lanes{frame: f, free: make(chan *lane, s.lanes)}
	memory := f.buffer(0, s.buffer)
	for i := range s.lanes {
		n := len(memory) / s.lanes
		a, err := f.newLane(memory[i*n:][:n])
		if err != nil {
			return nil, err
		}
		l.all = append(l.all, a)
		l.free <- a
	}
	return l, nil
}

func (f *frame) newLane(memory []byte) (*lane, error) {
	p, s := f.plan, f.plan.stretch
	buffer := func(i int) []byte {
		off, n := s.arena.layout.Offsets[i], s.arena.buffers[i].Size
		return memory[off : off+n : off+n]
	}
	a := &lane{frame: f, kernels: make([]op.Kernel, s.end-s.first), calls: make([]op.Call, s.end-s.first),
		out: make([][]*tensor.Tensor, s.end-s.first), tensors: make([]*tensor.Tensor, len(p.slots))}
	for _, id := range s.inner {
		t := p.round(id)
		t.Data = buffer(p.slots[p.slots[id].root].index)
		a.tensors[id] = t
	}
	for _, id := range s.outer {
		a.tensors[id] = p.round(id)
	}
	for i, st := range p.steps[s.first:s.end] {
		f.at = s.first + i
		k, err := p.takeKernel(st)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", st.node, err)
		}
		a.kernels[i] = k
		c := &a.calls[i]
		c.Node, c.MaxOutput = st.node, p.session.maxOutput()
		if st.scratch >= 0 {
			c.Scratch = buffer(st.scratch)
		}
		for _, id := range st.in {
			switch {
			case id < 0:
				c.In = append(c.In, nil)
			case p.slots[id].kind == slotConst:
				c.In = append(c.In, p.slots[id].tensor)
			default:
				c.In = append(c.In, a.tensors[id])
			}
		}
		for _, id := range st.out {
			var t *tensor.Tensor
			if id >= 0 {
				t = a.tensors[id]
			}
			c.Out = append(c.Out, t)
			a.out[i] = append(a.out[i], t)
		}
	}
	return a, nil
}

// round makes the tensor of a slot for the rows of a round, without memory.
func (p *Plan) round(id int) *tensor.Tensor {
	s := &p.slots[id]
	return &tensor.Tensor{DType: s.typ.DType, Shape: append([]int{p.stretch.rows}, s.shape[1:]...)}
}

// run computes all rounds: as many as there are lanes at a time, each on one thread, and
// those that are left over on all threads. Without several lanes that is all of them.
func (l *lanes) run(ctx context.Context, times []time.Duration) error {
	f, s := l.frame, l.frame.plan.stretch
	l.failed.Store(nil)
	for _, a := range l.all {
		a.times = nil
		if times != nil {
			a.times = make([]time.Duration, s.end-s.first)
		}
	}
	shared := 0
	if len(l.all) > 1 {
		shared = s.rounds / len(l.all) * len(l.all)
		f.plan.pool.Run(shared, l)
		l.addTimes(times, len(l.all))
	}
	for i := shared; i < s.rounds; i++ {
		l.round(ctx, l.all[0], i, f.plan.pool)
	}
	l.addTimes(times, 1)
	if err := l.failed.Load(); err != nil {
		var defect *PanicError
		f.broken = f.broken || errors.As(*err, &defect)
		return *err
	}
	return nil
}

// addTimes adds the time of each step, which lanes spent at once.
func (l *lanes) addTimes(times []time.Duration, at int) {
	if times == nil {
		return
	}
	for _, a := range l.all {
		for i, d := range a.times {
			times[l.frame.plan.stretch.first+i] += d / time.Duration(at)
			a.times[i] = 0
		}
	}
}

// Do computes a round in a lane of its own.
func (l *lanes) Do(i int) {
	a := <-l.free
	l.round(l.frame.ctx, a, i, nil)
	l.free <- a
}

// round computes round i, unless another has failed.
func (l *lanes) round(ctx context.Context, a *lane, i int, p *pool.Pool) {
	if l.failed.Load() != nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			l.fail(Panicked(l.frame.plan.steps[a.at].node.String(), v))
		}
	}()
	if err := a.run(ctx, i, p); err != nil {
		l.fail(err)
	}
}

func (l *lanes) fail(err error) { l.failed.CompareAndSwap(nil, &err) }

// run computes round i.
func (a *lane) run(ctx context.Context, round int, p *pool.Pool) error {
	plan := a.frame.plan
	s := plan.stretch
	for _, id := range s.outer {
		t := a.frame.tensors[id]
		n := len(t.Data) / s.rounds
		a.tensors[id].Data = t.Data[round*n : (round+1)*n : (round+1)*n]
	}
	done := ctx.Done()
	for i, st := range plan.steps[s.first:s.end] {
		select {
		case <-done:
			return context.Cause(ctx)
		default:
		}
		var start time.Time
		if a.times != nil {
			start = time.Now()
		}
		a.at = s.first + i
		c := &a.calls[i]
		c.Context, c.Pool = ctx, p
		if st.alone {
			c.Pool = nil
		}
		if err := a.kernels[i].Run(c); err != nil {
			return fmt.Errorf("%s: %w", st.node, err)
		}
		for j, t := range a.out[i] {
			if c.Out[j] != t {
				return fmt.Errorf("%s: output %d is not where it was planned", st.node, j)
			}
		}
		if a.times != nil {
			a.times[i] += time.Since(start)
		}
	}
	return nil
}

// reset drops what belongs to the caller.
func (l *lanes) reset() {
	for _, a := range l.all {
		for _, id := range l.frame.plan.stretch.outer {
			a.tensors[id].Data = nil
		}
		for i := range a.calls {
			a.calls[i].Context = nil
		}
	}
}
