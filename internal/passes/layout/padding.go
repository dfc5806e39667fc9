package layout

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/passes/match"
)

// The channels beyond C in the last block hold finite numbers, always: the
// convolution kernels multiply them by zero weights, and 0·∞ and 0·NaN are NaN.
// Reorders and convolutions put zeros there, or what the activation makes of
// zero. An operator moves to blocked layout only if it keeps them finite
// whatever the operands; this file follows the range of these numbers.

// span is a closed interval that holds all numbers of unused channels.
type span struct{ lo, hi float64 }

var (
	zero      = span{}
	anything  = span{math.Inf(-1), math.Inf(1)}
	unit      = span{0, 1}
	symmetric = span{-1, 1}
)

// safe bounds the numbers of unused channels: sums of many still are finite in
// float32.
const safe = 1e30

func (s span) finite() bool { return s.lo >= -safe && s.hi <= safe } // false for NaN

func (s span) abs() float64 { return max(math.Abs(s.lo), math.Abs(s.hi)) }

func (s span) join(t span) span { return span{min(s.lo, t.lo), max(s.hi, t.hi)} }

func around(m float64) span { return span{-m, m} }

// paddingStaysFinite reports whether site n keeps unused channels finite.
func (p *planner) paddingStaysFinite(n *ir.Node, s *site) bool {
	out := p.transfer(n, s)
	for _, v := range n.Out {
		if v == nil {
			continue
		}
		if c, ok := channelsOf(v); ok && c%p.block == 0 {
			p.spans[v] = zero // there are none
			continue
		}
		if !out.finite() {
			return false
		}
		p.spans[v] = out.join(zero) // zero if a reorder makes it
	}
	return true
}

// spanOf is the range in the unused channels of v's blocked form.
func (p *planner) spanOf(v *ir.Value) span {
	if s, ok := p.spans[v]; ok {
		return s
	}
	f := fromBlocked(v)
	if f == nil || f.Int("channels")%p.block == 0 {
		return zero // a reorder makes it
	}
	return p.blockedSpan(f.In[0])
}

// blockedSpan is the range in the unused channels of a blocked value.
func (p *planner) blockedSpan(v *ir.Value) span {
	if s, ok := p.spans[v]; ok {
		return s
	}
	s := p.computedSpan(v)
	p.spans[v] = s
	return s
}

func (p *planner) computedSpan(v *ir.Value) span {
	n := v.Producer
	switch {
	case v.IsConst():
		return constSpan(v)
	case n == nil:
		return anything
	case n.Domain == "":
		var in []span
		for _, x := range n.In {
			in = append(in, operandSpan(x, p.operandOfBlocked))
		}
		return transfer(n, in)
	case isToBlocked(n):
		return zero
	case n.Domain == op.Salver && convs[n.Op]:
		in := zero
		if z := n.Input(3); z != nil {
			in = p.blockedSpan(z)
		}
		if n.Bool("residual_last") {
			return around(activationSpan(n, zero).abs() + in.abs())
		}
		return activationSpan(n, in)
	case n.Domain == op.Salver && n.Op == "BlockedAffine":
		s := around(p.blockedSpan(n.In[0]).abs() * operandSpan(n.In[1], p.operandOfBlocked).abs())
		if n.Input(2) != nil {
			s = around(s.abs() + operandSpan(n.In[2], p.operandOfBlocked).abs())
		}
		return s
	case n.Domain == op.Salver && blockedPools[n.Op]:
		return p.blockedSpan(n.In[0]).join(zero)
	}
	return anything
}

func (p *planner) operandOfBlocked(v *ir.Value) span {
	if len(v.Type.Shape) == 5 && v.Type.Shape[4].Is(p.block) {
		return p.blockedSpan(v)
	}
	return plainSpan(v)
}

// convs and blockedPools are the operators of domain salver with blocked results.
var (
	convs        = map[string]bool{"BlockedConv": true, "BlockedConvTranspose": true}
	blockedPools = map[string]bool{"BlockedMaxPool": true, "BlockedAveragePool": true, "BlockedGlobalMaxPool": true, "BlockedGlobalAveragePool": true}
)

// activationSpan is what a convolution's activation makes of s.
func activationSpan(n *ir.Node, s span) span {
	params := n.Floats("activation_params")
	switch n.Str("activation") {
	case "sigmoid":
		return unit
	case "clip":
		if len(params) == 2 {
			return span{float64(params[0]), float64(params[1])}
		}
	case "leakyrelu":
		if len(params) == 1 {
			return around(s.abs() * max(1, math.Abs(float64(params[0]))))
		}
	case "", "relu", "silu":
		return around(s.abs() + 1)
	case "hardswish":
		return around(s.abs()*(s.abs()+3)/6 + 1)
	}
	return anything
}

// transfer is the range of a site's results.
func (p *planner) transfer(n *ir.Node, s *site) span {
	in := make([]span, len(n.In))
	blocked := map[int]bool{}
	for _, i := range s.in {
		blocked[i] = true
	}
	for i, v := range n.In {
		switch {
		case v == nil:
		case blocked[i] && v.IsConst():
			in[i] = span{float64(s.neutral), float64(s.neutral)}
		case blocked[i]:
			in[i] = p.spanOf(v)
		default:
			in[i] = operandSpan(v, plainSpan)
		}
	}
	return transfer(n, in)
}

func operandSpan(v *ir.Value, computed func(*ir.Value) span) span {
	switch {
	case v == nil:
		return zero
	case v.IsConst():
		return constSpan(v)
	}
	return computed(v)
}

func constSpan(v *ir.Value) span {
	x, ok := match.Float32s(v)
	if !ok || len(x) == 0 {
		return anything
	}
	s := span{math.Inf(1), math.Inf(-1)}
	for _, f := range x {
		s = s.join(span{float64(f), float64(f)}) // NaN stays
	}
	return s
}

// plainSpan bounds an operand that is no constant by what computes it.
func plainSpan(v *ir.Value) span {
	if n := v.Producer; n != nil && n.Domain == "" {
		switch n.Op {
		case "Sigmoid", "HardSigmoid", "Softmax":
			return unit
		case "Tanh", "Erf", "Softsign":
			return symmetric
		}
	}
	return anything
}

// transfer is the range of an operator's results from those of its inputs.
func transfer(n *ir.Node, in []span) span {
	x, m := in[0], in[0].abs()
	alpha := math.Abs(float64(n.Float("alpha")))
	switch n.Op {
	case "Sigmoid", "HardSigmoid":
		return unit
	case "Tanh", "Erf", "Softsign", "Sign":
		return symmetric
	case "Relu", "Abs", "Neg", "Floor", "Ceil", "Round", "Mish", "Gelu", "ThresholdedRelu", "Softplus":
		return around(m + 1)
	case "Swish", "LeakyRelu", "Elu", "Celu":
		return around(m*max(1, alpha) + alpha + 1)
	case "Selu":
		return around(float64(n.Float("gamma")) * (m + alpha))
	case "HardSwish":
		return around(m*(m+3)/6 + 1)
	case "Clip":
		return x.clip(n, in)
	case "Exp":
		return span{0, math.Exp(x.hi)}
	case "Sqrt":
		if x.lo >= 0 {
			return span{0, math.Sqrt(x.hi)}
		}
	case "Log":
		if x.lo >= 1/safe {
			return span{math.Log(x.lo), math.Log(x.hi)}
		}
	case "Reciprocal":
		return unit.join(span{1, 1}).quotient(x)
	case "Div":
		return x.quotient(in[1])
	case "Pow":
		return x.power(in[1])
	case "PRelu":
		return around(m * max(1, in[1].abs()))
	case "Add", "Sub", "Sum", "Mean":
		total := 0.0
		for _, s := range in {
			total += s.abs()
		}
		return around(total)
	case "Mul":
		return around(m * in[1].abs()) // NaN, and so refused, for zero times anything
	case "ReduceSum":
		if x == zero {
			return zero
		}
	case "ReduceMean", "ReduceMax", "ReduceMin", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "Slice", "Split":
		return x.join(zero)
	case "Resize", "Upsample": // cubic interpolation overshoots
		return around(4*m + math.Abs(float64(n.Float("extrapolation_value"))))
	case "Max", "Min", "Concat": // which gives one of its operands, or all
		for _, s := range in[1:] {
			x = x.join(s)
		}
		return x
	case "Pad":
		x = x.join(zero).join(span{float64(n.Float("value")), float64(n.Float("value"))})
		if len(in) > 2 {
			x = x.join(in[2])
		}
		return x
	case "BatchNormalization":
		return x.join(zero) // the constants are neutral there
	}
	return anything
}

func (s span) clip(n *ir.Node, in []span) span {
	lo, hi := float64(n.Float("min")), float64(n.Float("max"))
	if !n.Has("min") {
		lo = s.lo
		if len(in) > 1 && n.In[1] != nil {
			lo = in[1].lo
		}
	}
	if !n.Has("max") {
		hi = s.hi
		if len(in) > 2 && n.In[2] != nil {
			hi = in[2].hi
		}
	}
	return span{min(max(s.lo, lo), hi), max(min(s.hi, hi), lo)}
}

// quotient is s / d where d keeps away from zero.
func (s span) quotient(d span) span {
	least := min(math.Abs(d.lo), math.Abs(d.hi))
	if !(d.lo > 0 || d.hi < 0) || !d.finite() {
		return anything
	}
	return around(s.abs() / least)
}

// power is s to one of the exponents e.
func (s span) power(e span) span {
	switch {
	case e.lo != e.hi:
		return anything
	case s.lo >= 0 && e.lo >= 0, e.lo == 2, e.lo == 1, e.lo == 3:
		return around(math.Pow(max(s.abs(), 1), e.lo))
	}
	return anything
}
