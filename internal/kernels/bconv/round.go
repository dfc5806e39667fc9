package bconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// units is the pieces of rounding of a band: rows of planes.
func (pl *Plan) units(b *band) int { return pl.pairs * len(pl.phases) * b.inRows }

// round rounds units [from, to) of a band of an image, whose first row of outputs
// is row.
func (r *Runner) round(dst []byte, b *band, image, row, from, to int) {
	pl := r.plan
	if pl.dense() {
		for u := from; u < to; {
			pair, y := u/b.inRows, u%b.inRows
			n := min(to-u, b.inRows-y)
			r.join(numbers(dst[u*b.cols*pl.pixel:]), image, pair, (row+y)*pl.W.In, n*pl.W.In, 1)
			u += n
		}
		return
	}
	for u := from; u < to; u++ {
		plane := u / b.inRows
		f := pl.phases[plane%len(pl.phases)]
		line := (row+u%b.inRows)*pl.H.Stride + f.y - pl.H.Begin
		size := b.cols * pl.pixel
		to := numbers(dst[u*size:][:size])
		switch {
		case line < 0 || line >= pl.H.In:
			clear(to)
		case pl.Plain:
			r.roundPlain(to, image, line, b.cols)
		case pl.wholeRows():
			r.roundRow(to, image, line, b.cols)
		default:
			r.roundBlocks(to, image, plane/len(pl.phases), line, f.x, b.cols)
		}
	}
}

// dense reports whether planes are all pixels of a pair of blocks, one after the other.
func (pl *Plan) dense() bool {
	return !pl.Plain && !pl.wholeRows() && pl.H.Kernel == 1 && pl.W.Kernel == 1 && pl.H.Stride == 1 && pl.W.Stride == 1 &&
		pl.H.Begin == 0 && pl.W.Begin == 0 && pl.W.Out == pl.W.In && pl.H.Out <= pl.H.In
}

func numbers(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

// inner is the columns [left, left+n) of a padded row that are of the image, from its
// column skip on; the others are cleared.
func (pl *Plan) inner(dst []uint16, cols int) (left, skip, n int) {
	left, skip = min(max(pl.W.Begin, 0), cols), max(-pl.W.Begin, 0)
	n = max(0, min(pl.W.In-skip, cols-left))
	numbers := pl.pixel / 2
	clear(dst[:numbers*left])
	clear(dst[numbers*(left+n):])
	return left, skip, n
}

// roundRow rounds a row of an image of one block, with its borders.
func (r *Runner) roundRow(dst []uint16, image, y, cols int) {
	pl := r.plan
	left, skip, n := pl.inner(dst, cols)
	if n == 0 {
		return
	}
	dst = dst[Block*left:][:Block*n]
	src := r.op.In[((image*pl.H.In+y)*pl.W.In+skip)*Block*pl.inSize:][:n*Block*pl.inSize]
	if pl.InBF16 {
		copy(dst, numbers(src))
	} else {
		pl.kern.Round(dst, floats(src))
	}
}

// roundPlain rounds a row of a plain image, with its borders.
func (r *Runner) roundPlain(dst []uint16, image, y, cols int) {
	pl := r.plan
	left, skip, n := pl.inner(dst, cols)
	var planes [4][]float32
	for c := range pl.In {
		planes[c] = floats(r.op.In)[((image*pl.In+c)*pl.H.In+y)*pl.W.In+skip:][:n]
	}
	pl.kern.Planes(dst[4*left:], &planes, n)
}

// roundBlocks rounds a row of the pixels of a phase of a pair of blocks.
func (r *Runner) roundBlocks(dst []uint16, image, pair, y, x, cols int) {
	pl := r.plan
	// Pixel i is at column i·Stride + x - Begin of the image.
	s := pl.W.Stride
	first := min(max(0, tiling.Ceil(max(pl.W.Begin-x, 0), s)), cols)
	end := min(max(first, tiling.Ceil(max(pl.W.In+pl.W.Begin-x, 0), s)), cols)
	clear(dst[:32*first])
	clear(dst[32*end:])
	if first == end {
		return
	}
	r.join(dst[32*first:], image, pair, y*pl.W.In+first*s+x-pl.W.Begin, end-first, s)
}

// join brings n pixels of a pair of blocks together, every step-th from a pixel on.
func (r *Runner) join(dst []uint16, image, pair, pixel, n, step int) {
	pl := r.plan
	plane := pl.H.In * pl.W.In * Block * pl.inSize
	lo, hi := r.op.In[(image*pl.inBlocks+2*pair)*plane+pixel*Block*pl.inSize:], []byte(nil)
	if 2*pair+1 < pl.inBlocks {
		hi = lo[plane:]
	}
	if pl.InBF16 {
		pl.kern.Halves(dst, numbers(lo), numbers(hi), n, step*Block)
		return
	}
	pl.kern.Blocks(dst, floats(lo), floats(hi), n, step*Block)
}

func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}
