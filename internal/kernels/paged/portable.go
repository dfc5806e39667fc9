package paged

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/softmax"
)

// stored is an element of a cache: a float32, or the bits of a float16.
type stored interface{ float32 | uint16 }

func widen[T stored](dst []float32, x []T) {
	switch x := any(x).(type) {
	case []float32:
		copy(dst, x)
	case []uint16:
		for i, h := range x {
			dst[i] = dtype.F16ToF32(h)
		}
	}
}

func numbers[T stored](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

// load copies the rows.
func load(t *Task, w *workspace, u *unit, head, heads int) {
	width := heads * t.group() * t.D // heads are side by side, and so are the rows of one query
	for q := range u.rows {
		copy(w.q[q*width:(q+1)*width], t.Q[t.at(u, q, head):])
	}
}

func score[T stored](t *Task, w *workspace, _ state, s *span) {
	for b := 0; b < s.n; b += BlockTokens {
		widen(w.block, numbers[T](t.K.block(t, s.head, s.block(b))))
		for r := s.row; r < s.row+s.rows; r++ {
			scoreBlock(w.scores[r*TileTokens+s.at+b:][:BlockTokens], w.q[r*t.D:(r+1)*t.D], w.block, t.Scale)
		}
	}
}

// scoreBlock computes the scores of a block's tokens for a query.
func scoreBlock(dst, q, k []float32, scale float32) {
	var s [4][BlockTokens]float32
	for d, x := range q {
		row := &s[d%4]
		for j, y := range k[d*BlockTokens:][:BlockTokens] {
			row[j] += float32(x * y)
		}
	}
	for j := range dst {
		dst[j] = ((s[0][j] + s[2][j]) + (s[1][j] + s[3][j])) * scale
	}
}

func sum[T stored](t *Task, w *workspace, part state, s *span) {
	for r := s.row; r < s.row+s.rows && s.at == 0; r++ {
		o := part.o[r*t.D : (r+1)*t.D]
		for i := range o {
			o[i] *= w.factors[r]
		}
	}
	for b := 0; b < s.n; b += BlockTokens {
		widen(w.block, numbers[T](t.V.block(t, s.head, s.block(b))))
		for r := s.row; r < s.row+s.rows; r++ {
			sumBlock(part.o[r*t.D:(r+1)*t.D], w.scores[r*TileTokens+s.at+b:][:min(BlockTokens, s.n-b)], w.block)
		}
	}
}

// sumBlock adds to a row of o the sum of values, weighted.
func sumBlock(o, weights, v []float32) {
	for j, p := range weights {
		for i, y := range v[j*len(o):][:len(o)] {
			o[i] += float32(p * y)
		}
	}
}

func weigh(w *workspace, part state, rows, n int) {
	for r := range rows {
		p := w.scores[r*TileTokens:][:n]
		old := part.largest[r]
		m := max(old, reduce.MaxRow(p))
		part.largest[r] = m
		sum := softmax.ExpSum(p, p, m)
		f := w.factors[r : r+1]
		f[0] = old
		softmax.ExpSum(f, f, m)
		part.l[r] = float32(part.l[r]*f[0]) + sum
	}
}

func join(o, part, f, g []float32, d int) {
	for r, c := range f {
		for i := range d {
			o[r*d+i] = float32(o[r*d+i]*c) + float32(g[r]*part[r*d+i])
		}
	}
}

func divide(dst, o, sums []float32, d int) {
	for r, sum := range sums {
		f := 1 / sum
		for i, x := range o[r*d : (r+1)*d] {
			dst[r*d+i] = float32(x*f) + 0
		}
	}
}
