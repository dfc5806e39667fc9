package tensorops

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Shape and Size have no row rule: what follows from the number of rows is
// followed by whoever proves that rows are independent.
func init() {
	register := func(attrs op.Attrs, cases op.Cases, versions ...int) {
		op.Register(&op.Op{
			Name: "Shape", Versions: versions, Doc: "the dimensions, or a range of them, as a vector",
			In: op.Ports("data:T"), Out: op.Ports("shape:int64"), Types: op.Types{"T": op.AllTensors}, Attrs: attrs,
			Infer: shapeInfer, Ref: shapeRef, Cases: cases,
		})
	}
	register(nil, nil, 1, 13)
	register(op.Attrs{"start": op.Default(ir.Int(0)), "end": op.Opt(ir.KindInt)}, shapeCases{}, 15, 19, 21, 23, 24, 25)
	op.Register(&op.Op{
		Name: "Size", Versions: []int{1, 13, 19, 21, 23, 24, 25}, Doc: "the number of elements",
		In: op.Ports("data:T"), Out: op.Ports("size:int64"), Types: op.Types{"T": op.AllTensors}, Cases: sizeCases{},
		Infer: func(c *op.Infer) error {
			c.Set(0, dtype.Int64, shape.Shape{})
			if s := c.In[0].Shape; s != nil {
				c.SetContent(0, []shape.Dim{s.Count()})
			}
			return nil
		},
		Ref: func(c *op.Call) error {
			tensor.Of[int64](c.Output(0, dtype.Int64))[0] = int64(c.In[0].Len())
			return nil
		},
	})
}

// shapeRange is the clamped range of dimensions that Shape gives.
func shapeRange(n *ir.Node, rank int) (start, end int) {
	clamp := func(v int) int {
		if v < 0 {
			v += rank
		}
		return min(max(v, 0), rank)
	}
	start, end = clamp(n.Int("start")), rank
	if n.Has("end") {
		end = clamp(n.Int("end"))
	}
	return start, max(start, end)
}

func shapeInfer(c *op.Infer) error {
	s := c.In[0].Shape
	if s == nil {
		c.Set(0, dtype.Int64, shape.Unknowns(1))
		return nil
	}
	start, end := shapeRange(c.Node, len(s))
	c.Set(0, dtype.Int64, shape.Of(end-start))
	c.SetContent(0, s[start:end:end])
	return nil
}

func shapeRef(c *op.Call) error {
	dims := c.In[0].Shape
	start, end := shapeRange(c.Node, len(dims))
	out := tensor.Of[int64](c.Output(0, dtype.Int64, end-start))
	for i, d := range dims[start:end] {
		out[i] = int64(d)
	}
	return nil
}
