package fuse

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// LayerNorm finds normalizations that exporters spell out.
var LayerNorm = pass.Pass{
	Name: "fuse-layernorm", Level: 2,
	Doc: "Layer normalization spelled as means, differences, squares and a square root becomes LayerNormalization, and the same without the mean RMSNormalization; " +
		"the factor and term for each column that follow become its scale and bias.",
	Rewrite: layerNorm,
}

func layerNorm(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != "" || n.Output(0) == nil || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	switch n.Op {
	case "Div":
		return normalization(c, n), nil
	case "Mul":
		if p := normalization(c, n); p != nil {
			return p, nil
		}
		return normScale(c, n), nil
	case "Add":
		return normBias(c, n), nil
	}
	return nil, nil
}

// normalization matches d/√(mean(d²)+ε), where d is x or x - mean(x).
func normalization(c *pass.Context, n *ir.Node) *ir.Patch {
	d, e, ok := overRoot(n)
	if !ok {
		return nil
	}
	eps, square, axis, ok := meanPlus(e)
	if !ok || !squareOf(square, d) || eps < 0 {
		return nil
	}
	x, name, opset := d, "RMSNormalization", 23
	if sub := match.Producer(d, "Sub"); sub != nil {
		if of, a, ok := meanOf(sub.In[1]); ok && of == sub.In[0] && a == axis {
			x, name, opset = of, "LayerNormalization", 17
		}
	}
	s := x.Type.Shape
	width, ok := s[len(s)+axis:].Ints()
	if !ok {
		c.Near(n, "the normalized axes of %s have no fixed size", x.Type)
		return nil
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", name, opset, []*ir.Value{x, onesOf(c, width)}, []*ir.Value{y}, map[string]*ir.Attr{"axis": ir.Int(axis), "epsilon": ir.Float(eps)})
	return &ir.Patch{Reason: fmt.Sprintf("%s ends %s of %q", n, name, x.Name), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

func onesOf(c *pass.Context, dims []int) *ir.Value {
	t := tensor.New(dtype.Float32, dims...)
	for i := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = 1
	}
	return ir.NewConst(c.Name("ones"), t)
}

// overRoot reads d/√e however it is written.
func overRoot(n *ir.Node) (d, e *ir.Value, ok bool) {
	if n.Is("Div") {
		e, ok = rootOf(n.In[1])
		return n.In[0], e, ok
	}
	match.Either(n, func(a, b *ir.Value) bool {
		d = a
		switch p := b.Producer; {
		case p.Is("Reciprocal"):
			e, ok = rootOf(p.In[0])
		case p.Is("Div"):
			if one, is := match.Scalar(p.In[0]); is && one == 1 {
				e, ok = rootOf(p.In[1])
			}
		case p.Is("Pow"):
			if k, is := match.Scalar(p.In[1]); is && k == -.5 {
				e, ok = p.In[0], true
			}
		}
		return ok
	})
	return d, e, ok
}

func rootOf(v *ir.Value) (*ir.Value, bool) {
	if s := match.Producer(v, "Sqrt"); s != nil {
		return s.In[0], true
	}
	if p := match.Producer(v, "Pow"); p != nil {
		if k, ok := match.Scalar(p.In[1]); ok && k == .5 {
			return p.In[0], true
		}
	}
	return nil, false
}

// meanPlus reads mean(of) + ε.
func meanPlus(v *ir.Value) (eps float32, of *ir.Value, axis int, ok bool) {
	add := match.Producer(v, "Add")
	if add == nil {
		return 0, nil, 0, false
	}
	m, eps, ok := match.ScalarOperand(add)
	if !ok {
		return 0, nil, 0, false
	}
	of, axis, ok = meanOf(m)
	return eps, of, axis, ok
}

// meanOf reads the mean over the axes from one on, counted from the end.
func meanOf(v *ir.Value) (of *ir.Value, axis int, ok bool) {
	m := match.Producer(v, "ReduceMean")
	if m == nil || !m.Bool("keepdims") || m.In[0].Type.Shape == nil {
		return nil, 0, false
	}
	axes := m.Ints("axes")
	if in := m.Input(1); in != nil {
		if !in.IsConst() {
			return nil, 0, false
		}
		axes, _ = in.Const.Ints()
	}
	rank := len(m.In[0].Type.Shape)
	axes = slices.Clone(axes)
	for i, a := range axes {
		if a >= 0 {
			axes[i] = a - rank
		}
	}
	slices.Sort(axes)
	for i, a := range axes {
		if a != i-len(axes) {
			return nil, 0, false
		}
	}
	return m.In[0], -len(axes), len(axes) > 0
}

func squareOf(v, d *ir.Value) bool {
	if m := match.Producer(v, "Mul"); m != nil {
		return m.In[0] == d && m.In[1] == d
	}
	p := match.Producer(v, "Pow")
	if p == nil || p.In[0] != d {
		return false
	}
	k, ok := match.Scalar(p.In[1])
	return ok && k == 2
}

// normOf gives the normalization that alone feeds n through v.
func normOf(v *ir.Value) *ir.Node {
	f := v.Producer
	if !f.Is("LayerNormalization") && !f.Is("RMSNormalization") || v.Index != 0 || !match.Private(v) || !match.Float32(f.In[0]) {
		return nil
	}
	return f
}

// perColumn gives a tensor as scale or bias of a normalization, if it has one
// number for each of the normalized elements.
func perColumn(c *pass.Context, f *ir.Node, v *ir.Value) *ir.Value {
	s := f.In[0].Type.Shape
	if s == nil || !match.Float32(v) || f.Int("axis") >= 0 {
		return nil
	}
	want, got := s[len(s)+f.Int("axis"):], v.Type.Shape
	if got == nil || len(got) > len(s) {
		return nil
	}
	for len(got) > len(want) && got[0].Is(1) {
		got = got[1:]
	}
	if !got.Equal(want) {
		return nil
	}
	if len(got) == len(v.Type.Shape) {
		return v
	}
	dims, ok := got.Ints()
	if !v.IsConst() || !ok {
		return nil
	}
	return ir.NewConst(c.Name(v.Name), v.Const.Reshape(dims...))
}

// normScale makes a factor that follows the scale, unless there is one already.
func normScale(c *pass.Context, n *ir.Node) (patch *ir.Patch) {
	match.Either(n, func(a, b *ir.Value) bool {
		f := normOf(a)
		if f == nil || f.Input(2) != nil || !allOnes(f.In[1]) {
			return false
		}
		if g := perColumn(c, f, b); g != nil {
			patch = renormalize(c, n, f, []*ir.Value{f.In[0], g})
		}
		return patch != nil
	})
	return patch
}

func allOnes(v *ir.Value) bool {
	return v.IsConst() && v.Const.DType == dtype.Float32 && !slices.ContainsFunc(tensor.Of[float32](v.Const), func(x float32) bool { return x != 1 })
}

// normBias makes a term that follows the bias.
func normBias(c *pass.Context, n *ir.Node) (patch *ir.Patch) {
	match.Either(n, func(a, b *ir.Value) bool {
		f := normOf(a)
		if f == nil || !f.Is("LayerNormalization") || f.Input(2) != nil {
			return false
		}
		if v := perColumn(c, f, b); v != nil {
			patch = renormalize(c, n, f, []*ir.Value{f.In[0], f.In[1], v})
		}
		return patch != nil
	})
	return patch
}

// renormalize replaces a normalization and its reader n by one with other parameters.
func renormalize(c *pass.Context, n, f *ir.Node, in []*ir.Value) *ir.Patch {
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", f.Op, f.Opset, in, []*ir.Value{y}, map[string]*ir.Attr{"axis": ir.Int(f.Int("axis")), "epsilon": ir.Float(f.Float("epsilon"))})
	m.Name = f.Name
	return &ir.Patch{Reason: fmt.Sprintf("fuse %s into %s", n, f), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}
