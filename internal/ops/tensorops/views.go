package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
)

// The other operators that only change the shape.
func init() {
	view := func(o op.Op) {
		o.Types, o.View, o.Rows = op.Types{"T": op.AllTensors}, true, moveRows(rowsByProduct)
		op.Register(&o)
	}
	view(op.Op{
		Name: "Flatten", Versions: []int{1, 9, 11, 13, 21, 23, 24, 25}, Doc: "a matrix: dimensions before and from axis",
		In: op.Ports("input:T"), Out: op.Ports("output:T"), Attrs: op.Attrs{"axis": op.Default(ir.Int(1))},
		Infer: flattenInfer, Ref: flattenRef, Cases: flattenCases{},
	})
	axesAttr, axesIn := op.Ports("data:T"), op.Ports("data:T", "axes:int64?")
	view(op.Op{
		Name: "Squeeze", Versions: []int{1, 11}, Doc: "drops dimensions of size 1",
		In: axesAttr, Out: op.Ports("squeezed:T"), Attrs: op.Attrs{"axes": op.Opt(ir.KindInts)},
		Infer: squeezeInfer, Ref: squeezeRef,
	})
	view(op.Op{
		Name: "Squeeze", Versions: []int{13, 21, 23, 24, 25}, Doc: "drops dimensions of size 1",
		In: axesIn, Out: op.Ports("squeezed:T"), Infer: squeezeInfer, Ref: squeezeRef, Cases: squeezeCases{},
	})
	view(op.Op{
		Name: "Unsqueeze", Versions: []int{1, 11}, Doc: "inserts dimensions of size 1",
		In: axesAttr, Out: op.Ports("expanded:T"), Attrs: op.Attrs{"axes": op.Required(ir.KindInts)},
		Infer: unsqueezeInfer, Ref: unsqueezeRef,
	})
	view(op.Op{
		Name: "Unsqueeze", Versions: []int{13, 21, 23, 24, 25}, Doc: "inserts dimensions of size 1",
		In: op.Ports("data:T", "axes:int64"), Out: op.Ports("expanded:T"), Infer: unsqueezeInfer, Ref: unsqueezeRef, Cases: unsqueezeCases{},
	})
	op.Register(&op.Op{
		Name: "Identity", Versions: []int{1, 13, 14, 16, 19, 21, 23, 24, 25}, Doc: "its input",
		In: op.Ports("input:V"), Out: op.Ports("output:V"), Types: op.Types{"V": slices.Concat(op.AllTensors, []dtype.Type{dtype.Sequence, dtype.Optional})},
		Infer: identityInfer, Ref: identityRef, View: true, Cases: identityCases{},
		Rows: moveRows(func(_ *ir.Node, axis int) int { return axis }),
	})
}

func flattenInfer(c *op.Infer) error {
	s, err := flattened(c.In[0].Shape, c.Node.Int("axis"))
	if err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func flattened(in shape.Shape, axis int) (shape.Shape, error) {
	if in == nil {
		return shape.Unknowns(2), nil
	}
	if axis < -len(in) || axis > len(in) {
		return nil, fmt.Errorf("axis %d is outside [%d, %d]", axis, -len(in), len(in))
	}
	if axis < 0 {
		axis += len(in)
	}
	return shape.Shape{in[:axis].Count(), in[axis:].Count()}, nil
}

func flattenRef(c *op.Call) error {
	s, err := flattened(shape.Of(c.In[0].Shape...), c.Node.Int("axis"))
	if err != nil {
		return err
	}
	dims, _ := s.Ints()
	return copyOut(c, c.In[0], dims)
}

// inferAxes gives the axes of Squeeze and Unsqueeze from the attribute or from
// input 1; known is false where the input's contents are not.
func inferAxes(c *op.Infer) (axes []int, known bool) {
	if f := c.Input(1); f.Present {
		return f.Ints()
	}
	return c.Node.Ints("axes"), true
}

func callAxes(c *op.Call) ([]int, error) {
	if c.Input(1) != nil {
		return intsOf(c, 1)
	}
	return c.Node.Ints("axes"), nil
}

func squeezeInfer(c *op.Infer) error {
	x := c.In[0]
	axes, known := inferAxes(c)
	if !known || x.Shape == nil {
		c.Set(0, x.DType, nil)
		return nil
	}
	s, err := squeezed(x.Shape, axes)
	if err != nil {
		return err
	}
	c.Set(0, x.DType, s)
	keepContent(c)
	return nil
}

// squeezed drops axes, or all dimensions of size 1 if axes is nil. Where it is
// not known which are, the rank isn't either.
func squeezed(in shape.Shape, axes []int) (shape.Shape, error) {
	out := shape.Shape{}
	if axes == nil {
		for _, d := range in {
			if _, fixed := d.Int(); !fixed {
				return nil, nil
			}
			if !d.Is(1) {
				out = append(out, d)
			}
		}
		return out, nil
	}
	axes, err := op.Axes(axes, len(in))
	if err != nil {
		return nil, err
	}
	for i, d := range in {
		if !slices.Contains(axes, i) {
			out = append(out, d)
		} else if n, fixed := d.Int(); fixed && n != 1 {
			return nil, fmt.Errorf("cannot drop dimension %d of %v: expected size 1, found %d", i, in, n)
		}
	}
	return out, nil
}

func squeezeRef(c *op.Call) error {
	axes, err := callAxes(c)
	if err != nil {
		return err
	}
	s, err := squeezed(shape.Of(c.In[0].Shape...), axes)
	if err != nil {
		return err
	}
	dims, _ := s.Ints()
	return copyOut(c, c.In[0], dims)
}

func unsqueezeInfer(c *op.Infer) error {
	x := c.In[0]
	axes, known := inferAxes(c)
	if !known || x.Shape == nil {
		var s shape.Shape
		if n, ok := vectorLen(c.Input(1)); ok && x.Shape != nil {
			s = shape.Unknowns(len(x.Shape) + n)
		}
		c.Set(0, x.DType, s)
		return nil
	}
	s, err := unsqueezed(x.Shape, axes)
	if err != nil {
		return err
	}
	c.Set(0, x.DType, s)
	keepContent(c)
	return nil
}

func unsqueezed(in shape.Shape, axes []int) (shape.Shape, error) {
	axes, err := op.Axes(axes, len(in)+len(axes))
	if err != nil {
		return nil, err
	}
	out := slices.Clone(in)
	slices.Sort(axes)
	for _, a := range axes {
		out = slices.Insert(out, a, shape.Const(1))
	}
	return out, nil
}

func unsqueezeRef(c *op.Call) error {
	axes, err := callAxes(c)
	if err != nil {
		return err
	}
	s, err := unsqueezed(shape.Of(c.In[0].Shape...), axes)
	if err != nil {
		return err
	}
	dims, _ := s.Ints()
	return copyOut(c, c.In[0], dims)
}

func identityInfer(c *op.Infer) error {
	c.Out[0] = c.In[0]
	return nil
}

func identityRef(c *op.Call) error {
	x := c.In[0]
	if x.DType == dtype.Sequence || x.DType == dtype.Optional {
		c.Set(0, x)
		return nil
	}
	return copyOut(c, x, x.Shape)
}
