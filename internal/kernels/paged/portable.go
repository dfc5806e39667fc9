package paged

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/softmax"
)

// A spanFunc works on a span of keys: a score computes the scores of its tokens for
// the workspace's queries, a sum multiplies the workspace's o by the factors and adds
// the weighted values of the tokens.
type spanFunc func(t *Task, w *workspace, s *span)

// kernels is what an instruction-set level provides.
type kernels struct {
	score32, score16, sum32, sum16 spanFunc

	// weigh turns rows of n scores, a multiple of lanes, into weights relative to the
	// largest so far. It brings that and the sums of the weights up to date, and sets
	// the factors for what was summed before.
	weigh func(w *workspace, rows, n int)
}

func (k *kernels) score(t dtype.Type) spanFunc {
	if t == dtype.Float16 {
		return k.score16
	}
	return k.score32
}

func (k *kernels) sum(t dtype.Type) spanFunc {
	if t == dtype.Float16 {
		return k.sum16
	}
	return k.sum32
}

var portable = kernels{score32: score[float32], score16: score[uint16], sum32: sum[float32], sum16: sum[uint16], weigh: weigh}

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

func score[T stored](t *Task, w *workspace, s *span) {
	for b := 0; b < s.n; b += BlockTokens {
		scoreBlock(w.scores[b:], w.q[:s.rows*t.D], numbers[T](t.K.block(t, s.head, s.block(b))), t.D, t.Scale)
	}
}

// scoreBlock computes the scores of a block's tokens for len(q)/d queries: those of
// row i go to dst[i·TileTokens:].
func scoreBlock[T stored](dst, q []float32, k []T, d int, scale float32) {
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

func sum[T stored](t *Task, w *workspace, s *span) {
	for r := range s.rows {
		o := w.o[r*t.D : (r+1)*t.D]
		for i := range o {
			o[i] *= w.factors[r]
		}
	}
	for b := 0; b < s.n; b += BlockTokens {
		sumBlock(w.o[:s.rows*t.D], w.scores[b:], numbers[T](t.V.block(t, s.head, s.block(b))), t.D, min(BlockTokens, s.n-b))
	}
}

// sumBlock adds to the rows of o, len(o)/d of them, the weighted sums of a block's
// first n values; the weights of row i are at p[i·TileTokens:].
func sumBlock[T stored](o, p []float32, v []T, d, n int) {
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

func weigh(w *workspace, rows, n int) {
	for r := range rows {
		p := w.scores[r*TileTokens:][:n]
		old := w.largest[r]
		m := max(old, reduce.MaxRow(p))
		w.largest[r] = m
		sum := softmax.ExpSum(p, p, m)
		f := w.factors[r : r+1]
		f[0] = old
		softmax.ExpSum(f, f, m)
		w.sums[r] = float32(w.sums[r]*f[0]) + sum
	}
}
