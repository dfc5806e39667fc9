package elemwise

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// intRow gives op for integers; nil where it is not defined.
func intRow(op Op, dt dtype.Type) rowFunc1 {
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
		return func(dst, src []T) {
			for i, x := range src[:len(dst)] {
				switch {
				case ^T(0) > 0:
					dst[i] = x
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
