// Package num reads and writes the elements of tensors whatever their element
// type, for reference implementations: clarity first, speed second.
//
// Narrow floating-point types are computed in float32 or wider and rounded when
// they are stored, to nearest, ties to even. Sums, differences, products,
// quotients and square roots of float32 numbers that are computed in float64
// and rounded once are the same as those computed in float32.
package num

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

type real interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

func convert[To, From real](from []From) []To {
	out := make([]To, len(from))
	for i, v := range from {
		out[i] = To(v)
	}
	return out
}

func fromBits[T real](bits []uint16, value func(uint16) float32) []T {
	out := make([]T, len(bits))
	for i, b := range bits {
		out[i] = T(value(b))
	}
	return out
}

func fromBools[T real](from []bool) []T {
	out := make([]T, len(from))
	for i, b := range from {
		if b {
			out[i] = 1
		}
	}
	return out
}

// values converts t's elements to T. Types that have no real value panic: the
// schema has refused them.
func values[T real](t *tensor.Tensor) []T {
	switch t.DType {
	case dtype.Float32:
		return convert[T](tensor.Of[float32](t))
	case dtype.Float64:
		return convert[T](tensor.Of[float64](t))
	case dtype.Float16:
		return fromBits[T](tensor.Of[uint16](t), dtype.F16ToF32)
	case dtype.BFloat16:
		return fromBits[T](tensor.Of[uint16](t), dtype.BF16ToF32)
	case dtype.Int8:
		return convert[T](tensor.Of[int8](t))
	case dtype.Int16:
		return convert[T](tensor.Of[int16](t))
	case dtype.Int32:
		return convert[T](tensor.Of[int32](t))
	case dtype.Int64:
		return convert[T](tensor.Of[int64](t))
	case dtype.Uint8:
		return convert[T](tensor.Of[uint8](t))
	case dtype.Uint16:
		return convert[T](tensor.Of[uint16](t))
	case dtype.Uint32:
		return convert[T](tensor.Of[uint32](t))
	case dtype.Uint64:
		return convert[T](tensor.Of[uint64](t))
	case dtype.Bool:
		return fromBools[T](tensor.Of[bool](t))
	}
	if isNarrow(t.DType) {
		return narrowValues[T](t)
	}
	panic(fmt.Sprintf("num: %s has no real elements", t))
}

// store is the inverse of values; integers wrap as Go's conversions do.
func store[T real](t *tensor.Tensor, v []T) {
	switch t.DType {
	case dtype.Float32:
		copyTo(tensor.Of[float32](t), v)
	case dtype.Float64:
		copyTo(tensor.Of[float64](t), v)
	case dtype.Float16:
		toBits(tensor.Of[uint16](t), v, dtype.F32ToF16)
	case dtype.BFloat16:
		toBits(tensor.Of[uint16](t), v, dtype.F32ToBF16)
	case dtype.Int8:
		copyTo(tensor.Of[int8](t), v)
	case dtype.Int16:
		copyTo(tensor.Of[int16](t), v)
	case dtype.Int32:
		copyTo(tensor.Of[int32](t), v)
	case dtype.Int64:
		copyTo(tensor.Of[int64](t), v)
	case dtype.Uint8:
		copyTo(tensor.Of[uint8](t), v)
	case dtype.Uint16:
		copyTo(tensor.Of[uint16](t), v)
	case dtype.Uint32:
		copyTo(tensor.Of[uint32](t), v)
	case dtype.Uint64:
		copyTo(tensor.Of[uint64](t), v)
	case dtype.Bool:
		for i, x := range v {
			tensor.Of[bool](t)[i] = x != 0
		}
	default:
		panic(fmt.Sprintf("num: %s has no real elements", t))
	}
}

func copyTo[To, From real](dst []To, src []From) {
	for i, v := range src {
		dst[i] = To(v)
	}
}

func toBits[T real](dst []uint16, src []T, bits func(float32) uint16) {
	for i, v := range src {
		dst[i] = bits(float32(v))
	}
}

// Floats gives a copy of t's elements as float64.
func Floats(t *tensor.Tensor) []float64 { return values[float64](t) }

// SetFloats rounds v to t's type and stores it.
func SetFloats(t *tensor.Tensor, v []float64) { store(t, v) }

// Float32s gives t's elements as float32, t's own memory if that is its type.
func Float32s(t *tensor.Tensor) []float32 {
	if t.DType == dtype.Float32 {
		return tensor.Of[float32](t)
	}
	return values[float32](t)
}

// SetFloat32s rounds v to t's type and stores it.
func SetFloat32s(t *tensor.Tensor, v []float32) { store(t, v) }

// Int64s gives a copy of t's integer elements; those of uint64 keep their bits.
func Int64s(t *tensor.Tensor) []int64 { return values[int64](t) }

// SetInt64s stores the low bits of v.
func SetInt64s(t *tensor.Tensor, v []int64) { store(t, v) }

// Uint64s gives a copy of t's unsigned elements.
func Uint64s(t *tensor.Tensor) []uint64 { return values[uint64](t) }

// SetUint64s stores the low bits of v.
func SetUint64s(t *tensor.Tensor, v []uint64) { store(t, v) }

// Scalar reads the only element of t.
func Scalar(t *tensor.Tensor) (float64, error) {
	if t.Len() != 1 {
		return 0, fmt.Errorf("expected one element, found %s", t)
	}
	return Floats(t)[0], nil
}
