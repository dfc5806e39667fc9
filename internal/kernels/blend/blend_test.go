package blend

import (
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
)

// TestRowsArePortable compares bits at every level, on rows that end where memory does.
func TestRowsArePortable(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, n := range []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 257} {
			for _, taps := range []int{1, 2, 3, 4, 9} {
				src := kerneltest.Floats(t, n+5*(taps-1), func(i int) float32 {
					if i%13 == 0 {
						return float32(math.Copysign(0, -1))
					}
					return float32(i%29) - 14.3
				})
				weights := kerneltest.Floats(t, taps, nil)
				offsets := make([]int, taps)
				for k := range offsets {
					offsets[k] = 4 * 5 * (taps - 1 - k)
				}
				got, want := kerneltest.Floats(t, n, nil), make([]float32, n)
				Rows(got, src, offsets, weights)
				portable(&want[0], &src[0], &offsets[0], &weights[0], taps, n)
				for i := range want {
					if !kerneltest.Same(got[i], want[i]) {
						t.Fatalf("%d elements of %d rows: element %d is %g, want %g", n, taps, i, got[i], want[i])
					}
				}
			}
		}
	})
}

// TestRowsAllocatesNothing: what is on the caller's stack stays there.
func TestRowsAllocatesNothing(t *testing.T) {
	dst, src := make([]float32, 40), make([]float32, 80)
	if n := testing.AllocsPerRun(10, func() {
		offsets, weights := [2]int{0, 160}, [2]float32{1, 2}
		Rows(dst, src, offsets[:], weights[:])
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
