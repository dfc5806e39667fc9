//go:build !noasm

package elemwise

import (
	"maps"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// What makes functions of rows of any length of kernels in assembly: these take calls of bounded lengths, most of them
// whole registers, and some not every number.

func (t *kernels) setUnary(fs map[Op]asmUnary) {
	for op, f := range fs {
		t.unary[op] = func(dst, src []float32, p Params) {
			src = src[:len(dst)]
			for len(dst) > callMax {
				f(dst[:callMax], src, p.A, p.B, p.C)
				dst, src = dst[callMax:], src[callMax:]
			}
			f(dst, src, p.A, p.B, p.C)
		}
	}
	for _, op := range []Op{Sin, Cos, Tan} {
		t.unary[op] = limited(t.unary[op], exact[op])
	}
}

// mostAngle is the largest angle of sin, cos and tan in assembly.
const mostAngle = 1 << 15

// limited leaves elements beyond mostAngle, and NaN, to f; runs of others are fast's.
func limited(fast Func, f func(float64, Params) float64) Func {
	return func(dst, src []float32, p Params) {
		src = src[:len(dst)]
		for i := 0; i < len(dst); {
			from := i
			for i < len(dst) && src[i] >= -mostAngle && src[i] <= mostAngle {
				i++
			}
			if i > from {
				fast(dst[from:i], src[from:i], p)
			}
			for ; i < len(dst) && !(src[i] >= -mostAngle && src[i] <= mostAngle); i++ {
				dst[i] = float32(f(float64(src[i]), p))
			}
		}
	}
}

// setBinary takes the forms row∘row, row∘value and value∘row.
func (t *kernels) setBinary(fs map[Binary][3]asmBinary) {
	for op, f := range fs {
		both := t.binary[op]
		t.binary[op] = func(dst, a, b []float32, sa, sb int) {
			if sa+sb == 0 || len(dst) == 0 {
				both(dst, a, b, sa, sb)
				return
			}
			form := f[0]
			if sa == 0 {
				form = f[2]
			} else if sb == 0 {
				form = f[1]
			}
			_, _ = a[(len(dst)-1)*sa], b[(len(dst)-1)*sb]
			for len(dst) > callMax {
				form(dst[:callMax], a, b)
				dst, a, b = dst[callMax:], a[callMax*sa:], b[callMax*sb:]
			}
			form(dst, a, b)
		}
	}
}

// asmRows are loops that leave the elements beyond whole registers to Go,
// but for quantU8, quantS8 and minMax.
type asmRows struct {
	widenF16, widenBF16   func(dst []float32, src []uint16)
	narrowF16, narrowBF16 func(dst []uint16, src []float32)
	quantU8               func(dst []uint8, src []float32, scale, zero float32) // all elements
	quantS8               func(dst []int8, src []float32, scale, zero float32)
	dequantU8             func(dst []float32, src []uint8, scale float32, zero int32)
	dequantS8             func(dst []float32, src []int8, scale float32, zero int32)
	minMax                func(x []float32) (lo, hi float32)
}

// setRows takes loops that work on whole registers of width elements.
func (t *kernels) setRows(width int, r asmRows) {
	t.f16 = codec{
		convert(width, r.widenF16, widenRow(dtype.F16ToF32)),
		convert(width, r.narrowF16, narrowRowOf(dtype.F32ToF16)),
	}
	t.bf16 = codec{
		convert(width, r.widenBF16, widenRow(dtype.BF16ToF32)),
		convert(width, r.narrowBF16, narrowRowOf(dtype.F32ToBF16)),
	}
	t.quantU8, t.quantS8 = r.quantU8, r.quantS8
	t.dequantU8 = dequantizeRows(width, r.dequantU8)
	t.dequantS8 = dequantizeRows(width, r.dequantS8)
	t.minMax = func(x []float32) (lo, hi float32) {
		for len(x) > callMax {
			l, h := r.minMax(x[:callMax])
			lo, hi, x = min(lo, l), max(hi, h), x[callMax:]
		}
		l, h := r.minMax(x)
		return min(lo, l), max(hi, h)
	}
}

// convert runs f on whole registers, in calls of a bounded length, and rest on
// what is left.
func convert[D, S any](width int, f, rest func(dst []D, src []S)) func(dst []D, src []S) {
	return func(dst []D, src []S) {
		src = src[:len(dst)]
		for len(dst) > callMax {
			f(dst[:callMax], src)
			dst, src = dst[callMax:], src[callMax:]
		}
		f(dst, src)
		whole := len(dst) / width * width
		rest(dst[whole:], src[whole:])
	}
}

func quantizeRows[T int8 | uint8](f func(dst []T, src []float32, scale, lo, hi float32, zero int32)) func([]T, []float32, float32, float32) {
	const width = 8
	lo, hi := limits[T]()
	return func(dst []T, src []float32, scale, zero float32) {
		src = src[:len(dst)]
		for len(dst) > callMax {
			f(dst[:callMax], src, scale, lo-zero, hi-zero, int32(zero))
			dst, src = dst[callMax:], src[callMax:]
		}
		f(dst, src, scale, lo-zero, hi-zero, int32(zero))
		whole := len(dst) / width * width
		quantizeRow(dst[whole:], src[whole:], scale, zero)
	}
}

// leastScale and mostScale bound the scales for which quotients without a division are exact.
const leastScale, mostScale = 0x1p-90, 0x1p90

func quotientRows[T int8 | uint8](f func(dst []T, src []float32, scale, inverse, hi float32, zero int32)) func([]T, []float32, float32, float32) {
	const width, beyond = 16, 512 // every sum with a zero point saturates
	return func(dst []T, src []float32, scale, zero float32) {
		src = src[:len(dst)]
		if !(scale >= leastScale && scale <= mostScale) {
			quantizeRow(dst, src, scale, zero)
			return
		}
		inverse, hi := 1/scale, beyond*scale
		for len(dst) > callMax {
			f(dst[:callMax], src, scale, inverse, hi, int32(zero))
			dst, src = dst[callMax:], src[callMax:]
		}
		f(dst, src, scale, inverse, hi, int32(zero))
		whole := len(dst) / width * width
		quantizeRow(dst[whole:], src[whole:], scale, zero)
	}
}

func dequantizeRows[T int8 | uint8](width int, f func(dst []float32, src []T, scale float32, zero int32)) func([]float32, []T, float32, int32) {
	return func(dst []float32, src []T, scale float32, zero int32) {
		src = src[:len(dst)]
		for len(dst) > callMax {
			f(dst[:callMax], src, scale, zero)
			dst, src = dst[callMax:], src[callMax:]
		}
		f(dst, src, scale, zero)
		whole := len(dst) / width * width
		dequantizeRow(dst[whole:], src[whole:], scale, zero)
	}
}

// setCasts adds conversions, and those that are made of what the level has.
func (t *kernels) setCasts(casts map[castPair]castFunc) {
	maps.Copy(t.casts, casts)
	t.narrowCasts()
	t.casts[castPair{dtype.Float32, dtype.Bool}] = toTruth
	for _, from := range []dtype.Type{dtype.Int32, dtype.Int64} {
		t.casts[castPair{from, dtype.Bool}] = intTruths(t.comparison(Equal, from), t.width, from.Bits()/8, t.casts[castPair{from, dtype.Bool}])
	}
}

// castWhole runs f on whole registers, in calls of a bounded length, and rest on what is left.
func castWhole[D, S number](width int, f func(dst []D, src []S), rest castFunc) castFunc {
	return func(dst, src unsafe.Pointer, n int, _ []float32) {
		d, s := unsafe.Slice((*D)(dst), n), unsafe.Slice((*S)(src), n)
		whole := n / width * width
		for at := 0; at < whole; at += callMax {
			m := min(callMax, whole-at)
			f(d[at:at+m], s[at:at+m])
		}
		if whole < n {
			rest(unsafe.Pointer(&d[whole]), unsafe.Pointer(&s[whole]), n-whole, nil)
		}
	}
}

// zeroRow is what integers are compared with.
var zeroRow [8 * block]byte

// intTruths is what differs from zero of integers of so many bytes, where equal compares rows of whole registers.
func intTruths(equal func(dst, a, b []byte), width, size int, rest castFunc) castFunc {
	return func(dst, src unsafe.Pointer, n int, _ []float32) {
		whole := n / width * width
		for at := 0; at < whole; at += block {
			m := min(block, whole-at)
			d := bytesAt(unsafe.Add(dst, at), m)
			equal(d, bytesAt(unsafe.Add(src, at*size), m*size), zeroRow[:m*size])
			bools(d, d, Xor, 1)
		}
		if whole < n {
			rest(unsafe.Add(dst, whole), unsafe.Add(src, whole*size), n-whole, nil)
		}
	}
}

func lookupVBMI(dst, src []byte, table, _ *[256]byte) {
	if len(src) > 0 {
		tableVBMI(&dst[0], &src[0], len(src), &table[0])
	}
}

func lookupAVX2(dst, src []byte, table, changes *[256]byte) {
	n := len(src) &^ 63
	if n > 0 {
		tableAVX2(&dst[0], &src[0], n, &changes[0])
	}
	portableLookup(dst[n:], src[n:], table, changes)
}
