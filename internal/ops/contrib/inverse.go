package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "Inverse", Versions: []int{1}, Doc: "the inverse of square matrices; NaN and infinities where there is none",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats},
		Infer: func(c *op.Infer) error {
			if s := c.In[0].Shape; s != nil && (len(s) < 2 || !s[len(s)-1:].Compatible(s[len(s)-2:len(s)-1])) {
				return fmt.Errorf("X has shape %v, expected square matrices", s)
			}
			return op.SameAsInput(c)
		},
		Ref: inverseRef, Rows: rowsMatrices,
		Cases: inverseCases{},
	})
}

type inverseCases struct{}

func (inverseCases) Cases() []op.Case {
	return []op.Case{{Name: "two", In: []*tensor.Tensor{tensor.FromSlice([]float32{4, 7, 2, 6, 0, 1, 1, 0}, 2, 2, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{.6, -.7, -.2, .4, 0, 1, 1, 0}, 2, 2, 2)}}}
}

// rowsMatrices: the batch is not among the last two dimensions.
func rowsMatrices(n *ir.Node, in []int) ([]int, bool) {
	s := n.In[0].Type.Shape
	return []int{in[0]}, s != nil && in[0] < len(s)-2
}

func inverseRef(c *op.Call) error {
	s := c.In[0].Shape
	if len(s) < 2 || s[len(s)-1] != s[len(s)-2] {
		return fmt.Errorf("X is %s, expected square matrices", c.In[0])
	}
	n := s[len(s)-1]
	v := num.Floats(c.In[0])
	for at := 0; at < len(v); at += n * n {
		invert(v[at:at+n*n], n)
	}
	num.SetFloats(c.Output(0, c.In[0].DType, s...), v)
	return nil
}

// invert replaces an n×n matrix by its inverse: Gauss and Jordan's elimination
// with partial pivoting.
func invert(a []float64, n int) {
	b := make([]float64, n*n)
	for i := range n {
		b[i*n+i] = 1
	}
	for col := range n {
		pivot := col
		for row := col + 1; row < n; row++ {
			if math.Abs(a[row*n+col]) > math.Abs(a[pivot*n+col]) {
				pivot = row
			}
		}
		for k := range n {
			a[col*n+k], a[pivot*n+k] = a[pivot*n+k], a[col*n+k]
			b[col*n+k], b[pivot*n+k] = b[pivot*n+k], b[col*n+k]
		}
		scale := 1 / a[col*n+col]
		for k := range n {
			a[col*n+k] *= scale
			b[col*n+k] *= scale
		}
		for row := range n {
			if f := a[row*n+col]; row != col && f != 0 {
				for k := range n {
					a[row*n+k] -= float64(f * a[col*n+k])
					b[row*n+k] -= float64(f * b[col*n+k])
				}
			}
		}
	}
	copy(a, b)
}
