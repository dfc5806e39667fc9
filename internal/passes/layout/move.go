package layout

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// concatSite joins blocks along the channels, or tensors along another axis.
func concatSite(n *ir.Node, block int) (*site, string) {
	if _, ok := channelsOf(n.Out[0]); !ok {
		return nil, notImages(n.Out[0])
	}
	axis, err := op.Axis(n.Int("axis"), 4)
	if err != nil {
		return nil, err.Error()
	}
	s := &site{build: func(b *builder, in []*ir.Value) []*ir.Value {
		return one(b.same(n, in, map[string]*ir.Attr{"axis": ir.Int(axis)}))
	}}
	for i, v := range n.In {
		c, ok := channelsOf(v)
		if !ok {
			return nil, notImages(v)
		}
		if axis == 1 && c%block != 0 && i < len(n.In)-1 {
			return nil, fmt.Sprintf("operand %q of shape %s is no whole number of blocks of %d channels", v.Name, v.Type.Shape, block)
		}
		s.in = append(s.in, i)
	}
	return s, ""
}

// splitSite splits between blocks, or along another axis.
func splitSite(n *ir.Node, block int) (*site, string) {
	if _, ok := channelsOf(n.In[0]); !ok {
		return nil, notImages(n.In[0])
	}
	axis, err := op.Axis(n.Int("axis"), 4)
	if err != nil {
		return nil, err.Error()
	}
	var sizes []int
	for i, v := range n.Out {
		if v == nil {
			return nil, "a result is missing"
		}
		size, ok := v.Type.Shape[axis].Int()
		if axis == 1 {
			if !ok || size%block != 0 && i < len(n.Out)-1 {
				return nil, fmt.Sprintf("result %q of shape %s is no whole number of blocks of %d channels", v.Name, v.Type.Shape, block)
			}
			size = (size + block - 1) / block
		} else if !ok {
			return nil, fmt.Sprintf("result %q of shape %s has no known size", v.Name, v.Type.Shape)
		}
		sizes = append(sizes, size)
	}
	return &site{in: []int{0}, build: func(b *builder, in []*ir.Value) []*ir.Value {
		var out []*ir.Value
		for _, v := range n.Out {
			out = append(out, b.c.Value(v.Name))
		}
		m := ir.NewNode("", "Split", splitOpset, []*ir.Value{in[0], b.ints("split", sizes...)}, out, map[string]*ir.Attr{"axis": ir.Int(axis)})
		m.Name = n.Name
		b.nodes = append(b.nodes, m)
		return out
	}}, ""
}

// splitOpset has the sizes as an input and wants no num_outputs.
const splitOpset = 13

// sliceSite cuts between blocks and anywhere along the other axes.
func sliceSite(n *ir.Node, block int) (*site, string) {
	channels, ok := channelsOf(n.In[0])
	if _, ok2 := channelsOf(n.Out[0]); !ok || !ok2 {
		return nil, notImages(n.Out[0])
	}
	r, ok := sliceRanges(n)
	if !ok {
		return nil, "its bounds are no constants"
	}
	for i, a := range r.axes {
		if a != 1 {
			continue
		}
		start, end := clampIndex(r.starts[i], channels), clampIndex(r.ends[i], channels)
		if r.steps[i] != 1 || start%block != 0 || end%block != 0 && end != channels {
			return nil, fmt.Sprintf("channels %d to %d are no whole number of blocks of %d", start, end, block)
		}
		r.starts[i], r.ends[i] = start/block, (end+block-1)/block
	}
	return &site{in: []int{0}, build: func(b *builder, in []*ir.Value) []*ir.Value {
		y := b.node("", "Slice", n.Out[0].Name, []*ir.Value{in[0], b.ints("starts", r.starts...), b.ints("ends", r.ends...),
			b.ints("axes", r.axes...), b.ints("steps", r.steps...)}, nil)
		y.Producer.Name = n.Name
		return one(y)
	}}, ""
}

type ranges struct{ starts, ends, axes, steps []int }

// sliceRanges reads the constant ranges of a Slice of four axes.
func sliceRanges(n *ir.Node) (r ranges, ok bool) {
	list := func(i int, attr string) ([]int, bool) {
		v := n.Input(i)
		if v == nil {
			return slices.Clone(n.Ints(attr)), true
		}
		if !v.IsConst() {
			return nil, false
		}
		x, err := v.Const.Ints()
		return slices.Clone(x), err == nil
	}
	var oks [4]bool
	r.starts, oks[0] = list(1, "starts")
	r.ends, oks[1] = list(2, "ends")
	r.axes, oks[2] = list(3, "axes")
	r.steps, oks[3] = list(4, "")
	if slices.Contains(oks[:], false) || len(r.starts) == 0 || len(r.starts) != len(r.ends) {
		return r, false
	}
	for i := range r.starts {
		if len(r.axes) <= i {
			r.axes = append(r.axes, i)
		}
		if len(r.steps) <= i {
			r.steps = append(r.steps, 1)
		}
	}
	var err error
	r.axes, err = op.Axes(r.axes, 4)
	return r, err == nil && len(r.axes) == len(r.starts) && len(r.steps) == len(r.starts)
}

// clampIndex resolves an index from the end and bounds it.
func clampIndex(i, size int) int {
	if i < 0 {
		i += size
	}
	return min(max(i, 0), size)
}

// padSite pads the images' sides.
func padSite(n *ir.Node, _ int) (*site, string) {
	if _, ok := channelsOf(n.Out[0]); !ok {
		return nil, notImages(n.Out[0])
	}
	pads, ok := n.Ints("pads"), true
	if v := n.Input(1); v != nil {
		if !v.IsConst() {
			return nil, "its pads are no constants"
		}
		x, err := v.Const.Ints()
		pads, ok = slices.Clone(x), err == nil
	}
	switch {
	case !ok || len(pads) != 8 || n.Input(3) != nil:
		return nil, "its pads are not those of four axes"
	case pads[1] != 0 || pads[5] != 0:
		return nil, "it pads the channels"
	}
	return &site{in: []int{0}, build: func(b *builder, in []*ir.Value) []*ir.Value {
		wide := slices.Concat(pads[:4], []int{0}, pads[4:], []int{0})
		attrs := maps.Clone(n.Attrs)
		if n.Input(1) == nil {
			attrs["pads"] = ir.Ints(wide...)
		} else {
			in[1] = b.ints("pads", wide...)
		}
		return one(b.same(n, in, attrs))
	}}, ""
}

// reduceSite reduces over the images' sides.
func reduceSite(n *ir.Node, _ int) (*site, string) {
	if _, ok := channelsOf(n.In[0]); !ok {
		return nil, notImages(n.In[0])
	}
	axes := n.Ints("axes")
	if v := n.Input(1); v != nil {
		if !v.IsConst() {
			return nil, "its axes are no constants"
		}
		axes, _ = v.Const.Ints()
	}
	axes, err := op.Axes(axes, 4)
	if err != nil || len(axes) == 0 || slices.Min(axes) < 2 {
		return nil, "it reduces more than the images' sides"
	}
	s := &site{in: []int{0}, build: func(b *builder, in []*ir.Value) []*ir.Value {
		attrs := maps.Clone(n.Attrs)
		attrs["keepdims"] = ir.Int(1)
		if n.Input(1) == nil {
			attrs["axes"] = ir.Ints(axes...)
		} else {
			in[1] = b.ints("axes", axes...)
		}
		if len(axes) == 2 && n.Op == "ReduceMean" {
			y := b.node(op.Salver, "BlockedGlobalAveragePool", n.Out[0].Name, in[:1], nil)
			y.Producer.Name = n.Name
			return one(y)
		}
		return one(b.same(n, in, attrs))
	}}
	if !n.Bool("keepdims") {
		s.squeeze = axes
	}
	return s, ""
}

// resizeSite resizes the images' sides.
func resizeSite(n *ir.Node, _ int) (*site, string) {
	channels, ok := channelsOf(n.In[0])
	out, ok2 := channelsOf(n.Out[0])
	if !ok || !ok2 {
		return nil, notImages(n.In[0])
	}
	if channels != out || n.Str("coordinate_transformation_mode") == "tf_crop_and_resize" ||
		n.Str("keep_aspect_ratio_policy") != "stretch" && n.Has("keep_aspect_ratio_policy") || n.Has("axes") {
		return nil, "it does more than stretch images"
	}
	if n.Op == "Upsample" || n.Opset < 11 {
		return oldResizeSite(n)
	}
	if scales := n.Input(2); scales != nil && !(scales.IsConst() && (scales.Const.Len() == 0 || scalesSides(scales.Const))) {
		return nil, "its scales are no constants for the images' sides"
	}
	sizes := n.Input(3)
	if sizes != nil && len(sizes.Type.Shape) == 1 && sizes.Type.Shape[0].Is(0) {
		sizes = nil
	}
	if sizes != nil && !keepsImages(sizes, n.In[0]) {
		return nil, "its sizes may change the batch"
	}
	return &site{in: []int{0}, build: func(b *builder, in []*ir.Value) []*ir.Value {
		attrs := maps.Clone(n.Attrs)
		attrs["axes"] = ir.Ints(2, 3)
		operands := []*ir.Value{in[0], nil}
		if sizes == nil {
			s := tensor.Of[float32](n.In[2].Const)
			operands = append(operands, ir.NewConst(b.c.Name(n.In[2].Name), tensor.FromSlice([]float32{s[2], s[3]}, 2)))
		} else {
			operands = append(operands, nil, b.node("", "Slice", sizes.Name, []*ir.Value{sizes, b.ints("starts", 2), b.ints("ends", 4)}, nil))
		}
		y := b.node("", "Resize", n.Out[0].Name, operands, attrs)
		y.Producer.Name, y.Producer.Opset = n.Name, max(n.Opset, resizeAxesOpset)
		return one(y)
	}}, ""
}

// resizeAxesOpset is the first that resizes chosen axes only.
const resizeAxesOpset = 18

func scalesSides(t *tensor.Tensor) bool {
	return t.DType == dtype.Float32 && t.Len() == 4 && tensor.Of[float32](t)[0] == 1 && tensor.Of[float32](t)[1] == 1
}

// keepsImages reports whether sizes [N, C, H, W] name x's own N; the channels
// are known to stay.
func keepsImages(sizes, x *ir.Value) bool {
	dims := op.FactOf(sizes).Content
	return len(dims) == 4 && dims[0].Equal(x.Type.Shape[0])
}

// oldResizeSite has a scale for each axis and no list of axes.
func oldResizeSite(n *ir.Node) (*site, string) {
	scales := n.Floats("scales")
	if v := n.Input(1); v.IsConst() && v.Const.DType == dtype.Float32 {
		scales = tensor.Of[float32](v.Const)
	}
	if len(scales) != 4 || scales[0] != 1 || scales[1] != 1 {
		return nil, "its scales are no constants for the images' sides"
	}
	return &site{in: []int{0}, build: func(b *builder, in []*ir.Value) []*ir.Value {
		wide := append(slices.Clone(scales), 1)
		attrs := maps.Clone(n.Attrs)
		if n.Input(1) == nil {
			attrs["scales"] = ir.Floats(wide...)
		} else {
			in[1] = ir.NewConst(b.c.Name(n.In[1].Name), tensor.FromSlice(wide, 5))
		}
		return one(b.same(n, in, attrs))
	}}, ""
}
