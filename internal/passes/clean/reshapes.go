package clean

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Reshapes merges operators that only rename the axes.
var Reshapes = pass.Pass{
	Name: "merge-reshapes", Level: 1, Portable: true,
	Doc:     "Reshape, Flatten, Squeeze and Unsqueeze in a row become one Reshape, or none where the last restores the shape.",
	Rewrite: reshapes,
}

var reshaping = map[string]bool{"Reshape": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true}

func isReshaping(n *ir.Node) bool { return n != nil && n.Domain == "" && reshaping[n.Op] }

func reshapes(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !isReshaping(n) || !isReshaping(n.In[0].Producer) {
		return nil, nil
	}
	before := n.In[0].Producer
	x, why := before.In[0], fmt.Sprintf("%s follows %s", n, before)
	if x.Type.Shape.Equal(n.Out[0].Type.Shape) {
		return &ir.Patch{Reason: why, Replace: []ir.Replacement{{Old: n.Out[0], New: x}}}, nil
	}
	if !match.Private(n.In[0]) {
		return nil, nil // it would stay
	}
	p := reshapeTo(c, n, x, why)
	if p == nil {
		p = joinUnsqueezes(c, before, n, why)
	}
	if p == nil {
		c.Near(n, "no constant describes a Reshape from %s to %s", x.Type.Shape, n.Out[0].Type.Shape)
	}
	return p, nil
}

// joinUnsqueezes makes one Unsqueeze of two, whatever the sizes.
func joinUnsqueezes(c *pass.Context, first, second *ir.Node, why string) *ir.Patch {
	x := first.In[0]
	if !first.Is("Unsqueeze") || !second.Is("Unsqueeze") || x.Type.Shape == nil {
		return nil
	}
	a, ok := unsqueezed(first)
	b, ok2 := unsqueezed(second)
	if !ok || !ok2 {
		return nil
	}
	axes := slices.Clone(b)
	at := 0 // of the tensor between
	for i := range len(x.Type.Shape) + len(a) + len(b) {
		if slices.Contains(b, i) {
			continue
		}
		if slices.Contains(a, at) {
			axes = append(axes, i)
		}
		at++
	}
	slices.Sort(axes)
	y := c.Value(second.Out[0].Name)
	in, attrs := []*ir.Value{x}, map[string]*ir.Attr{}
	if second.Input(1) == nil {
		attrs["axes"] = ir.Ints(axes...)
	} else {
		in = append(in, intsConst(c, second.In[1].Name, axes))
	}
	m := ir.NewNode("", "Unsqueeze", second.Opset, in, []*ir.Value{y}, attrs)
	m.Name = second.Name
	return &ir.Patch{Reason: why, Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: second.Out[0], New: y}}}
}

// unsqueezed gives the axes that an Unsqueeze adds, counted in its result.
func unsqueezed(n *ir.Node) ([]int, bool) {
	axes := axesOf(n, 1)
	out, err := op.Axes(axes, len(n.In[0].Type.Shape)+len(axes))
	return out, err == nil && len(axes) > 0
}

// reshapeOpset has the shape as an input.
const reshapeOpset = 5

// reshapeTo replaces n's result by a Reshape of x to the same shape, if a
// constant can say it.
func reshapeTo(c *pass.Context, n *ir.Node, x *ir.Value, why string) *ir.Patch {
	dims, ok := reshapeDims(x.Type.Shape, n.Out[0].Type.Shape)
	if !ok || n.Opset < reshapeOpset {
		return nil
	}
	to := ir.NewConst(c.Name(n.Out[0].Name+"_shape"), tensor.FromSlice(dims, len(dims)))
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", "Reshape", n.Opset, []*ir.Value{x, to}, []*ir.Value{y}, nil)
	m.Name = n.Name
	return &ir.Patch{Reason: why, Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// reshapeDims writes a shape for Reshape: 0 keeps the input's dimension, and
// one may be -1.
func reshapeDims(in, out shape.Shape) ([]int64, bool) {
	if in == nil || out == nil {
		return nil, false
	}
	dims := make([]int64, len(out))
	inferred := false
	for i, d := range out {
		n, fixed := d.Int()
		switch {
		case fixed && n == 0:
			return nil, false
		case fixed:
			dims[i] = int64(n)
		case i < len(in) && in[i].Equal(d):
			dims[i] = 0
		case !inferred:
			inferred, dims[i] = true, -1
		default:
			return nil, false
		}
	}
	return dims, true
}
