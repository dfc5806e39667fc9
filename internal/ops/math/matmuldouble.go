package math

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/tensor"
)

// doubles is MatMul of float64. Each sum goes over k in order, from zero, with every operation rounded, as the reference
// has it.
type doubles struct {
	*linear.MatMul
	parts     int
	dst, a, b []float64
}

func newDoubles(p *op.Prep) (op.Kernel, error) {
	m, err := linear.NewMatMul(p.InShape(0), p.InShape(1))
	if err != nil {
		return nil, err
	}
	rows := len(m.A) * m.M
	return &doubles{MatMul: m, parts: min(split.Parts(rows*m.N*max(m.K, 1), 1<<15), max(rows, 1))}, nil
}

func (k *doubles) Run(c *op.Call) error {
	k.dst, k.a, k.b = tensor.Of[float64](c.Output(0, dtype.Float64, k.Shape...)), tensor.Of[float64](c.In[0]), tensor.Of[float64](c.In[1])
	c.Pool.Run(k.parts, k)
	k.dst, k.a, k.b = nil, nil, nil
	return nil
}

// Do computes some rows; it is called by the pool.
func (k *doubles) Do(part int) {
	lo, hi := split.Range(len(k.A)*k.M, k.parts, part)
	for r := lo; r < hi; r++ {
		p, i := r/k.M, r%k.M
		a, b := k.a[k.MatMul.A[p]+i*k.K:][:k.K], k.b[k.MatMul.B[p]:][:k.K*k.N]
		dst := k.dst[r*k.N:][:k.N]
		for len(dst) >= 8 {
			eightSums(dst, a, b, k.N)
			dst, b = dst[8:], b[min(8, len(b)):]
		}
		for j := range dst {
			var s float64
			for i, x := range a {
				s += float64(x * b[i*k.N+j])
			}
			dst[j] = s
		}
	}
}

// eightSums multiplies a row by eight columns next to each other.
func eightSums(dst, a, b []float64, stride int) {
	var s0, s1, s2, s3, s4, s5, s6, s7 float64
	for _, x := range a {
		y := b[:8:8]
		s0 += float64(x * y[0])
		s1 += float64(x * y[1])
		s2 += float64(x * y[2])
		s3 += float64(x * y[3])
		s4 += float64(x * y[4])
		s5 += float64(x * y[5])
		s6 += float64(x * y[6])
		s7 += float64(x * y[7])
		b = b[min(stride, len(b)):]
	}
	dst[0], dst[1], dst[2], dst[3], dst[4], dst[5], dst[6], dst[7] = s0, s1, s2, s3, s4, s5, s6, s7
}
