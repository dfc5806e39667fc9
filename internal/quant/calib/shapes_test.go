package calib

import (
	"math"
	"math/rand/v2"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// shapes are hand-made distributions of n values.
var shapes = []struct {
	name string
	draw func(r *rand.Rand, n int) []float32
}{
	{"normal", normal},
	{"normal, one outlier at 60", func(r *rand.Rand, n int) []float32 {
		x := normal(r, n)
		x[n/2] = 60
		return x
	}},
	{"normal, 0.1 % at ±20", func(r *rand.Rand, n int) []float32 {
		x := normal(r, n)
		for i := 0; i < n; i += 1000 {
			x[i] = float32(20 - i/1000%2*40)
		}
		return x
	}},
	{"Laplace", func(r *rand.Rand, n int) []float32 {
		return each(n, func() float64 { return r.ExpFloat64() * float64(1-2*r.IntN(2)) })
	}},
	{"ReLU of normal", func(r *rand.Rand, n int) []float32 {
		return each(n, func() float64 { return math.Max(0, r.NormFloat64()) })
	}},
	{"uniform", func(r *rand.Rand, n int) []float32 {
		return each(n, func() float64 { return 2*r.Float64() - 1 })
	}},
	{"bimodal", func(r *rand.Rand, n int) []float32 {
		return each(n, func() float64 { return float64(6*r.IntN(2)-3) + r.NormFloat64()/4 })
	}},
	{"exponential", func(r *rand.Rand, n int) []float32 {
		return each(n, r.ExpFloat64)
	}},
	{"constant", func(_ *rand.Rand, n int) []float32 {
		return each(n, func() float64 { return 3.7 })
	}},
	{"one spike", func(_ *rand.Rand, n int) []float32 {
		x := make([]float32, n)
		x[n/3] = 5
		return x
	}},
	{"background", func(r *rand.Rand, n int) []float32 {
		x := each(n, r.ExpFloat64)
		for i := 0; i < n; i += 2 {
			x[i] = 0.01
		}
		return x
	}},
}

func normal(r *rand.Rand, n int) []float32 { return each(n, r.NormFloat64) }

func each(n int, f func() float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(f())
	}
	return x
}

// sqnr is the ratio in dB of what values are to what rounding them to int8 in a
// range changes.
func sqnr(x []float32, r quant.Range, t dtype.Type, symmetric bool) float64 {
	a, err := quant.Fit(r, t, symmetric)
	if err != nil {
		return math.NaN()
	}
	signal, noise := 0., 0.
	for _, v := range x {
		d := float64(a.Round(v)) - float64(v)
		signal += float64(v) * float64(v)
		noise += d * d
	}
	return 10 * math.Log10(signal/noise)
}
