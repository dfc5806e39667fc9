package attn

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/bgemm"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

var (
	negInf = float32(math.Inf(-1))
	nan    = float32(math.NaN())
)

// A workspace is what a chunk needs while it is computed.
type workspace struct {
	micros
	micro   micro // one of them
	strip   gemm.Strip
	k, v    gemm.Matrix
	keys    []float32 // packed tile of K, transposed
	vals    []float32 // packed tile of V
	scores  []float32
	largest []float32 // m per query of the chunk
	sums    []float32 // l
	bias    []float32 // the mask's column, where it has one
	tops    []float32 // m after a tile of keys, and what the tile adds to l, per query
	parts   []float32
	stream  []float32 // the slot's whole scratch
	sweep   sweepArgs
	settle  settleArgs

	_ [128]byte // no false sharing with the next
}

// micros are the products of both precisions.
type micros struct {
	fp32 gemm.Micro
	bf16 bgemm.Micro
}

// use takes the kernels of the level in force.
func (m *micros) use(bf16 bool) micro {
	if bf16 {
		m.bf16.Use()
		return &m.bf16
	}
	m.fp32.Use()
	return &m.fp32
}

// chunkTask is a Task as the pool sees it.
type chunkTask Task

// Do computes chunk number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	slot := t.slots.Take()
	w := &t.spaces[slot]
	t.arrange(w, t.scratchOf(slot))
	unit, end, tile, tileEnd := t.plan.part(i)
	for ; unit < end; unit++ {
		t.unit(w, unit, tile, tileEnd)
	}
	*w = workspace{} // memory that may be unmapped must not stay referenced
	t.slots.Give(slot)
}

func (t *Task) arrange(w *workspace, s []float32) {
	p := &t.plan
	w.micro = w.use(p.bf16)
	w.bf16.Work(s[p.workOff:p.perSlot])
	w.stream = s
	w.keys, w.vals, w.scores = s[:p.vOff], s[p.vOff:p.scoreOff], s[p.scoreOff:p.stateOff]
	w.largest, w.sums, w.bias = s[p.stateOff:p.stateOff+p.rows], s[p.stateOff+p.rows:p.biasOff], s[p.biasOff:p.topOff]
	rows := p.micro.Rows()
	w.tops, w.parts = s[p.topOff:p.topOff+rows], s[p.topOff+rows:p.topOff+2*rows]
}

// A rowTile is some queries of a batch item.
type rowTile struct {
	item     int
	tile     int // of the item
	row, end int
	state    int // of the first query in the chunk's state
	out      int // where row begins in O
}

func (t *Task) rowTile(unit, tile, first int) rowTile {
	p := &t.plan
	row, end := tiling.Rows(tile%p.tiles, t.M, p.tiles)
	item := unit*p.group + tile/p.tiles
	return rowTile{item, tile % p.tiles, row, end, (tile - first) * p.micro.Rows(), t.offset(item, t.O.Steps) + row*t.O.Stride}
}

// unit computes row tiles of the items that share keys and values.
func (t *Task) unit(w *workspace, unit, first, end int) {
	switch {
	case t.plan.streams && t.BF16:
		t.stream(w, unit, first, end)
		return
	case t.plan.streams:
		t.flow(w, unit, first, end)
		return
	}
	t.sweep(w, unit, first, first, end, false)
	for tile := first; tile < end; tile++ {
		r := t.rowTile(unit, tile, first)
		if t.trims() && !t.settled(w, r) {
			t.sweep(w, unit, first, tile, tile+1, true)
		}
		t.finish(w, r)
	}
}

// sweep lets row tiles see the keys, those that the mask hides too if all is set.
// The unit's state begins with row tile first.
func (t *Task) sweep(w *workspace, unit, first, tile, end int, all bool) {
	for i := tile; i < end; i++ {
		t.begin(w, t.rowTile(unit, i, first))
	}
	for key := 0; key < t.N; key += TileKeys {
		n := min(TileKeys, t.N-key)
		packed := false
		for i := tile; i < end; i++ {
			r := t.rowTile(unit, i, first)
			lo, hi := t.span(r, key, n, all)
			if lo >= hi {
				continue
			}
			if !packed {
				t.pack(w, r.item, key, n)
				packed = true
			}
			if t.BF16 {
				t.halfTile(w, r, part{key, n, lo, hi})
			} else {
				t.tile(w, r, part{key, n, lo, hi})
			}
		}
	}
}

// begin sets the state of queries that have seen nothing.
func (t *Task) begin(w *workspace, r rowTile) {
	for i := r.row; i < r.end; i++ {
		w.largest[r.state+i-r.row], w.sums[r.state+i-r.row] = negInf, 0
		if t.skips() {
			clear(t.out(&r, i))
		}
	}
}

// skips reports whether a row tile may pass over keys, or has none.
func (t *Task) skips() bool { return t.Keys.Limited || t.trims() || t.N == 0 }

// pack copies a tile of keys and, if that pays, of values.
func (t *Task) pack(w *workspace, item, key, n int) {
	at := t.offset(item, t.K.Steps)
	from := at + key*t.K.Stride
	if t.K.Trans {
		from = at + key
	}
	w.k = t.matrix(&t.K, from)
	w.k.Trans = !t.K.Trans // Kᵀ is what is multiplied
	t.packOperand(w, w.keys, &w.k, &t.K, from, t.D, n)
	from = t.offset(item, t.V.Steps) + key*t.V.Stride
	w.v = t.matrix(&t.V, from)
	if t.plan.packV {
		t.packOperand(w, w.vals, &w.v, &t.V, from, n, t.DV)
	}
}

// packOperand packs K or V, from an element on.
func (t *Task) packOperand(w *workspace, dst []float32, m *gemm.Matrix, v *View, from, rows, cols int) {
	if t.Halves {
		w.bf16.PackHalves(dst, m, v.Data16[from:], rows, cols)
	} else {
		w.micro.Pack(dst, m, rows, cols)
	}
}

// queries sets a strip's A.
func (t *Task) queries(w *workspace, s *gemm.Strip, r rowTile) {
	from := t.offset(r.item, t.Q.Steps) + r.row*t.Q.Stride
	s.StrideA = t.Q.Stride
	if t.Halves {
		w.bf16.Halves(t.Q.Data16[from:])
	} else {
		s.A = t.Q.Data[from:]
	}
}

func (t *Problem) offset(item int, steps []int) int {
	return tiling.Batch(t.Batch).Offset(item, steps)
}

// A part of a tile of n keys from key on: those from lo to hi.
type part struct{ key, n, lo, hi int }

// tile lets some queries see a part of a tile of keys.
func (t *Task) tile(w *workspace, r rowTile, p part) {
	t.score(w, r, p)
	key, n := p.key+p.lo, p.hi-p.lo
	if t.Keys.Limited {
		t.hide(w, r, key, n)
	}
	rows := r.end - r.row
	softmax.Exps(w.scores, t.plan.padded, n, w.largest[r.state:][:rows], w.tops, w.parts)
	for i := range rows {
		t.raise(w, r, r.row+i, w.tops[i], w.parts[i])
	}
	t.weigh(w, r, p)
}

// weigh adds values times the weights of a part of a tile of keys.
func (t *Task) weigh(w *workspace, r rowTile, p part) {
	n := p.hi - p.lo
	s := &w.strip
	*s = gemm.Strip{Rows: r.end - r.row, N: t.DV, K: n, A: w.scores, StrideA: t.plan.padded, Continue: p.key > 0 || t.skips(),
		C: t.O.Data[r.out:], StrideC: t.O.Stride}
	switch {
	case !t.plan.packV:
		s.B, s.StrideB = w.v.Data[p.lo*w.v.Stride:], w.v.Stride
	case n == p.n:
		s.B = w.vals
	default:
		width := w.fp32.Width()
		s.B, s.Panel = w.vals[p.lo*width:], p.n*width
	}
	w.micro.Multiply(s)
}

// score computes scale·Q·Kᵀ + mask.
func (t *Task) score(w *workspace, r rowTile, p part) {
	key, n := p.key+p.lo, p.hi-p.lo
	s := &w.strip
	*s = gemm.Strip{Rows: r.end - r.row, N: n, K: t.D, B: w.keys[p.lo*t.D:], C: w.scores, StrideC: t.plan.padded, Alpha: t.Scale, AtLeast: t.HasFill, Lo: t.Fill}
	t.queries(w, s, r)
	m := &t.Mask
	if m.Data == nil || t.Softcap > 0 {
		w.micro.Multiply(s)
		if t.Softcap > 0 {
			t.cap(w, r, key, n)
		}
		return
	}
	at := t.offset(r.item, m.Steps) + r.row*m.Row + key*m.Col
	switch {
	case m.Col == 0:
		for i := range s.Rows {
			w.bias[i] = m.Data[at+i*m.Row]
		}
		s.RowBias = w.bias
	case m.Row == 0:
		s.ColBias = m.Data[at:]
	default:
		s.Residual, s.StrideRes = m.Data[at:], m.Row
	}
	w.micro.Multiply(s)
}

// cap squeezes the scores and adds the mask.
func (t *Task) cap(w *workspace, r rowTile, key, n int) {
	affine, tanh, add := elemwise.Float32(elemwise.Affine), elemwise.Float32(elemwise.Tanh), elemwise.Row(elemwise.Add)
	m := &t.Mask
	at := t.offset(r.item, m.Steps) + key*m.Col
	for i := r.row; i < r.end; i++ {
		s := w.row(t, i-r.row, n)
		affine(s, s, elemwise.Params{A: 1 / t.Softcap})
		tanh(s, s, elemwise.Params{})
		affine(s, s, elemwise.Params{A: t.Softcap})
		if m.Data != nil {
			add(s, s, m.Data[at+i*m.Row:], 1, m.Col)
		}
	}
}

func (w *workspace) row(t *Task, i, n int) []float32 { return w.scores[i*t.plan.padded:][:n] }

// raise makes m the largest score that a query has seen, and adds a tile's sum of
// weights.
func (t *Task) raise(w *workspace, r rowTile, i int, m, sum float32) {
	at := r.state + i - r.row
	if old := w.largest[at]; m != old && old != negInf {
		c := float32(math.Exp(float64(old - m)))
		w.sums[at] = float32(w.sums[at] * c)
		if o := t.out(&r, i); c == 0 {
			clear(o) // as if the keys so far had not been seen, signs of zeros included
		} else {
			elemwise.Float32(elemwise.Affine)(o, o, elemwise.Params{A: c})
		}
	}
	w.largest[at] = m
	w.sums[at] += sum
}

// out is the row of O of a query.
func (t *Task) out(r *rowTile, i int) []float32 {
	return t.O.Data[r.out+(i-r.row)*t.O.Stride:][:t.DV]
}

// finish divides by the sums of the weights.
func (t *Task) finish(w *workspace, r rowTile) {
	affine := elemwise.Float32(elemwise.Affine)
	for i := r.row; i < r.end; i++ {
		o, at := t.out(&r, i), r.state+i-r.row
		switch {
		case w.largest[at] != negInf:
			affine(o, o, elemwise.Params{A: 1 / w.sums[at]})
		case t.ZeroMasked || t.N == 0:
			clear(o)
		default:
			for j := range o {
				o[j] = nan
			}
		}
	}
}
