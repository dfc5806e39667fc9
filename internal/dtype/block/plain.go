package block

import (
	"encoding/binary"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
)

var le = binary.LittleEndian

// half reads a float16 at the start of b, as scales are stored.
func half(b []byte) float32 { return dtype.F16ToF32(le.Uint16(b)) }

func putHalf(b []byte, v float32) { le.PutUint16(b, dtype.F32ToF16(v)) }

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
	}
}

func encodeF32(dst []byte, src []float32) {
	for i, v := range src {
		le.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

func decodeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = half(src[2*i:])
	}
}

func encodeF16(dst []byte, src []float32) {
	for i, v := range src {
		putHalf(dst[2*i:], v)
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = dtype.BF16ToF32(le.Uint16(src[2*i:]))
	}
}

func encodeBF16(dst []byte, src []float32) {
	for i, v := range src {
		le.PutUint16(dst[2*i:], dtype.F32ToBF16(v))
	}
}
