package contrib

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "QLinearReduceMean", Versions: []int{1}, Doc: "ReduceMean of bytes, computed in float32",
		In: op.Ports("data:T", "data_scale:float32", "data_zero_point:T?", "reduced_scale:float32", "reduced_zero_point:T?"), Out: op.Ports("reduced:T"), Types: op.Types{"T": bytes8},
		Attrs: op.Attrs{"axes": op.Required(ir.KindInts), "keepdims": op.Required(ir.KindInt)},
		Infer: func(c *op.Infer) error {
			s, err := reduceMean(c.Node)
			if err != nil {
				return err
			}
			x := c.In[0]
			x.Const, x.Content = nil, nil
			out, err := s.infer(x)
			if err != nil {
				return err
			}
			c.Set(0, x.DType, out[0].Shape)
			return nil
		},
		Ref: func(c *op.Call) error {
			s, err := reduceMean(c.Node)
			if err != nil {
				return err
			}
			return viaFloats(c, s, [4]*tensor.Tensor{c.In[1], c.In[2], c.In[3], c.Input(4)}, false)
		},
		Cases: qLinearReduceMeanCases{},
	})
}

type qLinearReduceMeanCases struct{}

func (qLinearReduceMeanCases) Cases() []op.Case {
	in := []*tensor.Tensor{tensor.FromSlice([]uint8{1, 3, 10, 20}, 2, 2), scalar32(1), nil, scalar32(.5), tensor.Scalar[uint8](7)}
	return []op.Case{{Name: "values", In: in, Attrs: map[string]*ir.Attr{"axes": ir.Ints(1), "keepdims": ir.Int(0)}, Out: []*tensor.Tensor{tensor.FromSlice([]uint8{11, 37})}}}
}

func reduceMean(n *ir.Node) (*standard, error) {
	return newStandard("ReduceMean", 13, pick(n, "axes", "keepdims"), 1, 1)
}
