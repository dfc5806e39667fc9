package math

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Det", Versions: []int{11, 22},
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats},
		Infer: inferDet, Ref: detRef, Rows: rowsDet,
		Cases: detCases{},
	})
}

type detCases struct{}

func (detCases) Cases() []op.Case {
	return []op.Case{
		{Name: "2x2", In: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 2, 3}, 2, 2)}, Out: []*tensor.Tensor{tensor.Scalar[float32](-2)}},
		{Name: "batch", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4, 1, 2, 2, 1, 1, 3, 3, 1}, 3, 2, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-2, -3, -8})}},
		{Name: "3x3", In: []*tensor.Tensor{tensor.FromSlice([]float64{2, 0, 1, 1, 3, 2, 1, 1, 4}, 3, 3)}, Out: []*tensor.Tensor{tensor.Scalar(18.)}},
	}
}

func inferDet(c *op.Infer) error {
	s := c.In[0].Shape
	if s == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	if len(s) < 2 {
		return fmt.Errorf("X has shape %v, expected square matrices", s)
	}
	if last := s[len(s)-2:]; !last[:1].Compatible(last[1:]) {
		return fmt.Errorf("X has shape %v, expected square matrices", s)
	}
	c.Set(0, c.In[0].DType, append(shape.Shape{}, s[:len(s)-2]...))
	return nil
}

func detRef(c *op.Call) error {
	x := c.In[0]
	rank := len(x.Shape)
	if rank < 2 || x.Shape[rank-1] != x.Shape[rank-2] {
		return fmt.Errorf("X is %s, expected square matrices", x)
	}
	n := x.Shape[rank-1]
	v := num.Floats(x)
	out := make([]float64, tensor.Count(x.Shape[:rank-2]))
	for i := range out {
		out[i] = determinant(v[i*n*n:(i+1)*n*n], n)
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape[:rank-2]...), out)
	return nil
}

// determinant eliminates with row pivots; it changes a.
func determinant(a []float64, n int) float64 {
	det := 1.
	for k := range n {
		p := k
		for i := k + 1; i < n; i++ {
			if math.Abs(a[i*n+k]) > math.Abs(a[p*n+k]) {
				p = i
			}
		}
		if a[p*n+k] == 0 {
			return 0
		}
		if p != k {
			det = -det
			for j := range n {
				a[p*n+j], a[k*n+j] = a[k*n+j], a[p*n+j]
			}
		}
		det *= a[k*n+k]
		for i := k + 1; i < n; i++ {
			f := a[i*n+k] / a[k*n+k]
			for j := k; j < n; j++ {
				a[i*n+j] -= float64(f * a[k*n+j])
			}
		}
	}
	return det
}

func rowsDet(n *ir.Node, in []int) ([]int, bool) {
	s := n.In[0].Type.Shape
	return []int{in[0]}, s != nil && in[0] < len(s)-2
}
