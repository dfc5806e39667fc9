//go:build !noasm

package blend

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . blend -out ../../internal/kernels/blend/rows_amd64.s

// rows calls kernels by name, not through a variable: what callers have on their stacks stays
// there.
func rows(dst, src *float32, offsets *int, weights *float32, taps, n int) {
	switch l := cpu.Level(); {
	case l >= cpu.AVX512:
		rowsAVX512(dst, src, offsets, weights, taps, n)
	case l >= cpu.AVX2:
		rowsAVX2(dst, src, offsets, weights, taps, n)
	default:
		portable(dst, src, offsets, weights, taps, n)
	}
}
