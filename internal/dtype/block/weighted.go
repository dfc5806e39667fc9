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
	weightedLevels(Q4_0, dst, src, importance, signed4)
}

func weightedQ5_0(dst []byte, src, importance []float32) {
	weightedLevels(Q5_0, dst, src, importance, signed5)
}

func weightedLevels(f Format, dst []byte, src, importance []float32, levels *codebook) {
	x, w := wide(src, importance)
	var fitted [32]int8
	d := levels.fitLevels(fitted[:], x[:], w[:])
	var codes [32]uint8
	for i, l := range fitted {
		codes[i] = uint8(int(l) - int(levels.lo))
	}
	PackLinear(f, dst, d, 0, codes[:])
}

func weightedQ4_1(dst []byte, src, importance []float32) {
	weightedLine(Q4_1, dst, src, importance, 15)
}

func weightedQ5_1(dst []byte, src, importance []float32) {
	weightedLine(Q5_1, dst, src, importance, 31)
}

// weightedLine fits d·q + m with q up to top.
func weightedLine(f Format, dst []byte, src, importance []float32, top float64) {
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
	d, m := half(dst), half(dst[2:])
	var codes [32]uint8
	for i, v := range src {
		codes[i] = uint8(round(clamp(ratio(float64(v)-float64(m), float64(d)), 0, top)))
	}
	PackLinear(f, dst, d, m, codes[:])
}

// PackLinear writes a block of 32 numbers that were rounded elsewhere: d·(code - z)
// in Q4_0 (codes of 4 bits, z = 8), Q5_0 (5, 16) and Q8_0 (8, 128), d·code + m in
// Q4_1 and Q5_1. d and m become float16. It panics for other formats.
func PackLinear(f Format, dst []byte, d, m float32, codes []uint8) {
	putHalf(dst, d)
	at := 2
	if f == Q4_1 || f == Q5_1 {
		putHalf(dst[2:], m)
		at = 4
	}
	q := (*[32]uint8)(codes)
	switch f {
	case Q8_0:
		for i, v := range q {
			dst[at+i] = v - 128
		}
		return
	case Q5_0, Q5_1:
		high := uint32(0)
		for i, v := range q {
			high |= uint32(v>>4) << i
		}
		le.PutUint32(dst[at:], high)
		at += 4
	case Q4_0, Q4_1:
	default:
		panic("block: a format that is not packed from codes")
	}
	for j := range 16 {
		dst[at+j] = q[j]&15 | q[j+16]&15<<4
	}
}
