package elemwise

import (
	"bytes"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// intRow gives op for integers; nil where it is not defined. It has a block of scratch.
func intRow(op Op, dt dtype.Type) rowFunc1 {
	rest := plainIntRow(op, dt)
	if f := intRowOfTwo(op, dt); f != nil && rest != nil {
		return wholeUnary(f, current().rowBytes(), dt.Bits()/8, rest)
	}
	return rest
}

// wholeUnary runs f on pieces that fill registers and rest on what is left.
func wholeUnary(f func(dst, src, room []byte), step, size int, rest rowFunc1) rowFunc1 {
	return func(dst, src unsafe.Pointer, n int, p Params, scratch []float32) {
		whole := n * size / step * step // bytes
		for at := 0; at < whole; at += 4 * block {
			m := min(4*block, whole-at)
			f(bytesAt(unsafe.Add(dst, at), m), bytesAt(unsafe.Add(src, at), m), bytesAt(unsafe.Pointer(&scratch[0]), m))
		}
		if done := whole / size; done < n {
			rest(unsafe.Add(dst, whole), unsafe.Add(src, whole), n-done, p, scratch)
		}
	}
}

// intRowOfTwo makes op of functions of two rows, one of which repeats a number; nil where
// they are not there. dst may be src; room is for an intermediate row.
func intRowOfTwo(op Op, dt dtype.Type) func(dst, src, room []byte) {
	t, size := &current().typed, dt.Bits()/8
	if f := t.row(Min, dt); dt == dtype.Uint8 && op == Sign && f != nil {
		ones := bytes.Repeat([]byte{1}, 4*block)
		return func(dst, src, _ []byte) { f(dst, src, ones[:len(src)]) }
	}
	if !dt.IsSigned() {
		return nil
	}
	least, most, minus := t.row(Min, dt), t.row(Max, dt), t.row(Sub, dt)
	if least == nil || most == nil || minus == nil {
		return nil
	}
	zeros := make([]byte, 4*block)
	switch op {
	case Abs:
		return func(dst, src, room []byte) {
			minus(room, zeros[:len(src)], src)
			most(dst, src, room)
		}
	case Neg:
		return func(dst, src, _ []byte) { minus(dst, zeros[:len(src)], src) }
	case Relu:
		return func(dst, src, _ []byte) { most(dst, src, zeros[:len(src)]) }
	case Sign:
		ones, below := make([]byte, 4*block), make([]byte, 4*block)
		for i := range ones {
			below[i] = 0xff
			if i%size == 0 {
				ones[i] = 1
			}
		}
		return func(dst, src, _ []byte) {
			most(dst, src, below[:len(src)])
			least(dst, dst, ones[:len(src)])
		}
	}
	return nil
}

func plainIntRow(op Op, dt dtype.Type) rowFunc1 {
	switch dt {
	case dtype.Int8:
		return intRowOf[int8](op)
	case dtype.Int16:
		return intRowOf[int16](op)
	case dtype.Int32:
		return intRowOf[int32](op)
	case dtype.Int64:
		return intRowOf[int64](op)
	case dtype.Uint8:
		return intRowOf[uint8](op)
	case dtype.Uint16:
		return intRowOf[uint16](op)
	case dtype.Uint32:
		return intRowOf[uint32](op)
	case dtype.Uint64:
		return intRowOf[uint64](op)
	}
	return nil
}

func intRowOf[T integer](op Op) rowFunc1 {
	f := intLoop1[T](op)
	if f == nil {
		return nil
	}
	return func(dst, src unsafe.Pointer, n int, _ Params, _ []float32) {
		f(unsafe.Slice((*T)(dst), n), unsafe.Slice((*T)(src), n))
	}
}

// intLoop1 has loops without a branch that random numbers would mislead.
func intLoop1[T integer](op Op) func(dst, src []T) {
	switch op {
	case Abs:
		if ^T(0) > 0 {
			return func(dst, src []T) { copy(dst, src) }
		}
		return func(dst, src []T) {
			for i, x := range src[:len(dst)] {
				switch {
				case unsafe.Sizeof(x) == 1: // bytes are not selected without a branch
					dst[i] = T(max(int32(x), -int32(x)))
				default:
					dst[i] = max(x, -x)
				}
			}
		}
	case Neg:
		return func(dst, src []T) {
			for i, x := range src[:len(dst)] {
				dst[i] = -x
			}
		}
	case Sign:
		return func(dst, src []T) {
			for i, x := range src[:len(dst)] {
				low := T(0)
				low-- // the least of -1, or of no number
				if ^T(0) > 0 {
					low = 0
				}
				dst[i] = max(min(x, 1), low)
			}
		}
	case Relu:
		return func(dst, src []T) {
			for i, x := range src[:len(dst)] {
				if unsafe.Sizeof(x) == 1 {
					dst[i] = T(max(int32(x), 0))
				} else {
					dst[i] = max(x, 0)
				}
			}
		}
	case Square:
		return func(dst, src []T) {
			for i, x := range src[:len(dst)] {
				dst[i] = x * x
			}
		}
	case Floor, Ceil, Round:
		return func(dst, src []T) { copy(dst, src) }
	}
	return nil
}
