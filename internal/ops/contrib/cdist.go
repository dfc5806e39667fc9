package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "CDist", Versions: []int{1}, Doc: "the distance, or its square, of each row of A from each row of B",
		In: op.Ports("A:T", "B:T"), Out: op.Ports("C:T"), Types: op.Types{"T": {dtype.Float32, dtype.Float64}}, Attrs: op.Attrs{"metric": op.Default(ir.Str("sqeuclidean"))},
		Infer: inferCDist, Ref: cdistRef,
		Rows:  func(_ *ir.Node, in []int) ([]int, bool) { return []int{0}, in[0] == 0 && in[1] == op.NoRows },
		Cases: cDistCases{},
	})
}

type cDistCases struct{}

func (cDistCases) Cases() []op.Case {
	in := []*tensor.Tensor{tensor.FromSlice([]float32{0, 0, 1, 1}, 2, 2), tensor.FromSlice([]float32{3, 4}, 1, 2)}
	return []op.Case{
		{Name: "squares", In: in, Out: []*tensor.Tensor{tensor.FromSlice([]float32{25, 13}, 2, 1)}},
		{Name: "distances", In: in, Attrs: map[string]*ir.Attr{"metric": ir.Str("euclidean")}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{5, 3.6055512}, 2, 1)}},
	}
}

func inferCDist(c *op.Infer) error {
	if m := c.Node.Str("metric"); m != "sqeuclidean" && m != "euclidean" {
		return fmt.Errorf("metric is %q, expected sqeuclidean or euclidean", m)
	}
	s := shape.Unknowns(2)
	for i, f := range c.In {
		if f.Shape == nil {
			continue
		}
		if len(f.Shape) != 2 {
			return fmt.Errorf("input %d has shape %v, expected a matrix", i, f.Shape)
		}
		s[i] = f.Shape[0]
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func cdistRef(c *op.Call) error {
	a, b := c.In[0], c.In[1]
	if len(a.Shape) != 2 || len(b.Shape) != 2 || a.Shape[1] != b.Shape[1] {
		return fmt.Errorf("A is %s and B %s, expected matrices of as many columns", a, b)
	}
	rows, cols, k := a.Shape[0], b.Shape[0], a.Shape[1]
	if err := tensor.CheckSize([]int{rows, cols}); err != nil {
		return err
	}
	av, bv := num.Floats(a), num.Floats(b)
	out := make([]float64, rows*cols)
	for i := range out {
		for j := range k {
			d := av[i/cols*k+j] - bv[i%cols*k+j]
			out[i] += float64(d * d)
		}
		if c.Node.Str("metric") == "euclidean" {
			out[i] = math.Sqrt(out[i])
		}
	}
	num.SetFloats(c.Output(0, a.DType, rows, cols), out)
	return nil
}
