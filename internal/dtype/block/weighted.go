package block

import "math"

// Encoders that know how much each element's error counts. Those of the formats
// of 32 elements are here; the others' share their code with the encoders that
// do not know.

// weighImportance sets w to importance · √(mean square + x²): what is said of
// the column, and, as that is a mean over many inputs, some of what large weights
// deserve by themselves. It leaves w alone where importance is nil. Where nothing
// has importance, everything has the same.
func weighImportance(w, x []float64, importance []float32) {
	if importance == nil {
		return
	}
	squares, total := 0.0, 0.0
	for _, v := range x {
		squares += float64(v * v)
	}
	mean := squares / float64(len(x))
	for i, v := range x {
		w[i] = float64(importance[i]) * math.Sqrt(mean+float64(v*v))
		total += w[i]
	}
	if !(total > 0) {
		for i := range w {
			w[i] = 1
		}
	}
}

var (
	signed4 = integers(-8, 7)
	signed5 = integers(-16, 15)
)

// wide converts a block, and weighs its elements.
func wide(src, importance []float32) (x, w [32]float64) {
	for i, v := range src {
		x[i] = float64(v)
	}
	weighImportance(w[:], x[:], importance)
	return x, w
}

func weightedQ4_0(dst []byte, src, importance []float32) {
	x, w := wide(src, importance)
	var levels [32]int8
	putHalf(dst, signed4.fitLevels(levels[:], x[:], w[:]))
	for j := range 16 {
		dst[2+j] = byte(levels[j]+8) | byte(levels[j+16]+8)<<4
	}
}

func weightedQ5_0(dst []byte, src, importance []float32) {
	x, w := wide(src, importance)
	var levels [32]int8
	putHalf(dst, signed5.fitLevels(levels[:], x[:], w[:]))
	var q [32]byte
	for i, l := range levels {
		q[i] = byte(l + 16)
	}
	putFive(dst[2:], &q)
}

// putFive writes 32 high bits, and 16 bytes of 4 low bits.
func putFive(dst []byte, q *[32]byte) {
	high := uint32(0)
	for i, v := range q {
		high |= uint32(v>>4) << i
	}
	le.PutUint32(dst, high)
	for j := range 16 {
		dst[4+j] = q[j]&15 | q[j+16]&15<<4
	}
}

func weightedQ4_1(dst []byte, src, importance []float32) {
	q := weightedLine(dst, src, importance, 15)
	for j := range 16 {
		dst[4+j] = q[j] | q[j+16]<<4
	}
}

func weightedQ5_1(dst []byte, src, importance []float32) {
	q := weightedLine(dst, src, importance, 31)
	putFive(dst[4:], &q)
}

// weightedLine fits d·q + m, writes d and m, and gives each element's q up to top.
func weightedLine(dst []byte, src, importance []float32, top float64) (q [32]byte) {
	x, w := wide(src, importance)
	lowest := 0.0 // fitLine wants a minimum that is not positive
	if lo, _ := bounds(src); lo > 0 {
		lowest = float64(lo)
		for i := range x {
			x[i] -= lowest
		}
	}
	scale, minimum, _ := fitLine(x[:], w[:], top)
	putHalf(dst, float32(scale))
	putHalf(dst[2:], float32(lowest-minimum))
	d, m := float64(half(dst)), float64(half(dst[2:]))
	for i, v := range src {
		q[i] = byte(round(clamp(ratio(float64(v)-m, d), 0, top)))
	}
	return q
}
