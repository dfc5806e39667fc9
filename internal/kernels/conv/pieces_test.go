package conv

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
)

// A piece of one block may have more numbers than one of two blocks, since it has whole rows.
func TestPiecesOfShorterRuns(t *testing.T) {
	rng := rand.New(rand.NewPCG(29, 30))
	ps := pools(t)
	for _, out := range []int{45, 100} {
		l := newLayer(t, rng, Params{In: 3, Out: out, Kernel: []int{1, 3, 3}, Stride: []int{1, 2, 2}, Pads: []int{0, 1, 1, 0, 1, 1}}, []int{1, 112, 112}, 1)
		for _, level := range cpu.Levels() {
			plan, err := New(l.p, l.spatial, level)
			if err != nil {
				t.Fatal(err)
			}
			l.check(t, ordinary{plan}, level, ps, l.differ)
		}
	}
}
