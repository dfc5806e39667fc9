package block

import (
	"math"
	"math/rand/v2"
	"testing"
)

// What counts more is rounded more exactly: by the weights that were given, the
// error is smaller than without them.
func TestEncodeWeighted(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const n = 256 * 32
	x, importance := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
		importance[i] = float32(math.Exp(2 * r.NormFloat64()))
	}
	loss := func(y []float32) (sum float64) {
		for i, v := range y {
			d := float64(v) - float64(x[i])
			sum += float64(importance[i]) * d * d
		}
		return sum
	}
	for f := range Format(number) {
		if f.info().weighted == nil {
			continue
		}
		b := make([]byte, len(encode(t, f, x)))
		plain := loss(decode(f, encode(t, f, x)))
		EncodeWeighted(f, b, x, importance)
		if weighted := loss(decode(f, b)); weighted > 0.95*plain {
			t.Errorf("%v: loss %.4g with weights, %.4g without: expected it to be less by 5 %%", f, weighted, plain)
		}
	}
}

// Importance may be zero in parts and everywhere, values all of one sign.
func TestEncodeWeightedExtremes(t *testing.T) {
	for f := range Format(number) {
		if !f.Encodes() || f.Elems() == 1 {
			continue
		}
		n := f.Elems()
		x, importance, b := make([]float32, n), make([]float32, n), make([]byte, f.Bytes())
		for i := range x {
			x[i] = 1 + float32(i)/float32(n)
		}
		for _, some := range []bool{false, true} {
			if some {
				importance[n/2] = 3
			}
			EncodeWeighted(f, b, x, importance)
			for i, v := range decode(f, b) {
				if !(math.Abs(float64(v)) < 8) {
					t.Fatalf("%v: element %d became %v", f, i, v)
				}
			}
		}
		if d := decode(f, b)[n/2] - x[n/2]; abs(d) > 0.25 {
			t.Errorf("%v: the one element that counts is off by %v", f, d)
		}
	}
}
