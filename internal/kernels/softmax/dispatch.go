package softmax

import "github.com/salver-ml/salver/internal/cpu"

// kernels is what an instruction-set level provides.
type kernels struct {
	// expSum computes dst = e^(src-m) and its sum, of at most blockLen elements.
	expSum func(dst, src []float32, m float32) float32
	// row computes the softmax of a row of at most blockLen elements and returns
	// its greatest; where that is -Inf, dst is left as it is. Nil: in steps.
	row func(dst, src []float32) float32
	// shift computes dst = src - first - second, of at most blockLen elements.
	shift func(dst, src []float32, first, second float32)
	// weights is Weights for at most blockLen scores in a row, with the stride in
	// bytes. Nil: in steps.
	weights func(scores *float32, stride, rows, n int, scale float32, before, tops, sums *float32)
	// exps is Exps likewise.
	exps func(scores *float32, stride, rows, n int, before, tops, sums *float32)
	// powers is Powers likewise, for any n. Nil: one by one.
	powers func(scores *float32, stride, rows, n int, sums *float32)
}

func current() *kernels { return forLevel(cpu.Level()) }

// portable is the specification of the other kernels.
var portable = kernels{expSum: expSumBlock, shift: shiftBlock}
