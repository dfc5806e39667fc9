package gemm

import "unsafe"

// A single row of A times a B that isn't packed takes the time of reading B. Tiles read it
// a panel at a time, for which each row of B is in another page, or copy it first. So most
// of K goes before the tiles, which begin with its last rows if some are left, continue the
// chains and do the epilogue if there is one.

const (
	sweepRows   = 8       // of B in a pass of kernels.sweep
	sweepWidth  = 4096    // elements of C that stay in the first cache
	rowSteps    = 16      // of K in a step of kernels.rowTransposed
	rowColumns  = 16      // columns of it
	streamLeast = 64      // columns, and rows, of B from which streams pay
	streamCall  = 1 << 18 // elements of B in a call, which can't be interrupted
	streamDepth = 1 << 13 // rows, likewise
)

// streamed is how many rows of B go before the tiles.
func (p *plan) streamed() int {
	if p.m != 1 || p.packed || p.n < streamLeast || p.k < streamLeast || p.kern.sweep == nil || p.transA {
		return 0
	}
	unit := sweepRows
	if p.transB {
		unit = rowSteps
	}
	return p.k / unit * unit
}

// stream computes the sums of the streamed rows of B for some panels.
func (t *Task) stream(w *workspace, b *block) {
	nr := t.plan.kern.nr
	from, to := b.p0*nr, min(b.p1*nr, t.N)
	c := t.C.Data[w.cOff+from : w.cOff+to]
	clear(c)
	if t.B.Trans {
		t.streamTransposed(w, c, from)
		return
	}
	for j := 0; j < len(c); j += sweepWidth {
		n := min(sweepWidth, len(c)-j)
		passes := max(1, streamCall/(sweepRows*n))
		for k := 0; k < t.plan.stream; k += passes * sweepRows {
			passes = min(passes, (t.plan.stream-k)/sweepRows)
			t.plan.kern.sweep((*float32)(at(c, j)), (*float32)(at(t.A.Data, w.aOff+k)),
				(*float32)(at(t.B.Data, w.bOff+k*t.B.Stride+from+j)), 4*t.B.Stride, n, passes)
		}
	}
}

// streamTransposed goes along columns of B, which are stored as rows. The last call computes
// others again.
func (t *Task) streamTransposed(w *workspace, c []float32, from int) {
	most := max(1, streamCall/(rowColumns*min(t.plan.stream, streamDepth)))
	for len(c) >= rowColumns {
		blocks := min(most, len(c)/rowColumns)
		t.columnsOfRow(w, at(c, 0), from, blocks)
		c, from = c[blocks*rowColumns:], from+blocks*rowColumns
	}
	if len(c) > 0 {
		first := max(from+len(c)-rowColumns, 0)
		clear(w.last[:])
		t.columnsOfRow(w, unsafe.Pointer(&w.last), first, 1)
		copy(c, w.last[from-first:])
	}
}

// columnsOfRow adds to the sums of some times rowColumns columns from j on, which are at c.
func (t *Task) columnsOfRow(w *workspace, c unsafe.Pointer, j, blocks int) {
	for k := 0; k < t.plan.stream; k += streamDepth {
		t.plan.kern.rowTransposed((*float32)(c), (*float32)(at(t.A.Data, w.aOff+k)),
			(*float32)(at(t.B.Data, w.bOff+j*t.B.Stride+k)), 4*t.B.Stride, min(streamDepth, t.plan.stream-k), blocks)
	}
}
