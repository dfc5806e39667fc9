package paged

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// scoreFunc computes the scores of the block's tokens for len(q)/d queries: those
// of row i go to dst[i·TileTokens:].
type scoreFunc func(dst, q []float32, block []byte, d int, scale float32)

// sumFunc adds to the rows of o, len(o)/d of them, the weighted sums of the
// block's first n values; the weights of row i are at p[i·TileTokens:].
type sumFunc func(o, p []float32, block []byte, d, n int)

// kernels is what an instruction-set level provides.
type kernels struct {
	score32, score16 scoreFunc
	sum32, sum16     sumFunc
}

func (k *kernels) score(t dtype.Type) scoreFunc {
	if t == dtype.Float16 {
		return k.score16
	}
	return k.score32
}

func (k *kernels) sum(t dtype.Type) sumFunc {
	if t == dtype.Float16 {
		return k.sum16
	}
	return k.sum32
}

var portable = kernels{
	score32: func(dst, q []float32, block []byte, d int, scale float32) { score(dst, q, floats(block), d, scale) },
	score16: func(dst, q []float32, block []byte, d int, scale float32) { score(dst, q, widened(block), d, scale) },
	sum32:   func(o, p []float32, block []byte, d, n int) { sum(o, p, floats(block), d, n) },
	sum16:   func(o, p []float32, block []byte, d, n int) { sum(o, p, widened(block), d, n) },
}

func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func widened(b []byte) []float32 {
	h := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
	f := make([]float32, len(h))
	for i, x := range h {
		f[i] = dtype.F16ToF32(x)
	}
	return f
}

func score(dst, q, k []float32, d int, scale float32) {
	for r := range len(q) / d {
		row := dst[r*TileTokens:][:BlockTokens]
		clear(row)
		for i, x := range q[r*d : (r+1)*d] {
			for j, y := range k[i*BlockTokens:][:BlockTokens] {
				row[j] += float32(x * y)
			}
		}
		for j := range row {
			row[j] *= scale
		}
	}
}

func sum(o, p, v []float32, d, n int) {
	for r := range len(o) / d {
		row := o[r*d : (r+1)*d]
		for j, w := range p[r*TileTokens:][:n] {
			for i, y := range v[j*d:][:d] {
				row[i] += float32(w * y)
			}
		}
	}
}
