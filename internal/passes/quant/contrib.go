package quant

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
)

// Contrib brings onnxruntime's own quantized operators to our integer operators.
var Contrib = pass.Pass{
	Name: "fuse-qcontrib", Level: 2,
	Doc:     "onnxruntime's MatMulIntegerToFloat, DynamicQuantizeMatMul, QGemm, QLinearConcat and QLinearGlobalAveragePool become integer operators that more can be fused into.",
	Rewrite: contrib,
}

func contrib(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != op.Microsoft {
		return nil, nil
	}
	s := &site{c: c, n: n, f: n}
	switch n.Op {
	case "MatMulIntegerToFloat":
		return s.integerToFloat(n.In), nil
	case "DynamicQuantizeMatMul":
		return s.dynamicMatMul(), nil
	case "QGemm":
		return s.qgemm(), nil
	case "QLinearConcat":
		return s.qconcat(), nil
	case "QLinearGlobalAveragePool":
		return s.qmean(), nil
	}
	return nil, nil
}

// integerToFloat has the inputs of IntegerMatMul, by other names.
func (s *site) integerToFloat(in []*ir.Value) *ir.Patch {
	if why := forInteger(in); why != "" {
		s.c.Near(s.n, "%s", why)
		return nil
	}
	return s.patch("IntegerMatMul", in, nil)
}

// forInteger says what forbids inputs of IntegerMatMul.
func forInteger(in []*ir.Value) string {
	b := in[inB]
	switch {
	case !b.IsConst() || b.Const.Rank() != 2:
		return fmt.Sprintf("%q is no constant matrix", b.Name)
	case !match.Float32(in[inScaleA]) || !isSingle(in[inScaleA]):
		return fmt.Sprintf("the scale %q of A is not one float32", in[inScaleA].Name)
	}
	for i, v := range in[inScaleB:] {
		i += inScaleB
		switch {
		case v == nil:
		case i == inZeroA:
			if !isSingle(v) {
				return fmt.Sprintf("the zero point %q of A is not one number", v.Name)
			}
		case !v.IsConst() || v.Const.Rank() > 1 || v.Const.Len() != b.Const.Shape[1] && (v.Const.Len() != 1 || i == inBias):
			return fmt.Sprintf("%q is no constant of one number for each column", v.Name)
		}
	}
	return ""
}

// dynamicMatMul quantizes A by an operator of its own, which products by other
// matrices share.
func (s *site) dynamicMatMul() *ir.Patch {
	n := s.n
	q, scale, zero := s.c.Value(n.In[0].Name+"_quantized"), s.c.Value(n.In[0].Name+"_scale"), s.c.Value(n.In[0].Name+"_zero")
	scale.Type = ir.Type{DType: dtype.Float32, Shape: shape.Shape{}}
	zero.Type = ir.Type{DType: dtype.Uint8, Shape: shape.Shape{}}
	in := []*ir.Value{q, n.In[1], scale, n.In[2], zero, n.Input(3), n.Input(4)}
	if why := forInteger(in); why != "" {
		s.c.Near(n, "%s", why)
		return nil
	}
	d := ir.NewNode("", "DynamicQuantizeLinear", 11, []*ir.Value{n.In[0]}, []*ir.Value{q, scale, zero}, nil)
	p := s.patch("IntegerMatMul", in, nil)
	p.Add = append([]*ir.Node{d}, p.Add...)
	return p
}

// qgemm is a Gemm of bytes by a constant matrix; without y_scale it gives float32.
func (s *site) qgemm() *ir.Patch {
	n := s.n
	x, ok := scalarFormat(n.In[1], n.In[2], n.In[0].Type.DType)
	b := n.In[3]
	if !ok || !b.IsConst() || !n.In[4].IsConst() || !n.In[5].IsConst() || n.Bool("transA") || n.Float("alpha") != 1 || n.Input(7) == nil {
		s.c.Near(n, "it has transA, alpha, a result in floating point, or scales and weights that are not constant")
		return nil
	}
	if s.y, ok = scalarFormat(n.In[7], n.Input(8), n.Out[0].Type.DType); !ok {
		s.c.Near(n, "the output's scale %q is no positive constant", n.In[7].Name)
		return nil
	}
	q := b.Const
	if q.Rank() != 2 {
		return nil
	}
	if n.Bool("transB") {
		q = Transposed(q)
	}
	w, why := newWeights(q, n.In[4].Const, n.In[5].Const, 1)
	if why == "" {
		why = w.forProduct()
	}
	bias := n.Input(6)
	if bias != nil && (!bias.IsConst() || bias.Const.Len() != q.Shape[1]) {
		why = fmt.Sprintf("C is %s, no constant of one number for each column", bias.Type)
	}
	if why != "" {
		s.c.Near(n, "%s", why)
		return nil
	}
	if bias != nil {
		bias = vector(s.c, bias)
	}
	s.lo, s.hi = s.y.limits()
	in := []*ir.Value{n.In[0], s.constant(b.Name, w.data), s.constant(n.Name+"_scale", w.multiplier(x.scale, s.y.scale)), bias}
	return s.patch("QMatMul", in, s.attrs(x, nil))
}

func (s *site) qconcat() *ir.Patch {
	n := s.n
	var ok bool
	if s.y, ok = scalarFormat(n.In[0], n.In[1], n.Out[0].Type.DType); !ok {
		return nil
	}
	var in []*ir.Value
	var add []*ir.Node
	for i := 2; i+2 < len(n.In); i += 3 {
		q := n.In[i]
		f, ok := scalarFormat(n.In[i+1], n.In[i+2], q.Type.DType)
		if !ok {
			s.c.Near(n, "operand %q has no constant scale", q.Name)
			return nil
		}
		if f != s.y {
			y := s.c.Value(q.Name)
			add = append(add, ir.NewNode(op.Salver, "QTable", 1, []*ir.Value{q, s.constant(q.Name+"_table", requantize(f, s.y))}, []*ir.Value{y}, nil))
			q = y
		}
		in = append(in, q)
	}
	y := s.c.Value(n.Out[0].Name)
	m := ir.NewNode("", "Concat", 13, in, []*ir.Value{y}, maps.Clone(n.Attrs))
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s joins integers", n), Add: append(add, m), Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

func (s *site) qmean() *ir.Patch {
	n := s.n
	x, ok := scalarFormat(n.In[1], n.Input(2), n.In[0].Type.DType)
	var ok2 bool
	if s.y, ok2 = scalarFormat(n.In[3], n.Input(4), n.Out[0].Type.DType); !ok || !ok2 {
		return nil
	}
	return s.meanPatch(n.In[0], x, n.Bool("channels_last"))
}

// meanPatch averages the bytes of x.
func (s *site) meanPatch(x *ir.Value, f format, last bool) *ir.Patch {
	a := map[string]*ir.Attr{"x_zero": ir.Int(f.zero), "y_zero": ir.Int(s.y.zero), "y_type": ir.Int(int(s.y.dt)),
		"x_scale": ir.Float(f.scale), "y_scale": ir.Float(s.y.scale), "channels_last": ir.Int(0)}
	if last {
		a["channels_last"] = ir.Int(1)
	}
	return s.patch("QGlobalAveragePool", []*ir.Value{x}, a)
}
