package quant

import (
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// convTranspose is a convolution of single pixels where each output is made of one: with
// kernels as large as the strides. What comes of a pixel are channels first, and then the
// pixels of a square.
func (s *site) convTranspose() *ir.Patch {
	x, xf, ok := dequantized(s.f.In[0])
	if !ok {
		return nil
	}
	w, why := dequantizedWeights(s.f.In[1], 1)
	if why == "" {
		why = notApart(s.f, w)
	}
	if why != "" {
		s.c.Near(s.n, "%s: %s", s.f, why)
		return nil
	}
	side, out := w.data.Shape[2], w.data.Shape[1]
	q := w.apart()
	if why = q.forConv(&ir.Node{Op: "Conv", Attrs: pixelAttrs}); why != "" {
		s.c.Near(s.n, "%s: %s", s.f, why)
		return nil
	}
	var bias *tensor.Tensor
	if v := s.f.Input(2); v != nil {
		f, err := floatsOf(v)
		if err != nil || len(f) != out {
			s.c.Near(s.n, "%s: the bias %q is no constant of %d numbers", s.f, v.Name, out)
			return nil
		}
		if bias, why = q.rounded(slices.Repeat(f, side*side), v.Name, xf.scale); why != "" {
			s.c.Near(s.n, "%s: %s", s.f, why)
			return nil
		}
	}
	p := s.patch("QConv", []*ir.Value{x, s.constant(s.f.In[1].Name, q.data), s.constant(s.f.Name+"_scale", q.multiplier(xf.scale, s.y.scale)), s.constant(s.f.Name+"_bias", bias)}, s.attrs(xf, pixelAttrs))
	y := s.c.Value(s.n.Out[0].Name)
	move := ir.NewNode("", "DepthToSpace", 13, []*ir.Value{p.Replace[0].New}, []*ir.Value{y}, map[string]*ir.Attr{"blocksize": ir.Int(side), "mode": ir.Str("DCR")})
	p.Add, p.Replace[0].New = append(p.Add, move), y
	return p
}

var pixelAttrs = map[string]*ir.Attr{"auto_pad": ir.Str("NOTSET"), "group": ir.Int(1), "dilations": ir.Ints(1, 1)}

// notApart says why pixels of the input meet in outputs, or there are more outputs.
func notApart(n *ir.Node, w weights) string {
	shape := w.data.Shape
	switch {
	case len(shape) != 4 || shape[2] != shape[3]:
		return "its kernel is no square"
	case n.Int("group") != 1:
		return "it has groups"
	case !slices.Equal(n.Ints("strides"), []int{shape[2], shape[2]}):
		return "its strides are not the size of its kernel"
	case n.Ints("output_shape") != nil || n.Str("auto_pad") != "NOTSET" && n.Str("auto_pad") != "VALID":
		return "its padding follows from the size of its output"
	}
	for _, name := range []string{"pads", "output_padding"} {
		if v := n.Ints(name); slices.ContainsFunc(v, func(x int) bool { return x != 0 }) {
			return "it has " + name
		}
	}
	if v := n.Ints("dilations"); slices.ContainsFunc(v, func(x int) bool { return x != 1 }) && shape[2] > 1 {
		return "it has dilations"
	}
	return ""
}

// apart are weights [in, out, side, side] as those of a convolution of single pixels,
// [side·side·out, in, 1, 1].
func (w weights) apart() weights {
	in, out, area := w.data.Shape[0], w.data.Shape[1], w.data.Shape[2]*w.data.Shape[3]
	size := w.data.DType.Bytes(1)
	t := tensor.New(w.data.DType, area*out, in, 1, 1)
	for i := range in {
		for o := range out {
			for a := range area {
				copy(t.Data[((a*out+o)*in+i)*size:][:size], w.data.Data[((i*out+o)*area+a)*size:])
			}
		}
	}
	scale := w.scale
	if len(scale) > 1 {
		scale = slices.Repeat(scale, area)
	}
	return weights{data: t, scale: scale}
}
