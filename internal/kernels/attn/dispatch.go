package attn

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
)

// kernels is what an instruction-set level provides.
type kernels struct {
	sweep  func(a *sweepArgs)
	settle func(a *settleArgs)
	pairs  func(dst, src *uint16, stride, pairs, n int) // interleaves rows; the stride is in bytes
}

func current() *kernels        { return forLevel(cpu.Level()) }
func currentAMX() *mma.Kernels { return mma.For(cpu.Level()) }

// portable is the specification of the other kernels.
var portable = kernels{sweep: portableSweep, settle: portableSettle, pairs: portablePairs}
