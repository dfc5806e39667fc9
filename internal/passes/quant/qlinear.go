package quant

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// QLinear brings the operators of the older spelling to the same form as those
// between QuantizeLinear and DequantizeLinear. They compute the same bytes.
var QLinear = pass.Pass{
	Name: "fuse-qlinear", Level: 2,
	Doc:     "QLinearConv and QLinearMatMul with constant weights, scales and zero points become integer operators that more can be fused into.",
	Rewrite: qlinear,
}

func qlinear(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	conv := isOp(n, "QLinearConv")
	if !conv && !n.Is("QLinearMatMul") {
		return nil, nil
	}
	x, ok := scalarFormat(n.In[1], n.In[2], n.In[0].Type.DType)
	y, ok2 := scalarFormat(n.In[6], n.In[7], n.Out[0].Type.DType)
	for _, v := range n.In[3:6] {
		ok = ok && v.IsConst()
	}
	if !ok || !ok2 {
		c.Near(n, "scales, zero points and weights are not constants for 8-bit integers")
		return nil, nil
	}
	axis := 1
	if conv {
		axis = 0
	}
	w, why := newWeights(n.In[3].Const, n.In[4].Const, n.In[5].Const, axis)
	switch {
	case why != "":
	case conv:
		why = w.forConv(n)
	default:
		why = w.forProduct()
	}
	if why != "" {
		c.Near(n, "%s", why)
		return nil, nil
	}
	bias := n.Input(8)
	if bias != nil && !bias.IsConst() {
		c.Near(n, "the bias %q is not constant", bias.Name)
		return nil, nil
	}
	s := &site{c: c, n: n, f: n, y: y}
	s.lo, s.hi = y.limits()
	wv := n.In[3]
	if w.data != wv.Const {
		wv = s.constant(wv.Name, w.data)
	}
	in := []*ir.Value{n.In[0], wv, s.constant(n.Name+"_scale", w.multiplier(x.scale, y.scale)), bias}
	name, from := "QConv", n.Attrs
	if !conv {
		name, from = "QMatMul", nil
	}
	return s.patch(name, in, s.attrs(x, from)), nil
}

// Limits narrows the limits of a convolution by those of the table that
// reads it.
var Limits = pass.Pass{
	Name: "fuse-qlimits", Level: 2,
	Doc:     "A table that only limits the numbers of a convolution or product of integers becomes the limits of that operator.",
	Rewrite: limits,
}

func limits(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != op.Salver || n.Op != "QTable" || !n.In[1].IsConst() || n.In[0].Type.DType != n.Out[0].Type.DType {
		return nil, nil
	}
	f := n.In[0].Producer
	if f == nil || f.Domain != op.Salver || f.Op != "QConv" && f.Op != "QMatMul" || len(n.In[0].Uses()) != 1 || n.In[0].IsOutput() {
		return nil, nil
	}
	lo, hi := f.Int("lo"), f.Int("hi")
	tLo, tHi, ok := limitsOf(n.In[1].Const, lo, hi)
	if !ok {
		return nil, nil
	}
	a := map[string]*ir.Attr{}
	for k, v := range f.Attrs {
		a[k] = v
	}
	a["lo"], a["hi"] = ir.Int(tLo), ir.Int(tHi)
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(f.Domain, f.Op, f.Opset, f.In, []*ir.Value{y}, a)
	m.Name = f.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s limits %s", n, f), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
}

// limitsOf reports whether a table limits the numbers from lo to hi, and to what.
func limitsOf(t *tensor.Tensor, lo, hi int) (tLo, tHi int, ok bool) {
	v := num.Int64s(t)
	tLo, tHi = int(v[byte(lo)]), int(v[byte(hi)])
	for q := lo; q <= hi; q++ {
		if int(v[byte(q)]) != min(max(q, tLo), tHi) {
			return 0, 0, false
		}
	}
	return tLo, tHi, tLo <= tHi
}
