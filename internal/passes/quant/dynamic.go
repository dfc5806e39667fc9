// Package quant holds the passes that make integer operators of quantized
// networks, however these are spelled.
package quant

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/fuse"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// IntegerMatMul merges what makes floating point of an integer product.
var IntegerMatMul = pass.Pass{
	Name: "fuse-integer-matmul", Level: 2,
	Doc:     "MatMulInteger by a constant matrix, Cast, the scales, a bias, a residual and an activation, as dynamic quantization writes them, become one product with the same bits. It also finds the range by which DynamicQuantizeLinear quantizes its result.",
	Rewrite: integerMatMul,
}

func integerMatMul(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Is("DynamicQuantizeLinear") {
		return rangedProduct(c, n), nil
	}
	if n.Domain != "" || n.Output(0) == nil || !match.Float32(n.Out[0]) || len(n.In) == 0 {
		return nil, nil
	}
	switch n.Op {
	case "Mul":
		return scaledProduct(c, n), nil
	case "Add":
		return productBias(c, n), nil
	}
	name, params, ok := fuse.ActivationOf(n)
	if !ok {
		return nil, nil
	}
	f := integerProduct(c, n, n.In[0])
	if f == nil {
		return nil, nil
	}
	attrs := map[string]*ir.Attr{"activation": ir.Str(name)}
	if len(params) > 0 {
		attrs["activation_params"] = ir.Floats(params...)
	}
	return productPatch(c, f, n, f.In, attrs), nil
}

// Inputs of IntegerMatMul.
const (
	inA = iota
	inB
	inScaleA
	inScaleB
	inZeroA
	inZeroB
	inBias
	inResidual
)

// integerProduct gives the product that alone feeds n through v and to which more
// can be fused.
func integerProduct(c *pass.Context, n *ir.Node, v *ir.Value) *ir.Node {
	f := v.Producer
	if f == nil || f.Domain != op.Salver || f.Op != "IntegerMatMul" || f.Str("activation") != "" {
		return nil
	}
	if !match.Private(v) {
		c.Near(n, "the result of %s is read elsewhere too", f)
		return nil
	}
	return f
}

func productPatch(c *pass.Context, f, n *ir.Node, in []*ir.Value, attrs map[string]*ir.Attr) *ir.Patch {
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Salver, "IntegerMatMul", 1, in, []*ir.Value{y}, maps.Clone(attrs))
	m.Name = f.Name
	return &ir.Patch{Reason: fmt.Sprintf("fuse %s into %s", n, f), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// scaledProduct merges MatMulInteger, Cast and Mul, or a further factor for each
// column.
func scaledProduct(c *pass.Context, n *ir.Node) (patch *ir.Patch) {
	match.Either(n, func(x, scale *ir.Value) bool {
		if f := integerProduct(c, n, x); f != nil && f.Input(inScaleB) == nil && f.Input(inBias) == nil && isVectorFor(scale, f) {
			in := withInput(f.In, inScaleB, vector(c, scale))
			patch = productPatch(c, f, n, in, nil)
			return true
		}
		m := castProduct(c, n, x)
		if m == nil {
			return false
		}
		a, b, ok := scales(c, n, m, scale)
		if !ok {
			return false
		}
		in := []*ir.Value{m.In[0], m.In[1], a, b, m.Input(2), m.Input(3)}
		patch = productPatch(c, m, n, in, nil)
		return true
	})
	return patch
}

// castProduct gives the MatMulInteger whose result x is as float32.
func castProduct(c *pass.Context, n *ir.Node, x *ir.Value) *ir.Node {
	cast := match.Producer(x, "Cast")
	if cast == nil {
		return nil
	}
	m := match.Producer(cast.In[0], "MatMulInteger")
	if m == nil {
		return nil
	}
	switch {
	case !match.Private(x) || !match.Private(cast.In[0]):
		c.Near(n, "the integers of %s are read elsewhere too", m)
	case !m.In[1].IsConst() || m.In[1].Const.Rank() != 2:
		c.Near(n, "%q is no constant matrix", m.In[1].Name)
	case m.Input(3) != nil && !m.In[3].IsConst():
		c.Near(n, "the zero points %q are not constant", m.In[3].Name)
	case m.Input(3) != nil && m.In[3].Const.Rank() > 1:
		c.Near(n, "the zero points %q have shape %s", m.In[3].Name, m.In[3].Type.Shape)
	case m.Input(2) != nil && !isSingle(m.In[2]):
		c.Near(n, "A has zero points of shape %s, not one", m.In[2].Type.Shape)
	default:
		return m
	}
	return nil
}

// scales splits what the product is multiplied with into A's scale and B's.
func scales(c *pass.Context, n, m *ir.Node, scale *ir.Value) (a, b *ir.Value, ok bool) {
	if isSingle(scale) {
		return scale, nil, true
	}
	if mul := match.Producer(scale, "Mul"); mul != nil {
		if match.Either(mul, func(x, y *ir.Value) bool {
			a, b = x, y
			return isSingle(x) && isVectorFor(y, m)
		}) {
			return a, vector(c, b), true
		}
	}
	if isVectorFor(scale, m) {
		return ir.NewConst(c.Name(n.Out[0].Name+"_scale"), tensor.Scalar[float32](1)), vector(c, scale), true
	}
	c.Near(n, "the scale %q has shape %s, expected one number or one for each column", scale.Name, scale.Type.Shape)
	return nil, nil, false
}

func isSingle(v *ir.Value) bool {
	n, ok := v.Type.Shape.Count().Int()
	return v.Type.Shape != nil && ok && n == 1 && len(v.Type.Shape) <= 1
}

// isVectorFor reports whether v is a constant with a number for each column of
// the product f, or one for all.
func isVectorFor(v *ir.Value, f *ir.Node) bool {
	if !v.IsConst() || v.Const.DType != dtype.Float32 || v.Const.Rank() > len(f.Out[0].Type.Shape) {
		return false
	}
	s, columns := v.Const.Shape, f.In[inB].Const.Shape[1]
	if len(s) == 0 {
		return true
	}
	return v.Const.Len() == s[len(s)-1] && (v.Const.Len() == columns || v.Const.Len() == 1 && len(s) == 1)
}

// vector gives a constant of which all dimensions but the last are 1 as a vector.
func vector(c *pass.Context, v *ir.Value) *ir.Value {
	if v.Const.Rank() <= 1 {
		return v
	}
	return ir.NewConst(c.Name(v.Name), v.Const.Reshape(v.Const.Len()))
}

func withInput(in []*ir.Value, i int, v *ir.Value) []*ir.Value {
	out := append([]*ir.Value{}, in...)
	for len(out) <= i {
		out = append(out, nil)
	}
	out[i] = v
	return out
}

func productBias(c *pass.Context, n *ir.Node) (patch *ir.Patch) {
	match.Either(n, func(x, bias *ir.Value) bool {
		f := integerProduct(c, n, x)
		if f == nil || f.Input(inResidual) != nil {
			return false
		}
		if f.Input(inBias) == nil && isVectorFor(bias, f) && bias.Const.Len() == f.In[inB].Const.Shape[1] && bias.Const.Rank() > 0 {
			patch = productPatch(c, f, n, withInput(f.In, inBias, vector(c, bias)), nil)
		} else if bias != x && match.Float32(bias) && bias.Type.Shape.Equal(f.Out[0].Type.Shape) {
			patch = productPatch(c, f, n, withInput(f.In, inResidual, bias), nil)
		}
		return patch != nil
	})
	return patch
}

// rangedProduct has a product find the range of its result.
func rangedProduct(c *pass.Context, n *ir.Node) *ir.Patch {
	f := n.In[0].Producer
	if f == nil || f.Domain != op.Salver || f.Op != "IntegerMatMul" || f.Output(1) != nil {
		return nil
	}
	y, ends := c.Value(f.Out[0].Name), c.Value(f.Out[0].Name+"_range")
	m := ir.NewNode(op.Salver, "IntegerMatMul", 1, f.In, []*ir.Value{y, ends}, maps.Clone(f.Attrs))
	m.Name = f.Name
	patch := &ir.Patch{Reason: fmt.Sprintf("%s finds the range for %s", f, n), Replace: []ir.Replacement{{Old: f.Out[0], New: y}}}
	var outs []*ir.Value
	for _, old := range n.Out {
		if old == nil {
			outs = append(outs, nil)
			continue
		}
		v := c.Value(old.Name)
		outs = append(outs, v)
		patch.Replace = append(patch.Replace, ir.Replacement{Old: old, New: v})
	}
	q := ir.NewNode(op.Salver, "QuantizeInRange", 1, []*ir.Value{y, ends}, outs, nil)
	q.Name = n.Name
	patch.Add = []*ir.Node{m, q}
	return patch
}
