package conv

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
)

// Small planes are computed tap by tap: near the reference, with the same bits on any number of threads and in any batch, with
// the residual elsewhere and in place.
func TestTapByTap(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	ps := pools(t)
	for _, c := range []struct {
		p       Params
		spatial []int
		n       int
	}{
		{Params{In: 128, Out: 70, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Residual: true, Act: Activation{Kind: Relu}}, []int{4, 4}, 1},
		{Params{In: 133, Out: 40, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Residual: true, Act: Activation{Kind: Silu}}, []int{2, 2}, 2},
		{Params{In: 150, Out: 33, Kernel: []int{3, 2}, Pads: []int{2, 0, 1, 3}, Stride: []int{2, 1}, Act: Activation{Kind: Clip, Lo: -1, Hi: 2}}, []int{7, 3}, 9},
		{Params{In: 256, Out: 64, Groups: 2, Kernel: []int{5, 5}, Pads: []int{2, 2, 2, 2}}, []int{6, 7}, 3},
		{Params{In: 144, Out: 48, Kernel: []int{3, 3}, Pads: []int{6, 6, 6, 6}, Dilation: []int{6, 6}, Residual: true}, []int{4, 5}, 2},
		{Params{In: 290, Out: 20, Kernel: []int{3, 3}, Pads: []int{9, 1, 0, 9}, Act: Activation{Kind: Relu}}, []int{1, 1}, 5}, // outputs that see padding alone
	} {
		l := newLayer(t, rng, c.p, c.spatial, c.n)
		for _, level := range cpu.Levels() {
			plan, err := New(c.p, c.spatial, level)
			if err != nil {
				t.Fatal(err)
			}
			if plan.Algorithm() != Taps {
				t.Errorf("%v on %v: algorithm %v", l, level, plan.Algorithm())
			}
			l.check(t, ordinary{plan}, level, ps, l.differ)
			testBatch(t, l, level, ps[1])
		}
	}
}
