package gemm

import (
	"math"
	"unsafe"
)

var inf = float32(math.Inf(1))

// portableDot is the arithmetic of products with one column: element k goes to
// partial sum k mod 64; then 64 sums become 32 by adding sums 0-15 to 16-31 and
// 32-47 to 48-63, those 16, and each half goes onto the other down to one.
func portableDot(x, y *float32, n int) float32 {
	var s [64]float32
	xs, ys := floats(unsafe.Pointer(x), n), floats(unsafe.Pointer(y), n)
	for k, v := range xs {
		s[k&63] = float32(v*ys[k]) + s[k&63]
	}
	for i := range 16 {
		s[i] = (s[i] + s[16+i]) + (s[32+i] + s[48+i])
	}
	for half := 8; half > 0; half /= 2 {
		for i := range half {
			s[i] += s[half+i]
		}
	}
	return s[0]
}

// finish is the epilogue of a single element, for products with one column.
func (t *tile) finish(s float32, row int, residual float32) float32 {
	if t.flags&flagAlpha != 0 {
		s = float32(s * t.alpha)
	}
	if t.flags&flagColBias != 0 {
		s += *(*float32)(t.colBias)
	}
	if t.flags&flagRowBias != 0 {
		s += *(*float32)(unsafe.Add(t.rowBias, 4*row))
	}
	if t.flags&flagResidual != 0 {
		s += float32(t.beta * residual)
	}
	if t.flags&flagLeaky != 0 {
		s = leaky(s, t.slope)
	}
	if t.flags&flagClip != 0 {
		s = clip(s, t.lo, t.hi)
	}
	return s
}

// clip keeps NaN and the sign of zero.
func clip(x, lo, hi float32) float32 {
	if x < lo {
		x = lo
	}
	if x > hi {
		x = hi
	}
	return x
}

func leaky(x, slope float32) float32 {
	if math.Signbit(float64(x)) {
		return x * slope
	}
	return x
}
