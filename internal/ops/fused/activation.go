// Package fused registers the operators of domain "salver" that passes make
// from several ONNX operators.
package fused

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
)

type params = elemwise.Params

// function is an activation that fused operators know by name.
type function struct {
	op     elemwise.Op
	params int // how many numbers activation_params holds
	float  func(x float64, p params) float64
}

// functions is the vocabulary of the attribute "activation"; an empty name
// applies none. The parameters are, in order:
//
//	clip        lowest, highest
//	leakyrelu   slope of negative numbers
//	hardsigmoid alpha, beta of max(0, min(1, alpha·x + beta))
//	elu         alpha of alpha·(eˣ - 1) for negative numbers
//	swish       alpha of x·sigmoid(alpha·x)
var functions = map[string]function{
	"relu":        {elemwise.Relu, 0, func(x float64, _ params) float64 { return atLeast(x, 0) }},
	"clip":        {elemwise.Clip, 2, func(x float64, p params) float64 { return atMost(atLeast(x, float64(p.A)), float64(p.B)) }},
	"leakyrelu":   {elemwise.LeakyRelu, 1, leakyRelu},
	"hardsigmoid": {elemwise.HardSigmoid, 2, hardSigmoid},
	"hardswish":   {elemwise.HardSwish, 0, func(x float64, _ params) float64 { return x * hardSigmoid(x, params{A: 1. / 6, B: .5}) }},
	"sigmoid":     {elemwise.Sigmoid, 0, func(x float64, _ params) float64 { return sigmoid(x) }},
	"silu":        {elemwise.Silu, 0, func(x float64, _ params) float64 { return gated(x, sigmoid(x)) }},
	"swish":       {elemwise.Silu, 1, func(x float64, p params) float64 { return gated(x, sigmoid(float64(p.A)*x)) }},
	"tanh":        {elemwise.Tanh, 0, func(x float64, _ params) float64 { return math.Tanh(x) }},
	"gelu":        {elemwise.Gelu, 0, func(x float64, _ params) float64 { return gated(x, math.Erfc(-x/math.Sqrt2)/2) }},
	"gelu_tanh":   {elemwise.GeluTanh, 0, geluTanh},
	"elu":         {elemwise.Elu, 1, elu},
	"mish":        {elemwise.Mish, 0, func(x float64, _ params) float64 { return gated(x, math.Tanh(softplus(x))) }},
}

// activationAttrs adds the attributes of an activation to a.
func activationAttrs(a op.Attrs) op.Attrs {
	a["activation"], a["activation_params"] = op.Default(ir.Str("")), op.Opt(ir.KindFloats)
	return a
}

// ActivationOf reads a node's activation; nil if it has none.
func ActivationOf(n *ir.Node) (*pointwise.Activation, error) {
	name := n.Str("activation")
	if name == "" {
		return nil, nil
	}
	f, ok := functions[name]
	if !ok {
		return nil, fmt.Errorf("activation %q is unknown", name)
	}
	v := n.Floats("activation_params")
	if len(v) != f.params {
		return nil, fmt.Errorf("activation %q has parameters %v, expected %d", name, v, f.params)
	}
	a := &pointwise.Activation{Op: f.op, Float: f.float}
	switch {
	case name == "silu":
		a.Params.A = 1
	case name == "elu":
		a.Params = params{A: v[0], B: 1, C: 1}
	case len(v) == 2:
		a.Params = params{A: v[0], B: v[1]}
	case len(v) == 1:
		a.Params.A = v[0]
	}
	return a, nil
}

// atLeast and atMost let NaN through.
func atLeast(x, lo float64) float64 {
	if x < lo {
		return lo
	}
	return x
}

func atMost(x, hi float64) float64 {
	if x > hi {
		return hi
	}
	return x
}

func leakyRelu(x float64, p params) float64 {
	if x < 0 {
		return float64(p.A) * x
	}
	return x
}

func elu(x float64, p params) float64 {
	if x < 0 {
		return float64(p.A) * math.Expm1(x)
	}
	return x
}

func hardSigmoid(x float64, p params) float64 {
	return atLeast(atMost(float64(float64(p.A)*x)+float64(p.B), 1), 0)
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func geluTanh(x float64, _ params) float64 {
	return gated(x, (1+math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))/2)
}

// gated is x times a gate that vanishes faster than x grows towards -Inf.
func gated(x, gate float64) float64 {
	if math.IsInf(x, -1) {
		return 0
	}
	return x * gate
}
