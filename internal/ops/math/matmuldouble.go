package math

import (
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/dgemm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// doubles is MatMul or Gemm of float64.
type doubles struct {
	dgemm.Product
	dims    []int
	addend  bool // input 2
	scratch int  // bytes
}

// newDoubles prepares alpha·A·B + beta·C, where A and B may be transposed if they are matrices.
func newDoubles(p *op.Prep, transA, transB bool, alpha, beta float64) (op.Kernel, error) {
	a, b := p.InShape(0), p.InShape(1)
	if transA {
		a = []int{a[1], a[0]}
	}
	if transB {
		b = []int{b[1], b[0]}
	}
	m, err := linear.NewMatMul(a, b)
	if err != nil {
		return nil, err
	}
	k := &doubles{dims: p.OutShape(0), addend: p.Has(2)}
	k.Product = dgemm.Product{M: m.M, N: m.N, K: m.K, A: dgemm.Strides{Row: m.K, Col: 1}, B: dgemm.Strides{Row: m.N, Col: 1}, FromA: m.A, FromB: m.B, Alpha: alpha, Beta: beta}
	if transA {
		k.A = dgemm.Strides{Row: 1, Col: m.M}
	}
	if transB {
		k.B = dgemm.Strides{Row: 1, Col: m.K}
	}
	if n := len(m.A); n > 1 && len(b) <= 2 { // products that share B are one of more rows
		k.M, k.FromA, k.FromB = n*m.M, []int{0}, []int{0}
	}
	if k.addend {
		c := p.InShape(2)
		if s, err := num.BroadcastShape(c, k.dims); err != nil || !slices.Equal(s, k.dims) {
			return nil, nil // the reference says what is wrong
		}
		s := num.BroadcastStrides(c, k.dims)
		k.Addend = dgemm.Strides{Row: s[0], Col: s[1]}
	}
	if err := k.Prepare(); err != nil {
		return nil, err
	}
	if w := p.In[1].Const; w != nil && k.PackedSize() > 0 {
		p.OnlyPacked(1)
		product := k.Product
		k.Prepacked(tensor.View[float64](p.Pack("B/float64/"+cpu.ISA(), 8*k.PackedSize(), func(dst []byte) {
			product.Pack(tensor.View[float64](dst), tensor.Of[float64](w))
		})))
	}
	k.scratch = 8 * k.ScratchSize()
	return k, nil
}

// ScratchBytes is the working memory of a run.
func (k *doubles) ScratchBytes() int { return k.scratch }

// Run computes the product.
func (k *doubles) Run(c *op.Call) error {
	var b, addend []float64
	if !k.IsPacked() {
		b = tensor.Of[float64](c.In[1])
	}
	if k.addend {
		addend = tensor.Of[float64](c.In[2])
	}
	k.Product.Run(c.Pool, tensor.Of[float64](c.Output(0, dtype.Float64, k.dims...)), tensor.Of[float64](c.In[0]), b, addend, tensor.View[float64](c.Scratch))
	return nil
}
