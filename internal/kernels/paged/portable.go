package paged

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/softmax"
)

// A spanFunc works on a span of keys: a score computes the scores of its tokens for
// the span's rows, a sum adds the weighted values of the tokens to the state's o, which it
// multiplies by the factors first where the span begins a tile.
type spanFunc func(t *Task, w *workspace, part state, s *span)

// kernels is what an instruction-set level provides.
type kernels struct {
	score32, score16, sum32, sum16 spanFunc

	// load prepares a unit's rows of Q, of some heads of keys.
	load func(t *Task, w *workspace, u *unit, head, heads int)

	// packKeys writes a panel of AMX products, of 32 keys of d elements, and packValues
	// the values of some blocks to panels that lie so many bytes apart. Both read blocks
	// in float32 or float16.
	packKeys32, packKeys16     func(dst *uint16, list *uintptr, d int)
	packValues32, packValues16 func(dst *uint16, list *uintptr, panel, d, blocks int)

	// weigh turns rows of n scores, a multiple of lanes, into weights relative to the
	// largest so far. It brings that and the sums of the weights up to date, and sets
	// the factors for what was summed before.
	weigh func(w *workspace, part state, rows, n int)

	// join multiplies rows of d elements of o by factors f and adds those of a part
	// times g.
	join func(o, part, f, g []float32, d int)

	// divide makes rows of d elements those of o, divided by their sums.
	divide func(dst, o, sums []float32, d int)
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

var portable = kernels{score32: score[float32], score16: score[uint16], sum32: sum[float32], sum16: sum[uint16], load: load, weigh: weigh, join: join, divide: divide}

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
