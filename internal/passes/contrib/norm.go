package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// BiasGelu takes a bias into the GELU after it.
var BiasGelu = pass.Pass{
	Name: "contrib-bias-gelu", Level: 2,
	Doc:     "Gelu of a sum with a constant for each column becomes BiasGelu.",
	Rewrite: biasGelu,
}

func biasGelu(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != op.Microsoft || n.Op != "Gelu" || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	add := match.Producer(n.In[0], "Add")
	s := n.In[0].Type.Shape
	if add == nil || len(s) < 2 {
		return nil, nil
	}
	var p *ir.Patch
	match.Either(add, func(x, b *ir.Value) bool {
		if !b.IsConst() || b.Const.Rank() != 1 || !s[len(s)-1].Is(b.Const.Len()) || !x.Type.Shape.Equal(s) || !private(c, n, n.In[0]) {
			return false
		}
		p = one(c, n, follows(add, n), "BiasGelu", []*ir.Value{x, b}, nil)
		return true
	})
	return p, nil
}

// SkipNorm takes a residual into the normalization after it.
var SkipNorm = pass.Pass{
	Name: "contrib-skip-norm", Level: 2,
	Doc:     "LayerNormalization over the last of three axes, of a sum of two tensors of one shape, becomes SkipLayerNormalization; SimplifiedLayerNormalization likewise.",
	Rewrite: skipNorm,
}

func skipNorm(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	name := map[string]string{"LayerNormalization": "SkipLayerNormalization", "SimplifiedLayerNormalization": "SkipSimplifiedLayerNormalization"}[n.Op]
	if name == "" || n.Domain != "" || !match.Float32(n.In[0]) {
		return nil, nil
	}
	sum := n.In[0]
	add := match.Producer(sum, "Add")
	if add == nil {
		return nil, nil
	}
	a, b, s := add.In[0], add.In[1], sum.Type.Shape
	axis := n.Int("axis")
	switch {
	case len(s) != 3 || axis != -1 && axis != 2:
		c.Near(n, "it normalizes axis %d of %s, not the last of three", axis, sum.Type)
		return nil, nil
	case a.IsConst() || b.IsConst() || !a.Type.Shape.Equal(s) || !b.Type.Shape.Equal(s):
		c.Near(n, "%s adds %s and %s", add, a.Type, b.Type)
		return nil, nil
	case !parameters(n.In[1:]) || !readOnce(n):
		return nil, nil
	}
	y := c.Value(n.Out[0].Name)
	out := []*ir.Value{y}
	p := &ir.Patch{Reason: fmt.Sprintf("fuse %s into %s", add, n), Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
	if !match.Private(sum) { // the next residual reads it
		both := c.Value(sum.Name)
		out = append(out, nil, nil, both)
		p.Replace = append(p.Replace, ir.Replacement{Old: sum, New: both})
	}
	m := ir.NewNode(op.Microsoft, name, 1, append([]*ir.Value{a, b}, n.In[1:]...), out, map[string]*ir.Attr{"epsilon": n.Attr("epsilon")})
	m.Name = n.Name
	p.Add = []*ir.Node{m}
	return p, nil
}

// parameters tells whether scale and bias are vectors, as the kernel wants.
func parameters(vs []*ir.Value) bool {
	for _, v := range vs {
		if v == nil || len(v.Type.Shape) != 1 {
			return false
		}
	}
	return len(vs) > 0
}

// readOnce tells whether only the first result is wanted.
func readOnce(n *ir.Node) bool {
	for _, v := range n.Out[1:] {
		if v != nil {
			return false
		}
	}
	return true
}
