package paged

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/softmax"
)

var negInf = float32(math.Inf(-1))

// A workspace is what a chunk needs while it is computed. Its rows are the
// queries of a unit that share a head of keys: row r is query r/group of the
// tile and head r%group of those that share.
type workspace struct {
	q, o    []float32  // [rows, D]
	scores  []float32  // a tile's, [rows, TileTokens]
	largest []float32  // m per row
	sums    []float32  // l
	blocks  [4]uintptr // of keys

	_ [128]byte // no false sharing with the next
}

func newWorkspace(t *Problem) workspace {
	rows := queryTile * t.group()
	return workspace{q: make([]float32, rows*t.D), o: make([]float32, rows*t.D), scores: make([]float32, rows*TileTokens),
		largest: make([]float32, rows), sums: make([]float32, rows)}
}

// group is the number of heads of queries that share a head of keys.
func (t *Problem) group() int { return t.Heads / t.KVHeads }

// chunkTask is a Task as the pool sees it.
type chunkTask Task

// Do computes unit number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	slot := t.slots.Take()
	t.attend(&t.spaces[slot], &t.units[i])
	t.slots.Give(slot)
}

// attend computes a unit.
func (t *Task) attend(w *workspace, u *unit) {
	rows := t.load(w, u)
	first := u.seq.First + u.row
	last := first + u.rows - 1
	begin := 0
	if t.Window > 0 {
		begin = max(0, first-t.Window+1)
	}
	for tile := begin - begin%TileTokens; tile <= last; tile += TileTokens {
		n := min(TileTokens, last+1-tile)
		t.score(w, u, rows, tile, n)
		for r := range rows {
			t.weigh(w, u, r, tile)
		}
		t.sum(w, u, rows, tile, n)
	}
	t.deliver(w, u)
}

// load copies the unit's rows of Q, and sets the state of queries that have
// seen nothing.
func (t *Task) load(w *workspace, u *unit) (rows int) {
	width := t.group() * t.D
	for q := range u.rows {
		copy(w.q[q*width:(q+1)*width], t.Q[t.at(u, q):])
	}
	rows = u.rows * t.group()
	for r := range rows {
		w.largest[r], w.sums[r] = negInf, 0
	}
	clear(w.o[:rows*t.D])
	return rows
}

// deliver divides by the sums of the weights.
func (t *Task) deliver(w *workspace, u *unit) {
	affine := elemwise.Float32(elemwise.Affine)
	group := t.group()
	for r := range u.rows * group {
		at := t.at(u, r/group) + r%group*t.D
		affine(t.O[at:at+t.D], w.o[r*t.D:(r+1)*t.D], elemwise.Params{A: 1 / w.sums[r]})
	}
}

// at is where the group's rows of query q of a unit begin in Q and O.
func (t *Task) at(u *unit, q int) int {
	return ((u.seq.Row+u.row+q)*t.Heads + u.head*t.group()) * t.D
}

// score computes the scores of a tile's n keys, whole blocks of them.
func (t *Task) score(w *workspace, u *unit, rows, tile, n int) {
	kern := current()
	b := 0
	if many := kern.many(t.K.DType); many != nil && rows <= fewRows {
		for ; b+(kern.together-1)*BlockTokens < n; b += kern.together * BlockTokens {
			for i := range kern.together {
				w.blocks[i] = uintptr(unsafe.Pointer(unsafe.SliceData(t.K.block(t, u, (tile+b)/BlockTokens+i))))
			}
			many(w.scores[b:], w.q[:rows*t.D], &w.blocks[0], t.D, t.Scale)
		}
	}
	k := kern.score(t.K.DType)
	for ; b < n; b += BlockTokens {
		k(w.scores[b:], w.q[:rows*t.D], t.K.block(t, u, (tile+b)/BlockTokens), t.D, t.Scale)
	}
	if t.Softcap > 0 {
		for r := range rows {
			t.cap(w.scores[r*TileTokens:][:n])
		}
	}
}

// cap squeezes scores into (-Softcap, Softcap).
func (t *Task) cap(s []float32) {
	affine := elemwise.Float32(elemwise.Affine)
	affine(s, s, elemwise.Params{A: 1 / t.Softcap})
	elemwise.Float32(elemwise.Tanh)(s, s, elemwise.Params{})
	affine(s, s, elemwise.Params{A: t.Softcap})
}

// weigh turns a row of scores into weights relative to the largest so far.
func (t *Task) weigh(w *workspace, u *unit, r, tile int) {
	s := w.scores[r*TileTokens:][:TileTokens]
	position := u.seq.First + u.row + r/t.group()
	lo, hi := 0, min(TileTokens, position+1-tile)
	if t.Window > 0 {
		lo = min(TileTokens, max(0, position-t.Window+1-tile))
	}
	if lo >= hi {
		clear(s)
		return
	}
	fill(s[:lo])
	fill(s[hi:])
	old := w.largest[r]
	m := max(old, reduce.MaxRow(s[lo:hi]))
	sum := softmax.ExpSum(s, s, m)
	if m != old && old != negInf {
		c := float32(math.Exp(float64(old - m)))
		w.sums[r] = float32(w.sums[r] * c)
		o := w.o[r*t.D : (r+1)*t.D]
		elemwise.Float32(elemwise.Affine)(o, o, elemwise.Params{A: c})
	}
	w.largest[r] = m
	w.sums[r] += sum
}

func fill(s []float32) {
	for i := range s {
		s[i] = negInf
	}
}

// sum adds the tile's weighted values to the rows' sums.
func (t *Task) sum(w *workspace, u *unit, rows, tile, n int) {
	k := current().sum(t.V.DType)
	for b := 0; b < n; b += BlockTokens {
		k(w.o[:rows*t.D], w.scores[b:], t.V.block(t, u, (tile+b)/BlockTokens), t.D, min(BlockTokens, n-b))
	}
}

// block is a sequence's block number i, from the head of keys of a unit on.
func (c *Cache) block(t *Task, u *unit, i int) []byte {
	at := c.DType.Bytes((int(u.seq.Blocks[i])*t.KVHeads + u.head) * t.blockLen())
	return c.Data[at : at+c.DType.Bytes(t.blockLen())]
}
