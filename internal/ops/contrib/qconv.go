package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops/quant" // registers QLinearConv
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	base := op.Find("", "QLinearConv", 10)
	attrs := op.Attrs{"channels_last": op.Default(ir.Int(0))}
	for name, spec := range base.Attrs {
		attrs[name] = spec
	}
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "QLinearConv", Versions: []int{1}, Doc: "QLinearConv whose input and output may have the channels last",
		In: base.In, Out: base.Out, Types: base.Types, Attrs: attrs, Rows: op.RowsFirst, Flops: base.Flops,
		Infer: func(c *op.Infer) error { return inferLast(c, base, c.Node.Bool("channels_last")) },
		Ref:   func(c *op.Call) error { return runLast(c, base, c.Node.Bool("channels_last")) },
		Cases: qLinearConvCases{},
	})
	conv := op.Find("", "Conv", 11)
	attrs = spatial.Attrs()
	attrs["group"] = op.Default(ir.Int(1))
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "NhwcConv", Versions: []int{1}, Doc: "Conv of images with the channels last",
		In: conv.In, Out: conv.Out, Types: conv.Types, Attrs: attrs, Rows: op.RowsFirst, Flops: conv.Flops,
		Infer: func(c *op.Infer) error { return inferLast(c, conv, true) },
		Ref:   func(c *op.Call) error { return runLast(c, conv, true) },
		Cases: nhwcConvCases{},
	})
}

type qLinearConvCases struct{}

func (qLinearConvCases) Cases() []op.Case {
	in := []*tensor.Tensor{bytesWave[uint8](2, 5, 6, 4), scalar32(.02), tensor.Scalar[uint8](130), bytesWave[int8](3, 4, 3, 3), scalar32(.05), tensor.Scalar[int8](0), scalar32(2.5), tensor.Scalar[uint8](119)}
	return []op.Case{{Name: "channels last", In: in, Attrs: map[string]*ir.Attr{"channels_last": ir.Int(1), "pads": ir.Ints(1, 1, 1, 1)}}}
}

type nhwcConvCases struct{}

func (nhwcConvCases) Cases() []op.Case {
	return []op.Case{{Name: "padded", In: []*tensor.Tensor{wave(2, 5, 6, 4), wave(3, 4, 3, 3), wave(3)}, Attrs: map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1)}}}
}

// inferLast is the inference of o with the channels last in input and output 0.
func inferLast(c *op.Infer, o *op.Op, last bool) error {
	x := c.In[0]
	if !last || x.Shape == nil {
		return o.Infer(c)
	}
	if len(x.Shape) < 3 {
		return fmt.Errorf("input has shape %v, expected batch, positions and channels", x.Shape)
	}
	in := append([]op.Fact{permutedFact(x, channelsFirst)}, c.In[1:]...)
	inner := &op.Infer{Node: c.Node, In: in, Out: make([]op.Fact, len(c.Out))}
	if err := o.Infer(inner); err != nil {
		return err
	}
	y := permutedFact(inner.Out[0], channelsLast)
	c.Set(0, y.DType, y.Shape)
	return nil
}

// runLast runs o with the channels last in input and output 0.
func runLast(c *op.Call, o *op.Op, last bool) error {
	if !last {
		return o.Ref(c)
	}
	x := c.In[0]
	if len(x.Shape) < 3 {
		return fmt.Errorf("input is %s, expected batch, positions and channels", x)
	}
	inner := &op.Call{Context: c.Context, Node: c.Node, Pool: c.Pool, In: append([]*tensor.Tensor{transposed(x, channelsFirst(len(x.Shape)))}, c.In[1:]...)}
	if err := o.Ref(inner); err != nil {
		return err
	}
	give(c, 0, transposed(inner.Out[0], channelsLast(len(x.Shape))))
	return nil
}
