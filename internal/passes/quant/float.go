package quant

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// FloatProduct multiplies integers where floating point is read.
var FloatProduct = pass.Pass{
	Name: "fuse-dequantized-matmul", Level: 2,
	Doc:     "MatMul or Gemm of a dequantized tensor by dequantized constant weights, whose result is not quantized, multiplies integers and scales the result.",
	Rewrite: floatProduct,
}

func floatProduct(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("MatMul") && !n.Is("Gemm") || willBeQuantized(n.Out[0]) {
		return nil, nil
	}
	x, xf, ok := dequantized(n.In[0])
	if !ok {
		return nil, nil
	}
	trans, axis := n.Is("Gemm") && n.Bool("transB"), 1
	if trans {
		axis = 0
	}
	w, why := dequantizedWeights(n.In[1], axis)
	switch {
	case why != "":
	case w.data.Rank() != 2:
		why = fmt.Sprintf("the weights have %d dimensions, not 2", w.data.Rank())
	case n.Is("Gemm") && (n.Bool("transA") || n.Float("alpha") != 1 || n.Input(2) != nil && n.Float("beta") != 1):
		why = "alpha, beta or transA are not the defaults"
	}
	s := &site{c: c, n: n, f: n}
	var bias *ir.Value
	if why == "" {
		if bias, ok = s.floatBias(n.Input(2), w.data, axis); !ok {
			why = fmt.Sprintf("%q is no constant of one number for each column", n.In[2].Name)
		}
	}
	if why != "" {
		c.Near(n, "%s", why)
		return nil, nil
	}
	d := n.In[1].Producer
	q, scale, zero := d.In[0], d.In[1], d.Input(2)
	if trans {
		q = s.constant(q.Name, Transposed(q.Const))
	}
	if zero != nil && zero.Const.Len() == 1 {
		zero = s.constant(zero.Name, zero.Const.Reshape())
	}
	in := []*ir.Value{x, q, s.constant(n.Name+"_scale", tensor.Scalar(xf.scale)), scale, s.zero(xf), zero, bias}
	return s.patch("IntegerMatMul", in, nil), nil
}

// floatBias gives a bias as a constant vector of floats, also if it is dequantized;
// nil if there is none.
func (s *site) floatBias(v *ir.Value, w *tensor.Tensor, axis int) (bias *ir.Value, ok bool) {
	if v == nil {
		return nil, true
	}
	f, err := floatsOf(v)
	if err != nil || len(v.Type.Shape) != 1 || axis >= w.Rank() || len(f) != w.Shape[axis] {
		return nil, false
	}
	if v.IsConst() {
		return v, true
	}
	t := tensor.New(dtype.Float32, len(f))
	num.SetFloats(t, f)
	return s.constant(v.Name, t), true
}

// willBeQuantized reports whether v, or what becomes of it by one more operator,
// is quantized, so that an operator on integers is yet to come.
func willBeQuantized(v *ir.Value) bool {
	for _, u := range v.Uses() {
		if isOp(u.Node, "QuantizeLinear") {
			return true
		}
		if u.Node.Domain != "" || !functions[u.Node.Op] || !match.Private(v) {
			continue
		}
		for _, after := range u.Node.Out[0].Uses() {
			if isOp(after.Node, "QuantizeLinear") {
				return true
			}
		}
	}
	return false
}
