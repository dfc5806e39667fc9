package paged

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A workspace is what a chunk needs while it is computed. Its rows are those of some heads
// of keys, one head after the other, and of a head the queries of a unit that share it: row
// r is query r/group of the tile and head r%group of those that share.
type workspace struct {
	q       []float32 // [rows, D]
	spread  []float32 // q as kernels read it: each number BlockTokens times
	block   []float32 // numbers of a block of the cache
	scores  []float32 // a tile's, [rows, TileTokens]
	factors []float32 // e^(m_old-m), for what was summed before the tile or the part
	weights []float32 // e^(m_part-m), for what is added of a part
	part    state
	all     state // of several parts
	span    span
	prompt  *promptSpace // where there are some

	reads, fetches []uintptr // of a list

	_ [128]byte // no false sharing with the next
}

// A state is what rows have of the keys that they have seen.
type state struct {
	o          []float32 // [rows, D]
	largest, l []float32 // m and l per row
}

func newState(rows, d int) state {
	return state{make([]float32, rows*d), make([]float32, rows), make([]float32, rows)}
}

// from is the state of rows from r on.
func (s state) from(r, d int) state { return state{s.o[r*d:], s.largest[r:], s.l[r:]} }

// clear makes n rows those of queries that have seen nothing, with such zeros in o.
func (s state) clear(n, d int, zero float32) {
	for r := range n {
		s.largest[r], s.l[r] = -math.MaxFloat32, 0
	}
	o := s.o[:n*d]
	o[0] = zero
	for i := 1; i < len(o); i *= 2 {
		copy(o[i:], o[:i])
	}
}

func newWorkspace(t *Problem) workspace {
	rows := t.mostRows()
	return workspace{q: make([]float32, rows*t.D), spread: make([]float32, rows*t.D*BlockTokens), block: make([]float32, t.blockLen()), scores: make([]float32, rows*TileTokens),
		factors: make([]float32, rows), weights: make([]float32, rows), part: newState(rows, t.D), all: newState(rows, t.D)}
}

// mostRows is how many a workspace has.
func (t *Problem) mostRows() int { return max(queryTile*t.group(), t.Heads) }

// group is the number of heads of queries that share a head of keys.
func (t *Problem) group() int { return t.Heads / t.KVHeads }

// chunkTask is a Task as the pool sees it.
type chunkTask Task

// Do computes unit number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	slot := t.slots.Take()
	if u := &t.units[i]; u.prompt {
		t.prompt(&t.spaces.each[slot], u)
	} else {
		t.attend(&t.spaces.each[slot], u)
	}
	t.slots.Give(slot)
}

// A span is some keys of a tile, of one head, and the rows that see some of them.
type span struct {
	seq       *Sequence
	head      int
	first, n  int  // keys
	at        int  // of the first in the tile
	row, rows int  // of the workspace
	list      list // blocks from the first key's on, and after them what is read next
}

// block is the number of the block that holds the span's key number i.
func (s *span) block(i int) int { return int(s.seq.Blocks[(s.first+i)/BlockTokens]) }

// attend computes a unit.
func (t *Task) attend(w *workspace, u *unit) {
	heads := u.atOnce()
	l := t.enlist(w, u, heads)
	for h := u.head; h < u.head+u.heads; h += heads {
		l = t.attendHeads(w, u, h, heads, l)
	}
	if u.split > 0 {
		t.finish(w, u)
	}
}

// longKeys is from how many keys on reading them in order matters more than what it takes.
const longKeys = 1024

// atOnce is how many heads a unit takes at once: all for one query and many keys, otherwise
// one after the other.
func (u *unit) atOnce() int {
	if u.rows == 1 && u.seq.First >= longKeys {
		return u.heads
	}
	return 1
}

// attendHeads lets the queries of a unit see keys of some heads, and gives what is left of
// the list.
func (t *Task) attendHeads(w *workspace, u *unit, head, heads int, l list) list {
	rows := heads * u.rows * t.group()
	current().load(t, w, u, head, heads)
	several := u.split == 0 && nextPart(u.begin) < u.end
	if several {
		w.all.clear(rows, t.D, negativeZero)
	}
	part := w.part
	for begin := u.begin; begin < u.end; begin = nextPart(begin) {
		if u.split > 0 {
			part = t.part(u, begin).from((head-u.head)*t.group(), t.D)
		}
		part.clear(rows, t.D, 0)
		for first := begin; first < min(u.end, nextPart(begin)); first += TileTokens {
			s := &span{seq: u.seq, head: head, first: first, n: min(TileTokens, u.end-first), rows: rows / heads, list: l}
			t.tile(w, u, part, s, heads)
			l = l.from(2 * heads * tiling.Ceil(s.n, BlockTokens))
		}
		if several {
			t.join(w, u, begin, part, heads)
		}
	}
	switch {
	case several:
		t.deliver(w.all, u, head, heads)
	case u.split == 0:
		t.deliver(w.part, u, head, heads)
	}
	return l
}

// negativeZero can be multiplied by a factor, and have anything added, without a trace.
var negativeZero = float32(math.Copysign(0, -1))

// nextPart is where the part after the one of a key begins.
func nextPart(key int) int { return key - key%PartTokens + PartTokens }

// tile lets rows see the keys of a tile.
func (t *Task) tile(w *workspace, u *unit, part state, s *span, heads int) {
	kern := current()
	rows, n := heads*s.rows, tiling.Align(s.n, lanes)
	rest := t.each(w, part, *s, heads, kern.score(t.K.DType))
	if position := u.seq.First + u.row; t.Softcap > 0 || t.Window > 0 || n > s.n || position+1 < s.first+s.n {
		for r := range rows {
			t.hide(w.scores[r*TileTokens:][:n], s, position+r%s.rows/t.group())
		}
	}
	kern.weigh(w, part, rows, n)
	tile := *s
	tile.list = rest
	t.each(w, part, tile, heads, kern.sum(t.V.DType))
}

// each calls a kernel for all keys of a tile and so many heads, and gives what is left
// of the list.
func (t *Task) each(w *workspace, part state, tile span, heads int, kernel spanFunc) list {
	step := strip
	if heads == 1 {
		step = TileTokens
	}
	w.span = tile
	s := &w.span
	for s.at = 0; s.at < tile.n; s.at += step {
		s.first, s.n = tile.first+s.at, min(step, tile.n-s.at)
		for h := range heads {
			s.head, s.row = tile.head+h, h*s.rows
			kernel(t, w, part, s)
			s.list = s.list.from(tiling.Ceil(s.n, BlockTokens))
		}
	}
	return s.list
}

// deliver divides by the sums of the weights.
func (t *Task) deliver(s state, u *unit, head, heads int) {
	group := heads * t.group() // of all heads, as there is one query where they are several
	kern := current()
	for q := range u.rows {
		at, r := t.at(u, q, head), q*group
		kern.divide(t.O[at:at+group*t.D], s.o[r*t.D:], s.l[r:r+group], t.D)
	}
}

// at is where the group's rows of query q of a unit begin in Q and O.
func (t *Task) at(u *unit, q, head int) int {
	return ((u.seq.Row+u.row+q)*t.Heads + head*t.group()) * t.D
}

// softcap squeezes scores into (-Softcap, Softcap).
func (t *Task) softcap(s []float32) {
	affine := elemwise.Float32(elemwise.Affine)
	affine(s, s, elemwise.Params{A: 1 / t.Softcap})
	elemwise.Float32(elemwise.Tanh)(s, s, elemwise.Params{})
	affine(s, s, elemwise.Params{A: t.Softcap})
}

// lanes is that of sums in package reduce: beyond a multiple of it, zeros do not show.
const lanes = 32

// hide makes the scores -Inf of keys that the query at a position does not see.
func (t *Task) hide(scores []float32, s *span, position int) {
	lo, hi := 0, min(s.n, max(0, position+1-s.first))
	if t.Window > 0 {
		lo = min(hi, max(0, position-t.Window+1-s.first))
	}
	if t.Softcap > 0 {
		t.softcap(scores[lo:hi])
	}
	copy(scores[:lo], hidden[:])
	copy(scores[hi:], hidden[:])
}

// hidden are scores of keys that are not seen.
var hidden = func() (s [TileTokens]float32) {
	for i := range s {
		s[i] = float32(math.Inf(-1))
	}
	return s
}()

// block is what a block holds of a head.
func (c *Cache) block(t *Task, head, i int) []byte {
	size := c.DType.Bytes(t.blockLen())
	return c.Data[(i*t.KVHeads+head)*size:][:size]
}
