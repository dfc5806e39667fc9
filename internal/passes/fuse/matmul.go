package fuse

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// MatMul merges what follows a matrix product into it, and a Transpose before it.
var MatMul = pass.Pass{
	Name: "fuse-matmul", Level: 2,
	Doc:     "MatMul or Gemm followed by a constant factor, a bias, a tensor of the same shape, or an activation becomes one fused product; one by a matrix that a Transpose turns reads it as it was.",
	Rewrite: matMul,
}

func matMul(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Output(0) == nil || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	switch {
	case n.Is("Gemm"):
		return fuseGemm(c, n), nil
	case n.Is("MatMul"):
		return readTurned(c, n), nil
	case n.Is("Mul"), n.Is("Div"):
		return fuseScale(c, n), nil
	case n.Is("Add"):
		return fuseAdd(c, n), nil
	}
	name, params, ok := activationOf(n)
	if !ok || len(n.In) == 0 {
		return nil, nil
	}
	p, ok := productOf(c, n, n.In[0])
	if !ok {
		return nil, nil
	}
	p.attrs = withActivation(p.attrs, name, params)
	return p.patch(c, n), nil
}

// product is a fused product under construction.
type product struct {
	from           *ir.Node
	a, b           *ir.Value
	bias, residual *ir.Value
	attrs          map[string]*ir.Attr
}

// isProduct reports whether f is a product to which more can be fused.
func isProduct(f *ir.Node) bool {
	return f.Is("MatMul") || f != nil && f.Domain == op.Salver && f.Op == "FusedMatMul" && f.Str("activation") == ""
}

// productOf reads the product that alone feeds n through v and to which more
// can still be fused.
func productOf(c *pass.Context, n *ir.Node, v *ir.Value) (*product, bool) {
	f := v.Producer
	if !isProduct(f) {
		return nil, false
	}
	if !match.Private(v) {
		c.Near(n, "the result of %s is read elsewhere too", f)
		return nil, false
	}
	return &product{from: f, a: f.In[0], b: f.In[1], bias: f.Input(2), residual: f.Input(3), attrs: maps.Clone(f.Attrs)}, true
}

func (p *product) patch(c *pass.Context, n *ir.Node) *ir.Patch {
	y := c.Value(n.Out[0].Name)
	in := []*ir.Value{p.a, p.b}
	if p.bias != nil || p.residual != nil {
		in = append(in, p.bias)
	}
	if p.residual != nil {
		in = append(in, p.residual)
	}
	m := ir.NewNode(op.Salver, "FusedMatMul", 1, in, []*ir.Value{y}, p.attrs)
	m.Name = p.from.Name
	return &ir.Patch{Reason: fmt.Sprintf("fuse %s into %s", n, p.from), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// readTurned lets a product read its second matrices before a Transpose that swaps their
// last two dimensions: kernels read them so, those for a single row straight from where they are.
func readTurned(c *pass.Context, n *ir.Node) *ir.Patch {
	t := match.Producer(n.In[1], "Transpose")
	if t == nil || t.In[0].IsConst() || !match.Private(n.In[1]) {
		return nil
	}
	rank, perm := len(t.In[0].Type.Shape), t.Ints("perm")
	if rank < 2 || len(n.In[0].Type.Shape) < 2 || perm == nil && rank > 2 {
		return nil
	}
	for i, axis := range perm {
		want := i
		if i >= rank-2 {
			want = 2*rank - 3 - i
		}
		if axis != want {
			return nil
		}
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Salver, "FusedMatMul", 1, []*ir.Value{n.In[0], t.In[0]}, []*ir.Value{y}, map[string]*ir.Attr{"transB": ir.Int(1)})
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s reads %q before %s", n, t.In[0].Name, t), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// fuseScale merges a constant factor into alpha.
func fuseScale(c *pass.Context, n *ir.Node) *ir.Patch {
	x, s, ok := match.ScalarOperand(n)
	if !ok || n.Is("Div") && x != n.In[0] || !x.Type.Shape.Equal(n.Out[0].Type.Shape) {
		return nil
	}
	p, ok := productOf(c, n, x)
	if !ok || p.bias != nil || p.residual != nil {
		return nil
	}
	if n.Is("Div") {
		s = 1 / s
	}
	alpha := float32(1)
	if a, ok := p.attrs["alpha"]; ok {
		alpha = a.Float
	}
	p.attrs["alpha"] = ir.Float(alpha * s)
	return p.patch(c, n)
}

// fuseAdd merges a bias for each column, or a tensor of the product's shape.
func fuseAdd(c *pass.Context, n *ir.Node) *ir.Patch {
	var patch *ir.Patch
	var shared *ir.Node // a product that could take the other operand if n alone read it
	match.Either(n, func(x, y *ir.Value) bool {
		s := x.Type.Shape
		if len(s) < 2 || x.IsConst() {
			return false
		}
		isBias := y.IsConst() && isColumnVector(y, s[len(s)-1].String())
		if !isBias && !y.Type.Shape.Equal(s) {
			return false
		}
		if isProduct(x.Producer) && !match.Private(x) {
			shared = x.Producer
			return false
		}
		p, ok := productOf(c, n, x)
		switch {
		case !ok || p.residual != nil:
			return false
		case isBias && p.bias == nil:
			p.bias = flatBias(c, y)
		case !isBias:
			p.residual = y
		default:
			return false
		}
		patch = p.patch(c, n)
		return true
	})
	if patch == nil && shared != nil {
		c.Near(n, "the result of %s is read elsewhere too", shared)
	}
	return patch
}

// isColumnVector reports whether a constant has one element for each of so
// many columns and broadcasts along them.
func isColumnVector(v *ir.Value, columns string) bool {
	s := v.Const.Shape
	return len(s) > 0 && fmt.Sprint(s[len(s)-1]) == columns && v.Const.Len() == s[len(s)-1]
}

// flatBias gives a bias as a vector.
func flatBias(c *pass.Context, v *ir.Value) *ir.Value {
	if v.Const.Rank() == 1 {
		return v
	}
	return ir.NewConst(c.Name(v.Name), v.Const.Reshape(v.Const.Len()))
}

// fuseGemm makes a Gemm a product that more can be fused into.
func fuseGemm(c *pass.Context, n *ir.Node) *ir.Patch {
	if n.Float("beta") != 1 && n.Input(2) != nil || len(n.In[0].Type.Shape) != 2 || len(n.In[1].Type.Shape) != 2 {
		return nil
	}
	p := &product{from: n, a: n.In[0], b: n.In[1], attrs: map[string]*ir.Attr{
		"alpha": ir.Float(n.Float("alpha")), "transA": ir.Int(n.Int("transA")), "transB": ir.Int(n.Int("transB"))}}
	if b := n.Input(2); b != nil {
		s := n.Out[0].Type.Shape
		if len(s) != 2 || !b.IsConst() || !isColumnVector(b, s[1].String()) {
			return nil
		}
		p.bias = flatBias(c, b)
	}
	return p.patch(c, n)
}
