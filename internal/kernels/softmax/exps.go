package softmax

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/reduce"
)

// Exps turns rows of n scores, stride elements apart, into e^(score-m) where they lie.
// m, the greatest of a row and of its element of before, goes to tops, and the sum of
// the exponentials to sums. A row that is all -Inf, as its element of before is, becomes
// zeros.
func Exps(scores []float32, stride, n int, before, tops, sums []float32) {
	rows := len(before)
	if rows == 0 || n == 0 {
		return
	}
	_, _, _ = scores[(rows-1)*stride+n-1], tops[rows-1], sums[rows-1]
	if k := current(); k.exps != nil && n <= blockLen {
		k.exps(&scores[0], 4*stride, rows, n, &before[0], &tops[0], &sums[0])
		return
	}
	for i, old := range before {
		tops[i], sums[i] = expsOf(scores[i*stride:][:n], old)
	}
}

// expsOf is Exps of a row.
func expsOf(row []float32, before float32) (top, sum float32) {
	top = max(before, reduce.MaxRow(row))
	if math.IsInf(float64(top), -1) {
		clear(row)
		return top, 0
	}
	return top, ExpSum(row, row, top)
}
