// Package fuse merges several operators into one that computes the same with
// less memory traffic.
package fuse

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Activations finds activation functions that exporters spell out.
var Activations = pass.Pass{
	Name: "fuse-activations", Level: 2,
	Doc:     "Recognises GELU (with erf), SiLU, HardSwish and Mish however they are decomposed and makes one operator of each.",
	Rewrite: activations,
}

func activations(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Mul") || !match.Float32(n.Out[0]) {
		return nil, nil
	}
	for _, m := range []struct {
		op    string
		opset int
		find  func(*ir.Node) *ir.Value
	}{{"Gelu", 20, gelu}, {"Swish", 24, silu}, {"Mish", 18, mish}, {"HardSwish", 14, hardSwish}} {
		x := m.find(n)
		if x == nil {
			continue
		}
		y := c.Value(n.Out[0].Name)
		node := ir.NewNode("", m.op, m.opset, []*ir.Value{x}, []*ir.Value{y}, nil)
		return &ir.Patch{Reason: fmt.Sprintf("%s ends a decomposed %s of %q", n, m.op, x.Name), Add: []*ir.Node{node},
			Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
	}
	return nil, nil
}

// silu is x · Sigmoid(x).
func silu(n *ir.Node) (x *ir.Value) {
	match.Either(n, func(a, b *ir.Value) bool {
		if s := match.Producer(b, "Sigmoid"); s != nil && s.In[0] == a {
			x = a
		}
		return x != nil
	})
	return x
}

// mish is x · Tanh(Softplus(x)).
func mish(n *ir.Node) (x *ir.Value) {
	match.Either(n, func(a, b *ir.Value) bool {
		if t := match.Producer(b, "Tanh"); t != nil {
			if s := match.Producer(t.In[0], "Softplus"); s != nil && s.In[0] == a {
				x = a
			}
		}
		return x != nil
	})
	return x
}

// hardSwish is x · HardSigmoid(x) with slope 1/6 and offset 1/2.
func hardSwish(n *ir.Node) (x *ir.Value) {
	match.Either(n, func(a, b *ir.Value) bool {
		if h := match.Producer(b, "HardSigmoid"); h != nil && h.In[0] == a && match.Near(h.Float("alpha"), 1./6) && match.Near(h.Float("beta"), .5) {
			x = a
		}
		return x != nil
	})
	return x
}

// gelu is ½ · x · (1 + Erf(x / √2)), multiplied in any order.
func gelu(n *ir.Node) *ir.Value {
	factors := flatten(n, 3)
	if len(factors) != 3 {
		return nil
	}
	half := -1
	for i, f := range factors {
		if s, ok := match.Scalar(f); ok && match.Near(s, .5) {
			half = i
		}
	}
	if half < 0 {
		return nil
	}
	a, b := factors[(half+1)%3], factors[(half+2)%3]
	if isOnePlusErf(b, a) {
		return a
	}
	if isOnePlusErf(a, b) {
		return b
	}
	return nil
}

// flatten lists the factors of nested multiplications that only serve n.
func flatten(n *ir.Node, most int) []*ir.Value {
	var out []*ir.Value
	for _, v := range n.In {
		if m := match.Producer(v, "Mul"); m != nil && match.Private(v) && len(out)+3 <= most+1 {
			out = append(out, flatten(m, most-1)...)
		} else {
			out = append(out, v)
		}
	}
	return out
}

// isOnePlusErf reports whether v is 1 + Erf(x / √2).
func isOnePlusErf(v, x *ir.Value) bool {
	add := match.Producer(v, "Add")
	if add == nil {
		return false
	}
	e, one, ok := match.ScalarOperand(add)
	if !ok || one != 1 {
		return false
	}
	erf := match.Producer(e, "Erf")
	if erf == nil {
		return false
	}
	arg := erf.In[0]
	if div := match.Producer(arg, "Div"); div != nil && div.In[0] == x {
		s, ok := match.Scalar(div.In[1])
		return ok && match.Near(s, math.Sqrt2)
	}
	if mul := match.Producer(arg, "Mul"); mul != nil {
		y, s, ok := match.ScalarOperand(mul)
		return ok && y == x && match.Near(s, math.Sqrt2/2)
	}
	return false
}
