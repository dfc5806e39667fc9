package elemwise

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// typed is what a level has for comparisons, integers and bits, all of it on rows of
// whole registers; nil or empty where there is nothing.
type typed struct {
	compare        map[Binary]compareRows
	compareInts    map[typedOp]func(dst, a, b []byte) // of float64 and signed integers, and equality
	notZero, isNaN func(dst []bool, src []float32)
	isInf          func(dst []bool, src []float32)
	rows           map[typedOp]func(dst, a, b []byte)
	width          int // float32 in a register
}

// compareRows compares a row with a row, and with one value.
type compareRows [2]func(dst []bool, a, b []float32)

// typedOp is a function of rows of integers of so many bytes, or of bits with 0, or of truths
// with 1.
type typedOp struct {
	op   Binary
	size int
}

// In place of a size, unsignedByte is bytes without a sign, where that matters, and double is float64.
const (
	unsignedByte = -1
	double       = -8
)

// extremum names Min or Max of integers of type dt.
func extremum(op Binary, dt dtype.Type) typedOp {
	switch {
	case dt.IsSigned():
		return typedOp{op, dt.Bits() / 8}
	case dt == dtype.Uint8:
		return typedOp{op, unsignedByte}
	}
	return typedOp{}
}

// rowBytes is the bytes of a row's step in typed.rows.
func (t *typed) rowBytes() int { return 4 * t.width }

// typedRow is the row function of op for integers of type dt and for float64, or nil. One value against a
// row is copied to a row first.
func typedRow(op Binary, dt dtype.Type, rest rowFunc2) rowFunc2 {
	if dt == dtype.Float64 {
		return doubleRow(op, rest)
	}
	if dt != dtype.Bool && !dt.IsInt() || rest == nil {
		return nil
	}
	if op.Compares() {
		return integerCompare(op, dt, rest)
	}
	t, size := &kernels().typed, dt.Bits()/8
	name := typedOp{op, size}
	if op == Min || op == Max {
		name = extremum(op, dt)
	}
	f := t.rows[name]
	if op == ShiftRight && dt.IsSigned() {
		f = nil
	}
	if f == nil && op >= BitAnd && op <= BitXor && dt != dtype.Bool {
		f = t.rows[typedOp{op, 0}]
	}
	if f == nil {
		return nil
	}
	return wholeRows(f, t.rowBytes()/size, size, size, rest)
}

// doubleRow is typedRow of float64.
func doubleRow(op Binary, rest rowFunc2) rowFunc2 {
	t := &kernels().typed
	if f := t.rows[typedOp{op, double}]; f != nil {
		return wholeRows(f, t.rowBytes()/8, 8, 8, rest)
	}
	if f := t.compareInts[typedOp{op, double}]; f != nil {
		return wholeRows(f, t.width, 8, 1, rest)
	}
	if f := t.compareInts[typedOp{mirrored[op], double}]; f != nil {
		return wholeRows(func(dst, a, b []byte) { f(dst, b, a) }, t.width, 8, 1, rest)
	}
	times := t.rows[typedOp{Mul, double}]
	if op != Pow || times == nil {
		return nil
	}
	square := wholeRows(times, t.rowBytes()/8, 8, 8, rowOf(mulLoop[float64]))
	return func(dst, a, b unsafe.Pointer, n, sa, sb int, scratch []float32) {
		if sa == 1 && sb == 0 && *(*float64)(b) == 2 { // as pow has it
			square(dst, a, a, n, 1, 1, nil)
			return
		}
		rest(dst, a, b, n, sa, sb, scratch)
	}
}

// Adder is the loop that adds rows of integers or float64, in bytes; dst may be a or b.
func Adder(dt dtype.Type) func(dst, a, b []byte) {
	row, size := binaryRow(Add, dt), dt.Bits()/8
	return func(dst, a, b []byte) {
		if n := len(dst) / size; n > 0 {
			row(unsafe.Pointer(&dst[0]), unsafe.Pointer(&a[:len(dst)][0]), unsafe.Pointer(&b[:len(dst)][0]), n, 1, 1, nil)
		}
	}
}

// wholeRows runs f on pieces of rows that fill registers of step elements, each of size bytes, with results of out
// bytes, and rest on what is left. One value against a row is copied to a row first.
func wholeRows(f func(dst, a, b []byte), step, size, out int, rest rowFunc2) rowFunc2 {
	return func(dst, a, b unsafe.Pointer, n, sa, sb int, scratch []float32) {
		whole := n / step * step
		if whole == 0 || sa+sb == 0 {
			rest(dst, a, b, n, sa, sb, nil)
			return
		}
		piece := callMax
		var one []byte // as often as fits the scratch
		if sa+sb == 1 {
			piece = min(piece, block*4/size)
			one = bytesAt(unsafe.Pointer(&scratch[0]), min(piece, whole)*size)
			if sa == 0 {
				fillWith(one, bytesAt(a, size))
			} else {
				fillWith(one, bytesAt(b, size))
			}
		}
		for at := 0; at < whole; at += piece {
			m := min(piece, whole-at)
			x, y := one, one
			if sa != 0 {
				x = bytesAt(unsafe.Add(a, at*size), m*size)
			}
			if sb != 0 {
				y = bytesAt(unsafe.Add(b, at*size), m*size)
			}
			f(bytesAt(unsafe.Add(dst, at*out), m*out), x, y)
		}
		if whole < n {
			rest(unsafe.Add(dst, whole*out), unsafe.Add(a, whole*sa*size), unsafe.Add(b, whole*sb*size), n-whole, sa, sb, nil)
		}
	}
}

func bytesAt(p unsafe.Pointer, n int) []byte { return unsafe.Slice((*byte)(p), n) }

// fillWith fills dst with copies of one.
func fillWith(dst, one []byte) {
	for n := copy(dst, one); n < len(dst); n *= 2 {
		copy(dst[n:], dst[:n])
	}
}

// mirrored is the comparison with its operands exchanged.
var mirrored = map[Binary]Binary{Equal: Equal, Less: Greater, LessEqual: GreaterEqual, Greater: Less, GreaterEqual: LessEqual}

// CompareRow is the loop of a comparison of float32 at the level in force; sa and sb are 1, or 0 for one
// value against a row.
func CompareRow(op Binary) func(dst []bool, a, b []float32, sa, sb int) { return floatCompare(op) }

// integerCompare is the row function of a comparison of integers, or nil.
func integerCompare(op Binary, dt dtype.Type, rest rowFunc2) rowFunc2 {
	t, size := &kernels().typed, dt.Bits()/8
	if differ := t.rows[typedOp{Xor, 1}]; dt == dtype.Bool && differ != nil {
		return wholeRows(func(dst, a, b []byte) {
			differ(dst, a, b)
			bools(dst, dst, Xor, 1)
		}, t.rowBytes(), 1, 1, rest)
	}
	if size == 1 {
		return byteCompare(op, dt, rest)
	}
	if op != Equal && !dt.IsSigned() {
		return nil
	}
	if f := t.compareInts[typedOp{op, size}]; f != nil {
		return wholeRows(f, t.width, size, 1, rest)
	}
	if f := t.compareInts[typedOp{mirrored[op], size}]; f != nil {
		return wholeRows(func(dst, a, b []byte) { f(dst, b, a) }, t.width, size, 1, rest)
	}
	if f := t.compareInts[typedOp{Greater, size}]; f != nil && (op == LessEqual || op == GreaterEqual) {
		return wholeRows(func(dst, a, b []byte) {
			if op == GreaterEqual {
				a, b = b, a
			}
			f(dst, a, b)
			bools(dst, dst, Xor, 1)
		}, t.width, size, 1, rest)
	}
	return nil
}

// byteCompare compares bytes with what there is for their minima: a ≤ b where that is a.
func byteCompare(op Binary, dt dtype.Type, rest rowFunc2) rowFunc2 {
	t := &kernels().typed
	equal, least := t.rows[typedOp{Equal, 1}], t.rows[extremum(Min, dt)]
	if equal == nil || least == nil {
		return nil
	}
	f := equal
	if op != Equal {
		f = func(dst, a, b []byte) {
			if op == Less || op == GreaterEqual {
				a, b = b, a
			}
			least(dst, a, b) // of another type, so that dst is neither of them
			equal(dst, dst, a)
			if op == Less || op == Greater {
				bools(dst, dst, Xor, 1)
			}
		}
	}
	return wholeRows(f, t.rowBytes(), 1, 1, rest)
}

// floatCompare is the loop of a comparison of float32 at the level in force.
func floatCompare(op Binary) loop[bool, float32] {
	t, rest := &kernels().typed, loop[bool, float32](compareLoop[float32](op))
	f, swapped := t.compare[op], t.compare[mirrored[op]][1]
	if f[0] == nil || rest == nil {
		return rest
	}
	return func(dst []bool, a, b []float32, sa, sb int) {
		whole := len(dst) / t.width * t.width
		if sa+sb == 0 {
			whole = 0
		}
		for at := 0; at < whole; at += callMax {
			n := min(callMax, whole-at)
			d := dst[at : at+n]
			switch {
			case sa == 0:
				swapped(d, b[at:at+n], a)
			case sb == 0:
				f[1](d, a[at:at+n], b)
			default:
				f[0](d, a[at:at+n], b[at:at+n])
			}
		}
		if whole < len(dst) {
			rest(dst[whole:], a[whole*sa:], b[whole*sb:], sa, sb)
		}
	}
}

// IsNaN sets dst to where src is none; len(dst) elements.
func IsNaN(dst []bool, src []float32) {
	truths(dst, src, kernels().isNaN, func(x float32) bool { return x != x })
}

// truths runs f on whole registers and one on what is left.
func truths(dst []bool, src []float32, f func(dst []bool, src []float32), one func(x float32) bool) {
	whole := 0
	if f != nil {
		w := kernels().width
		whole = len(dst) / w * w
		for at := 0; at < whole; at += callMax {
			n := min(callMax, whole-at)
			f(dst[at:at+n], src[at:at+n])
		}
	}
	for i, x := range src[whole:len(dst)] {
		dst[whole+i] = one(x)
	}
}

// trueRow is bytes that are true.
var trueRow = func() (b [4096]byte) {
	for i := range b {
		b[i] = 1
	}
	return b
}()

// Not sets dst to the opposite of src, bytes of which any but 0 is true; len(dst) elements.
func Not(dst, src []byte) { bools(dst, src, Xor, 1) }

// bools writes 1 for each byte of src but 0, and 0 for that, where op is And and flip 0; or
// the reverse with Xor and 1.
func bools(dst, src []byte, op Binary, flip byte) {
	src = src[:len(dst)]
	if f := kernels().rows[typedOp{op, 1}]; f != nil {
		whole := len(dst) / kernels().rowBytes() * kernels().rowBytes()
		for at := 0; at < whole; at += len(trueRow) {
			n := min(len(trueRow), whole-at)
			f(dst[at:at+n], src[at:at+n], trueRow[:n])
		}
		dst, src = dst[whole:], src[whole:]
	}
	for i, x := range src {
		dst[i] = min(x, 1) ^ flip
	}
}

// IsInf is the function that sets dst to where src is an infinity of the signs asked for;
// len(dst) elements.
func IsInf(positive, negative bool) func(dst []bool, src []float32) {
	const infinity = 0x7f800000
	sign := 1
	switch {
	case !positive && !negative:
		return func(dst []bool, _ []float32) { clear(dst) }
	case positive && negative:
		return func(dst []bool, src []float32) {
			truths(dst, src[:len(dst)], kernels().isInf, func(x float32) bool { return math.Float32bits(x)<<1 == infinity<<1 })
		}
	case negative:
		sign = -1
	}
	equal, one := CompareRow(Equal), []float32{float32(math.Inf(sign))}
	return func(dst []bool, src []float32) { equal(dst, src[:len(dst)], one, 1, 0) }
}

// toTruth is a castFunc from float32 to bool.
func toTruth(dst, src unsafe.Pointer, n int, _ []float32) {
	truths(unsafe.Slice((*bool)(dst), n), unsafe.Slice((*float32)(src), n), kernels().notZero, func(x float32) bool { return x != 0 })
}
