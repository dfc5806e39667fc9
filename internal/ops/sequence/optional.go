package sequence

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Optional", Versions: []int{15}, Doc: "an optional value of its input, or none",
		In: op.Ports("input:V?"), Out: op.Ports("output:O"), Attrs: op.Attrs{"type": op.Opt(ir.KindType)},
		Infer: optionalInfer, Ref: optionalRef,
	})
	op.Register(&op.Op{
		Name: "OptionalGetElement", Versions: []int{15, 18}, Doc: "the value of an optional that has one",
		In: op.Ports("input:O"), Out: op.Ports("output:V"), Infer: getInfer, Ref: getRef, Cases: getCases{},
	})
	has := func(in []op.Port, version int) {
		op.Register(&op.Op{
			Name: "OptionalHasElement", Versions: []int{version}, Doc: "whether an optional has a value",
			In: in, Out: op.Ports("output:bool"), Cases: hasCases{},
			Infer: func(c *op.Infer) error { c.Set(0, dtype.Bool, shape.Shape{}); return nil },
			Ref: func(c *op.Call) error {
				x := c.Input(0)
				tensor.Of[bool](c.Output(0, dtype.Bool))[0] = x != nil && (x.DType != dtype.Optional || len(x.Items) > 0)
				return nil
			},
		})
	}
	has(op.Ports("input:O"), 15)
	has(op.Ports("input:O?"), 18)
}

func optionalInfer(c *op.Infer) error {
	t := c.Input(0).Type
	if !c.Input(0).Present {
		a, ok := c.Node.Attrs["type"]
		if !ok || a.Type == nil {
			return fmt.Errorf("expected an input or the attribute type")
		}
		t = *a.Type
	}
	c.Set(0, dtype.Optional, nil)
	c.Out[0].Elem = &t
	return nil
}

func optionalRef(c *op.Call) error {
	out := tensor.New(dtype.Optional)
	if x := c.Input(0); x != nil {
		out.Items = []*tensor.Tensor{x.Clone()}
	}
	c.Set(0, out)
	return nil
}

func getInfer(c *op.Infer) error {
	x := c.In[0]
	if x.DType != dtype.Optional { // since version 18 a plain value will do
		c.Out[0] = x
		return nil
	}
	t := elem(x)
	c.Set(0, t.DType, t.Shape)
	c.Out[0].Elem = t.Elem
	return nil
}

func getRef(c *op.Call) error {
	x := c.In[0]
	if x.DType != dtype.Optional {
		give(c, x)
		return nil
	}
	if len(x.Items) == 0 {
		return fmt.Errorf("the optional has no value")
	}
	give(c, x.Items[0])
	return nil
}
