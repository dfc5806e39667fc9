package softmax

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/reduce"
)

// WeightsRoom is the number of elements of memory that a row of n scores needs for
// Weights: whole vectors are written.
func WeightsRoom(n int) int { return max((n+weightLanes-1)&^(weightLanes-1), weightLanes) }

// weightLanes is what rows of weights are filled up to.
const weightLanes = 32

// Weights turns rows of n scores, stride elements apart, into weights of attention:
// e^(scale·score-m), in bfloat16, in the front of a row's own memory, with zeros up to
// a multiple of 32. m, the greatest of scale·score and of the row's element of before, goes to tops,
// the sum of the weights before they are rounded to sums. A row that is all -Inf, as
// its element of before is, has weights of zero. The scale is positive.
func Weights(scores []float32, stride, n int, scale float32, before, tops, sums []float32) {
	rows := len(before)
	if rows == 0 || n == 0 {
		return
	}
	_, _, _ = scores[(rows-1)*stride+WeightsRoom(n)-1], tops[rows-1], sums[rows-1]
	if k := current(); k.weights != nil && n <= blockLen {
		k.weights(&scores[0], 4*stride, rows, n, scale, &before[0], &tops[0], &sums[0])
		return
	}
	for i, old := range before {
		tops[i], sums[i] = weightsOf(scores[i*stride:][:WeightsRoom(n)], n, scale, old)
	}
}

// weightsOf is Weights of a row.
func weightsOf(row []float32, n int, scale, before float32) (top, sum float32) {
	scores := row[:n]
	top = max(before, reduce.MaxRow(scores)*scale)
	m := top
	if math.IsInf(float64(m), -1) {
		m = 0
	}
	for i, x := range scores {
		scores[i] = float32(x * scale)
	}
	sum = ExpSum(scores, scores, m)
	half := unsafe.Slice((*uint16)(unsafe.Pointer(&row[0])), 2*len(row))
	for i, x := range scores {
		half[i] = mma.Round(x)
	}
	clear(half[n : (n+weightLanes-1)&^(weightLanes-1)])
	return top, sum
}
