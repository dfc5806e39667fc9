package contrib

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// ScratchBytes holds the quantized inputs, and for each direction its products, states
// and what multiplying takes.
func (k *lstmKernel) ScratchBytes() int {
	n := k.batch * k.hidden
	each := op.FloatBytes(k.seq*4*n, 4*n, n, n) + op.Align(n) + k.own
	return op.Align(k.seq*k.batch*k.in) + k.inputs + len(k.dir)*each
}

// Run computes the layer.
func (k *lstmKernel) Run(c *op.Call) error {
	defer k.forget()
	if t := c.Input(4); t != nil {
		k.lens = tensor.Of[int32](t)
		for i, n := range k.lens {
			if n < 0 || int(n) > k.seq {
				return fmt.Errorf("sequence %d has %d elements, expected 0 to %d", i, n, k.seq)
			}
		}
	}
	if c.Wants(0) {
		k.out = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
		clear(k.out)
	}
	if k.threads(c.Pool.Threads()) > 1 {
		k.nested = c.Pool
	}
	scratch := op.Memory(c.Scratch)
	x, space := scratch.Take(k.seq*k.batch*k.in), scratch.Take(k.inputs)
	scale, zero := k.quantizeInputs(c, x)
	for d := range k.dir {
		l := &k.dir[d]
		k.begin(c, d, &scratch)
		l.x.A.Data, l.x.C.Float, l.x.Scratch = x, l.fromX, space
		l.x.scale[0], l.x.zero[0] = scale, int32(zero)
		if err := l.x.Run(c.Pool); err != nil {
			return err
		}
	}
	c.Pool.Run(len(k.dir), k)
	for d := range k.dir {
		l := &k.dir[d]
		if l.err != nil {
			return l.err
		}
		for i, state := range [][]float32{l.h, l.c} {
			if c.Wants(1 + i) {
				copy(tensor.Of[float32](c.Output(1+i, dtype.Float32, k.states...))[d*len(state):], state)
			}
		}
	}
	return nil
}

// quantizeInputs rounds X by the range of the steps that some sequence has.
func (k *lstmKernel) quantizeInputs(c *op.Call, dst []byte) (scale float32, zero uint8) {
	x := tensor.Of[float32](c.In[0])
	steps := k.steps()
	if steps == k.seq {
		return k.quantize.Run(c.Pool, dst, x)
	}
	lo, hi := elemwise.MinMax(x[:steps*k.batch*k.in])
	return k.quantize.RunInRange(c.Pool, dst, x, lo, hi)
}

// steps is the length of the longest sequence.
func (k *lstmKernel) steps() int {
	if k.lens == nil {
		return k.seq
	}
	return int(slices.Max(k.lens))
}

// begin takes the memory of direction d and loads its states.
func (k *lstmKernel) begin(c *op.Call, d int, scratch *op.Memory) {
	l, n := &k.dir[d], k.batch*k.hidden
	l.fromX, l.gates = scratch.Floats(k.seq*4*n), scratch.Floats(4*n)
	l.h, l.c = scratch.Floats(n), scratch.Floats(n)
	l.bytes, l.r.Scratch = scratch.Take(n), scratch.Take(k.own)
	l.r.A.Data, l.r.C.Float = l.bytes, l.gates
	for i, state := range [][]float32{l.h, l.c} {
		if t := c.Input(5 + i); t != nil {
			copy(state, tensor.Of[float32](t)[d*n:])
		} else {
			clear(state)
		}
	}
	if t := c.Input(7); t != nil {
		l.peep = tensor.Of[float32](t)[d*3*k.hidden:][:3*k.hidden]
	}
}

// forget lets go of memory that may be unmapped before the next run.
func (k *lstmKernel) forget() {
	k.out, k.lens, k.nested = nil, nil, nil
	for d := range k.dir {
		l := &k.dir[d]
		l.peep, l.fromX, l.gates, l.h, l.c, l.bytes, l.err = nil, nil, nil, nil, nil, nil, nil
		for _, t := range []*lstmProduct{&l.x, &l.r} {
			t.A.Data, t.C.Float, t.Scratch = nil, nil, nil
		}
	}
}

// Do runs all steps of direction d; it is called by the pool.
func (k *lstmKernel) Do(d int) {
	l := &k.dir[d]
	for step := range k.steps() {
		scale, zero := elemwise.DynamicRange(elemwise.MinMax(l.h))
		k.round(l.bytes, l.h, scale, float32(zero))
		l.r.scale[0], l.r.zero[0] = scale, int32(zero)
		if l.err = l.r.Run(k.nested); l.err != nil {
			return
		}
		for b := range k.batch {
			length := k.seq
			if k.lens != nil {
				length = int(k.lens[b])
			}
			if step >= length {
				continue
			}
			at := step
			if d == 1 || k.reverse {
				at = length - 1 - step
			}
			h := l.h[b*k.hidden:][:k.hidden]
			k.cell(l, l.gates[b*4*k.hidden:][:4*k.hidden], l.fromX[(at*k.batch+b)*4*k.hidden:][:4*k.hidden], h, l.c[b*k.hidden:][:k.hidden])
			if k.out != nil {
				copy(k.out[((at*len(k.dir)+d)*k.batch+b)*k.hidden:], h)
			}
		}
	}
}

// lstmOne is the operand of 1 - x.
var lstmOne = []float32{1}

// cell advances a sequence: gates has what the state gives to them. Products and
// sums are rounded one by one.
func (k *lstmKernel) cell(l *lstmDirection, gates, x, h, c []float32) {
	n := k.hidden
	k.add(gates, gates, x, 1, 1)
	i, o, f, g := gates[:n], gates[n:2*n], gates[2*n:3*n], gates[3*n:]
	l.peephole(i, c, 0)
	k.activate(k.sigmoid, i)
	if k.coupled {
		k.sub(f, lstmOne, i, 0, 1)
	} else {
		l.peephole(f, c, 2)
		k.activate(k.sigmoid, f)
	}
	k.activate(k.tanh, g)
	k.mul(f, f, c, 1, 1)
	k.mul(i, i, g, 1, 1)
	k.add(c, f, i, 1, 1)
	l.peephole(o, c, 1)
	k.activate(k.sigmoid, o)
	copy(g, c)
	k.tanh(g)
	k.mul(h, o, g, 1, 1)
}

// peephole adds the cells, times weights number which, to a gate.
func (l *lstmDirection) peephole(gate, c []float32, which int) {
	if l.peep == nil {
		return
	}
	p := l.peep[which*len(c):]
	for i := range gate {
		gate[i] += float32(p[i] * c[i])
	}
}

// activate limits a gate and applies its function.
func (k *lstmKernel) activate(f func([]float32), gate []float32) {
	if k.clip > 0 {
		for i, v := range gate {
			gate[i] = max(-k.clip, min(k.clip, v))
		}
	}
	f(gate)
}
