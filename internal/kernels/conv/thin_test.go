package conv

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
)

// A 1×1 kernel with strides and one that is long for its rows give the numbers that they give without copying pixels, in
// batches whose copies are and are not made at once, with the residual elsewhere and in place.
func TestCopiedPixels(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	ps := pools(t)
	for _, c := range []struct {
		p       Params
		spatial []int
		n       int
	}{
		{Params{In: 40, Out: 300, Stride: []int{2, 2}}, []int{14, 14}, 1},
		{Params{In: 37, Out: 260, Stride: []int{3, 2}, Residual: true, Act: Activation{Kind: Relu}}, []int{11, 9}, 2},
		{Params{In: 64, Out: 512, Groups: 2, Stride: []int{1, 2}, Residual: true, Act: Activation{Kind: Silu}}, []int{5, 7}, 3},
		{Params{In: 600, Out: 130, Stride: []int{2, 1}}, []int{31, 30}, 3},
		{Params{In: 96, Out: 96, Groups: 2, Kernel: []int{1, 40}, Pads: []int{0, 20, 0, 19}, Residual: true}, []int{1, 60}, 2},
		{Params{In: 70, Out: 40, Kernel: []int{9, 9}, Pads: []int{4, 4, 4, 4}, Act: Activation{Kind: Relu}}, []int{9, 9}, 5},
		{Params{In: 40, Out: 20, Kernel: []int{1, 24}, Stride: []int{1, 2}, Pads: []int{0, 12, 0, 14}}, []int{1, 41}, 3},
	} {
		if c.p.Kernel == nil {
			c.p.Kernel = []int{1, 1}
		}
		l := newLayer(t, rng, c.p, c.spatial, c.n)
		for _, level := range cpu.Levels() {
			plan, err := New(c.p, c.spatial, level)
			if err != nil {
				t.Fatal(err)
			}
			if plan.thin == nil {
				t.Errorf("%v on %v copies no pixels", l, level)
			}
			l.check(t, ordinary{plan}, level, ps, l.differ)
			direct := *plan
			direct.thin = nil
			if !slices.Equal(l.compute(t, ordinary{plan}, level, nil), l.compute(t, ordinary{&direct}, level, nil)) {
				t.Errorf("%v on %v: other numbers than without copies", l, level)
			}
			testBatch(t, l, level, ps[1])
		}
	}
}
