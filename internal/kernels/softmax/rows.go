package softmax

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
)

// blockLen is package reduce's.
const blockLen = 4096

// leastExp is the least number whose power of e is no subnormal number. Exponentials of less are
// zeros: subnormal numbers are slow in whatever reads them, and add nothing to a sum of at least 1.
const leastExp = -87.33654

func expSumBlock(dst, src []float32, m float32) float32 {
	for i, x := range src[:len(dst)] {
		if dst[i] = x - m; dst[i] < leastExp {
			dst[i] = float32(math.Inf(-1))
		}
	}
	elemwise.Float32(elemwise.Exp)(dst, dst, elemwise.Params{})
	return reduce.SumRow(dst)
}

// ExpSum computes dst = e^(src-m) and the sum of dst, on this goroutine. dst may be src.
func ExpSum(dst, src []float32, m float32) float32 {
	k := current()
	src = src[:len(dst)]
	if len(dst) <= blockLen {
		return k.expSum(dst, src, m)
	}
	var sums reduce.Blocks
	for len(dst) > 0 {
		n := min(blockLen, len(dst))
		sums.Add(k.expSum(dst[:n], src, m))
		dst, src = dst[n:], src[n:]
	}
	return sums.Sum()
}

func row(dst, src []float32) {
	src = src[:len(dst)]
	k := current()
	if k.row != nil && len(dst) <= blockLen && !math.IsInf(float64(k.row(dst, src)), -1) {
		return
	}
	p := elemwise.Params{A: 1 / ExpSum(dst, src, reduce.MaxRow(src))}
	elemwise.Float32(elemwise.Affine)(dst, dst, p)
}

// logRow needs blockLen elements of scratch memory.
func logRow(dst, src, scratch []float32) {
	m := reduce.MaxRow(src)
	k := current()
	var sums reduce.Blocks
	for lo := 0; lo < len(src); lo += blockLen {
		n := min(blockLen, len(src)-lo)
		sums.Add(k.expSum(scratch[:n], src[lo:], m))
	}
	log := float32(math.Log(float64(sums.Sum())))
	for lo := 0; lo < len(src); lo += blockLen {
		n := min(blockLen, len(src)-lo)
		k.shift(dst[lo:lo+n], src[lo:lo+n], m, log)
	}
}

func shiftBlock(dst, src []float32, first, second float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = x - first - second
	}
}
