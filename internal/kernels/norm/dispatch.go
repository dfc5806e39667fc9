package norm

import "github.com/salver-ml/salver/internal/cpu"

// kernels is what an instruction-set level provides.
type kernels struct {
	// row computes ((x-mean)·inv)·gamma + beta.
	row func(dst, src, gamma, beta []float32, mean, inv float32)
	// rowGamma is row without beta.
	rowGamma func(dst, src, gamma []float32, mean, inv float32)
	// channel is row with one gamma and beta.
	channel func(dst, src []float32, mean, inv, gamma, beta float32)
	// blocked computes x·scale + shift, with len(scale) values that repeat.
	blocked func(dst, src, scale, shift []float32)
}

func current() *kernels { return forLevel(cpu.Level()) }

// portable is the specification of the other kernels.
var portable = kernels{row: normRow, rowGamma: normRowGamma, channel: normChannel, blocked: blockedRow}
