package quant

import (
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
)

func TestFit(t *testing.T) {
	for _, c := range []struct {
		name      string
		r         Range
		t         dtype.Type
		symmetric bool
		scale     float32
		zero      int32
	}{
		{"ReLU", Range{0, 25.5}, dtype.Uint8, false, 0.1, 0},
		{"both signs", Range{-1, 3}, dtype.Uint8, false, 4. / 255, 64},
		{"signed", Range{-12.8, 12.7}, dtype.Int8, false, 0.1, 0},
		{"zero is inside", Range{1, 2}, dtype.Uint8, false, 2. / 255, 0},
		{"negative only", Range{-2, -1}, dtype.Uint8, false, 2. / 255, 255},
		{"symmetric", Range{-1, 12.7}, dtype.Int8, true, 0.1, 0},
		{"symmetric, unsigned", Range{-12.7, 1}, dtype.Uint8, true, 0.1, 128},
		{"four bits", Range{-7, 3}, dtype.Int4, true, 1, 0},
		{"16 bits", Range{0, 65535}, dtype.Uint16, false, 1, 0},
		{"constant zero", Range{}, dtype.Int8, false, 1, -128},
		{"tiny", Range{0, 1e-44}, dtype.Uint8, false, 0x1p-126, 0},
	} {
		a, err := Fit(c.r, c.t, c.symmetric)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a.Scale != c.scale || a.Zero != c.zero {
			t.Errorf("%s: scale %g zero %d, expected %g and %d", c.name, a.Scale, a.Zero, c.scale, c.zero)
		}
		if a.Round(0) != 0 {
			t.Errorf("%s: zero becomes %g", c.name, a.Round(0))
		}
	}
	for _, r := range []Range{{math.NaN(), 1}, {0, math.Inf(1)}, {2, 1}} {
		if _, err := Fit(r, dtype.Int8, false); err == nil {
			t.Errorf("no error for %v", r)
		}
	}
	if _, err := Fit(Range{0, 1}, dtype.Float32, false); err == nil {
		t.Error("no error for float32")
	}
}

// Halves go to the even integer, what is outside to the ends, NaN to zero.
func TestQuantize(t *testing.T) {
	a := Affine{dtype.Uint8, 2, 10}
	for x, want := range map[float32]int32{0: 10, 1: 10, 3: 12, 5: 12, -1: 10, -3: 8, 1e30: 255, -1e30: 0, float32(math.Inf(1)): 255} {
		if got := a.Quantize(x); got != want {
			t.Errorf("%g: %d, expected %d", x, got, want)
		}
	}
	if got := a.Quantize(float32(math.NaN())); got != 10 {
		t.Errorf("NaN: %d", got)
	}
	if got := a.Round(4.1); got != 4 {
		t.Errorf("4.1 is rounded to %g", got)
	}
}
