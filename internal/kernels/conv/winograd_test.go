package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
)

func TestWinogradAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	ps := pools(t)
	for i := range 15 {
		p := Params{
			In: 32 + rng.IntN(40), Out: 32 + rng.IntN(50), Kernel: []int{3, 3}, Winograd: true,
			Pads:     []int{rng.IntN(3), rng.IntN(3), rng.IntN(3), rng.IntN(3)},
			Residual: rng.IntN(2) == 0, Act: Activation{Kind: Kind(rng.IntN(int(Silu) + 1)), Lo: -2, Hi: 6, Alpha: 0.1},
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			l := newLayer(t, rng, p, []int{14 + rng.IntN(10), 14 + rng.IntN(10)}, 1+rng.IntN(2))
			for _, level := range cpu.Levels() {
				plan, err := New(p, l.spatial, level)
				if err != nil {
					t.Fatal(err)
				}
				if plan.Algorithm() != Winograd {
					t.Fatalf("%v is computed by %v", l, plan.Algorithm())
				}
				l.check(t, ordinary{plan}, level, ps, func(got []float32) error { return l.near(got, 2e-5) })
			}
		})
	}
}

// near compares with the reference, relative to the root of the number of
// terms: activations may hide how large the sums were.
func (l *layer) near(got []float32, tolerance float64) error {
	scale := math.Sqrt(float64(l.p.WeightCount() / l.p.Out))
	for i, w := range l.want {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= tolerance*scale) {
			return fmt.Errorf("output %d is %g, want %g", i, got[i], w)
		}
	}
	return nil
}

func TestWinogradBatchDoesNotChangeBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	all := newLayer(t, rng, Params{In: 40, Out: 33, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Winograd: true}, []int{13, 15}, 5)
	for _, level := range cpu.Levels() {
		testBatch(t, all, level, nil)
	}
}

func TestWinogradVolumes(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	ps := pools(t)
	for i := range 15 {
		p := Params{
			In: 32 + rng.IntN(40), Out: 32 + rng.IntN(50), Kernel: []int{1 + rng.IntN(4), 3, 3}, Stride: []int{1 + rng.IntN(2), 1, 1}, Winograd: true,
			Pads:     []int{rng.IntN(5), rng.IntN(3), rng.IntN(3), rng.IntN(5), rng.IntN(3), rng.IntN(3)},
			Residual: rng.IntN(2) == 0, Act: Activation{Kind: Kind(rng.IntN(int(Silu) + 1)), Lo: -2, Hi: 6, Alpha: 0.1},
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			l := newLayer(t, rng, p, []int{4 + rng.IntN(12), 3 + rng.IntN(10), 3 + rng.IntN(20)}, 1+rng.IntN(2))
			for _, level := range cpu.Levels() {
				plan, err := New(p, l.spatial, level)
				if err != nil {
					t.Fatal(err)
				}
				if plan.Algorithm() != WinogradVolume {
					t.Fatalf("%v is computed by %v", l, plan.Algorithm())
				}
				l.check(t, ordinary{plan}, level, ps, func(got []float32) error { return l.near(got, 2e-5) })
			}
		})
	}
	all := newLayer(t, rng, Params{In: 40, Out: 33, Kernel: []int{3, 3, 3}, Pads: []int{1, 1, 1, 1, 1, 1}, Winograd: true}, []int{9, 6, 15}, 3)
	for _, level := range cpu.Levels() {
		testBatch(t, all, level, nil)
	}
}
