package contrib

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "QLinearConcat", Versions: []int{1}, Doc: "Concat of tensors with a scale and zero point each; inputs come in threes",
		In: op.Ports("Y_scale:float32", "Y_zero_point:T8", "inputs:TV..."), Out: op.Ports("Y:T8"), Types: op.Types{"T8": bytes8},
		Attrs: op.Attrs{"axis": op.Required(ir.KindInt)},
		Infer: inferQConcat, Ref: qconcatRef,
		Cases: qLinearConcatCases{},
	})
}

type qLinearConcatCases struct{}

func (qLinearConcatCases) Cases() []op.Case {
	z := tensor.Scalar[uint8]
	return []op.Case{{Name: "values", Attrs: map[string]*ir.Attr{"axis": ir.Int(1)},
		In:  []*tensor.Tensor{scalar32(.5), z(10), tensor.FromSlice([]uint8{10, 20}, 2, 1), scalar32(1), z(0), tensor.FromSlice([]uint8{4, 5, 6, 7}, 2, 2), scalar32(.5), z(2)},
		Out: []*tensor.Tensor{tensor.FromSlice([]uint8{30, 12, 13, 50, 14, 15}, 2, 3)}}}
}

func inferQConcat(c *op.Infer) error {
	rest := c.In[2:]
	if len(rest) == 0 || len(rest)%3 != 0 {
		return fmt.Errorf("%d inputs after the output's scale and zero point, expected tensors with scale and zero point each", len(rest))
	}
	var facts []op.Fact
	for i := 0; i < len(rest); i += 3 {
		if err := qconcatTypes(2+i, rest[i].DType, rest[i+1].DType, rest[i+2].DType); err != nil {
			return err
		}
		f := rest[i]
		f.Const, f.Content = nil, nil
		facts = append(facts, f)
	}
	s, err := newStandard("Concat", 13, pick(c.Node, "axis"), len(facts), 1)
	if err != nil {
		return err
	}
	out, err := s.infer(facts...)
	if err != nil {
		return err
	}
	c.Set(0, c.In[1].DType, out[0].Shape)
	return nil
}

// qconcatTypes checks inputs from i on as far as their types are known: 8-bit numbers, their scale and their zero point.
func qconcatTypes(i int, x, scale, zero dtype.Type) error {
	known := func(t dtype.Type, of ...dtype.Type) bool { return t == dtype.Invalid || slices.Contains(of, t) }
	if !known(x, bytes8...) || !known(scale, dtype.Float32) || !known(zero, bytes8...) || zero != dtype.Invalid && !known(x, zero) {
		return fmt.Errorf("inputs %d to %d are of %v, %v and %v, expected uint8 or int8, a scale of float32, and a zero point of the first one's type", i, i+2, x, scale, zero)
	}
	return nil
}

func qconcatRef(c *op.Call) error {
	if len(c.In) < 5 || len(c.In)%3 != 2 {
		return fmt.Errorf("%d inputs, expected the output's scale and zero point, and tensors with scale and zero point each", len(c.In))
	}
	var parts []*tensor.Tensor
	for i := 2; i < len(c.In); i += 3 {
		if err := qconcatTypes(i, c.In[i].DType, c.In[i+1].DType, c.In[i+2].DType); err != nil {
			return err
		}
		x, err := dequantized(c.In[i], c.In[i+1], c.In[i+2])
		if err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
		parts = append(parts, x)
	}
	s, err := newStandard("Concat", 13, pick(c.Node, "axis"), len(parts), 1)
	if err != nil {
		return err
	}
	y, err := s.run(c, parts...)
	if err != nil {
		return err
	}
	return quantize(c, tensor.Of[float32](y), c.In[1].DType, y.Shape, c.In[0], c.In[1])
}
