package conformance

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// floats reads a numeric tensor as float64; complex numbers give two elements.
// Formats without a decoder here are read as their bytes, which are compared
// for equality.
func floats(t *tensor.Tensor) []float64 {
	switch t.DType {
	case dtype.Float32, dtype.Complex64:
		return widen(tensor.Of[float32](t))
	case dtype.Float64, dtype.Complex128:
		return widen(tensor.Of[float64](t))
	case dtype.Float16, dtype.BFloat16:
		decode := dtype.F16ToF32
		if t.DType == dtype.BFloat16 {
			decode = dtype.BF16ToF32
		}
		out := make([]float64, t.Len())
		for i, h := range tensor.Of[uint16](t) {
			out[i] = float64(decode(h))
		}
		return out
	case dtype.Int8:
		return widen(tensor.Of[int8](t))
	case dtype.Int16:
		return widen(tensor.Of[int16](t))
	case dtype.Uint16:
		return widen(tensor.Of[uint16](t))
	case dtype.Int32:
		return widen(tensor.Of[int32](t))
	case dtype.Uint32:
		return widen(tensor.Of[uint32](t))
	case dtype.Int64:
		return widen(tensor.Of[int64](t))
	case dtype.Uint64:
		return widen(tensor.Of[uint64](t))
	}
	return widen(t.Data)
}

func widen[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64](s []T) []float64 {
	out := make([]float64, len(s))
	for i, v := range s {
		out[i] = float64(v)
	}
	return out
}
