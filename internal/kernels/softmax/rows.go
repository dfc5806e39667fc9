package softmax

import (
	"math"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
)

// blockLen is package reduce's.
const blockLen = 4096

// table is one instruction-set level's kernels.
type table struct {
	// expSum computes dst = e^(src-m) and its sum, of at most blockLen elements.
	expSum func(dst, src []float32, m float32) float32
	// row computes the softmax of a row of at most blockLen elements and returns
	// its greatest; where that is -Inf, dst is left as it is. Nil: in steps.
	row func(dst, src []float32) float32
	// weights is Weights for at most blockLen scores in a row, with the stride in
	// bytes. Nil: in steps.
	weights func(scores *float32, stride, rows, n int, scale float32, before, tops, sums *float32)
	// exps is Exps likewise.
	exps func(scores *float32, stride, rows, n int, before, tops, sums *float32)
	// powers is Powers likewise, for any n. Nil: one by one.
	powers func(scores *float32, stride, rows, n int, sums *float32)
}

// tables has each level's kernels; a level without its own has those below it.
var tables = []*table{{expSum: expSumBlock}}

func kernels() *table { return tables[min(int(cpu.Level()), len(tables)-1)] }

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
	k := kernels()
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
	k := kernels()
	if k.row != nil && len(dst) <= blockLen && !math.IsInf(float64(k.row(dst, src)), -1) {
		return
	}
	p := elemwise.Params{A: 1 / ExpSum(dst, src, reduce.MaxRow(src))}
	elemwise.Float32(elemwise.Affine)(dst, dst, p)
}

// logRow needs blockLen elements of scratch memory.
func logRow(dst, src, scratch []float32) {
	m := reduce.MaxRow(src)
	k := kernels()
	var sums reduce.Blocks
	for lo := 0; lo < len(src); lo += blockLen {
		n := min(blockLen, len(src)-lo)
		sums.Add(k.expSum(scratch[:n], src[lo:], m))
	}
	log := float32(math.Log(float64(sums.Sum())))
	affine := elemwise.Float32(elemwise.Affine)
	affine(dst, src, elemwise.Params{A: 1, B: -m})
	affine(dst, dst, elemwise.Params{A: 1, B: -log})
}
