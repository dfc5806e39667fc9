package softmax

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/mmap/guard"
)

// TestExps compares the kernels with their steps, bit by bit.
func TestExps(t *testing.T) {
	kerneltest.Levels(t, testExps)
}

func testExps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	inf := math.Inf(1)
	special := []float64{inf, -inf, math.NaN(), 1e38, -1e38, -104, -103.5, -87.4, -87.33655, -87.33654, -87.3, 1e-40, 0, -1e-40}
	for i := range 400 {
		n, rows := 1+rng.IntN(200), 1+rng.IntN(4)
		stride := n + rng.IntN(9)
		scores, before := guard.Slice[float32](t, (rows-1)*stride+n, guard.End), guard.Slice[float32](t, rows, guard.End)
		for j := range scores {
			scores[j] = float32(8 * rng.NormFloat64())
			if i%4 == 1 && rng.IntN(50) == 0 {
				scores[j] = float32(special[rng.IntN(len(special))])
			}
			if i%8 == 3 {
				scores[j] = float32(-inf)
			}
		}
		for j := range before {
			before[j] = float32([]float64{-inf, 3, 50, math.NaN(), inf}[rng.IntN(3+i%3)])
		}
		tops, sums := guard.Slice[float32](t, rows, guard.End), guard.Slice[float32](t, rows, guard.End)
		want := append([]float32(nil), scores...)
		Exps(scores, stride, n, before, tops, sums)
		for r := range rows {
			top, sum := expsOf(want[r*stride:][:n], before[r])
			if !same(top, tops[r]) || !same(sum, sums[r]) {
				t.Fatalf("n %d, row %d after %g: %g and %g, want %g and %g", n, r, before[r], tops[r], sums[r], top, sum)
			}
		}
		for j, g := range scores {
			if !same(g, want[j]) {
				t.Fatalf("n %d, stride %d, element %d: %g, want %g", n, stride, j, g, want[j])
			}
		}
	}
}
