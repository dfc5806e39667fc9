package layout

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Ends makes the reorders that remain cheaper.
var Ends = pass.Pass{
	Name: "simplify-reorders", Level: 3,
	Doc: "A reorder of whole blocks of a single pixel is a Reshape, and one beside a Transpose between NCHW and NHWC is part of it; " +
		"Shape of a plain tensor is computed from the blocked one.",
	Rewrite: ends,
}

func ends(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	switch {
	case isReorder(n) && n.In[0].Type.Shape.Known():
		return onePixel(c, n), nil
	case n.Is("Shape") && fromBlocked(n.In[0]) != nil:
		return shapeOfBlocked(c, n), nil
	case toNHWC(n) && fromBlocked(n.In[0]) != nil && match.Private(n.In[0]):
		return blockedToNHWC(c, n), nil
	}
	return nil, nil
}

func toNHWC(n *ir.Node) bool {
	return n.Is("Transpose") && slices.Equal(n.Ints("perm"), []int{0, 2, 3, 1})
}

// readsEither reports whether n reads v as easily from blocked layout.
func readsEither(n *ir.Node, v *ir.Value, block int) bool {
	channels, ok := channelsOf(v)
	return n.Is("Shape") || ok && toNHWC(n) && (channels < block || channels%block == 0)
}

// onePixel makes a Reshape of a reorder that moves nothing, and a Transpose of
// blocks of one that follows a Transpose from NHWC.
func onePixel(c *pass.Context, n *ir.Node) *ir.Patch {
	s := n.In[0].Type.Shape
	b := newBuilder(c, n.Int("block"))
	channels, ok := s[1].Int()
	if !isToBlocked(n) {
		channels = n.Int("channels")
	}
	if !ok || channels%b.block != 0 {
		return nil
	}
	blocks := channels / b.block
	if t := match.Producer(n.In[0], "Transpose"); isToBlocked(n) && t != nil && match.Private(n.In[0]) && slices.Equal(t.Ints("perm"), []int{0, 3, 1, 2}) {
		split := b.reshape(t.In[0], 0, 0, 0, blocks, b.block)
		y := b.node("", "Transpose", n.Out[0].Name, []*ir.Value{split}, map[string]*ir.Attr{"perm": ir.Ints(0, 3, 1, 2, 4)})
		return b.replace(fmt.Sprintf("%s is part of %s", n, t), n.Out[0], y)
	}
	if !s[2].Is(1) || !s[3].Is(1) {
		return nil
	}
	to := []int{0, channels, 1, 1}
	if isToBlocked(n) {
		to = []int{0, blocks, 1, 1, b.block}
	}
	y := b.reshape(n.In[0], to...)
	return b.replace(fmt.Sprintf("%s moves nothing", n), n.Out[0], y)
}

// reshape reshapes v; 0 keeps a dimension.
func (b *builder) reshape(v *ir.Value, to ...int) *ir.Value {
	return b.node("", "Reshape", v.Name+"_reshaped", []*ir.Value{v, b.ints("shape", to...)}, nil)
}

// blockedToNHWC transposes a blocked tensor without the detour over NCHW.
func blockedToNHWC(c *pass.Context, n *ir.Node) *ir.Patch {
	f := fromBlocked(n.In[0])
	b := newBuilder(c, f.Int("block"))
	channels, u := f.Int("channels"), f.In[0]
	why := fmt.Sprintf("%s is part of %s", f, n)
	switch {
	case channels == b.block:
		return b.replace(why, n.Out[0], b.node("", "Squeeze", n.Out[0].Name, []*ir.Value{u, b.ints("axes", 1)}, nil))
	case channels < b.block:
		pixels := b.node("", "Squeeze", u.Name+"_pixels", []*ir.Value{u, b.ints("axes", 1)}, nil)
		return b.replace(why, n.Out[0], b.node("", "Slice", n.Out[0].Name,
			[]*ir.Value{pixels, b.ints("starts", 0), b.ints("ends", channels), b.ints("axes", 3)}, nil))
	case channels%b.block == 0:
		t := b.node("", "Transpose", n.Out[0].Name, []*ir.Value{u}, map[string]*ir.Attr{"perm": ir.Ints(0, 2, 3, 1, 4)})
		return b.replace(why, n.Out[0], b.reshape(t, 0, 0, 0, channels))
	}
	c.Near(n, "%d channels are no whole number of blocks of %d", channels, b.block)
	return nil
}

// shapeOfBlocked computes [N, C, H, W] from the blocked tensor, whose reorder
// may then not be needed.
func shapeOfBlocked(c *pass.Context, n *ir.Node) *ir.Patch {
	f := fromBlocked(n.In[0])
	b := newBuilder(c, f.Int("block"))
	dims := b.node("", "Shape", f.In[0].Name+"_shape", f.In[:1], nil)
	gathered := b.node("", "Gather", n.Out[0].Name+"_sides", []*ir.Value{dims, b.ints("indices", 2, 3)}, nil)
	batch := b.node("", "Gather", n.Out[0].Name+"_batch", []*ir.Value{dims, b.ints("indices", 0)}, nil)
	all := b.node("", "Concat", n.Out[0].Name, []*ir.Value{batch, b.ints("channels", f.Int("channels")), gathered}, map[string]*ir.Attr{"axis": ir.Int(0)})
	start, end := n.Int("start"), 4
	if n.Has("end") {
		end = n.Int("end")
	}
	if start != 0 || end != 4 {
		all = b.node("", "Slice", n.Out[0].Name, []*ir.Value{all, b.ints("starts", start), b.ints("ends", end)}, nil)
	}
	return b.replace(fmt.Sprintf("%s needs no plain tensor", n), n.Out[0], all)
}
