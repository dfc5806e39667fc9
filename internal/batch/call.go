package batch

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// Timing says where a request's time went, and in what company.
type Timing struct {
	Queue, Gather, Infer, Split time.Duration
	Rows                        int // of the whole execution
	Requests                    int
}

// Call is a request in the batcher. Its caller reads Outputs and Timing and
// then calls Release.
type Call struct {
	Outputs []*tensor.Tensor
	Timing  Timing

	b       *Batcher
	ctx     context.Context
	inputs  []*tensor.Tensor
	rows    int
	merges  bool // can be run together with others
	start   time.Time
	limit   time.Duration // in the queue
	level   *level
	state   atomic.Int32
	done    chan struct{} // capacity 1: the call is delivered
	err     error
	company *company
	exec    *execution // whose outputs are shared; nil where the call ran alone
	release func()     // of the outputs, where the call ran alone

	list       *list // that it waits in
	prev, next *Call

	views  []tensor.Tensor // backing of Outputs where they are rows of a batch
	shapes []int
}

// The states of a call that left the queue.
const (
	waiting   = iota
	taken     // its inputs are being read
	copied    // its inputs were copied: the caller may go
	leaving   // taken, and the caller wants to go
	left      // the caller is gone and the call belongs to the execution
	delivered // the result is there
)

func (c *Call) begin(ctx context.Context, inputs []*tensor.Tensor) {
	c.ctx, c.inputs, c.start = ctx, inputs, time.Now()
	c.rows, c.merges = 1, false
	if !c.b.o.Unbatched {
		c.rows, c.merges = rows(inputs)
		c.merges = c.merges && c.b.o.MaxRows > 1
	}
	c.state.Store(waiting)
}

// rows is the first dimension of the inputs, and whether rows can be cut from all of them.
func rows(inputs []*tensor.Tensor) (n int, ok bool) {
	for _, t := range inputs {
		if t == nil {
			continue
		}
		if len(t.Shape) == 0 || t.DType != dtype.String && t.DType.Bits() < 8 || ok && t.Shape[0] != n {
			return 0, false
		}
		n, ok = t.Shape[0], true
	}
	return n, ok
}

// joins reports whether c can run together with d: both have the same inputs,
// of the same types and dimensions but the first.
func (c *Call) joins(d *Call) bool {
	if !c.merges || !d.merges || len(c.inputs) != len(d.inputs) {
		return false
	}
	for i, t := range c.inputs {
		if !sameRows(t, d.inputs[i]) {
			return false
		}
	}
	return true
}

func sameRows(t, u *tensor.Tensor) bool {
	if t == nil || u == nil {
		return t == u
	}
	if t.DType != u.DType || len(t.Shape) != len(u.Shape) {
		return false
	}
	for i := 1; i < len(t.Shape); i++ {
		if t.Shape[i] != u.Shape[i] {
			return false
		}
	}
	return true
}

// result is what Do returns for a delivered call.
func (c *Call) result() (*Call, error) {
	if c.err != nil {
		err := c.err
		c.recycle()
		return nil, err
	}
	return c, nil
}

// fail delivers an error.
func (c *Call) fail(err error) {
	c.err = err
	c.deliver()
}

// deliver hands the call to its caller, or ends it if that is gone.
func (c *Call) deliver() {
	if c.state.Swap(delivered) == left {
		c.Release()
		return
	}
	c.done <- struct{}{}
}

// Release gives the outputs' memory back; the call must not be used after it.
func (c *Call) Release() {
	if c.release != nil {
		c.release()
	}
	if c.exec != nil {
		c.exec.unref()
	}
	c.recycle()
}

func (c *Call) recycle() {
	clear(c.Outputs)
	clear(c.views)
	b := c.b
	*c = Call{b: b, done: c.done, Outputs: c.Outputs[:0], views: c.views[:0], shapes: c.shapes[:0]}
	b.calls.Put(c)
}
