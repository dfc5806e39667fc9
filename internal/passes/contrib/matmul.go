package contrib

import (
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Gemm fuses activations into Gemm.
var Gemm = pass.Pass{
	Name: "contrib-gemm", Level: 2,
	Doc:     "Gemm followed by Relu, Sigmoid, Tanh or LeakyRelu becomes FusedGemm.",
	Rewrite: fuseGemm,
}

func fuseGemm(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	name, params, ok := activation(n)
	if !ok || name == "HardSigmoid" {
		return nil, nil
	}
	f := match.Producer(n.In[0], "Gemm")
	if f == nil || !private(c, n, n.In[0]) {
		return nil, nil
	}
	attrs := maps.Clone(f.Attrs)
	attrs["activation"] = ir.Str(name)
	if len(params) > 0 {
		attrs["activation_alpha"] = ir.Float(params[0])
	}
	return one(c, n, follows(n, f), "FusedGemm", f.In, attrs), nil
}

// MatMul fuses Transposes and factors into products.
var MatMul = pass.Pass{
	Name: "contrib-matmul", Level: 2,
	Doc:     "MatMul of an operand whose last two axes are exchanged, or followed by a constant factor, becomes FusedMatMul.",
	Rewrite: fuseMatMul,
}

func fuseMatMul(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Output(0) == nil || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	if n.Is("Mul") || n.Is("Div") {
		return scaled(c, n), nil
	}
	if !n.Is("MatMul") {
		return nil, nil
	}
	in := slices.Clone(n.In)
	attrs := map[string]*ir.Attr{}
	var t *ir.Node
	for i, name := range []string{"transA", "transB"} {
		f := match.Producer(n.In[i], "Transpose")
		if f == nil || !exchangesLast(f.Ints("perm")) || !private(c, n, n.In[i]) {
			continue
		}
		in[i], attrs[name], t = f.In[0], ir.Int(1), f
	}
	if t == nil {
		return nil, nil
	}
	return one(c, n, follows(n, t), "FusedMatMul", in, attrs), nil
}

// exchangesLast reports whether a permutation exchanges the last two axes only.
func exchangesLast(perm []int) bool {
	r := len(perm)
	if r < 2 || perm[r-1] != r-2 || perm[r-2] != r-1 {
		return false
	}
	for i, a := range perm[:r-2] {
		if a != i {
			return false
		}
	}
	return true
}

// scaled merges a constant factor into alpha.
func scaled(c *pass.Context, n *ir.Node) *ir.Patch {
	x, s, ok := match.ScalarOperand(n)
	if !ok || n.Is("Div") && x != n.In[0] || !x.Type.Shape.Equal(n.Out[0].Type.Shape) {
		return nil
	}
	f := x.Producer
	alpha := float32(1)
	attrs := map[string]*ir.Attr{}
	switch {
	case f.Is("MatMul"):
	case f != nil && f.Domain == op.Microsoft && f.Op == "FusedMatMul":
		attrs, alpha = maps.Clone(f.Attrs), f.Float("alpha")
	default:
		return nil
	}
	if !private(c, n, x) {
		return nil
	}
	if n.Is("Div") {
		s = 1 / s
	}
	attrs["alpha"] = ir.Float(alpha * s)
	return one(c, n, follows(n, f), "FusedMatMul", f.In, attrs)
}
