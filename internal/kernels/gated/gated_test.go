package gated

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
)

// numbers are n floats in guarded memory, some of them special.
func numbers(t *testing.T, rng *rand.Rand, n int) []float32 {
	special := []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1e-42, 100, -100}
	return kerneltest.Floats(t, n, func(int) float32 {
		if rng.IntN(9) == 0 {
			return special[rng.IntN(len(special))]
		}
		return float32(3 * rng.NormFloat64())
	})
}

func applied(op elemwise.Op, x []float32) []float32 {
	y := make([]float32, len(x))
	elemwise.Float32(op)(y, x, elemwise.Params{})
	return y
}

func compare(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if !kerneltest.Same(got[i], want[i]) {
			t.Fatalf("%s of %d, element %d: %v, want %v", what, len(want), i, got[i], want[i])
		}
	}
}

// TestCells compares cells with their operations one after the other.
func TestCells(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	kerneltest.Levels(t, func(t *testing.T) {
		lstm, gru := ForLSTM(), ForGRU()
		if lstm == nil || gru == nil {
			t.Skip("no kernels at this level")
		}
		for n := range 66 {
			stride := n + rng.IntN(3)
			gates := numbers(t, rng, 3*stride+n)
			gate := func(i int) []float32 { return gates[i*stride:][:n] }
			sigmoid, tanh := elemwise.Sigmoid, elemwise.Tanh
			h, x, c := numbers(t, rng, n), numbers(t, rng, n), numbers(t, rng, n)

			i, o, f, g := applied(sigmoid, gate(0)), applied(sigmoid, gate(1)), applied(sigmoid, gate(2)), applied(tanh, gate(3))
			wantC, wantH := make([]float32, n), make([]float32, n)
			for k := range wantC {
				wantC[k] = float32(f[k]*c[k]) + float32(i[k]*g[k])
			}
			for k, v := range applied(tanh, wantC) {
				wantH[k] = o[k] * v
			}
			gotH := numbers(t, rng, n)
			lstm(gates, stride, c, gotH)
			compare(t, "cells", c, wantC)
			compare(t, "states", gotH, wantH)

			for _, linear := range []bool{false, true} {
				z, r, g := applied(sigmoid, gate(0)), applied(sigmoid, gate(1)), append([]float32(nil), gate(2)...)
				var in []float32
				if linear {
					in = x
					for k := range g {
						g[k] = x[k] + float32(r[k]*g[k])
					}
				}
				for k, v := range applied(tanh, g) {
					wantH[k] = float32((1-z[k])*v) + float32(z[k]*h[k])
				}
				gru(gates, stride, in, h, gotH)
				compare(t, fmt.Sprintf("GRU, linear %v", linear), gotH, wantH)
			}
			gru(gates, stride, x, h, h)
			compare(t, "GRU in place", h, gotH)
		}
	})
}
