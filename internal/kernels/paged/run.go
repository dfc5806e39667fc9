package paged

import (
	"math"
	"slices"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A workspace is what a chunk needs while it is computed. Its rows are the
// queries of a unit that share a head of keys: row r is query r/group of the
// tile and head r%group of those that share.
type workspace struct {
	q, o    []float32 // [rows, D]
	spread  []float32 // q as kernels read it: each number BlockTokens times
	block   []float32 // numbers of a block of the cache
	scores  []float32 // a tile's, [rows, TileTokens]
	largest []float32 // m per row
	sums    []float32 // l
	factors []float32 // e^(m_old-m), for what was summed before the tile
	list    []uintptr // addresses of blocks in the order in which they are read
	span    span
	prompt  *promptSpace // where there are some

	_ [128]byte // no false sharing with the next
}

func newWorkspace(t *Problem) workspace {
	rows := queryTile * t.group()
	return workspace{q: make([]float32, rows*t.D), o: make([]float32, rows*t.D), spread: make([]float32, rows*t.D*BlockTokens), block: make([]float32, t.blockLen()), scores: make([]float32, rows*TileTokens),
		largest: make([]float32, rows), sums: make([]float32, rows), factors: make([]float32, rows)}
}

// group is the number of heads of queries that share a head of keys.
func (t *Problem) group() int { return t.Heads / t.KVHeads }

// chunkTask is a Task as the pool sees it.
type chunkTask Task

// Do computes unit number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	slot := t.slots.Take()
	if u := &t.units[i]; u.prompt {
		t.prompt(&t.spaces[slot], u)
	} else {
		t.attend(&t.spaces[slot], u)
	}
	t.slots.Give(slot)
}

// A span is the keys of a tile, of one head, and the rows that see some of them.
type span struct {
	seq          *Sequence
	head         int
	first, n     int // keys
	rows         int
	keys, values []uintptr // blocks from the first on, and after them what is read next
}

// block is the number of the block that holds the span's key number i.
func (s *span) block(i int) int { return int(s.seq.Blocks[(s.first+i)/BlockTokens]) }

// attend computes a unit.
func (t *Task) attend(w *workspace, u *unit) {
	kern := current()
	score, sum := kern.score(t.K.DType), kern.sum(t.V.DType)
	t.enlist(w, u)
	rest := w.list
	for head := u.head; head < u.head+u.heads; head++ {
		rows := t.load(w, u, head)
		kern.spread(w, rows, t.D)
		s := &w.span
		*s = span{seq: u.seq, head: head, first: t.begin(u), rows: rows}
		for ; s.first <= u.last(); s.first += TileTokens {
			s.n = min(TileTokens, u.last()+1-s.first)
			blocks := tiling.Ceil(s.n, BlockTokens)
			s.keys, s.values, rest = rest, rest[blocks:], rest[2*blocks:]
			score(t, w, s)
			n := tiling.Align(s.n, lanes)
			for r := range rows {
				t.hide(w.scores[r*TileTokens:][:n], s, u.seq.First+u.row+r/t.group())
			}
			kern.weigh(w, rows, n)
			sum(t, w, s)
		}
		t.deliver(w.o, w.sums, u, head)
	}
}

// begin is the first key of the first tile that a unit's queries see.
func (t *Task) begin(u *unit) int {
	if t.Window == 0 {
		return 0
	}
	first := max(0, u.seq.First+u.row-t.Window+1)
	return first - first%TileTokens
}

// last is the last key that a query of the unit sees.
func (u *unit) last() int { return u.seq.First + u.row + u.rows - 1 }

// readAhead is how many blocks a kernel may read, or have fetched, beyond those that it
// is given.
const readAhead = 24

// enlist lists the blocks that a unit reads. They are numbers, since the collector
// must not see pointers to memory that may be unmapped.
func (t *Task) enlist(w *workspace, u *unit) {
	begin, end := t.begin(u), u.last()+1
	n := 2 * u.heads * tiling.Ceil(end-begin, BlockTokens)
	w.list = slices.Grow(w.list[:0], n+readAhead)[:n+readAhead]
	size := uintptr(t.K.DType.Bytes(t.blockLen()))
	stride, rest := uintptr(t.KVHeads)*size, w.list
	for head := u.head; head < u.head+u.heads; head++ {
		for tile := begin; tile < end; tile += TileTokens {
			blocks := u.seq.Blocks[tile/BlockTokens : tiling.Ceil(min(tile+TileTokens, end), BlockTokens)]
			for _, c := range [...]*Cache{&t.K, &t.V} {
				first := uintptr(unsafe.Pointer(unsafe.SliceData(c.Data))) + uintptr(head)*size
				for i, b := range blocks {
					rest[i] = first + uintptr(b)*stride
				}
				rest = rest[len(blocks):]
			}
		}
	}
	for i := range rest {
		rest[i] = w.list[n-1]
	}
}

// load copies the rows of Q of a unit's queries that share a head of keys, and sets
// the state of queries that have seen nothing.
func (t *Task) load(w *workspace, u *unit, head int) (rows int) {
	width := t.group() * t.D
	for q := range u.rows {
		copy(w.q[q*width:(q+1)*width], t.Q[t.at(u, q, head):])
	}
	rows = u.rows * t.group()
	for r := range rows {
		w.largest[r], w.sums[r] = -math.MaxFloat32, 0
	}
	clear(w.o[:rows*t.D])
	return rows
}

// deliver divides by the sums of the weights.
func (t *Task) deliver(o, sums []float32, u *unit, head int) {
	affine := elemwise.Float32(elemwise.Affine)
	group := t.group()
	for r := range u.rows * group {
		at := t.at(u, r/group, head) + r%group*t.D
		affine(t.O[at:at+t.D], o[r*t.D:(r+1)*t.D], elemwise.Params{A: 1 / sums[r]})
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
