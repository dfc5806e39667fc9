package optest

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// halfTol is the tolerance of float16, relative to the largest magnitude: sums
// of rounded inputs, rounded again.
const halfTol = 4e-3

// halved gives a case with float16 for float32, to compare kernels with the
// reference on; ok is false where the operator or a type doesn't allow it.
func halved(o *op.Op, c op.Case) (half op.Case, ok bool) {
	half = c
	half.In, half.Out, half.Tol = slices.Clone(c.In), make([]*tensor.Tensor, len(c.Out)), halfTol
	for i, t := range c.In {
		if t == nil || t.DType != dtype.Float32 {
			continue
		}
		p := o.In[min(i, len(o.In)-1)]
		if !slices.Contains(o.Types[p.Type], dtype.Float16) {
			return c, false
		}
		half.In[i] = tensor.New(dtype.Float16, t.Shape...)
		num.SetFloat32s(half.In[i], num.Float32s(t))
		ok = true
	}
	if len(c.Out) == 0 {
		half.Out = nil
	}
	return half, ok
}
