package softmax

import "math"

// PowerSums is the number of sums that a row of Powers has.
const PowerSums = 16

// Powers turns rows of n scores, a multiple of 16, stride elements apart, into 2^score
// where they lie, and adds them to PowerSums sums of each row: of each 32 elements j and
// j+16 are added, and then to sum j. Powers below 2^-126 are zeros. Where one is too
// large (2^127.9) or NaN, the sum is +Inf or NaN.
func Powers(scores []float32, stride, n int, sums []float32) {
	rows := len(sums) / PowerSums
	if rows == 0 || n == 0 {
		return
	}
	_ = scores[(rows-1)*stride+n-1]
	if k := current(); k.powers != nil {
		k.powers(&scores[0], 4*stride, rows, n, &sums[0])
		return
	}
	for i := range rows {
		powersOf(scores[i*stride:][:n], (*[PowerSums]float32)(sums[i*PowerSums:]))
	}
}

// powersOf is Powers of a row.
func powersOf(row []float32, sums *[PowerSums]float32) {
	for i, x := range row {
		row[i] = 0
		if !(x < -126) {
			row[i] = float32(math.Exp2(float64(x)))
		}
	}
	for ; len(row) > 0; row = row[min(len(row), 2*PowerSums):] {
		for j := range sums {
			e := row[j]
			if len(row) > PowerSums {
				e += row[j+PowerSums]
			}
			sums[j] += e
		}
	}
}
