package layout

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Lines makes a convolution over sequences one over images of a single line, where
// the precision is bf16: only those over images compute in tiles.
var Lines = pass.Pass{
	Name: "lines-as-images", Level: 3,
	Doc:     "With `--precision bf16`, one-dimensional convolutions with constant weights and without groups compute as those of images that are one line high.",
	Rewrite: asImages,
}

func asImages(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	fused := n.Domain == op.Salver && n.Op == "FusedConv"
	if c.Precision != op.BF16 || !fused && !n.Is("Conv") || !match.Float32(n.In[0]) {
		return nil, nil
	}
	w := n.In[1]
	if !w.IsConst() || w.Const.Rank() != 3 {
		return nil, nil
	}
	if n.Int("group") != 1 {
		c.Near(n, "it has groups")
		return nil, nil
	}
	b := newBuilder(c, blockSize())
	line := b.ints("line", 2)
	image := func(v *ir.Value) *ir.Value {
		return b.node("", "Unsqueeze", v.Name+"_image", []*ir.Value{v, line}, nil)
	}
	s := w.Const.Shape
	in := slices.Clone(n.In)
	in[0], in[1] = image(n.In[0]), ir.NewConst(c.Name(w.Name), w.Const.Reshape(s[0], s[1], 1, s[2]))
	if z := n.Input(3); z != nil {
		in[3] = image(z)
	}
	y := b.node(n.Domain, n.Op, n.Out[0].Name+"_image", in, imageAttrs(n))
	y.Producer.Name, y.Producer.Opset = n.Name, n.Opset
	out := b.node("", "Squeeze", n.Out[0].Name, []*ir.Value{y, line}, nil)
	return b.replace(fmt.Sprintf("%s computes as a convolution of images one line high", n), n.Out[0], out), nil
}

// imageAttrs are the attributes of a convolution over sequences for images.
func imageAttrs(n *ir.Node) map[string]*ir.Attr {
	attrs := maps.Clone(n.Attrs)
	for _, name := range []string{"kernel_shape", "strides", "dilations"} {
		if v := n.Ints(name); n.Has(name) && len(v) == 1 {
			attrs[name] = ir.Ints(1, v[0])
		}
	}
	if v := n.Ints("pads"); n.Has("pads") && len(v) == 2 {
		attrs["pads"] = ir.Ints(0, v[0], 0, v[1])
	}
	return attrs
}
