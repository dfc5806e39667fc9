package elemwise

import "github.com/salver-ml/salver/internal/dtype"

// codec converts rows of a 16-bit float. Narrowing rounds to nearest, ties to
// even; len(dst) elements.
type codec struct {
	widen  func(dst []float32, src []uint16)
	narrow func(dst []uint16, src []float32)
}

var (
	portableF16  = codec{widenRow(dtype.F16ToF32), narrowRowOf(dtype.F32ToF16)}
	portableBF16 = codec{widenRow(dtype.BF16ToF32), narrowRowOf(dtype.F32ToBF16)}
)

func widenRow(f func(uint16) float32) func([]float32, []uint16) {
	return func(dst []float32, src []uint16) {
		src = src[:len(dst)]
		for i, h := range src {
			dst[i] = f(h)
		}
	}
}

func narrowRowOf(f func(float32) uint16) func([]uint16, []float32) {
	return func(dst []uint16, src []float32) {
		src = src[:len(dst)]
		for i, x := range src {
			dst[i] = f(x)
		}
	}
}

// Float16s rounds src to float16, to nearest, ties to even; len(dst) elements.
func Float16s(dst []uint16, src []float32) { current().f16.narrow(dst, src) }

// FromFloat16s widens float16; len(dst) elements.
func FromFloat16s(dst []float32, src []uint16) { current().f16.widen(dst, src) }

// narrowCodec is the codec of Float16 or BFloat16 at the current level.
func narrowCodec(dt dtype.Type) codec {
	if dt == dtype.BFloat16 {
		return current().bf16
	}
	return current().f16
}
