package sequence

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	types := op.Types{"S": sequences, "T": op.AllTensors, "I": op.Indices}
	op.Register(&op.Op{
		Name: "SplitToSequence", Versions: []int{11, 24}, Doc: "cuts a tensor along an axis into a sequence",
		In: op.Ports("input:T", "split:I?"), Out: op.Ports("output_sequence:S"), Types: types,
		Attrs: op.Attrs{"axis": op.Default(ir.Int(0)), "keepdims": op.Default(ir.Int(1))},
		Infer: splitInfer, Ref: splitRef, Cases: splitCases{},
	})
	op.Register(&op.Op{
		Name: "ConcatFromSequence", Versions: []int{11}, Doc: "joins the items of a sequence along an axis, or a new one",
		In: op.Ports("input_sequence:S"), Out: op.Ports("concat_result:T"), Types: types,
		Attrs: op.Attrs{"axis": op.Required(ir.KindInt), "new_axis": op.Default(ir.Int(0))},
		Infer: concatInfer, Ref: concatRef, Cases: concatCases{},
	})
}

func splitInfer(c *op.Infer) error {
	x := c.In[0]
	t := ir.Type{DType: x.DType}
	if x.Shape != nil {
		axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
		if err != nil {
			return err
		}
		t.Shape = slices.Clone(x.Shape)
		switch {
		case c.Input(1).Present:
			t.Shape[axis] = shape.Unknown()
		case c.Node.Bool("keepdims"):
			t.Shape[axis] = shape.Const(1)
		default:
			t.Shape = slices.Delete(t.Shape, axis, axis+1)
		}
	}
	setSequence(c, 0, t)
	return nil
}

// pieces gives the sizes of the parts: ones, chunks of a scalar's size, or those
// of a vector.
func pieces(split *tensor.Tensor, n int) ([]int, error) {
	if split == nil {
		return slices.Repeat([]int{1}, n), nil
	}
	v, err := split.Ints()
	if err != nil {
		return nil, err
	}
	if split.Rank() == 0 {
		chunk := v[0]
		if chunk < 1 {
			return nil, fmt.Errorf("split is %d, expected at least 1", chunk)
		}
		var sizes []int
		for ; n > 0; n -= chunk {
			sizes = append(sizes, min(chunk, n))
		}
		return sizes, nil
	}
	sum := 0
	for _, s := range v {
		if s < 0 {
			return nil, fmt.Errorf("split %v: expected sizes of at least 0", v)
		}
		sum += s
	}
	if sum != n {
		return nil, fmt.Errorf("split %v: expected sizes that add up to %d", v, n)
	}
	return v, nil
}

func splitRef(c *op.Call) error {
	x := c.In[0]
	axis, err := op.Axis(c.Node.Int("axis"), x.Rank())
	if err != nil {
		return err
	}
	sizes, err := pieces(c.Input(1), x.Shape[axis])
	if err != nil {
		return err
	}
	out := tensor.New(dtype.Sequence)
	strides, at := tensor.Strides(x.Shape), 0
	for _, n := range sizes {
		dims := slices.Clone(x.Shape)
		dims[axis] = n
		item := tensor.New(x.DType, dims...)
		item.CopyStrided(x, at*strides[axis], strides)
		if c.Input(1) == nil && !c.Node.Bool("keepdims") {
			item.Shape = slices.Delete(dims, axis, axis+1)
		}
		out.Items = append(out.Items, item)
		at += n
	}
	c.Set(0, out)
	return nil
}

func concatInfer(c *op.Infer) error {
	t := elem(c.In[0])
	if t.Shape == nil {
		c.Set(0, t.DType, nil)
		return nil
	}
	rank := len(t.Shape)
	if c.Node.Bool("new_axis") {
		rank++
	}
	axis, err := op.Axis(c.Node.Int("axis"), rank)
	if err != nil {
		return err
	}
	s := slices.Clone(t.Shape)
	if c.Node.Bool("new_axis") {
		s = slices.Insert(s, axis, shape.Unknown())
	} else {
		s[axis] = shape.Unknown()
	}
	c.Set(0, t.DType, s)
	return nil
}

func concatRef(c *op.Call) error {
	items := c.In[0].Items
	if len(items) == 0 {
		return fmt.Errorf("cannot join an empty sequence")
	}
	if c.Node.Bool("new_axis") {
		for i, t := range items {
			if !slices.Equal(t.Shape, items[0].Shape) {
				return fmt.Errorf("item %d is %s, expected shape %v as item 0", i, t, items[0].Shape)
			}
		}
	}
	first := widened(items[0], c.Node)
	axis, err := op.Axis(c.Node.Int("axis"), first.Rank())
	if err != nil {
		return err
	}
	dims := slices.Clone(first.Shape)
	dims[axis] = 0
	wide := make([]*tensor.Tensor, len(items))
	for i, t := range items {
		wide[i] = widened(t, c.Node)
		w := wide[i].Shape
		if t.DType != first.DType || len(w) != len(dims) || !slices.Equal(w[:axis], dims[:axis]) || !slices.Equal(w[axis+1:], dims[axis+1:]) {
			return fmt.Errorf("item %d is %s, expected %s with any size of axis %d", i, t, items[0], axis)
		}
		dims[axis] += w[axis]
	}
	out := c.Output(0, first.DType, dims...)
	row, at := tensor.Count(dims[axis:]), 0
	for _, t := range wide {
		n := tensor.Count(t.Shape[axis:])
		for o := range tensor.Count(dims[:axis]) {
			out.CopyElements(o*row+at, t, o*n, n)
		}
		at += n
	}
	return nil
}

// widened views an item with the new axis, if there is to be one.
func widened(t *tensor.Tensor, n *ir.Node) *tensor.Tensor {
	if !n.Bool("new_axis") {
		return t
	}
	axis, err := op.Axis(n.Int("axis"), t.Rank()+1)
	if err != nil {
		return t
	}
	return t.Reshape(slices.Insert(slices.Clone(t.Shape), axis, 1)...)
}
