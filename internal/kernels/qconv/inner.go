package qconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// innerBlock says what each chunk keeps for itself where kernels of inner products are in use:
// it widens the input of a block of pixels just before it reads it, and adds up what is taken
// from their sums. So threads write and read their own caches, and wait for each other once a
// layer.
type innerBlock struct {
	units int // rows of output, or tiles of pixels
	words int // bytes of the widened input
	bytes int // of all that a chunk keeps
}

// newInnerBlock fits a block into the second-level cache, with room for the weights.
func (pl *Plan) newInnerBlock(threads int) innerBlock {
	limit := cpu.Cache().L2 / 4
	if threads > 1 {
		limit /= 2
	}
	var b innerBlock
	span := 0
	if pl.flat {
		tile := 2 * pl.p.In * pl.kern.tilePixels
		b.units = max(1, limit/max(tile, 1))
		span, b.words = b.units*pl.kern.tilePixels, b.units*tile
	} else {
		row := 2 * pl.cols * pl.p.In
		b.units = min(max(1, (limit/max(row, 1)-pl.inputRows(1))/pl.p.Stride[0]+1), pl.h.Out)
		span, b.words = b.units*pl.w.Out, pl.inputRows(b.units)*row
	}
	b.words = align(b.words + 2*slack)
	b.bytes = b.words + align(4*pl.p.Groups*span)
	return b
}

// innerScratch is the working memory of inner products, for any number of images.
func (pl *Plan) innerScratch(threads int) int {
	b := pl.newInnerBlock(threads)
	if threads == 1 {
		return b.bytes
	}
	return b.bytes * pl.mostChunks(threads)
}

// byInner says whether kernels of inner products are in use.
func (r *Runner) byInner() bool { return r.bytes > 1 && !r.bySquares() }

// innerPanels computes units [lo, hi) of some panels as chunk i.
func (r *Runner) innerPanels(w *workspace, i, first, last, lo, hi int) {
	pl, b := r.plan, r.inner
	scratch := r.op.Scratch[i*b.bytes:][:b.bytes]
	w.src = scratch[:b.words]
	for ; lo < hi; lo += b.units {
		end := min(lo+b.units, hi)
		if pl.flat {
			total := r.images * pl.h.Out * pl.w.Out
			w.pixel0 = lo * total / r.cut.units
			w.span = end*total/r.cut.units - w.pixel0
			n, flips := w.span*pl.p.In, byte(128)
			if pl.p.Input.Signed {
				flips = 0
			}
			pl.kern.widen(w.src[:2*n], r.src[w.pixel0*pl.p.In:][:n], flips)
			clear(w.src[2*n:][:2*slack])
		} else {
			w.row0, w.pixel0 = lo, lo*pl.w.Out
			w.span = (end - lo) * pl.w.Out
			r.copyBlock(w.src, lo, end)
			clear(w.src[2*pl.inputRows(end-lo)*pl.cols*pl.p.In:][:2*slack])
		}
		w.perPixel = 1
		w.taken = view[int32](unsafe.Pointer(&scratch[b.words]), pl.p.Groups*w.span)
		r.takeSums(w)
		r.panels(w, first, last, lo, end)
	}
	w.row0, w.pixel0, w.taken = 0, 0, nil
}

// takeSums adds up what is taken from the sums of a block's pixels.
func (r *Runner) takeSums(w *workspace) {
	pl, t := r.plan, &w.tile
	line, lines := w.span, 1
	if !pl.flat {
		line, lines = pl.w.Out, w.span/pl.w.Out
	}
	for g := range pl.p.Groups {
		for y := range lines {
			in := y*pl.p.Stride[0]*pl.cols*pl.p.In + g*pl.p.In/pl.p.Groups
			t.in, t.sums, t.lines = unsafe.Pointer(&w.src[2*in]), unsafe.Pointer(&w.taken[g*w.span+y*line]), line
			pl.kern.innerSums(t.arg())
		}
	}
}
