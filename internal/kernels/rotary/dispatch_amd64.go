//go:build !noasm

package rotary

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . rotary -out ../../internal/kernels/rotary/rotary_amd64.s

// pairs is how many the kernels turn at once.
const pairs = 8

// turn calls kernels by name: what callers have on their stacks stays there.
func turn(y, x, cos, sin []float32, heads int, interleaved bool) {
	n := len(cos)
	switch {
	case cpu.Level() < cpu.AVX2 || n%pairs != 0:
		portable(y, x, cos, sin, heads, interleaved)
	case interleaved:
		turnNeighboursAVX2(&y[0], &x[0], &cos[0], &sin[0], n, heads, len(x)/heads)
	default:
		turnHalvesAVX2(&y[0], &x[0], &cos[0], &sin[0], n, heads, len(x)/heads)
	}
}
