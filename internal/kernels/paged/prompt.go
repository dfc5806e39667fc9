package paged

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

const (
	// promptRows is about how many rows the units of a prompt have: what is packed of
	// keys and values serves all of them.
	promptRows = 512
	// scoreStride is the elements from one row of scores of a prompt to the next, so many
	// that rows don't meet in the cache.
	scoreStride = TileTokens + 16
	// panelTokens is the keys of a panel and the values of a step.
	panelTokens = 32
)

// tiled reports whether a sequence is computed in bfloat16.
func (t *Problem) tiled(s *Sequence) bool {
	return s.Prompt && t.D%mma.StepBF16 == 0 && current().packKeys16 != nil
}

// promptQueries is the number of queries of a prompt's unit, at most.
func (t *Problem) promptQueries() int { return max(queryTile, promptRows/t.group()&^(queryTile-1)) }

// A promptSpace is what a unit of a prompt needs.
type promptSpace struct {
	state
	q, k, v []uint16          // packed: rows of A, panels of keys, panels of values
	scores  []float32         // of mma.Rows rows
	tops    [mma.Rows]float32 // m after a tile, what it adds to l, and e^(m_old-m)
	parts   [mma.Rows]float32
	factors [mma.Rows]float32
	block   mma.Block
}

func newPromptSpace(t *Problem) *promptSpace {
	rows := t.promptQueries() * t.group()
	p := &promptSpace{state: newState(rows, t.D), scores: make([]float32, mma.Rows*scoreStride)}
	for _, to := range []struct {
		x *[]uint16
		n int
	}{{&p.q, rows * t.D}, {&p.k, TileTokens * t.D}, {&p.v, TileTokens * t.D}} {
		*to.x = make([]uint16, to.n)
	}
	return p
}

// prompt computes a unit of a prompt, one head after the other.
func (t *Task) prompt(w *workspace, u *unit) {
	if w.prompt == nil {
		w.prompt = newPromptSpace(&t.Problem)
	}
	rest := t.enlist(w, u, 1).read
	for head := u.head; head < u.head+u.heads; head++ {
		rows := t.loadPrompt(w.prompt, u, head)
		for first := u.begin; first < u.end; first += TileTokens {
			n := min(TileTokens, u.end-first)
			blocks := tiling.Ceil(n, BlockTokens)
			t.pack(w.prompt, rest, rest[blocks:], n)
			rest = rest[2*blocks:]
			for row := 0; row < rows; row += mma.Rows {
				t.promptTile(w, u, &span{seq: u.seq, head: head, first: first, n: n}, row, min(mma.Rows, rows-row))
			}
		}
		t.deliver(w.prompt.state, u, head, 1)
	}
}

// loadPrompt rounds the rows of Q of a unit's queries, and sets the state of queries
// that have seen nothing.
func (t *Task) loadPrompt(p *promptSpace, u *unit, head int) (rows int) {
	width := t.group() * t.D
	k := mma.For(cpu.Level())
	for q := range u.rows {
		k.Round(p.q[q*width:(q+1)*width], t.Q[t.at(u, q, head):][:width])
	}
	rows = u.rows * t.group()
	p.clear(rows, t.D, 0)
	return rows
}

// pack packs the n keys and values of a tile, whose blocks are listed.
func (t *Task) pack(p *promptSpace, keys, values []uintptr, n int) {
	kern := current()
	packKeys, packValues := kern.packKeys32, kern.packValues32
	if t.K.DType == dtype.Float16 {
		packKeys, packValues = kern.packKeys16, kern.packValues16
	}
	for at := 0; at < n; at += panelTokens {
		packKeys(&p.k[at*t.D], &keys[at/BlockTokens], t.D)
	}
	const panel = TileTokens * mma.Cols // numbers
	packValues(&p.v[0], &values[0], 2*panel, t.D, tiling.Ceil(n, BlockTokens))
	for token := n; token%panelTokens != 0; token++ { // which multiply zeros: they must be numbers
		for at := token/2*2*mma.Cols + token%2; at < len(p.v); at += panel {
			for column := range mma.Cols {
				p.v[at+2*column] = 0
			}
		}
	}
}

// promptTile lets some rows see a tile of keys.
func (t *Task) promptTile(w *workspace, u *unit, s *span, row, rows int) {
	p, group := w.prompt, t.group()
	position := func(r int) int { return u.seq.First + u.row + r/group }
	n := min(s.n, position(row+rows-1)+1-s.first)
	if n <= 0 {
		return
	}
	n = tiling.Align(n, panelTokens)
	steps, k, b := t.D/mma.StepBF16, mma.For(cpu.Level()), &p.block
	*b = mma.Block{A: unsafe.Pointer(&p.q[row*t.D]), LDA: 2 * t.D, B: unsafe.Pointer(&p.k[0]), C: unsafe.Pointer(&p.scores[0]), LDC: 4 * scoreStride,
		Panels: n / panelTokens, PanelC: 4 * panelTokens}
	b.SetRows(rows)
	k.Contiguous(b, steps)

	scale := t.Scale
	if t.Softcap > 0 || !(scale > 0) {
		for r := range rows {
			x := p.scores[r*scoreStride:][:n]
			elemwise.Float32(elemwise.Affine)(x, x, elemwise.Params{A: scale})
		}
		scale = 1
	}
	if t.Softcap > 0 || t.Window > 0 || position(row)+1 < s.first+n {
		for r := range rows {
			t.hide(p.scores[r*scoreStride:][:n], s, position(row+r))
		}
	}
	softmax.Weights(p.scores, scoreStride, n, scale, p.largest[row:row+rows], p.tops[:], p.parts[:])
	t.raise(p, row, rows)
	*b = mma.Block{A: unsafe.Pointer(&p.scores[0]), LDA: 4 * scoreStride, B: unsafe.Pointer(&p.v[0]), C: unsafe.Pointer(&p.o[row*t.D]), LDC: 4 * t.D,
		Panels: t.D / mma.Cols, PanelC: 4 * mma.Cols, Gap: (TileTokens - n) / panelTokens * mma.StepB, Add: 1}
	b.SetRows(rows)
	k.Contiguous(b, n/panelTokens)
}

// raise makes the tile's the largest scores that rows have seen, and adds its sums of
// weights.
func (t *Task) raise(p *promptSpace, row, rows int) {
	largest, sums, factors := p.largest[row:][:rows], p.l[row:][:rows], p.factors[:rows]
	elemwise.Row(elemwise.Sub)(factors, largest, p.tops[:], 1, 1)
	elemwise.Float32(elemwise.Exp)(factors, factors, elemwise.Params{})
	affine := elemwise.Float32(elemwise.Affine)
	for r, c := range factors {
		if c != 1 {
			o := p.o[(row+r)*t.D:][:t.D]
			affine(o, o, elemwise.Params{A: c})
		}
		largest[r], sums[r] = p.tops[r], float32(sums[r]*c)+p.parts[r]
	}
}
