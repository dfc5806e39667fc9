package elemwise

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// typed is what a level has for comparisons, integers, float64 and bits, all of it on rows of
// whole registers; nil or empty where there is nothing.
type typed struct {
	compareFloats  map[Binary]compareRows
	compare        map[typedOp]func(dst, a, b []byte) // to truths: width elements in a step
	rows           map[typedOp]func(dst, a, b []byte) // rowBytes in a step
	doubles        map[Op]func(dst, src []byte)       // of float64, rowBytes in a step
	notZero, isNaN func(dst []bool, src []float32)
	isInf          func(dst []bool, src []float32)
	width          int // float32 in a register
}

// compareRows compares a row with a row, and with one value.
type compareRows [2]func(dst []bool, a, b []float32)

// typedOp is a function of rows of a type. Where a sign makes no difference, that of the signed type serves both.
type typedOp struct {
	op Binary
	dt dtype.Type
}

// anyBits is the type of BitAnd, BitOr and BitXor, which don't see where elements end.
const anyBits = dtype.Uint8

// signed is the integer type of dt's size that has a sign; other types are themselves.
func signed(dt dtype.Type) dtype.Type {
	switch dt {
	case dtype.Uint8:
		return dtype.Int8
	case dtype.Uint16:
		return dtype.Int16
	case dtype.Uint32:
		return dtype.Int32
	case dtype.Uint64:
		return dtype.Int64
	}
	return dt
}

// row is the function of op for rows of dt, or nil.
func (t *typed) row(op Binary, dt dtype.Type) func(dst, a, b []byte) {
	switch op {
	case BitAnd, BitOr, BitXor:
		if dt != dtype.Bool { // any byte but 0 is true
			dt = anyBits
		}
	case Add, Sub, Mul, ShiftLeft, Equal:
		dt = signed(dt)
	}
	return t.rows[typedOp{op, dt}]
}

// rowBytes is the bytes of a row's step in typed.rows.
func (t *typed) rowBytes() int { return 4 * t.width }

// typedRow is the row function of op for elements of type dt, or nil.
func typedRow(op Binary, dt dtype.Type, rest rowFunc2) rowFunc2 {
	if rest == nil {
		return nil
	}
	if op.Compares() {
		return typedCompare(op, dt, rest)
	}
	if op == Pow && dt == dtype.Float64 {
		return doublePow(rest)
	}
	t, size := &current().typed, dt.Bits()/8
	if f := t.row(op, dt); f != nil {
		return wholeRows(f, t.rowBytes()/size, size, size, rest)
	}
	return nil
}

// doublePow is Pow of float64, which multiplies for the exponent 2, as pow does.
func doublePow(rest rowFunc2) rowFunc2 {
	square := binaryRow(Mul, dtype.Float64)
	return func(dst, a, b unsafe.Pointer, n, sa, sb int, scratch []float32) {
		if sa == 1 && sb == 0 && *(*float64)(b) == 2 {
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
			piece = min(piece, oneBytes/size)
			one = bytesAt(unsafe.Pointer(&scratch[0]), min(piece, whole)*size)
			if sa == 0 {
				repeatValue(one, a, size)
			} else {
				repeatValue(one, b, size)
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

// oneBytes is the room for copies of one value, that a row is computed with piece by piece: more cost more
// to fill than calls do.
const oneBytes = 1024

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

// typedCompare is the row function of a comparison, or nil.
func typedCompare(op Binary, dt dtype.Type, rest rowFunc2) rowFunc2 {
	t, size := &current().typed, dt.Bits()/8
	if differ := t.row(Xor, dt); differ != nil { // truths
		return wholeRows(func(dst, a, b []byte) {
			differ(dst, a, b)
			bools(dst, dst, Xor, 1)
		}, t.rowBytes(), 1, 1, rest)
	}
	if size == 1 {
		return byteCompare(op, dt, rest)
	}
	if f := t.comparison(op, dt); f != nil {
		return wholeRows(f, t.width, size, 1, rest)
	}
	return nil
}

// comparison is op for rows of dt, made of another one if need be, or nil.
func (t *typed) comparison(op Binary, dt dtype.Type) func(dst, a, b []byte) {
	if op == Equal {
		dt = signed(dt)
	}
	if f := t.compare[typedOp{op, dt}]; f != nil {
		return f
	}
	if f := t.compare[typedOp{mirrored[op], dt}]; f != nil {
		return func(dst, a, b []byte) { f(dst, b, a) }
	}
	if f := t.compare[typedOp{Greater, dt}]; f != nil && dt.IsInt() { // a ≤ b is what isn't greater, without NaN
		return func(dst, a, b []byte) {
			if op == GreaterEqual {
				a, b = b, a
			}
			f(dst, a, b)
			bools(dst, dst, Xor, 1)
		}
	}
	return nil
}

// byteCompare compares bytes with what there is for their minima: a ≤ b where that is a.
func byteCompare(op Binary, dt dtype.Type, rest rowFunc2) rowFunc2 {
	t := &current().typed
	equal, least := t.row(Equal, dt), t.row(Min, dt)
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
	t, rest := &current().typed, loop[bool, float32](compareLoop[float32](op))
	f, swapped := t.compareFloats[op], t.compareFloats[mirrored[op]][1]
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
	truths(dst, src, current().isNaN, func(x float32) bool { return x != x })
}

// truths runs f on whole registers and one on what is left.
func truths(dst []bool, src []float32, f func(dst []bool, src []float32), one func(x float32) bool) {
	whole := 0
	if f != nil {
		w := current().width
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
	if f := current().row(op, dtype.Bool); f != nil {
		whole := len(dst) / current().rowBytes() * current().rowBytes()
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
			truths(dst, src[:len(dst)], current().isInf, func(x float32) bool { return math.Float32bits(x)<<1 == infinity<<1 })
		}
	case negative:
		sign = -1
	}
	equal, one := CompareRow(Equal), []float32{float32(math.Inf(sign))}
	return func(dst []bool, src []float32) { equal(dst, src[:len(dst)], one, 1, 0) }
}

// toTruth is a castFunc from float32 to bool.
func toTruth(dst, src unsafe.Pointer, n int, _ []float32) {
	truths(unsafe.Slice((*bool)(dst), n), unsafe.Slice((*float32)(src), n), current().notZero, func(x float32) bool { return x != 0 })
}
