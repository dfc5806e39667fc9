//go:build !noasm

package rotary

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . rotary -out ../../internal/kernels/rotary/rotary_amd64.s

// pairs is how many the kernels turn at once.
const pairs = 8

// fast reports whether a kernel has turned the pairs.
func fast(y, x, cos, sin []float32, heads int, interleaved bool) bool {
	n := len(cos)
	if cpu.Level() < cpu.AVX2 || n%pairs != 0 {
		return false
	}
	turn := turnHalvesAVX2
	if interleaved {
		turn = turnNeighboursAVX2
	}
	turn(&y[0], &x[0], &cos[0], &sin[0], n, heads, len(x)/heads)
	return true
}
