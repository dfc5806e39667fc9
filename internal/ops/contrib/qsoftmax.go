package contrib

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "QLinearSoftmax", Versions: []int{1}, Doc: "Softmax as of the opset that its attribute names, computed in float32",
		In: op.Ports("X:T", "X_scale:float32", "x_zero_point:T?", "y_scale:float32", "y_zero_point:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": bytes8},
		Attrs: op.Attrs{"axis": op.Default(ir.Int(-1)), "opset": op.Required(ir.KindInt)},
		Infer: func(c *op.Infer) error {
			s, err := qsoftmax(c.Node)
			if err != nil {
				return err
			}
			if _, err := s.infer(c.In[0]); err != nil {
				return err
			}
			return op.SameAsInput(c)
		},
		Ref: func(c *op.Call) error {
			s, err := qsoftmax(c.Node)
			if err != nil {
				return err
			}
			return viaFloats(c, s, [4]*tensor.Tensor{c.In[1], c.In[2], c.In[3], c.Input(4)}, false)
		},
		Rows:  rowsQSoftmax,
		Cases: qLinearSoftmaxCases{},
	})
}

type qLinearSoftmaxCases struct{}

func (qLinearSoftmaxCases) Cases() []op.Case {
	in := []*tensor.Tensor{bytesWave[uint8](2, 3, 4), scalar32(.05), tensor.Scalar[uint8](120), scalar32(1. / 256), tensor.Scalar[uint8](0)}
	return []op.Case{
		{Name: "last axis", In: in, Attrs: map[string]*ir.Attr{"opset": ir.Int(13)}},
		{Name: "flattened", In: in, Attrs: map[string]*ir.Attr{"opset": ir.Int(11), "axis": ir.Int(1)}},
	}
}

func qsoftmax(n *ir.Node) (*standard, error) {
	opset := max(n.Int("opset"), 1)
	return newStandard("Softmax", min(opset, op.MaxOpset), pick(n, "axis"), 1, 1)
}

// rowsQSoftmax: below opset 13 all axes from one on are one.
func rowsQSoftmax(n *ir.Node, in []int) ([]int, bool) {
	if n.Int("opset") >= 13 {
		return op.RowsExceptAxis("axis")(n, in)
	}
	s := n.In[0].Type.Shape
	axis, err := op.Axis(n.Int("axis"), len(s))
	return []int{in[0]}, s != nil && err == nil && in[0] < axis
}
