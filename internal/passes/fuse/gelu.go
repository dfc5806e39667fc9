package fuse

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
)

// gelu is ½ · x · (1 + Erf(x/√2)), or its approximation ½ · x · (1 + Tanh(√(2/π) ·
// (x + 0.044715x³))), multiplied in any order.
func gelu(n *ir.Node) (x *ir.Value, attrs map[string]*ir.Attr) {
	scale, rest := float32(1), []*ir.Value(nil)
	for _, f := range factorsOf(n, 4) {
		if s, ok := match.Scalar(f); ok {
			scale *= s
		} else {
			rest = append(rest, f)
		}
	}
	if len(rest) != 2 {
		return nil, nil
	}
	for i, g := range rest {
		at, term, factor := gateOf(g)
		if at == nil || !match.Near(scale*term, .5) || !match.Near(scale*factor, .5) {
			continue
		}
		p, ok := polynomialOf(at.In[0], rest[1-i])
		switch {
		case ok && at.Op == "Erf" && p.near(polynomial{1: math.Sqrt2 / 2}):
			return rest[1-i], nil
		case ok && at.Op == "Tanh" && p.near(polynomial{1: rootTwoOverPi, 3: .044715 * rootTwoOverPi}):
			return rest[1-i], map[string]*ir.Attr{"approximate": ir.Str("tanh")}
		}
	}
	return nil, nil
}

var rootTwoOverPi = math.Sqrt(2 / math.Pi)

// factorsOf lists at most so many factors of nested multiplications that only serve n.
func factorsOf(n *ir.Node, most int) []*ir.Value {
	out := n.In
	for i := 0; i < len(out) && len(out) < most; {
		m := match.Producer(out[i], "Mul")
		if m == nil || !match.Private(out[i]) {
			i++
			continue
		}
		out = append(append(append([]*ir.Value{}, out[:i]...), m.In...), out[i+1:]...)
	}
	return out
}

// gateOf reads term + factor · f, where f is an Erf or a Tanh.
func gateOf(v *ir.Value) (f *ir.Node, term, factor float32) {
	add := match.Producer(v, "Add")
	if add == nil {
		return nil, 0, 0
	}
	x, term, ok := match.ScalarOperand(add)
	factor = 1
	if m := match.Producer(x, "Mul"); ok && m != nil {
		x, factor, ok = match.ScalarOperand(m)
	}
	if !ok || !x.Producer.Is("Erf") && !x.Producer.Is("Tanh") {
		return nil, 0, 0
	}
	return x.Producer, term, factor
}
