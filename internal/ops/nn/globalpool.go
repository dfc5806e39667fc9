package nn

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	kernels "github.com/salver-ml/salver/internal/kernels/pooling"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	for _, p := range []struct {
		name     string
		versions []int
		attrs    op.Attrs
		pooling
	}{
		{"GlobalMaxPool", []int{1, 22}, nil, maxPool},
		{"GlobalAveragePool", []int{1, 22}, nil, averagePool},
		{"GlobalLpPool", []int{2, 22}, op.Attrs{"p": op.Default(ir.Int(2))}, lpPool},
	} {
		op.Register(&op.Op{
			Name: p.name, Versions: p.versions, In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats}, Attrs: p.attrs,
			Infer: inferGlobal, Ref: p.globalRef, Compile: wide.Compile(p.compileGlobal), Rows: op.RowsFirst,
			Flops: func(in, _ []op.Fact) float64 { n, _ := in[0].Shape.Count().Int(); return float64(n) },
			Cases: globalPoolCases{},
		})
	}
}

type globalPoolCases struct{}

func (globalPoolCases) Cases() []op.Case {
	return []op.Case{{Name: "2d", In: []*tensor.Tensor{ramp(2, 19, 7, 7)}}, {Name: "1d", In: []*tensor.Tensor{ramp(1, 3, 50)}}}
}

func inferGlobal(c *op.Infer) error {
	s := c.In[0].Shape
	if s != nil {
		if len(s) < 2 {
			return fmt.Errorf("input X has shape %v, expected at least 2 dimensions", s)
		}
		s = append(shape.Shape{s[0], s[1]}, shape.Of(onesLike(s[2:])...)...)
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func onesLike[T any](s []T) []int {
	out := make([]int, len(s))
	for i := range out {
		out[i] = 1
	}
	return out
}

func (p pooling) globalRef(c *op.Call) error {
	x := c.In[0]
	if len(x.Shape) < 2 {
		return fmt.Errorf("input X has shape %v, expected at least 2 dimensions", x.Shape)
	}
	f := p.reduce(c.Node)
	v := num.Floats(x)
	area := tensor.Count(x.Shape[2:])
	out := make([]float64, x.Shape[0]*x.Shape[1])
	for i := range out {
		out[i] = f(v[i*area:(i+1)*area], 0)
	}
	num.SetFloats(c.Output(0, x.DType, append([]int{x.Shape[0], x.Shape[1]}, onesLike(x.Shape[2:])...)...), out)
	return nil
}

func (p pooling) compileGlobal(c *op.Prep) (op.Kernel, error) {
	if len(c.InShape(0)) < 3 {
		return nil, nil
	}
	if p.name == "LpPool" {
		var dims []window.Dim
		for _, n := range c.InShape(0)[2:] {
			dims = append(dims, window.Dim{In: n, Out: 1, Kernel: n, Stride: 1, Dilation: 1})
		}
		return p.compileTaps(c, dims)
	}
	return p.kernel(c, kernels.Global(kernels.Max, c.InShape(0)[2:]))
}
