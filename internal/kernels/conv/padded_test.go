package conv

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
)

// Rows that are copied with their padding give the sums of all taps, in any batch and on any
// number of threads.
func TestPaddedRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	ps := pools(t)
	for _, c := range []struct {
		channels                 int
		kernel, stride, dilation [2]int
		pads                     []int
		spatial                  []int
		residual                 bool
	}{
		{40, [2]int{7, 7}, [2]int{1, 1}, [2]int{1, 1}, []int{3, 3, 3, 3}, []int{7, 7}, false},
		{33, [2]int{9, 9}, [2]int{1, 1}, [2]int{1, 1}, []int{4, 4, 4, 4}, []int{5, 6}, true},
		{20, [2]int{13, 13}, [2]int{1, 1}, [2]int{1, 1}, []int{6, 9, 6, 3}, []int{8, 11}, false},
		{8, [2]int{9, 9}, [2]int{2, 2}, [2]int{1, 1}, []int{4, 4, 4, 4}, []int{9, 9}, true},
		{17, [2]int{5, 5}, [2]int{1, 1}, [2]int{2, 2}, []int{4, 6, 4, 6}, []int{6, 7}, false},
		{5, [2]int{3, 11}, [2]int{1, 1}, [2]int{1, 1}, []int{1, 5, 1, 5}, []int{128, 128}, false}, // several chunks of rows
	} {
		p := Params{In: c.channels, Out: c.channels, Groups: c.channels, Kernel: c.kernel[:], Stride: c.stride[:], Dilation: c.dilation[:],
			Pads: c.pads, Residual: c.residual, Act: Activation{Kind: Relu}}
		t.Run(fmt.Sprint(p.Kernel, c.spatial), func(t *testing.T) {
			for _, level := range cpu.Levels() {
				plan, err := New(p, c.spatial, level)
				if err != nil {
					t.Fatal(err)
				}
				if plan.padded == nil {
					t.Fatalf("%v computes with the plane's own rows", level)
				}
				l := newLayer(t, rng, p, c.spatial, 3)
				l.check(t, ordinary{plan}, level, ps, l.differ)
				testBatch(t, l, level, ps[1])
			}
		})
	}
}
