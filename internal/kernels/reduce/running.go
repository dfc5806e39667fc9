package reduce

// sumTile makes running sums of so many neighbouring columns; stride may be negative, and then goes back from the first
// row.
type sumTile struct {
	columns int
	sum     func(dst, src []float32, stride, rows int)
}

// RunningSums writes to each of some rows of columns the sum of the rows up to it, in float64 and rounded. It begins at
// row first, an element of dst and src, and goes on by stride, which may be negative. dst may be src.
func RunningSums(dst, src []float32, first, stride, rows, columns int) {
	if rows == 0 {
		return
	}
	last := first + (rows-1)*stride
	_, _ = dst[min(first, last):max(first, last)+columns], src[min(first, last):max(first, last)+columns]
	at := 0
	for _, t := range current().runningSums {
		for ; at+t.columns <= columns; at += t.columns {
			t.sum(dst[first+at:], src[first+at:], stride, rows)
		}
	}
	for ; at < columns; at++ {
		sum, i := 0., first+at
		for range rows {
			sum += float64(src[i])
			dst[i] = float32(sum)
			i += stride
		}
	}
}
