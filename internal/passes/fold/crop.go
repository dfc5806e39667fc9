package fold

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Crops lets convolutions leave out what a Slice cuts off.
var Crops = pass.Pass{
	Name: "fold-crop", Level: 1, Portable: true,
	Doc:     "Where a Slice cuts off the ends of a Conv's images, as behind causal convolutions, and alone reads them, the Conv pads less.",
	Rewrite: crops,
}

func crops(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Slice") || n.Opset < 10 {
		return nil, nil
	}
	conv := match.Producer(n.In[0], "Conv")
	if conv == nil {
		return nil, nil
	}
	pads, why := croppedPads(conv, n)
	if why == "" && !match.Private(n.In[0]) {
		why = "the whole result is read elsewhere too"
	}
	if why != "" {
		c.Near(n, "%s: %s", conv, why)
		return nil, nil
	}
	attrs := maps.Clone(conv.Attrs)
	attrs["pads"], attrs["auto_pad"] = ir.Ints(pads...), ir.Str("NOTSET")
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", "Conv", conv.Opset, conv.In, []*ir.Value{y}, attrs)
	m.Name = conv.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s computes only what %s keeps", conv, n), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
}

// croppedPads gives the padding with which a convolution computes what a Slice keeps.
func croppedPads(conv, slice *ir.Node) (pads []int, why string) {
	sides := len(conv.In[0].Type.Shape) - 2
	pads, strides, dilations := slices.Clone(conv.Ints("pads")), conv.Ints("strides"), conv.Ints("dilations")
	switch auto := conv.Str("auto_pad"); {
	case auto != "NOTSET" && auto != "":
		return nil, "its padding depends on the input's size"
	case sides < 1 || len(pads) != 2*sides || len(conv.In[1].Type.Shape) != sides+2:
		return nil, "it has no padding"
	case strides != nil && len(strides) != sides || dilations != nil && len(dilations) != sides:
		return nil, "its attributes do not agree"
	}
	var lists [4][]int // starts, ends, axes, steps
	for i := range lists {
		v := slice.Input(1 + i)
		if v == nil && i > 1 {
			continue
		}
		if v == nil || !v.IsConst() {
			return nil, "the bounds are no constants"
		}
		var err error
		if lists[i], err = v.Const.Ints(); err != nil || len(lists[i]) != len(lists[0]) {
			return nil, "the bounds do not agree"
		}
	}
	for i, start := range lists[0] {
		axis, step := i, 1
		if lists[2] != nil {
			axis = lists[2][i]
		}
		if axis < 0 {
			axis += sides + 2
		}
		if lists[3] != nil {
			step = lists[3][i]
		}
		end := lists[1][i]
		if axis < 2 || axis >= sides+2 || start > 1<<20 || step != 1 || start < 0 || end >= 0 && end < 1<<31-1 {
			return nil, "it is cut otherwise than by numbers of elements at the ends of images"
		}
		side, stride := axis-2, 1
		if strides != nil {
			stride = strides[side]
		}
		if end < 0 && stride != 1 {
			return nil, "its last windows depend on the input's size"
		}
		before, after := &pads[side], &pads[sides+side]
		if *before -= start * stride; end < 0 {
			*after += end
		}
		if *before < 0 || *after < 0 || *before+*after < reach(conv, side) {
			return nil, "more is cut off than the padding made"
		}
	}
	return pads, ""
}

// reach is how much longer than one element a window is: with as much padding an image of any size has a result.
func reach(conv *ir.Node, side int) int {
	w := conv.In[1].Type.Shape
	k, ok := w[2+side].Int()
	if !ok {
		return 1 << 30
	}
	if d := conv.Ints("dilations"); d != nil {
		return d[side] * (k - 1)
	}
	return k - 1
}
