package softmax

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/mmap/guard"
)

// TestWeights compares the kernel with its steps, bit by bit.
func TestWeights(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	inf := math.Inf(1)
	special := []float64{inf, -inf, math.NaN(), 1e38, -1e38, 1e-40, 0, -1e-40}
	for i := range 400 {
		n, rows := 1+rng.IntN(200), 1+rng.IntN(4)
		stride := WeightsRoom(n) + rng.IntN(9)
		size := (rows-1)*stride + WeightsRoom(n)
		scores, before := guard.Slice[float32](t, size, guard.End), guard.Slice[float32](t, rows, guard.End)
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
		scale := float32(.125 + rng.Float64())
		tops, sums := guard.Slice[float32](t, rows, guard.End), guard.Slice[float32](t, rows, guard.End)
		got := append([]float32(nil), scores...)
		Weights(scores, stride, n, scale, before, tops, sums)
		for r := range rows {
			row := got[r*stride:][:WeightsRoom(n)]
			top, sum := weightsOf(row, n, scale, before[r])
			if !same(top, tops[r]) || !same(sum, sums[r]) {
				t.Fatalf("%v: n %d, row %d after %g: %g and %g, want %g and %g", cpu.Level(), n, r, before[r], tops[r], sums[r], top, sum)
			}
			for j := range (n + weightLanes - 1) / weightLanes * weightLanes / 2 { // pairs of weights
				if g, w := math.Float32bits(scores[r*stride+j]), math.Float32bits(row[j]); g != w && sum == sum {
					t.Fatalf("%v: n %d, row %d: weights %d are %#x, want %#x", cpu.Level(), n, r, 2*j, g, w)
				}
			}
		}
	}
}

func same(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b }
