package elemwise

import (
	"math"
	"unsafe"
)

type integer interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

type number interface{ integer | ~float32 | ~float64 }

type loop[R, T any] func(dst []R, a, b []T, sa, sb int)

// The loops below run over a row; sa and sb are 0 or 1, so that one loop is
// row∘row, row∘value and value∘row.

func addLoop[T number](dst, a, b []T, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] + b[i]
		}
		return
	}
	for i := range dst {
		dst[i] = a[i*sa] + b[i*sb]
	}
}

func subLoop[T number](dst, a, b []T, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] - b[i]
		}
		return
	}
	for i := range dst {
		dst[i] = a[i*sa] - b[i*sb]
	}
}

func mulLoop[T number](dst, a, b []T, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] * b[i]
		}
		return
	}
	for i := range dst {
		dst[i] = a[i*sa] * b[i*sb]
	}
}

func divLoop[T ~float32 | ~float64](dst, a, b []T, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] / b[i]
		}
		return
	}
	for i := range dst {
		dst[i] = a[i*sa] / b[i*sb]
	}
}

// minLoop gives b where the two are equal, so that +0 and -0 come out as the
// vector instruction has them.
func minLoop[T number](dst, a, b []T, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			x, y := a[i], b[i]
			if x < y || x != x {
				y = x
			}
			dst[i] = y
		}
		return
	}
	for i := range dst {
		x, y := a[i*sa], b[i*sb]
		if x < y || x != x {
			y = x
		}
		dst[i] = y
	}
}

func maxLoop[T number](dst, a, b []T, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			x, y := a[i], b[i]
			if x > y || x != x {
				y = x
			}
			dst[i] = y
		}
		return
	}
	for i := range dst {
		x, y := a[i*sa], b[i*sb]
		if x > y || x != x {
			y = x
		}
		dst[i] = y
	}
}

func preluLoop[T number](dst, a, b []T, sa, sb int) {
	for i := range dst {
		x := a[i*sa]
		if x < 0 {
			x *= b[i*sb]
		}
		dst[i] = x
	}
}

func mapLoop[R, T any](f func(x, y T) R) loop[R, T] {
	return func(dst []R, a, b []T, sa, sb int) {
		for i := range dst {
			dst[i] = f(a[i*sa], b[i*sb])
		}
	}
}

func through64[T ~float32 | ~float64](f func(x, y float64) float64) loop[T, T] {
	return func(dst []T, a, b []T, sa, sb int) {
		for i := range dst {
			dst[i] = T(f(float64(a[i*sa]), float64(b[i*sb])))
		}
	}
}

func floatLoop[T ~float32 | ~float64](op Binary) func(dst, a, b []T, sa, sb int) {
	switch op {
	case Add:
		return addLoop[T]
	case Sub:
		return subLoop[T]
	case Mul:
		return mulLoop[T]
	case Div:
		return divLoop[T]
	case Min:
		return minLoop[T]
	case Max:
		return maxLoop[T]
	case PRelu:
		return preluLoop[T]
	case Pow:
		return mapLoop(pow[T])
	case Mod:
		return through64[T](floorMod)
	case Fmod:
		return through64[T](fmod)
	case Atan2:
		return through64[T](math.Atan2)
	}
	return nil
}

// pow has short forms for the common exponents, chosen by each element's own
// exponent: one value and a row of that value give the same bits.
func pow[T ~float32 | ~float64](x, y T) T {
	switch y {
	case 2:
		return x * x
	case 3:
		return T(x*x) * x
	}
	return T(math.Pow(float64(x), float64(y)))
}

// fmod is math.Mod. Of two float32 whose quotient is small, the quotient rounds to a
// whole number only if it is one, so that truncation is right, and the product and
// the difference are exact.
func fmod(x, y float64) float64 {
	q := math.Trunc(x / y)
	if q == 0 {
		return x
	}
	if math.Abs(q) < 1<<26 && x == float64(float32(x)) && y == float64(float32(y)) {
		return math.Copysign(x-float64(q*y), x)
	}
	return math.Mod(x, y)
}

func floorMod(x, y float64) float64 {
	m := fmod(x, y)
	if m != 0 && (m < 0) != (y < 0) {
		m += y
	}
	return m
}

func intLoop[T integer](op Binary) func(dst, a, b []T, sa, sb int) {
	switch op {
	case Add:
		return addLoop[T]
	case Sub:
		return subLoop[T]
	case Mul:
		return mulLoop[T]
	case Div:
		return quotientLoop[T]
	case Min:
		return leastLoop[T]
	case Max:
		return mostLoop[T]
	case PRelu:
		return preluLoop[T]
	case Pow:
		return intPowLoop[T]
	case Mod:
		return modLoop[T]
	case Fmod:
		return remLoop[T]
	case BitAnd:
		return mapLoop(func(x, y T) T { return x & y })
	case BitOr:
		return mapLoop(func(x, y T) T { return x | y })
	case BitXor:
		return mapLoop(func(x, y T) T { return x ^ y })
	case ShiftLeft:
		return shiftLeftLoop[T]
	case ShiftRight:
		return shiftRightLoop[T]
	}
	return nil
}

// shiftCount reads a negative count as its unsigned value, too large to keep a bit.
func shiftCount[T integer](y T) uint64 { return uint64(y) }

// Division by zero gives 0.

func quotientLoop[T integer](dst, a, b []T, sa, sb int) {
	for i := range dst {
		x, y := a[i*sa], b[i*sb]
		if y == 0 {
			dst[i] = 0
			continue
		}
		dst[i] = x / y
	}
}

func remLoop[T integer](dst, a, b []T, sa, sb int) {
	for i := range dst {
		x, y := a[i*sa], b[i*sb]
		if y == 0 {
			dst[i] = 0
			continue
		}
		dst[i] = x % y
	}
}

// modLoop gives the remainder the sign of the divisor.
func modLoop[T integer](dst, a, b []T, sa, sb int) {
	for i := range dst {
		x, y := a[i*sa], b[i*sb]
		if y == 0 {
			dst[i] = 0
			continue
		}
		m := x % y
		if add := m + y; m != 0 && (m^y) < 0 {
			m = add
		}
		dst[i] = m
	}
}

func shiftLeftLoop[T integer](dst, a, b []T, sa, sb int) {
	for i := range dst {
		dst[i] = a[i*sa] << shiftCount(b[i*sb])
	}
}

func shiftRightLoop[T integer](dst, a, b []T, sa, sb int) {
	for i := range dst {
		dst[i] = a[i*sa] >> shiftCount(b[i*sb])
	}
}

func leastLoop[T integer](dst, a, b []T, sa, sb int) {
	if unsafe.Sizeof(T(0)) == 1 { // bytes are not selected without a branch
		for i := range dst {
			dst[i] = T(min(int32(a[i*sa]), int32(b[i*sb])))
		}
		return
	}
	for i := range dst {
		dst[i] = min(a[i*sa], b[i*sb])
	}
}

func mostLoop[T integer](dst, a, b []T, sa, sb int) {
	if unsafe.Sizeof(T(0)) == 1 { // bytes are not selected without a branch
		for i := range dst {
			dst[i] = T(max(int32(a[i*sa]), int32(b[i*sb])))
		}
		return
	}
	for i := range dst {
		dst[i] = max(a[i*sa], b[i*sb])
	}
}

func intPowLoop[T integer](dst, a, b []T, sa, sb int) {
	if sa == 1 && sb == 0 && len(dst) > 0 && b[0] == 2 {
		mulLoop(dst, a, a, 1, 1)
		return
	}
	for i := range dst {
		dst[i] = intPow(a[i*sa], b[i*sb])
	}
}

// intPow is by repeated squaring, wrapping. A negative exponent gives the
// truncated reciprocal: ±1 for ±1, else 0.
func intPow[T integer](x, y T) T {
	if y < 0 {
		switch {
		case x == 1:
			return 1
		case x+1 == 0:
			if y&1 == 0 {
				return 1
			}
			return x
		}
		return 0
	}
	r := T(1)
	for ; y > 0; y >>= 1 {
		if y&1 == 1 {
			r *= x
		}
		x *= x
	}
	return r
}

func equalLoop[T number](dst []bool, a, b []T, sa, sb int) {
	if sa == 0 {
		a, b, sa, sb = b, a, sb, sa
	}
	switch {
	case sa == 0:
		for i := range dst {
			dst[i] = a[0] == b[0]
		}
	case sb == 0:
		a, y := a[:len(dst)], b[0]
		for i := range dst {
			dst[i] = a[i] == y
		}
	default:
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] == b[i]
		}
	}
}

func compareLoop[T number](op Binary) func(dst []bool, a, b []T, sa, sb int) {
	switch op {
	case Equal:
		return equalLoop[T]
	case Less:
		return lessLoop[T]
	case LessEqual:
		return lessEqualLoop[T]
	case Greater:
		return func(dst []bool, a, b []T, sa, sb int) { lessLoop(dst, b, a, sb, sa) }
	case GreaterEqual:
		return func(dst []bool, a, b []T, sa, sb int) { lessEqualLoop(dst, b, a, sb, sa) }
	}
	return nil
}

func lessLoop[T number](dst []bool, a, b []T, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] < b[i]
		}
		return
	}
	for i := range dst {
		dst[i] = a[i*sa] < b[i*sb]
	}
}

func lessEqualLoop[T number](dst []bool, a, b []T, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] <= b[i]
		}
		return
	}
	for i := range dst {
		dst[i] = a[i*sa] <= b[i*sb]
	}
}

// boolRow reads a bool as a byte: any value but 0 is true, since the bytes may
// come from a client. It has no branch, which would be hard to predict.
func boolRow(op Binary) rowFunc2 {
	var f func(x, y uint32) uint32 // of 0 and 1
	switch op {
	case And:
		f = func(x, y uint32) uint32 { return x & y }
	case Or:
		f = func(x, y uint32) uint32 { return x | y }
	case Xor, BitXor:
		f = func(x, y uint32) uint32 { return x ^ y }
	case Equal:
		f = func(x, y uint32) uint32 { return x ^ y ^ 1 }
	default:
		return nil
	}
	return func(dst, a, b unsafe.Pointer, n, sa, sb int, _ []float32) {
		d := unsafe.Slice((*uint8)(dst), n)
		as, bs := unsafe.Slice((*uint8)(a), 1+(n-1)*sa), unsafe.Slice((*uint8)(b), 1+(n-1)*sb)
		for i := range d {
			d[i] = uint8(f((uint32(as[i*sa])+255)>>8, (uint32(bs[i*sb])+255)>>8))
		}
	}
}
