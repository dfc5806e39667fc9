package qgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/amx"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// callSteps is about how many steps a call of tiles should have, and maxRun the
// most panels: their sums stay in the first cache.
const callSteps, maxRun = 96, 6

const (
	sumsRow   = 4 * maxCols // bytes
	sumsPanel = maxRows * sumsRow
)

// tiles computes a row tile of some panels: sums by amx, and what is left by the
// kernel, in which there are no k then.
func (t *Task) tiles(w *workspace, row, from, to int) {
	p, b, x := &t.plan, &w.block, &w.tile
	kind := amx.U8S8
	if t.A.Signed {
		kind = amx.S8S8
	}
	rows := x.rows
	b.SetRows(rows)
	b.A, b.LDA = x.a, x.lda
	b.C, b.LDC, b.PanelC = unsafe.Pointer(&w.sums), sumsRow, sumsPanel
	if x.k = 0; p.steps > 0 {
		x.flags |= flagSums
	}
	data := t.Packed.data[w.item*packedItem(p.kern, t.K, t.N):]
	for j := from; j < to; j += p.run {
		b.Panels = min(p.run, to-j)
		b.B = at(data, j*p.steps*amx.StepB)
		p.kern.tiles.Contiguous(kind, b, p.steps)
		for i := range b.Panels {
			t.finish(w, row, rows, j+i, w.sums[i*maxRows*maxCols:])
		}
	}
	x.rows = rows
}

// finish calls the kernel for the rows of a panel whose sums are there.
func (t *Task) finish(w *workspace, row, rows, panel int, sums []int32) {
	x := &w.tile
	parts := tiling.Ceil(rows, finishRows)
	for i := range parts {
		from, to := tiling.Rows(i, rows, parts)
		x.rows = to - from
		x.sums = unsafe.Pointer(&sums[from*maxCols])
		x.rowScale, x.rowZero, x.rowSum = unsafe.Pointer(&w.rowScale[from]), unsafe.Pointer(&w.rowZero[from]), unsafe.Pointer(&w.rowSum[from])
		t.panel(w, row+from, panel)
	}
}

// finishRows is the most rows of a kernel that finishes.
const finishRows = 14
