package nn

import (
	"fmt"
	"math/rand/v2"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	o := op.Op{
		Name: "Dropout", Infer: inferDropout, Ref: dropoutRef, InPlace: []int{0}, Rows: op.RowsFirst,
		Types: op.Types{"T": append(append([]dtype.Type{}, op.Floats...), op.Float8[:4]...), "T1": append(append([]dtype.Type{}, op.Floats...), op.Float8[:4]...), "T2": op.Bools, "Tmask": op.Bools},
		Doc:   "Outside training it is the identity.",
	}
	old := o
	old.Versions, old.In, old.Out, old.Attrs = []int{10}, op.Ports("data:T"), op.Ports("output:T", "mask:Tmask?"), op.Attrs{"ratio": op.Default(ir.Float(.5))}
	old.Cases = oldDropoutCases{}
	op.Register(&old)
	old.Versions, old.Out = []int{7}, op.Ports("output:T", "mask:T?")
	op.Register(&old)
	six := old
	six.Versions, six.Attrs = []int{6}, op.Attrs{"ratio": op.Default(ir.Float(.5)), "is_test": op.Default(ir.Int(0))}
	op.Register(&six)
	o.Versions, o.In, o.Out, o.Attrs = []int{12, 13, 22}, op.Ports("data:T", "ratio:T1?", "training_mode:T2?"), op.Ports("output:T", "mask:T2?"), op.Attrs{"seed": op.Opt(ir.KindInt)}
	o.Random = true // in training mode
	o.Cases = dropoutCases{}
	op.Register(&o)
}

type oldDropoutCases struct{}

func (oldDropoutCases) Cases() []op.Case {
	return []op.Case{{Name: "identity", In: []*tensor.Tensor{ramp(3, 4)}, Out: []*tensor.Tensor{ramp(3, 4)}}}
}

type dropoutCases struct{}

func (dropoutCases) Cases() []op.Case {
	all := tensor.New(dtype.Bool, 3, 4)
	for i := range tensor.Of[bool](all) {
		tensor.Of[bool](all)[i] = true
	}
	return []op.Case{
		{Name: "identity", In: []*tensor.Tensor{ramp(3, 4), tensor.Scalar[float32](.5)}, Out: []*tensor.Tensor{ramp(3, 4), all}},
		{Name: "nothing dropped", In: []*tensor.Tensor{ramp(3, 4), tensor.Scalar[float32](0), tensor.Scalar(true)}, Out: []*tensor.Tensor{ramp(3, 4), all}},
	}
}

func inferDropout(c *op.Infer) error {
	c.Set(0, c.In[0].DType, c.In[0].Shape)
	c.Set(1, maskType(c.Node, c.In[0].DType), c.In[0].Shape)
	return nil
}

func maskType(n *ir.Node, data dtype.Type) dtype.Type {
	if n.Opset < 10 {
		return data
	}
	return dtype.Bool
}

func dropoutRef(c *op.Call) error {
	x := c.In[0]
	ratio := .5
	if t := c.Input(1); t != nil {
		r, err := num.Scalar(t)
		if err != nil {
			return fmt.Errorf("ratio: %w", err)
		}
		ratio = r
	}
	if ratio < 0 || ratio >= 1 {
		return fmt.Errorf("ratio is %v, expected a number in [0, 1)", ratio)
	}
	training := false
	if t := c.Input(2); t != nil && t.Len() == 1 {
		training = tensor.Of[bool](t)[0]
	}
	y := c.Output(0, x.DType, x.Shape...)
	copy(y.Data, x.Data)
	out := c.Output(1, maskType(c.Node, x.DType), x.Shape...)
	clear(out.Data)
	mask := tensor.Of[bool](out)
	for i := range mask {
		mask[i] = c.Node.Opset >= 12 // before, the mask outside training is unspecified, and zero in onnxruntime
	}
	if training && ratio > 0 {
		drop(y, mask, ratio, generator(c.Node))
	}
	return nil
}

func generator(n *ir.Node) func() float64 {
	if n.Has("seed") {
		return rand.New(rand.NewPCG(uint64(n.Int("seed")), 0)).Float64
	}
	return rand.Float64
}

func drop(y *tensor.Tensor, mask []bool, ratio float64, random func() float64) {
	v := num.Floats(y)
	for i := range v {
		mask[i] = random() >= ratio
		v[i] /= 1 - ratio
		if !mask[i] {
			v[i] = 0
		}
	}
	num.SetNarrow(y, v, true)
}
