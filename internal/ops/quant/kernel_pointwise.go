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
	f    func(a, b float32) float32
	dt   dtype.Type
	dims []int

	a, b        [256]float32
	scale       float32
	zero        int32
	lo, hi      float32
	x, y, out   []byte
	parts, size int
}

// compilePair gives nil where shapes differ: the reference broadcasts.
func compilePair(p *op.Prep, f func(a, b float32) float32) (op.Kernel, error) {
	if !slices.Equal(p.InShape(0), p.InShape(3)) {
		return nil, nil
	}
	for _, i := range []int{1, 2, 4, 5, 6, 7} {
		if p.Has(i) && tensor.Count(p.InShape(i)) != 1 {
			return nil, nil
		}
	}
	return &pairKernel{f: f, dt: p.In[0].DType, dims: p.InShape(0), size: tensor.Count(p.InShape(0))}, nil
}

// Run computes the tensor.
func (k *pairKernel) Run(c *op.Call) error {
	k.table(&k.a, c.In[1], c.In[2])
	k.table(&k.b, c.In[4], c.In[5])
	var zero [1]int32
	widen(zero[:], c.Input(7))
	k.scale, k.zero = tensor.Of[float32](c.In[6])[0], zero[0]
	k.lo, k.hi = float32(-k.zero), float32(255-k.zero)
	if k.dt == dtype.Int8 {
		k.lo, k.hi = float32(-128-k.zero), float32(127-k.zero)
	}
	k.x, k.y, k.out = c.In[0].Data, c.In[3].Data, c.Output(0, k.dt, k.dims...).Data
	k.parts = split.Parts(k.size, 8192)
	c.Pool.Run(k.parts, k)
	k.x, k.y, k.out = nil, nil, nil
	return nil
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

// Do computes one chunk; it is called by the pool. Limits that are integers may
// be applied before rounding.
func (k *pairKernel) Do(i int) {
	lo, hi := split.Range(k.size, k.parts, i)
	out, x, y := k.out[lo:hi], k.x[lo:hi], k.y[lo:hi]
	for i := range out {
		v := k.f(k.a[x[i]], k.b[y[i]]) / k.scale
		if !(v > k.lo) {
			v = k.lo
		}
		if v > k.hi {
			v = k.hi
		}
		out[i] = byte(int32(float32(v+magic)-magic) + k.zero)
	}
}
