package qconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/amx"
)

const (
	maxRun     = 4         // panels of a call of tiles
	callSteps  = 64        // about how many steps such a call should have
	fewWeights = 256 << 10 // bytes that stay in the second-level cache with all else
	sumsRow    = 4 * amx.Cols
	sumsPanel  = amx.Rows * sumsRow
)

// stepOffsets are where the steps of a pixel's window are, from its first byte on.
func (pl *Plan) stepOffsets() []int {
	p, k := &pl.p, pl.packed
	rowBytes := p.Dilation[0] * pl.cols * p.In
	var offsets []int
	for tap := range k.taps {
		at := tap / p.Parts * rowBytes // parts of weights meet the same input
		if !p.adjacent() {
			at = tap/p.Kernel[1]*rowBytes + tap%p.Kernel[1]*p.Dilation[1]*p.In
		}
		for s := 0; s < 4*k.groups; s += amx.StepBytes {
			offsets = append(offsets, at+s)
		}
	}
	return offsets
}

// reach is how many bytes from a pixel's first are read for it.
func (pl *Plan) reach() int { return pl.offsets[len(pl.offsets)-1] + amx.StepBytes }

// tailBytes is the room for the input of a tile that would be read beyond its end.
func (pl *Plan) tailBytes() int {
	if !pl.packed.tiled || !pl.flat || pl.p.In%amx.StepInt8 == 0 {
		return 0
	}
	return (amx.Rows-1)*pl.p.In + pl.reach()
}

// A run is pixels whose windows follow each other at one distance, and among which
// each width have outputs that follow each other.
type run struct {
	in, out int // bytes to the first
	n       int
	width   int // from one row of outputs to the next
	outputs int // of a row
}

// runsOf are the runs of rows [lo, hi) of outputs, or of such tiles of a flat input.
// Without a stride the rows are one run, which goes on over the borders.
func (r *Runner) runsOf(runs []run, lo, hi int) []run {
	pl := r.plan
	p := &pl.p
	inRow, outRow := p.Stride[0]*pl.cols*p.In, pl.w.Out*p.Out
	switch {
	case pl.flat:
		total := r.images * pl.h.Out * pl.w.Out
		from, to := lo*total/r.cut.units, hi*total/r.cut.units
		return append(runs, run{from * p.In, from * p.Out, to - from, to - from, to - from})
	case p.Stride[0] == 1 && p.Stride[1] == 1:
		return append(runs, run{lo * inRow, lo * outRow, (hi-lo-1)*pl.cols + pl.w.Out, pl.cols, pl.w.Out})
	}
	for y := lo; y < hi; y++ {
		runs = append(runs, run{y * inRow, y * outRow, pl.w.Out, pl.w.Out, pl.w.Out})
	}
	return runs
}

// tiles computes units [lo, hi) of panels [first, last).
func (r *Runner) tiles(w *workspace, first, last, lo, hi int) {
	pl := r.plan
	if lo == hi {
		return
	}
	w.runs = r.runsOf(w.runs[:0], lo, hi)
	group := max(1, min(callSteps/len(pl.offsets), maxRun))
	b := &w.block
	b.LDA = pl.p.Stride[1] * pl.p.In
	b.C, b.LDC, b.PanelC = unsafe.Pointer(&w.sums), sumsRow, sumsPanel
	b.Gap = pl.packed.panelBytes(pl.packed.panels[0]) - len(pl.offsets)*amx.StepB
	outer := group // panels that a tile meets before the next tile does
	if pl.packed.bytes <= fewWeights {
		outer = last - first
	}
	for from := first; from < last; from += outer {
		next, calls := r.following(min(from+outer, last), min(from+2*outer, last)), 0
		for _, x := range w.runs {
			calls += (x.n + amx.Rows - 1) / amx.Rows
		}
		for _, x := range w.runs {
			tiles := (x.n + amx.Rows - 1) / amx.Rows
			for i := range tiles {
				at, end := i*x.n/tiles, (i+1)*x.n/tiles
				r.place(w, x.in+at*b.LDA, end-at)
				for p := from; p < min(from+outer, last); p += group {
					next = b.Fetch(next, len(pl.offsets)*(min(p+group, from+outer, last)-p), calls)
					r.multiply(w, &x, at, end, p, min(p+group, from+outer, last))
				}
			}
		}
	}
}

// following is the memory of panels [from, to).
func (r *Runner) following(from, to int) []byte {
	if from >= to {
		return nil
	}
	k := r.plan.packed
	last := k.panels[to-1]
	return r.op.Packed[k.panels[from].at : last.at+k.panelBytes(last)]
}

// place points the block at the input of n pixels, or at a copy with room behind.
func (r *Runner) place(w *workspace, in, n int) {
	pl, b := r.plan, &w.block
	b.SetRows(n)
	src := w.src[in:]
	if len(src) < (n-1)*b.LDA+pl.reach() {
		copy(w.tail, src[:min(len(src), len(w.tail))])
		src = w.tail
	}
	b.A = unsafe.Pointer(&src[0])
}

// multiply computes pixels [at, end) of a run for panels [from, to).
func (r *Runner) multiply(w *workspace, x *run, at, end, from, to int) {
	pl, b := r.plan, &w.block
	panel := pl.packed.panels[from]
	b.B = unsafe.Pointer(&r.op.Packed[panel.at+headBytes])
	b.Panels = to - from
	pl.kern.tiles.At(amx.U8S8, b, pl.offsets)
	for p := from; p < to; p++ {
		r.setPanel(&w.tile, pl.packed.panels[p])
		sums := w.sums[(p-from)*amx.Rows*amx.Cols:]
		// Pieces of the run that are outputs of one row each.
		for i := at; i < end; {
			y, col := i/x.width, i%x.width
			n := min(end-i, x.width-col)
			if outputs := min(n, x.outputs-col); outputs > 0 {
				out := x.out + (y*x.outputs+col)*pl.p.Out + pl.packed.panels[p].first
				r.finish(w, sums[(i-at)*amx.Cols:], out, outputs)
			}
			i += n
		}
	}
}

// headBytes is what a panel of 32 channels has before its weights.
const headBytes = 8 * amx.Cols

// finish brings the sums of n pixels to their places, four at a time.
func (r *Runner) finish(w *workspace, sums []int32, out, n int) {
	t := &w.tile
	for _, mr := range [2]int{4, 1} {
		if n < mr {
			continue
		}
		t.in, t.inLine = unsafe.Pointer(&sums[0]), mr*sumsRow
		t.out, t.outLine, t.residual = unsafe.Pointer(&r.out[out]), mr*t.outPx, nil
		if r.resid != nil {
			t.residual = unsafe.Pointer(&r.resid[out])
		}
		t.lines = n / mr
		r.plan.kern.sums[mr](t.arg())
		done := t.lines * mr
		if n -= done; n == 0 {
			return
		}
		sums, out = sums[done*amx.Cols:], out+done*t.outPx
	}
}
