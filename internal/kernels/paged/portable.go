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

	// For few rows, scores of several blocks of tokens that follow each other; nil if
	// one block after the other is as fast.
	many32, many16 manyFunc
	together       int // blocks
}

// manyFunc is a scoreFunc of blocks at so many addresses, for rows of q up to fewRows.
type manyFunc func(dst, q []float32, blocks *uintptr, d int, scale float32)

// fewRows are those for which the sums of one block wait for each other.
const fewRows = 3

func (k *kernels) many(t dtype.Type) manyFunc {
	if t == dtype.Float16 {
		return k.many16
	}
	return k.many32
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

var portable = kernels{score32: score[float32], score16: score[uint16], sum32: sum[float32], sum16: sum[uint16]}

// stored is an element of a cache: a float32, or the bits of a float16.
type stored interface{ float32 | uint16 }

// strip is some numbers of a cache, widened.
type strip [BlockTokens]float32

func widen[T stored](s *strip, x []T) {
	switch x := any(x).(type) {
	case []float32:
		copy(s[:], x)
	case []uint16:
		for i, h := range x {
			s[i] = dtype.F16ToF32(h)
		}
	}
}

func numbers[T stored](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

func score[T stored](dst, q []float32, block []byte, d int, scale float32) {
	k := numbers[T](block)
	rows := len(q) / d
	for r := range rows {
		clear(dst[r*TileTokens:][:BlockTokens])
	}
	var s strip
	for i := range d {
		widen(&s, k[i*BlockTokens:][:BlockTokens])
		for r := range rows {
			row := dst[r*TileTokens:][:BlockTokens]
			for j, y := range s {
				row[j] += float32(q[r*d+i] * y)
			}
		}
	}
	for r := range rows {
		row := dst[r*TileTokens:][:BlockTokens]
		for j := range row {
			row[j] *= scale
		}
	}
}

func sum[T stored](o, p []float32, block []byte, d, n int) {
	v := numbers[T](block)
	var s strip
	for j := range n {
		for at := 0; at < d; at += len(s) {
			size := min(len(s), d-at)
			widen(&s, v[j*d+at:][:size])
			for r := range len(o) / d {
				row := o[r*d+at:][:size]
				for i := range row {
					row[i] += float32(p[r*TileTokens+j] * s[i])
				}
			}
		}
	}
}
