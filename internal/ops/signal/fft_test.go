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

// The passes that are written out give the bits of the one for all radices.
func TestPassesOfTwoAndFour(t *testing.T) {
	for _, n := range []int{2, 4, 8, 12, 16, 40, 128, 512} {
		f := newTransform32(n)
		src := make([]c32, n)
		for i := range src {
			src[i] = c32{float32(i*37%11) - 5.3, float32(i*53%7) / 3}
		}
		src[n-1].r = float32(math.Inf(1))
		for i := range f.passes {
			p := &f.passes[i]
			for _, inverse := range []bool{false, true} {
				want, got := make([]c32, n), make([]c32, n)
				p.run(want, src, inverse)
				switch p.radix {
				case 2:
					p.run2(got, src, inverse)
				case 4:
					p.run4(got, src, inverse)
				default:
					continue
				}
				for j := range want {
					if pattern(got[j].r) != pattern(want[j].r) || pattern(got[j].i) != pattern(want[j].i) {
						t.Fatalf("%d, radix %d, inverse %v: element %d is %v, expected %v", n, p.radix, inverse, j, got[j], want[j])
					}
				}
			}
		}
	}
}

// pattern is the bits of a number; a NaN is like any other.
func pattern(x float32) uint32 {
	if x != x {
		return 0x7fc00000
	}
	return math.Float32bits(x)
}
