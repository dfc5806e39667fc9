package signal

import (
	"math"
	"math/cmplx"
	"testing"
)

// naive is the definition of the transform.
func naive(x []complex128) []complex128 {
	out := make([]complex128, len(x))
	for k := range out {
		for i, v := range x {
			out[k] += v * cmplx.Rect(1, -2*math.Pi*float64(i*k%len(x))/float64(len(x)))
		}
	}
	return out
}

func signal(n int) []complex128 {
	x := make([]complex128, n)
	for i := range x {
		x[i] = complex(float64(i*37%11)-5, float64(i*53%7)-3)
	}
	return x
}

func distance(a, b []complex128) (worst float64) {
	for i := range a {
		worst = max(worst, cmplx.Abs(a[i]-b[i]))
	}
	return worst
}

func TestTransforms(t *testing.T) {
	for n := 1; n <= 70; n++ {
		want, x := naive(signal(n)), signal(n)
		f := newTransform(n)
		f.forward(x)
		if d := distance(x, want); d > 1e-10*float64(n) {
			t.Errorf("length %d: off by %g", n, d)
		}
		f.inverse(x)
		if d := distance(x, signal(n)); d > 1e-11*float64(n) {
			t.Errorf("length %d and back: off by %g", n, d)
		}
		g, y := newTransform32(n), signal(n)
		if g == nil {
			continue
		}
		g.run(y, false)
		if d := distance(y, want); d > 1e-5*float64(n) {
			t.Errorf("length %d in float32: off by %g", n, d)
		}
		g.run(y, true)
		if d := distance(y, signal(n)); d > 1e-5 {
			t.Errorf("length %d in float32 and back: off by %g", n, d)
		}
	}
	for n, want := range map[int]bool{1: true, 7: false, 60: true, 400: true, 22: false} {
		if got := newTransform32(n) != nil; got != want {
			t.Errorf("length %d in float32: found %v, expected %v", n, got, want)
		}
	}
}
