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
	f := intFunc[T](op)
	if f == nil {
		return nil
	}
	return func(dst, src unsafe.Pointer, n int, _ Params, _ []float32) {
		d, s := unsafe.Slice((*T)(dst), n), unsafe.Slice((*T)(src), n)
		for i, x := range s {
			d[i] = f(x)
		}
	}
}

func intFunc[T integer](op Op) func(T) T {
	switch op {
	case Abs:
		return func(x T) T {
			if x < 0 {
				x = -x
			}
			return x
		}
	case Neg:
		return func(x T) T { return -x }
	case Sign:
		return func(x T) T {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return x - x - 1
			}
			return 0
		}
	case Relu:
		return func(x T) T { return max(x, 0) }
	case Square:
		return func(x T) T { return x * x }
	case Floor, Ceil, Round:
		return func(x T) T { return x }
	}
	return nil
}
