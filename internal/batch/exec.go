package batch

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// execution is one run of the model for one or more calls. It is reused when
// the last call has released its part of the outputs.
type execution struct {
	b     *Batcher
	calls []*Call // nil: gone before the run
	sizes []int   // rows of each call

	inputs  []*tensor.Tensor // gathered; kept for their buffers
	buffers []tensor.Tensor  // backing of inputs
	release func()
	refs    atomic.Int32
	ended   bool // for PreserveOrdering, under orderMu
}

// company is the context of calls that run together: it is canceled when all
// of their callers have gone.
type company struct {
	ctx    context.Context
	cancel context.CancelFunc
	here   atomic.Int32
}

func (c *company) leave() {
	if c.here.Add(-1) == 0 {
		c.cancel()
	}
}

func (b *Batcher) newExecution() *execution {
	e := b.execs.Get().(*execution)
	e.calls, e.sizes = e.calls[:0], e.sizes[:0]
	return e
}

// run executes the model for all calls of e, and returns the time that took.
// Afterwards each call has its outputs or an error.
func (e *execution) run() time.Duration {
	start := time.Now()
	if len(e.calls) == 1 {
		e.refs.Store(1) // held until deliver
		e.b.runAlone(e.calls[0], start)
		return time.Since(start)
	}
	e.refs.Store(int32(len(e.calls)) + 1)
	e.runTogether(start)
	return time.Since(start)
}

func (b *Batcher) runAlone(c *Call, start time.Time) {
	c.Timing = Timing{Queue: start.Sub(c.start), Rows: c.rows, Requests: 1}
	outs, release, err := b.run(c.ctx, c.inputs)
	if err != nil {
		c.err = err
		return
	}
	c.Timing.Infer = time.Since(start)
	c.Outputs, c.release = append(c.Outputs, outs...), release
	if b.o.OnExecution != nil {
		b.o.OnExecution(Execution{Requests: 1, Rows: c.rows, Infer: c.Timing.Infer})
	}
}

// runTogether runs the calls as one batch. If that fails, each runs alone, so
// that a request's fault is its own.
func (e *execution) runTogether(start time.Time) {
	rows := e.gather()
	co := e.unpin()
	defer co.cancel()
	if co.ctx.Err() != nil {
		e.runEach()
		return
	}
	gathered := time.Now()
	outs, release, err := e.b.run(co.ctx, e.inputs)
	if err == nil && !allHaveRows(outs, rows) {
		release()
		err = fmt.Errorf("an output of the batch does not have its %d rows", rows)
	}
	if err != nil {
		e.runEach()
		return
	}
	inferred := time.Now()
	e.release = release
	e.split(outs)
	x := Execution{Requests: len(e.calls), Rows: rows, Gather: gathered.Sub(start), Infer: inferred.Sub(gathered), Split: time.Since(inferred)}
	for _, c := range e.calls {
		if c != nil {
			c.Timing = Timing{start.Sub(c.start), x.Gather, x.Infer, x.Split, rows, len(e.calls)}
		}
	}
	if e.b.o.OnExecution != nil {
		e.b.o.OnExecution(x)
	}
}

// gather copies the calls' rows into the batch's inputs and returns their number.
func (e *execution) gather() (rows int) {
	first := e.calls[0].inputs
	for _, c := range e.calls {
		rows += c.rows
		e.sizes = append(e.sizes, c.rows)
	}
	e.buffers = slices.Grow(e.buffers[:0], len(first))[:len(first)]
	e.inputs = e.inputs[:0]
	for i, t := range first {
		if t == nil {
			e.inputs = append(e.inputs, nil)
			continue
		}
		e.gatherInput(i, rows, t)
		e.inputs = append(e.inputs, &e.buffers[i])
	}
	return rows
}

func (e *execution) gatherInput(i, rows int, like *tensor.Tensor) {
	u := &e.buffers[i]
	u.DType = like.DType
	u.Shape = append(append(u.Shape[:0], rows), like.Shape[1:]...)
	if like.DType == dtype.String {
		u.Data, u.Strings = nil, u.Strings[:0]
		for _, c := range e.calls {
			u.Strings = append(u.Strings, c.inputs[i].Strings...)
		}
		return
	}
	u.Strings = nil
	size := u.DType.Bytes(u.Len())
	if cap(u.Data) < size {
		u.Data = tensor.Bytes(size)
	}
	u.Data = u.Data[:0]
	for _, c := range e.calls {
		u.Data = append(u.Data, c.inputs[i].Data...)
	}
}

// unpin lets callers go from now on, their inputs having been copied, and ends
// the calls of those who already want to.
func (e *execution) unpin() *company {
	co := &company{}
	co.ctx, co.cancel = context.WithCancel(context.Background())
	co.here.Store(int32(len(e.calls)))
	for i, c := range e.calls {
		c.company = co
		if !c.state.CompareAndSwap(taken, copied) {
			e.calls[i] = nil
			e.unref()
			co.leave()
			c.fail(c.ctx.Err())
		}
	}
	return co
}

// runEach runs the calls one by one, leaving out those whose callers have gone.
func (e *execution) runEach() {
	for i, c := range e.calls {
		if c == nil {
			continue
		}
		if c.state.CompareAndSwap(copied, taken) {
			e.b.runAlone(c, time.Now())
		} else {
			c.recycle()
			e.calls[i] = nil
		}
		e.unref()
	}
}

func allHaveRows(outs []*tensor.Tensor, rows int) bool {
	for _, t := range outs {
		if len(t.Shape) == 0 || t.Shape[0] != rows || t.DType != dtype.String && t.DType.Bits() < 8 {
			return false
		}
	}
	return true
}

// split gives each call views of its rows of the outputs.
func (e *execution) split(outs []*tensor.Tensor) {
	from, dims := 0, 0
	for _, t := range outs {
		dims += len(t.Shape)
	}
	for i, c := range e.calls {
		if c != nil {
			c.exec = e
			c.views = slices.Grow(c.views[:0], len(outs))
			c.shapes = slices.Grow(c.shapes[:0], dims)
			for _, t := range outs {
				c.addView(t, from)
			}
		}
		from += e.sizes[i]
	}
}

// addView appends c's rows of an output, which start at row from.
func (c *Call) addView(t *tensor.Tensor, from int) {
	at := len(c.shapes)
	c.shapes = append(append(c.shapes, c.rows), t.Shape[1:]...)
	v := tensor.Tensor{DType: t.DType, Shape: c.shapes[at:len(c.shapes):len(c.shapes)]}
	n := tensor.Count(t.Shape[1:])
	if t.DType == dtype.String {
		v.Strings = t.Strings[from*n : (from+c.rows)*n]
	} else {
		size := t.DType.Bytes(n)
		v.Data = t.Data[from*size : (from+c.rows)*size]
	}
	c.views = append(c.views, v)
	c.Outputs = append(c.Outputs, &c.views[len(c.views)-1])
}

// deliver hands the calls to their callers.
func (e *execution) deliver() {
	for _, c := range e.calls {
		if c != nil {
			c.deliver()
		}
	}
	e.unref()
}

// finish delivers e, in its turn where the order is to be kept.
func (b *Batcher) finish(e *execution) {
	if !b.o.PreserveOrdering {
		e.deliver()
		return
	}
	b.orderMu.Lock()
	defer b.orderMu.Unlock()
	e.ended = true
	for len(b.order) > 0 && b.order[0].ended {
		b.order[0].deliver()
		b.order = slices.Delete(b.order, 0, 1)
	}
}

// unref gives up one share of the execution's memory.
func (e *execution) unref() {
	if e.refs.Add(-1) > 0 {
		return
	}
	if e.release != nil {
		e.release()
	}
	for i := range e.buffers {
		clear(e.buffers[i].Strings)
	}
	clear(e.calls)
	e.release, e.ended = nil, false
	e.b.execs.Put(e)
}
