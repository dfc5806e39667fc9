// Package activation registers activation functions and the operators of the
// softmax family.
package activation

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
)

type params = elemwise.Params

func init() {
	for _, u := range []pointwise.Unary{
		{Name: "Relu", Versions: []int{6, 13, 14}, Types: op.SignedNum, Kernel: elemwise.Relu,
			Float: func(x float64, _ params) float64 { return positive(x) }, Signed: func(x int64) int64 { return max(x, 0) },
			Cases: pointwise.Values([]float32{-1, 0, 2}, []float32{0, 0, 2}, nil)},
		{Name: "LeakyRelu", Versions: []int{6, 16}, Types: op.Floats, Attrs: defaults{"alpha": 0.01}.attrs(), Kernel: elemwise.LeakyRelu, Params: from("alpha"),
			Float: func(x float64, p params) float64 { return rectify(x, float64(p.A)*x) },
			Cases: pointwise.Values([]float32{-2, 2}, []float32{-.02, 2}, nil)},
		{Name: "ThresholdedRelu", Versions: []int{10, 22}, Types: op.Floats, Attrs: defaults{"alpha": 1}.attrs(), Kernel: elemwise.ThresholdedRelu, Params: from("alpha"),
			Float: thresholded, Cases: pointwise.Values([]float32{-2, 1, 1.5}, []float32{0, 0, 1.5}, nil)},
		{Name: "Elu", Versions: []int{6, 22}, Types: op.Floats, Flops: 10, Attrs: defaults{"alpha": 1}.attrs(), Kernel: elemwise.Elu,
			Params: func(n *ir.Node) params { return params{A: n.Float("alpha"), B: 1, C: 1} }, Float: elu,
			Cases: pointwise.Values([]float32{-1, 0, 2}, []float32{-.63212056, 0, 2}, nil)},
		{Name: "Selu", Versions: []int{6, 22}, Types: op.Floats, Flops: 10, Attrs: defaults{"alpha": 1.6732631921768188, "gamma": 1.0507010221481323}.attrs(), Kernel: elemwise.Elu,
			Params: func(n *ir.Node) params {
				return params{A: float32(float64(n.Float("gamma")) * float64(n.Float("alpha"))), B: n.Float("gamma"), C: 1}
			}, Float: elu, Cases: pointwise.Values([]float32{-1, 0, 2}, []float32{-1.1113307, 0, 2.101402}, nil)},
		{Name: "Celu", Versions: []int{12}, Types: op.Floats, Flops: 10, Attrs: defaults{"alpha": 1}.attrs(), Kernel: elemwise.Elu,
			Params: func(n *ir.Node) params { return params{A: n.Float("alpha"), B: 1, C: 1 / n.Float("alpha")} }, Float: elu,
			Cases: pointwise.Values([]float32{-1, 0, 2}, []float32{-.7869387, 0, 2}, map[string]*ir.Attr{"alpha": ir.Float(2)})},
		{Name: "HardSigmoid", Versions: []int{6, 22}, Types: op.Floats, Flops: 3, Attrs: defaults{"alpha": .2, "beta": .5}.attrs(), Kernel: elemwise.HardSigmoid,
			Params: from("alpha", "beta"), Float: hardSigmoid, Cases: pointwise.Values([]float32{-3, 0, 1, 9}, []float32{0, .5, .7, 1}, nil)},
		{Name: "HardSwish", Versions: []int{14, 22}, Types: op.Floats, Flops: 4, Kernel: elemwise.HardSwish,
			Float: func(x float64, _ params) float64 { return x * hardSigmoid(x, params{A: 1. / 6, B: .5}) },
			Cases: pointwise.Values([]float32{-4, -1, 0, 5}, []float32{0, -1. / 3, 0, 5}, nil)},
		{Name: "Sigmoid", Versions: []int{6, 13}, Types: op.Floats, Flops: 12, Kernel: elemwise.Sigmoid,
			Float: func(x float64, _ params) float64 { return sigmoid(x) },
			Cases: pointwise.Values([]float32{-1, 0, 1, -90}, []float32{.26894143, .5, .7310586, 8.194013e-40}, nil)},
		{Name: "Softplus", Versions: []int{1, 22}, Types: op.Floats, Flops: 15, Kernel: elemwise.Softplus,
			Float: func(x float64, _ params) float64 { return softplus(x) },
			Cases: pointwise.Values([]float32{-1, 0, 100}, []float32{.31326169, .6931472, 100}, nil)},
		{Name: "Softsign", Versions: []int{1, 22}, Types: op.Floats, Flops: 3, In: "input", Out: "output", Kernel: elemwise.Softsign,
			Float: func(x float64, _ params) float64 { return x / (1 + math.Abs(x)) },
			Cases: pointwise.Values([]float32{-1, 0, 3}, []float32{-.5, 0, .75}, nil)},
		{Name: "Mish", Versions: []int{18, 22}, Types: op.Floats, Flops: 25, Kernel: elemwise.Mish,
			Float: func(x float64, _ params) float64 { return gated(x, math.Tanh(softplus(x))) },
			Cases: pointwise.Values([]float32{-1, 0, 1}, []float32{-.30340147, 0, .8650984}, nil)},
		{Name: "Swish", Versions: []int{24}, Types: op.Floats, Flops: 13, Attrs: defaults{"alpha": 1}.attrs(), Kernel: elemwise.Silu, Params: from("alpha"),
			Float: func(x float64, p params) float64 { return gated(x, sigmoid(float64(p.A)*x)) },
			Cases: pointwise.Values([]float32{-1, 0, 1}, []float32{-.26894143, 0, .7310586}, nil)},
		{Name: "Shrink", Versions: []int{9}, Types: op.Numeric, In: "input", Out: "output", Attrs: defaults{"bias": 0, "lambd": .5}.attrs(), Kernel: elemwise.Shrink,
			Params: from("lambd", "bias"), Float: shrink,
			Cases: pointwise.Values([]float32{-2, .2, 2}, []float32{-1, 0, 1}, map[string]*ir.Attr{"bias": ir.Float(1)})},
		{Name: "Gelu", Versions: []int{20}, Types: op.Floats, Flops: 20, Attrs: op.Attrs{"approximate": op.Default(ir.Str("none"))}, Kernel: elemwise.Gelu, Float: gelu, Select: geluForm,
			Cases: pointwise.Values([]float32{-1, 0, 1}, []float32{-.15865525, 0, .8413447}, nil)},
		{Domain: op.Microsoft, Name: "Gelu", Versions: []int{1}, Types: op.Floats, Flops: 20, Kernel: elemwise.Gelu, Float: gelu,
			Cases: pointwise.Values([]float32{-1, 0, 1}, []float32{-.15865525, 0, .8413447}, nil)},
	} {
		u.Register()
	}
}

// defaults are float attributes with their default values.
type defaults map[string]float32

func (d defaults) attrs() op.Attrs {
	a := op.Attrs{}
	for name, v := range d {
		a[name] = op.Default(ir.Float(v))
	}
	return a
}

// from reads the parameters A and B from attributes.
func from(a string, b ...string) func(*ir.Node) params {
	return func(n *ir.Node) params {
		p := params{A: n.Float(a)}
		if len(b) > 0 {
			p.B = n.Float(b[0])
		}
		return p
	}
}

// rectify is x where it is not negative, and below otherwise.
func rectify(x, below float64) float64 {
	if x < 0 {
		return below
	}
	return x
}

func positive(x float64) float64 { return rectify(x, 0) }

func thresholded(x float64, p params) float64 {
	if x <= float64(p.A) {
		return 0
	}
	return x
}

func elu(x float64, p params) float64 {
	if x > 0 {
		return float64(p.B) * x
	}
	return float64(p.A) * math.Expm1(float64(p.C)*x)
}

func hardSigmoid(x float64, p params) float64 {
	y := float64(float64(p.A)*x) + float64(p.B)
	if y > 1 {
		return 1
	}
	return positive(y)
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// gated is x times a gate that vanishes faster than x grows towards -Inf.
func gated(x, gate float64) float64 {
	if math.IsInf(x, -1) {
		return 0
	}
	return x * gate
}

func shrink(x float64, p params) float64 {
	switch lambd, bias := float64(p.A), float64(p.B); {
	case x < -lambd:
		return x + bias
	case x > lambd:
		return x - bias
	}
	return x * 0
}

func gelu(x float64, _ params) float64 { return gated(x, math.Erfc(-x/math.Sqrt2)/2) }

func geluTanh(x float64, _ params) float64 {
	return gated(x, (1+math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))/2)
}

func geluForm(n *ir.Node) (elemwise.Op, func(float64, params) float64) {
	if n.Str("approximate") == "tanh" {
		return elemwise.GeluTanh, geluTanh
	}
	return elemwise.Gelu, gelu
}
