package quant

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// pairKernel computes QLinearAdd or QLinearMul of tensors of one shape. Scales
// and zero points become tables of the 256 numbers that a byte can stand for.
type pairKernel struct {
	mul  bool // a product, not a sum
	dt   dtype.Type
	dims []int

	a, b        [256]float32
	scale       float32
	zero        int32
	lo, hi      float32
	x, y, out   []byte
	parts, size int
}

// compilePair gives nil where the reference has to broadcast.
func compilePair(p *op.Prep) (op.Kernel, error) {
	for _, i := range []int{1, 2, 4, 5, 6, 7} {
		if p.Has(i) && tensor.Count(p.InShape(i)) != 1 {
			return nil, nil
		}
	}
	a, b := p.InShape(0), p.InShape(3)
	k := pairKernel{mul: p.Node.Op == "QLinearMul", dt: p.In[0].DType, dims: a, size: tensor.Count(a)}
	if slices.Equal(a, b) {
		return &k, nil
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
	pairKernel
	inner, step, cycle int
	swapped            bool // operand B is the larger
}

// newBlocks gives a kernel for few numbers that are broadcast to dims, if they
// run along dimensions of these that follow each other, and along the first ones.
func newBlocks(k pairKernel, dims, few []int) (*blockKernel, bool) {
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
	k.parts = split.Parts(k.size/k.unit(), max(1, 8192/k.unit()))
	c.Pool.Run(k.parts, k)
	k.x, k.y, k.out = nil, nil, nil
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
	unit := k.unit()
	lo, hi := split.Range(k.size/unit, k.parts, i)
	for u := lo; u < hi; u++ {
		out, x := k.out[u*unit:][:unit], k.x[u*unit:][:unit]
		if k.inner == 1 {
			k.pairs(out, x, k.y[u*unit/k.cycle*k.step:])
			continue
		}
		k.one(out, x, k.b[k.y[u/k.cycle*k.step+u%k.step]])
	}
}

// tabled is from how many elements a table of all results is worth its 256.
const tabled = 512

// one computes elements that meet the same number.
func (k *blockKernel) one(out, x []byte, b float32) {
	if len(out) < tabled {
		for i := range out {
			out[i] = k.quantize(k.a[x[i]], b)
		}
		return
	}
	var table [256]byte
	for q := range table {
		table[q] = k.quantize(k.a[q], b)
	}
	for i := range out {
		out[i] = table[x[i]]
	}
}

// Run computes the tensor.
func (k *pairKernel) Run(c *op.Call) error {
	k.prepare(c, 0, 3)
	k.parts = split.Parts(k.size, 8192)
	c.Pool.Run(k.parts, k)
	k.x, k.y, k.out = nil, nil, nil
	return nil
}

// prepare makes the tables of the operands at two inputs.
func (k *pairKernel) prepare(c *op.Call, x, y int) {
	k.table(&k.a, c.In[x+1], c.In[x+2])
	k.table(&k.b, c.In[y+1], c.In[y+2])
	var zero [1]int32
	widen(zero[:], c.Input(7))
	k.scale, k.zero = tensor.Of[float32](c.In[6])[0], zero[0]
	k.lo, k.hi = float32(-k.zero), float32(255-k.zero)
	if k.dt == dtype.Int8 {
		k.lo, k.hi = float32(-128-k.zero), float32(127-k.zero)
	}
	k.x, k.y, k.out = c.In[x].Data, c.In[y].Data, c.Output(0, k.dt, k.dims...).Data
}

func (k *pairKernel) table(t *[256]float32, scale, zero *tensor.Tensor) {
	var z [1]int32
	widen(z[:], zero)
	s := tensor.Of[float32](scale)[0]
	for i := range t {
		q := int32(i)
		if k.dt == dtype.Int8 {
			q = int32(int8(i))
		}
		t[i] = float32(q-z[0]) * s
	}
}

// magic is 1.5·2²³: adding it to a small number rounds it to an integer, ties
// to even, in the low bits.
const magic = 12582912

// Do computes one chunk; it is called by the pool.
func (k *pairKernel) Do(i int) {
	lo, hi := split.Range(k.size, k.parts, i)
	k.pairs(k.out[lo:hi], k.x[lo:hi], k.y[lo:hi])
}

func (k *pairKernel) pairs(out, x, y []byte) {
	x, y = x[:len(out)], y[:len(out)]
	for i := range out {
		out[i] = k.quantize(k.a[x[i]], k.b[y[i]])
	}
}

// quantize computes one element. Limits that are integers may be applied before
// rounding.
func (k *pairKernel) quantize(a, b float32) byte {
	v := a + b
	if k.mul {
		v = float32(a * b)
	}
	v /= k.scale
	if !(v > k.lo) {
		v = k.lo
	}
	if v > k.hi {
		v = k.hi
	}
	return byte(int32(float32(v+magic)-magic) + k.zero)
}
