package quant

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// pairKernel computes QLinearAdd or QLinearMul of tensors of one shape, a piece after the
// other: both operands become float32, which stays in the first-level cache.
type pairKernel struct {
	dims  []int
	float func(dst []float32, src []byte, scale float32, zero int32)
	join  func(dst, a, b []float32, sa, sb int)
	round func(dst []byte, src []float32, scale, zero float32)
	dt    dtype.Type

	a, b        format
	scale, zero float32
	x, y, out   []byte
	parts, size int
	slots       tiling.Slots
	count       int // of slots
	scratch     []byte
}

// format is what a quantized number stands for.
type format struct {
	scale float32
	zero  int32
}

const (
	piece      = 1024 // elements
	pieceBytes = 4 * piece
)

// compilePair gives nil where the reference has to broadcast.
func compilePair(p *op.Prep) (op.Kernel, error) {
	for _, i := range []int{1, 2, 4, 5, 6, 7} {
		if p.Has(i) && tensor.Count(p.InShape(i)) != 1 {
			return nil, nil
		}
	}
	a, b := p.InShape(0), p.InShape(3)
	k := &pairKernel{dt: p.In[0].DType, dims: a, size: tensor.Count(a), count: min(max(p.Threads, 1), tiling.MaxSlots), join: elemwise.Row(elemwise.Add)}
	if p.Node.Op == "QLinearMul" {
		k.join = elemwise.Row(elemwise.Mul)
	}
	k.float, k.round = elemwise.Rows8(k.dt)
	if slices.Equal(a, b) {
		return k, nil
	}
	if k, ok := newBlocks(k, a, b); ok {
		return k, nil
	}
	if k, ok := newBlocks(k, b, a); ok { // both operators commute
		k.swapped = true
		return k, nil
	}
	return nil, nil
}

// blockKernel is pairKernel for operands of which one is broadcast to the other:
// the channels of [N, C, H, W] meet [N, C, 1, 1], those of [N, H, W, C] meet
// [N, 1, 1, C]. Each inner elements in a row meet the same number; step numbers
// in a row come again until another cycle begins.
type blockKernel struct {
	*pairKernel
	inner, step, cycle int
	swapped            bool // operand B is the larger
}

// newBlocks gives a kernel for few numbers that are broadcast to dims, if they
// run along dimensions of these that follow each other, and along the first ones.
func newBlocks(k *pairKernel, dims, few []int) (*blockKernel, bool) {
	if len(few) > len(dims) || tensor.Count(dims) == 0 {
		return nil, false
	}
	few = slices.Concat(slices.Repeat([]int{1}, len(dims)-len(few)), few)
	i := len(dims)
	run := func(of func(i int) bool) (n int) {
		for n = 1; i > 0 && of(i-1); i-- {
			n *= dims[i-1]
		}
		return n
	}
	alone := func(i int) bool { return few[i] == 1 }
	same := func(i int) bool { return few[i] == dims[i] }
	b := &blockKernel{pairKernel: k, inner: run(alone), step: run(same)}
	b.cycle = b.step * run(alone)
	run(same)
	b.dims, b.size = dims, tensor.Count(dims)
	return b, i == 0
}

// Run computes the tensor.
func (k *blockKernel) Run(c *op.Call) error {
	large, few := 0, 3
	if k.swapped {
		large, few = few, large
	}
	k.prepare(c, large, few)
	k.parts = split.Parts(k.size/k.unit(), max(1, grain/k.unit()))
	c.Pool.Run(k.parts, k)
	k.x, k.y, k.out, k.scratch = nil, nil, nil, nil
	return nil
}

// unit is how many elements in a row meet one number, or one row of numbers.
func (k *blockKernel) unit() int {
	if k.inner == 1 {
		return k.step
	}
	return k.inner
}

// Do computes one chunk; it is called by the pool.
func (k *blockKernel) Do(i int) {
	slot, a, b := k.take()
	defer k.slots.Give(slot)
	unit := k.unit()
	lo, hi := split.Range(k.size/unit, k.parts, i)
	for lo < hi {
		if k.inner > 1 {
			k.float(b[:1], k.y[lo/k.cycle*k.step+lo%k.step:][:1], k.b.scale, k.b.zero)
			k.meet(a, b[:1], 0, lo*unit, (lo+1)*unit)
			lo++
			continue
		}
		again := k.cycle / unit // units that meet the same row
		end := min(hi, (lo/again+1)*again)
		k.meetRow(a, b, k.y[lo/again*unit:][:unit], lo, end)
		lo = end
	}
}

// meetRow joins units with the same row, as many at a time as a piece holds.
func (k *blockKernel) meetRow(a, b []float32, row []byte, lo, hi int) {
	unit := len(row)
	for at := 0; at < unit; at += piece {
		n := min(piece, unit-at)
		k.float(b[:n], row[at:at+n], k.b.scale, k.b.zero)
		copies := min(piece/n, hi-lo)
		if n < unit {
			copies = 1
		}
		for i := 1; i < copies; i++ {
			copy(b[i*n:(i+1)*n], b[:n])
		}
		for u := lo; u < hi; u += copies {
			from := u*unit + at
			k.meet(a, b, 1, from, from+min(copies, hi-u)*n)
		}
	}
}

// Run computes the tensor.
func (k *pairKernel) Run(c *op.Call) error {
	k.prepare(c, 0, 3)
	k.parts = split.Parts(k.size, grain)
	c.Pool.Run(k.parts, k)
	k.x, k.y, k.out, k.scratch = nil, nil, nil, nil
	return nil
}

// ScratchBytes is the working memory of a run.
func (k *pairKernel) ScratchBytes() int { return k.count * 2 * pieceBytes }

// grain is from how many elements a chunk of its own pays.
const grain = 16384

// prepare reads the operands at two inputs.
func (k *pairKernel) prepare(c *op.Call, x, y int) {
	k.slots.Reset(k.count)
	k.a, k.b = formatOf(c, x), formatOf(c, y)
	var zero [1]int32
	widen(zero[:], c.Input(7))
	k.scale, k.zero = tensor.Of[float32](c.In[6])[0], float32(zero[0])
	k.x, k.y, k.out, k.scratch = c.In[x].Data, c.In[y].Data, c.Output(0, k.dt, k.dims...).Data, c.Scratch
}

// formatOf reads the scale and the zero point of the operand at an input.
func formatOf(c *op.Call, i int) format {
	var zero [1]int32
	widen(zero[:], c.Input(i+2))
	return format{scale: tensor.Of[float32](c.In[i+1])[0], zero: zero[0]}
}

// take gives a slot, and memory for a piece of each operand.
func (k *pairKernel) take() (slot int, a, b []float32) {
	slot = k.slots.Take()
	memory := k.scratch[slot*2*pieceBytes:]
	return slot, tensor.View[float32](memory[:pieceBytes]), tensor.View[float32](memory[pieceBytes : 2*pieceBytes])
}

// Do computes one chunk; it is called by the pool.
func (k *pairKernel) Do(i int) {
	slot, a, b := k.take()
	defer k.slots.Give(slot)
	lo, hi := split.Range(k.size, k.parts, i)
	for ; lo < hi; lo += piece {
		n := min(piece, hi-lo)
		k.float(b[:n], k.y[lo:lo+n], k.b.scale, k.b.zero)
		k.meet(a, b, 1, lo, lo+n)
	}
}

// meet computes elements that meet those of b, or all the same one.
func (k *pairKernel) meet(a, b []float32, step, lo, hi int) {
	for ; lo < hi; lo += piece {
		n := min(piece, hi-lo)
		k.float(a[:n], k.x[lo:lo+n], k.a.scale, k.a.zero)
		k.join(a[:n], a[:n], b, 1, step)
		k.round(k.out[lo:lo+n], a[:n], k.scale, k.zero)
	}
}
