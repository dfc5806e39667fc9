package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "QLinearWhere", Versions: []int{1}, Doc: "Where on numbers of different scales",
		In:  op.Ports("condition:bool", "X:T", "x_scale:float32", "x_zero_point:T", "Y:T", "y_scale:float32", "y_zero_point:T", "z_scale:float32", "z_zero_point:T"),
		Out: op.Ports("Z:T"), Types: op.Types{"T": bytes8},
		Infer: func(c *op.Infer) error {
			s, err := op.BroadcastShapes([]op.Fact{c.In[0], c.In[1], c.In[4]})
			if err != nil {
				return err
			}
			c.Set(0, c.In[1].DType, s)
			return nil
		},
		Ref:   qwhereRef,
		Cases: qLinearWhereCases{},
	})
}

type qLinearWhereCases struct{}

func (qLinearWhereCases) Cases() []op.Case {
	z := tensor.Scalar[uint8]
	return []op.Case{{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]bool{true, false}, 2, 1), tensor.FromSlice([]uint8{10, 20}), scalar32(1), z(0), tensor.FromSlice([]uint8{30}), scalar32(.5), z(10), scalar32(.5), z(1)},
		Out: []*tensor.Tensor{tensor.FromSlice([]uint8{21, 41, 21, 21}, 2, 2)}}}
}

func qwhereRef(c *op.Call) error {
	x, err := dequantized(c.In[1], c.In[2], c.In[3])
	if err != nil {
		return fmt.Errorf("X: %w", err)
	}
	y, err := dequantized(c.In[4], c.In[5], c.In[6])
	if err != nil {
		return fmt.Errorf("Y: %w", err)
	}
	dims, err := num.BroadcastShape(c.In[0].Shape, x.Shape, y.Shape)
	if err != nil {
		return err
	}
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	xs, ys := num.Broadcast(tensor.Of[float32](x), x.Shape, dims), num.Broadcast(tensor.Of[float32](y), y.Shape, dims)
	out := make([]float32, len(xs))
	for i, first := range num.Broadcast(tensor.Of[bool](c.In[0]), c.In[0].Shape, dims) {
		out[i] = ys[i]
		if first {
			out[i] = xs[i]
		}
	}
	return quantize(c, out, c.In[1].DType, dims, c.In[7], c.In[8])
}
