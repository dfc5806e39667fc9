package image

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "CenterCropPad", Versions: []int{18}, Doc: "crops or pads axes with zeros around their centre",
		In: op.Ports("input_data:T", "shape:Tind"), Out: op.Ports("output_data:T"), Types: op.Types{"T": op.AllTensors, "Tind": op.Indices},
		Attrs: op.Attrs{"axes": op.Opt(ir.KindInts)},
		Infer: cropPadInfer, Ref: cropPadRef, Cases: cropPadCases{},
	})
}

// cropAxes gives the axes that shape input 1 speaks of.
func cropAxes(n *ir.Node, rank int) ([]int, error) {
	if n.Has("axes") {
		return op.Axes(n.Ints("axes"), rank)
	}
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	return axes, nil
}

func cropPadInfer(c *op.Infer) error {
	x := c.In[0]
	if x.Shape == nil {
		c.Set(0, x.DType, nil)
		return nil
	}
	axes, err := cropAxes(c.Node, len(x.Shape))
	if err != nil {
		return err
	}
	size, ok := c.In[1].Dims()
	if ok && len(size) != len(axes) {
		return fmt.Errorf("shape %v: expected %d numbers", shape.Shape(size), len(axes))
	}
	s := slices.Clone(x.Shape)
	for i, a := range axes {
		s[a] = shape.Unknown()
		if ok {
			s[a] = size[i]
		}
	}
	c.Set(0, x.DType, s)
	return nil
}

func cropPadRef(c *op.Call) error {
	x := c.In[0]
	axes, err := cropAxes(c.Node, x.Rank())
	if err != nil {
		return err
	}
	size, err := c.In[1].Ints()
	if err != nil {
		return err
	}
	if len(size) != len(axes) {
		return fmt.Errorf("shape %v: expected %d numbers", size, len(axes))
	}
	dims := slices.Clone(x.Shape)
	for i, a := range axes {
		dims[a] = size[i]
	}
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	out := c.Output(0, x.DType, dims...)
	out.Fill(tensor.New(x.DType, 1), 0)
	is, os := tensor.Strides(x.Shape), tensor.Strides(dims)
	inner := make([]int, len(dims))
	from, to := 0, 0
	for d, n := range x.Shape {
		inner[d] = min(n, dims[d])
		from += (n - inner[d]) / 2 * is[d]
		to += (dims[d] - inner[d]) / 2 * os[d]
	}
	row := 1
	if last := len(inner) - 1; last >= 0 { // whole rows move at once
		row, inner = inner[last], inner[:last]
	}
	at := make([]int, len(inner))
	for range tensor.Count(inner) {
		a, b := from, to
		for d, k := range at {
			a += k * is[d]
			b += k * os[d]
		}
		out.CopyElements(b, x, a, row)
		for d := len(at) - 1; d >= 0; d-- {
			if at[d]++; at[d] < inner[d] {
				break
			}
			at[d] = 0
		}
	}
	return nil
}
