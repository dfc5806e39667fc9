package recurrent

import (
	"fmt"
	"math"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
)

// activation is one of the functions that the attribute "activations" names.
type activation func(x float64) float64

// kind is an activation with its parameters' defaults; nil where the
// specification gives it none.
type kind struct {
	alpha, beta *float64
	f           func(x, alpha, beta float64) float64
}

func at(v float64) *float64 { return &v }

var kinds = map[string]kind{
	"relu":     {f: func(x, _, _ float64) float64 { return max(x, 0) }},
	"tanh":     {f: func(x, _, _ float64) float64 { return math.Tanh(x) }},
	"sigmoid":  {f: func(x, _, _ float64) float64 { return sigmoid(x) }},
	"softsign": {f: func(x, _, _ float64) float64 { return x / (1 + math.Abs(x)) }},
	"softplus": {f: func(x, _, _ float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }},
	"affine":   {at(1), at(0), func(x, a, b float64) float64 { return a*x + b }},
	"leakyrelu": {at(.01), nil, func(x, a, _ float64) float64 {
		if x < 0 {
			return a * x
		}
		return x
	}},
	"thresholdedrelu": {at(1), nil, func(x, a, _ float64) float64 {
		if x > a {
			return x
		}
		return 0
	}},
	"scaledtanh":  {at(1), at(1), func(x, a, b float64) float64 { return a * math.Tanh(b*x) }},
	"hardsigmoid": {at(.2), at(.5), func(x, a, b float64) float64 { return min(max(a*x+b, 0), 1) }},
	"elu": {at(1), nil, func(x, a, _ float64) float64 {
		if x < 0 {
			return a * math.Expm1(x)
		}
		return x
	}},
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// activations resolves the functions of all directions. Parameters are listed
// in the order of the functions that take any.
func (c cell) activations(n *ir.Node, dirs int) ([]activation, error) {
	names := n.Strs("activations")
	if len(names) == 0 {
		for range dirs {
			names = append(names, c.defaults...)
		}
	}
	if len(names) < dirs*len(c.defaults) {
		return nil, fmt.Errorf("activations are %q, expected %d", names, dirs*len(c.defaults))
	}
	alphas, betas := n.Floats("activation_alpha"), n.Floats("activation_beta")
	out := make([]activation, dirs*len(c.defaults))
	for i := range out {
		k, ok := kinds[strings.ToLower(names[i])]
		if !ok {
			return nil, fmt.Errorf("activation %q is unknown", names[i])
		}
		var a, b float64
		a, alphas = parameter(k.alpha, alphas)
		b, betas = parameter(k.beta, betas)
		out[i] = func(x float64) float64 { return k.f(x, a, b) }
	}
	return out, nil
}

func parameter(standard *float64, given []float32) (float64, []float32) {
	switch {
	case standard == nil:
		return 0, given
	case len(given) == 0:
		return *standard, nil
	}
	return float64(given[0]), given[1:]
}
