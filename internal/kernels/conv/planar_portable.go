package conv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// portablePlanar are the planar kernels in Go, with the same sums in the same order.
func portablePlanar(lanes int) (all []planarKernel) {
	const vectors = 2
	for _, channels := range []int{4, 1} {
		kernel := func(n int) func(t *byte) {
			return func(t *byte) { portablePlanarTile((*planarTile)(unsafe.Pointer(t)), channels, n) }
		}
		all = append(all, planarKernel{channels, vectors, kernel(vectors * lanes), kernel(lanes)})
	}
	return all
}

// portablePlanarTile computes steps of n pixels.
func portablePlanarTile(t *planarTile, channels, n int) {
	for step := range t.Steps {
		for c := range channels {
			acc := window.Floats(t.Out, c*t.OutChannel+step*n*4, n)
			bias := window.Floats(t.Bias, c*4, 1)[0]
			for i := range acc {
				acc[i] = bias
			}
			w := c * 4
			for in := range t.Channels {
				for y := range t.KH {
					for x := range t.KW {
						madd(acc, window.Floats(t.Weights, w, 1)[0], window.Floats(t.In, in*t.InChannel+y*t.InRow+x*t.InCol+step*n*4, n))
						w += channels * 4
					}
				}
			}
			for i, v := range acc {
				acc[i] = atMost(atLeast(v, t.Lo), t.Hi)
			}
		}
	}
}
