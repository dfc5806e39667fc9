package softmax

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/mmap/guard"
)

// TestPowers compares with exact powers, and sums with those of the powers as they are.
func TestPowers(t *testing.T) {
	kerneltest.Levels(t, testPowers)
}

func testPowers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	inf := float32(math.Inf(1))
	special := []float32{-inf, -126, -126.00001, -125.99999, -1e30, 0, -0x1p-30, 0x1p-140, 127.99999, 1, -1, 0.99999994}
	for range 300 {
		n, rows := 16*(1+rng.IntN(9)), 1+rng.IntN(4)
		stride := n + rng.IntN(9)
		scores, sums := guard.Slice[float32](t, (rows-1)*stride+n, guard.End), guard.Slice[float32](t, rows*PowerSums, guard.End)
		for j := range scores {
			scores[j] = float32(30 * rng.NormFloat64())
			if rng.IntN(20) == 0 {
				scores[j] = special[rng.IntN(len(special))]
			}
		}
		from := append([]float32(nil), scores...)
		for j := range sums {
			sums[j] = float32(rng.Float64())
		}
		want := append([]float32(nil), sums...)
		Powers(scores, stride, n, sums)
		for r := range rows {
			for j := range n {
				x, got := from[r*stride+j], scores[r*stride+j]
				exact := math.Exp2(float64(x))
				if x < -126 {
					exact = 0
				}
				if x > 127.9 && !(got < 0x1p127) {
					continue // too large, or nearly
				}
				if u := kerneltest.ULP(got, exact); u > 1.2 {
					t.Fatalf("2^%v is %v, want %v: %.2f ulp", x, got, exact, u)
				}
			}
			for j := 0; j < n; j += 32 {
				for k := range PowerSums {
					e := scores[r*stride+j+k]
					if j+16 < n {
						e += scores[r*stride+j+k+16]
					}
					want[r*PowerSums+k] += e
				}
			}
			for k := range PowerSums {
				if at := r*PowerSums + k; !same(sums[at], want[at]) {
					t.Fatalf("%d scores, sum %d of row %d is %v, want %v", n, k, r, sums[at], want[at])
				}
			}
		}
	}
	for _, x := range []float32{128, 1e9, inf, float32(math.NaN())} {
		scores, sums := make([]float32, 32), make([]float32, PowerSums)
		scores[20] = x
		Powers(scores, 32, 32, sums)
		if s := float64(sums[4]); !math.IsInf(s, 1) && !math.IsNaN(s) {
			t.Errorf("2^%v: sum is %v", x, s)
		}
	}
}
