// Package nn registers the layers of neural networks: convolution, pooling,
// normalization, attention, dropout and losses.
package nn

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := spatial.Attrs()
	attrs["group"] = op.Default(ir.Int(1))
	op.Register(&op.Op{
		Name: "Conv", Versions: []int{1, 11, 22},
		In: op.Ports("X:T", "W:T", "B:T?"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats}, Attrs: attrs,
		Infer: inferConv, Ref: convRef, Compile: wide.Compile(compileConv), Flops: spatial.Flops(1), Rows: op.RowsFirst,
		Cases: convCases{},
	})
}

func inferConv(c *op.Infer) error {
	s, err := spatial.ConvShape(c.Node, c.In[0], c.In[1])
	if err != nil {
		return err
	}
	if b := c.Input(2); b.Present && b.Shape != nil && s != nil {
		if err := checkBias(b.Shape, s[1]); err != nil {
			return err
		}
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func checkBias(b shape.Shape, channels shape.Dim) error {
	if !b.Compatible(shape.Shape{channels}) {
		return fmt.Errorf("bias has shape %v, expected [%v]", b, channels)
	}
	return nil
}

func convRef(c *op.Call) error {
	x, w := c.In[0], c.In[1]
	g, err := spatial.Resolve(c.Node, x.Shape, w.Shape)
	if err != nil {
		return err
	}
	y, err := spatial.Conv(g, num.Floats(x), num.Floats(w))
	if err != nil {
		return err
	}
	if b := c.Input(2); b != nil {
		if err := checkBias(shape.Of(b.Shape...), shape.Const(g.Out)); err != nil {
			return err
		}
		addChannels(y, num.Floats(b), g.Batch)
	}
	num.SetFloats(c.Output(0, x.DType, g.Shape...), y)
	return nil
}

// addChannels adds b[c] to every element of channel c.
func addChannels(y, b []float64, batch int) {
	if batch*len(b) == 0 {
		return
	}
	area := len(y) / (batch * len(b))
	for i := range y {
		y[i] += b[i/area%len(b)]
	}
}

func compileConv(p *op.Prep) (op.Kernel, error) {
	s := spatial.Spec{}
	if p.Has(2) {
		s.Bias = 2
	}
	return spatial.CompileConv(p, s)
}

type convCases struct{}

func (convCases) Cases() []op.Case {
	ones := func(shape ...int) *tensor.Tensor {
		v := make([]float32, tensor.Count(shape))
		for i := range v {
			v[i] = 1
		}
		return tensor.FromSlice(v, shape...)
	}
	ints := func(name string, v ...int) map[string]*ir.Attr { return map[string]*ir.Attr{name: ir.Ints(v...)} }
	with := func(m map[string]*ir.Attr, name string, a *ir.Attr) map[string]*ir.Attr { m[name] = a; return m }
	return []op.Case{
		{Name: "3x3 of ones", In: []*tensor.Tensor{ramp(1, 1, 3, 3), ones(1, 1, 3, 3)}, Attrs: ints("pads", 1, 1, 1, 1),
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{12, 21, 16, 27, 45, 33, 24, 39, 28}, 1, 1, 3, 3)}},
		{Name: "pointwise", In: []*tensor.Tensor{ramp(2, 5, 7, 6), ramp(19, 5, 1, 1), ramp(19)}},
		{Name: "3x3 bias", In: []*tensor.Tensor{ramp(2, 3, 11, 10), ramp(17, 3, 3, 3), ramp(17)}, Attrs: ints("pads", 1, 1, 1, 1)},
		{Name: "strided", In: []*tensor.Tensor{ramp(1, 3, 15, 14), ramp(8, 3, 5, 3)}, Attrs: with(ints("strides", 2, 3), "pads", ir.Ints(2, 0, 1, 1))},
		{Name: "depthwise", In: []*tensor.Tensor{ramp(1, 18, 9, 9), ramp(18, 1, 3, 3), ramp(18)}, Attrs: with(ints("pads", 1, 1, 1, 1), "group", ir.Int(18))},
		{Name: "groups", In: []*tensor.Tensor{ramp(1, 6, 9, 9), ramp(9, 2, 3, 3)}, Attrs: map[string]*ir.Attr{"group": ir.Int(3)}},
		{Name: "dilated", In: []*tensor.Tensor{ramp(1, 4, 12, 12), ramp(4, 4, 3, 3)}, Attrs: ints("dilations", 2, 3)},
		{Name: "same upper", In: []*tensor.Tensor{ramp(1, 2, 8, 7), ramp(3, 2, 2, 4)}, Attrs: with(ints("strides", 2, 2), "auto_pad", ir.Str("SAME_UPPER"))},
		{Name: "same lower", In: []*tensor.Tensor{ramp(1, 2, 8, 7), ramp(3, 2, 2, 4)}, Attrs: map[string]*ir.Attr{"auto_pad": ir.Str("SAME_LOWER")}},
		{Name: "1d", In: []*tensor.Tensor{ramp(2, 3, 20), ramp(4, 3, 5), ramp(4)}, Attrs: ints("strides", 2)},
		{Name: "3d", In: []*tensor.Tensor{ramp(1, 2, 4, 5, 6), ramp(3, 2, 2, 2, 3)}, Attrs: ints("pads", 0, 1, 0, 1, 0, 1)},
	}
}

// ramp makes small numbers that sums of products hold exactly.
func ramp(shape ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(shape))
	for i := range v {
		v[i] = float32(i%9 + 1)
	}
	return tensor.FromSlice(v, append([]int{}, shape...)...)
}
