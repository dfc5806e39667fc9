// Package fuse merges several operators into one that computes the same with
// less memory traffic.
package fuse

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Activations finds activation functions that exporters spell out.
var Activations = pass.Pass{
	Name: "fuse-activations", Level: 2,
	Doc:     "Recognises GELU (with erf and with tanh), SiLU, x · sigmoid(αx), HardSwish and Mish however they are decomposed and makes one operator of each.",
	Rewrite: activations,
}

func activations(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Mul") || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	for _, m := range []struct {
		op    string
		opset int
		find  func(*ir.Node) (*ir.Value, map[string]*ir.Attr)
	}{{"Gelu", 20, gelu}, {"Swish", 24, swish}, {"Mish", 18, mish}, {"HardSwish", 14, hardSwish}} {
		x, attrs := m.find(n)
		if x == nil {
			continue
		}
		y := c.Value(n.Out[0].Name)
		node := ir.NewNode("", m.op, m.opset, []*ir.Value{x}, []*ir.Value{y}, attrs)
		return &ir.Patch{Reason: fmt.Sprintf("%s ends a decomposed %s of %q", n, m.op, x.Name), Add: []*ir.Node{node},
			Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
	}
	return nil, nil
}

// swish is x · Sigmoid(αx).
func swish(n *ir.Node) (x *ir.Value, attrs map[string]*ir.Attr) {
	match.Either(n, func(a, b *ir.Value) bool {
		s := match.Producer(b, "Sigmoid")
		if s == nil || a.IsConst() {
			return false
		}
		p, ok := polynomialOf(s.In[0], a)
		if alpha := p[1]; ok && alpha != 0 && p == (polynomial{1: alpha}) {
			x, attrs = a, map[string]*ir.Attr{"alpha": ir.Float(float32(alpha))}
		}
		return x != nil
	})
	return x, attrs
}

// mish is x · Tanh(Softplus(x)).
func mish(n *ir.Node) (x *ir.Value, _ map[string]*ir.Attr) {
	match.Either(n, func(a, b *ir.Value) bool {
		if t := match.Producer(b, "Tanh"); t != nil {
			if s := match.Producer(t.In[0], "Softplus"); s != nil && s.In[0] == a {
				x = a
			}
		}
		return x != nil
	})
	return x, nil
}

// hardSwish is x · HardSigmoid(x) with slope 1/6 and offset 1/2.
func hardSwish(n *ir.Node) (x *ir.Value, _ map[string]*ir.Attr) {
	match.Either(n, func(a, b *ir.Value) bool {
		if h := match.Producer(b, "HardSigmoid"); h != nil && h.In[0] == a && match.Near(h.Float("alpha"), 1./6) && match.Near(h.Float("beta"), .5) {
			x = a
		}
		return x != nil
	})
	return x, nil
}
