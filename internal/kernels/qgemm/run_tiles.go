package qgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/amx"
)

// callSteps is about how many steps a call of tiles should have, and maxRun the
// most panels: their sums stay in the first cache.
const callSteps, maxRun = 96, 6

const (
	sumsRow   = 4 * maxCols // bytes
	sumsPanel = maxRows * sumsRow
)

// tiles computes a row tile of some panels: amx adds up, and the kernel finishes.
func (t *Task) tiles(w *workspace, row, from, to int) {
	p, b := &t.plan, &w.block
	kind := amx.U8S8
	if t.A.Signed {
		kind = amx.S8S8
	}
	b.SetRows(w.tile.rows)
	b.A, b.LDA = w.tile.a, w.tile.lda
	b.C, b.LDC, b.PanelC = unsafe.Pointer(&w.sums), sumsRow, sumsPanel
	if p.steps == 0 {
		clear(w.sums[:])
	}
	data := t.packed(w.item, 0, p.panels)
	for j := from; j < to; j += p.run {
		b.Panels = min(p.run, to-j)
		b.B = at(data, j*p.steps*amx.StepB)
		w.next = b.Fetch(w.next, p.steps*b.Panels, w.calls)
		p.kern.tiles.Contiguous(kind, b, p.steps)
		for i := range b.Panels {
			w.tile.sums = unsafe.Pointer(&w.sums[i*maxRows*maxCols])
			t.panel(w, row, j+i)
		}
	}
}

// packed is the memory of panels [from, to) of an item.
func (t *Task) packed(item, from, to int) []byte {
	p := &t.plan
	size := p.steps * amx.StepB
	return t.Packed.data[item*packedItem(p.kern, t.K, t.N):][from*size : to*size]
}
