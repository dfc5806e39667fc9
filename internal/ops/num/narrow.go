package num

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// isNarrow reports whether t is a type that is stored as codes of at most 8
// bits: floats of 8 and 4 bits, and integers of 4 and 2 bits.
func isNarrow(t dtype.Type) bool {
	return t.Bits() > 0 && t.Bits() < 8 || t.IsFloat() && t.Bits() == 8
}

func codes(t *tensor.Tensor) []byte {
	if t.DType.Bits() == 8 {
		return t.Data
	}
	return t.Unpack()
}

func narrowValue(dt dtype.Type, code byte) float32 {
	switch {
	case dt.IsUnsigned():
		return float32(code)
	case dt.IsSigned():
		unused := 8 - dt.Bits()
		return float32(int8(code<<unused) >> unused)
	}
	return dtype.FromNarrow(dt, code)
}

func narrowValues[T real](t *tensor.Tensor) []T {
	out := make([]T, t.Len())
	for i, c := range codes(t)[:len(out)] {
		out[i] = T(narrowValue(t.DType, c))
	}
	return out
}

// SetNarrow is SetFloats for any type; floats of 8 bits that are too large
// become the largest with saturate, and else infinite or NaN.
func SetNarrow(t *tensor.Tensor, v []float64, saturate bool) {
	if !isNarrow(t.DType) {
		store(t, v)
		return
	}
	out := make([]byte, len(v))
	for i, x := range v {
		switch {
		case t.DType.IsInt():
			out[i] = byte(int8(x))
		case t.DType == dtype.Float8E8M0:
			out[i] = dtype.ToE8M0(float32(x), saturate, "nearest")
		default:
			out[i] = dtype.ToNarrow(t.DType, float32(x), saturate)
		}
	}
	if t.DType.Bits() == 8 {
		copy(t.Data, out)
		return
	}
	t.Pack(out)
}
