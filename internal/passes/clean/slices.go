package clean

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Slices merges Slices and finds those that are written as Gather.
var Slices = pass.Pass{
	Name: "merge-slices", Level: 1, Portable: true,
	Doc:     "Slices of different axes in a row become one; a Gather of constant indices that follow each other becomes a Slice.",
	Rewrite: slicesPass,
}

// sliceOpset has the bounds as inputs.
const sliceOpset = 10

func slicesPass(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	switch {
	case n.Opset < sliceOpset || n.Domain != "":
		return nil, nil
	case n.Op == "Gather":
		return gatherToSlice(c, n), nil
	case n.Op != "Slice":
		return nil, nil
	}
	before := match.Producer(n.In[0], "Slice")
	if before == nil || before.Opset < sliceOpset || !match.Private(n.In[0]) {
		return nil, nil
	}
	first, ok := boundsOf(before)
	second, ok2 := boundsOf(n)
	if !ok || !ok2 {
		return nil, nil
	}
	for _, a := range second.axes {
		for _, b := range first.axes {
			if a == b {
				c.Near(n, "%s cuts axis %d too", before, a)
				return nil, nil
			}
		}
	}
	b := bounds{append(first.starts, second.starts...), append(first.ends, second.ends...), append(first.axes, second.axes...), append(first.steps, second.steps...)}
	return b.patch(c, n, before.In[0], fmt.Sprintf("%s follows %s", n, before)), nil
}

// bounds are the constant operands of a Slice.
type bounds struct{ starts, ends, axes, steps []int }

func boundsOf(n *ir.Node) (b bounds, ok bool) {
	rank := len(n.In[0].Type.Shape)
	lists := []*[]int{&b.starts, &b.ends, &b.axes, &b.steps}
	for i, list := range lists {
		v := n.Input(1 + i)
		if v == nil {
			continue
		}
		if !v.IsConst() {
			return b, false
		}
		x, err := v.Const.Ints()
		if err != nil {
			return b, false
		}
		*list = append([]int(nil), x...)
	}
	for i := range b.starts {
		if len(b.axes) <= i {
			b.axes = append(b.axes, i)
		}
		if len(b.steps) <= i {
			b.steps = append(b.steps, 1)
		}
	}
	var err error
	b.axes, err = op.Axes(b.axes, rank)
	return b, err == nil && rank > 0 && len(b.ends) == len(b.starts) && len(b.axes) == len(b.starts) && len(b.steps) == len(b.starts)
}

func (b bounds) patch(c *pass.Context, n *ir.Node, x *ir.Value, why string) *ir.Patch {
	name := n.Out[0].Name
	in := []*ir.Value{x, intsConst(c, name+"_starts", b.starts), intsConst(c, name+"_ends", b.ends), intsConst(c, name+"_axes", b.axes), intsConst(c, name+"_steps", b.steps)}
	y := c.Value(name)
	m := ir.NewNode("", "Slice", n.Opset, in, []*ir.Value{y}, nil)
	m.Name = n.Name
	return &ir.Patch{Reason: why, Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// gatherToSlice replaces a Gather by a vector of consecutive indices, which are
// known to be inside.
func gatherToSlice(c *pass.Context, n *ir.Node) *ir.Patch {
	x, at := n.In[0], n.Input(1)
	if !at.IsConst() || at.Const.Rank() != 1 || at.Const.Len() == 0 || at.Const.DType != dtype.Int64 && at.Const.DType != dtype.Int32 || x.IsConst() {
		return nil
	}
	axis, err := op.Axis(n.Int("axis"), len(x.Type.Shape))
	if err != nil {
		return nil
	}
	size, ok := x.Type.Shape[axis].Int()
	idx, err := at.Const.Ints()
	if !ok || err != nil {
		return nil
	}
	first := idx[0]
	for i, v := range idx {
		if v != first+i || v >= size || v < -size || (v < 0) != (first < 0) {
			return nil
		}
	}
	end := first + len(idx)
	if end == 0 {
		end = math.MaxInt64 // from the end to the end
	}
	b := bounds{[]int{first}, []int{end}, []int{axis}, []int{1}}
	return b.patch(c, n, x, fmt.Sprintf("%s takes indices %d to %d", n, first, first+len(idx)-1))
}
