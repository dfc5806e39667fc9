package pointwise

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// Values makes a case of given numbers, and one that compares the kernel with
// the reference over a longer tensor of the same numbers.
func Values(in, want []float32, attrs map[string]*ir.Attr) op.Cases { return values{in, want, attrs} }

type values struct {
	in, want []float32
	attrs    map[string]*ir.Attr
}

// Cases makes the cases.
func (v values) Cases() []op.Case {
	c := op.Case{Name: "values", In: []*tensor.Tensor{tensor.FromSlice(v.in)}, Out: []*tensor.Tensor{tensor.FromSlice(v.want)}, Attrs: v.attrs, Tol: 1e-6}
	long := tensor.New(dtype.Float32, 3, 37, 5)
	for i := range tensor.Of[float32](long) {
		tensor.Of[float32](long)[i] = v.in[i%len(v.in)]
	}
	return []op.Case{c, {Name: "long", Attrs: v.attrs, In: []*tensor.Tensor{long}, Tol: 1e-6}}
}
