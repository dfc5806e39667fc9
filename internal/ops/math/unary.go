// Package math registers the arithmetic operators: elementwise functions,
// matrix products, determinants and Einstein sums.
package math

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/shape"
)

type params = elemwise.Params

// plain adapts a function without parameters.
func plain(f func(float64) float64) func(float64, params) float64 {
	return func(x float64, _ params) float64 { return f(x) }
}

func identity[T any](x T) T { return x }

func init() {
	for _, u := range []pointwise.Unary{
		{Name: "Abs", Versions: []int{6, 13}, Types: op.Numeric, Kernel: elemwise.Abs, Float: plain(math.Abs), Signed: absInt, Unsigned: identity[uint64],
			Cases: pointwise.Values([]float32{-1.5, 0, 2}, []float32{1.5, 0, 2}, nil)},
		{Name: "Neg", Versions: []int{6, 13}, Types: op.SignedNum, Kernel: elemwise.Neg, Float: plain(func(x float64) float64 { return -x }),
			Signed: func(x int64) int64 { return -x }, Content: negDim,
			Cases: pointwise.Values([]float32{-1.5, 1, 2}, []float32{1.5, -1, -2}, nil)},
		{Name: "Sign", Versions: []int{9, 13}, Types: op.Numeric, In: "input", Out: "output", Kernel: elemwise.Sign, Float: plain(sign), Signed: signInt, Unsigned: signUint,
			Cases: pointwise.Values([]float32{-1.5, 0, 2}, []float32{-1, 0, 1}, nil)},
		{Name: "Ceil", Versions: []int{6, 13}, Types: op.Floats, Kernel: elemwise.Ceil, Float: plain(math.Ceil),
			Cases: pointwise.Values([]float32{-1.5, 1.2, 2}, []float32{-1, 2, 2}, nil)},
		{Name: "Floor", Versions: []int{6, 13}, Types: op.Floats, Kernel: elemwise.Floor, Float: plain(math.Floor),
			Cases: pointwise.Values([]float32{-1.5, 1.2, 2}, []float32{-2, 1, 2}, nil)},
		{Name: "Round", Versions: []int{11, 22}, Types: op.Floats, Kernel: elemwise.Round, Float: plain(math.RoundToEven),
			Cases: pointwise.Values([]float32{-1.5, 0.5, 2.5, 2.7}, []float32{-2, 0, 2, 3}, nil)},
		{Name: "Sqrt", Versions: []int{6, 13}, Types: op.Floats, Kernel: elemwise.Sqrt, Float: plain(math.Sqrt),
			Cases: pointwise.Values([]float32{4, 2, 0}, []float32{2, math.Sqrt2, 0}, nil)},
		{Name: "Reciprocal", Versions: []int{6, 13}, Types: op.Floats, Kernel: elemwise.Reciprocal, Float: plain(func(x float64) float64 { return 1 / x }),
			Cases: pointwise.Values([]float32{4, -2}, []float32{.25, -.5}, nil)},
		{Name: "Exp", Versions: []int{6, 13}, Types: op.Floats, In: "input", Out: "output", Kernel: elemwise.Exp, Float: plain(math.Exp), Flops: 10,
			Cases: pointwise.Values([]float32{0, 1, -1}, []float32{1, math.E, 1 / math.E}, nil)},
		{Name: "Log", Versions: []int{6, 13}, Types: op.Floats, In: "input", Out: "output", Kernel: elemwise.Log, Float: plain(math.Log), Flops: 10,
			Cases: pointwise.Values([]float32{1, math.E, 2}, []float32{0, 1, math.Ln2}, nil)},
		{Name: "Tanh", Versions: []int{6, 13}, Types: op.Floats, In: "input", Out: "output", Kernel: elemwise.Tanh, Float: plain(math.Tanh), Flops: 15,
			Cases: pointwise.Values([]float32{0, 1, -20}, []float32{0, .76159416, -1}, nil)},
		{Name: "Erf", Versions: []int{9, 13}, Types: op.Numeric, In: "input", Out: "output", Kernel: elemwise.Erf, Float: plain(math.Erf), Flops: 15,
			Cases: pointwise.Values([]float32{0, .5, -5}, []float32{0, .5204999, -1}, nil)},
		trig("Sin", 7, elemwise.Sin, math.Sin, .5, .47942554), trig("Cos", 7, elemwise.Cos, math.Cos, .5, .87758256),
		trig("Tan", 7, elemwise.Tan, math.Tan, .5, .5463025), trig("Asin", 7, elemwise.Asin, math.Asin, .5, .5235988),
		trig("Acos", 7, elemwise.Acos, math.Acos, .5, 1.0471976), trig("Atan", 7, elemwise.Atan, math.Atan, .5, .4636476),
		trig("Sinh", 9, elemwise.Sinh, math.Sinh, .5, .5210953), trig("Cosh", 9, elemwise.Cosh, math.Cosh, .5, 1.127626),
		trig("Asinh", 9, elemwise.Asinh, math.Asinh, .5, .48121183), trig("Acosh", 9, elemwise.Acosh, math.Acosh, 1.5, .9624237),
		trig("Atanh", 9, elemwise.Atanh, math.Atanh, .5, .54930615),
	} {
		u.Register()
	}
}

func trig(name string, since int, k elemwise.Op, f func(float64) float64, x, y float32) pointwise.Unary {
	return pointwise.Unary{Name: name, Versions: []int{since, 22}, Types: op.Floats, In: "input", Out: "output", Kernel: k, Float: plain(f), Flops: 20,
		Cases: pointwise.Values([]float32{x}, []float32{y}, nil)}
}

func absInt(x int64) int64 { return max(x, -x) }

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

func signInt(x int64) int64 { return min(max(x, -1), 1) }

func signUint(x uint64) uint64 { return min(x, 1) }

func negDim(d shape.Dim) (shape.Dim, bool) { return d.Neg(), true }
