package bconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// units is the pieces of rounding of a band: rows of planes.
func (pl *Plan) units(b *band) int {
	if pl.Plain {
		return b.inRows
	}
	return pl.pairs * len(pl.phases) * b.inRows
}

// round rounds units [from, to) of a band of an image, whose first row of outputs
// is row.
func (r *Runner) round(dst []byte, b *band, image, row, from, to int) {
	pl := r.plan
	for u := from; u < to; u++ {
		line := row*pl.H.Stride + u%b.inRows // in the padded image
		if pl.Plain {
			size := b.cols * pixelBytes
			r.roundPlain(numbers(dst[u*size:][:size]), image, line-pl.H.Begin, b.cols)
			continue
		}
		plane := u / b.inRows
		f := pl.phases[plane%len(pl.phases)]
		line = (row+u%b.inRows)*pl.H.Stride + f.y - pl.H.Begin
		size := b.cols * blockBytes
		r.roundBlocks(numbers(dst[u*size:][:size]), image, plane/len(pl.phases), line, f.x, b.cols)
	}
}

func numbers(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

// roundPlain rounds a row of a plain image, with its borders.
func (r *Runner) roundPlain(dst []uint16, image, y, cols int) {
	pl := r.plan
	if y < 0 || y >= pl.H.In {
		clear(dst)
		return
	}
	left := min(pl.W.Begin, cols)
	n := max(0, min(pl.W.In, cols-left))
	clear(dst[:4*left])
	clear(dst[4*(left+n):])
	var planes [4][]float32
	for c := range pl.In {
		planes[c] = floats(r.op.In)[((image*pl.In+c)*pl.H.In+y)*pl.W.In:][:pl.W.In]
	}
	pl.kern.Planes(dst[4*left:], &planes, n)
}

// roundBlocks rounds a row of the pixels of a phase of a pair of blocks.
func (r *Runner) roundBlocks(dst []uint16, image, pair, y, x, cols int) {
	pl := r.plan
	if y < 0 || y >= pl.H.In {
		clear(dst)
		return
	}
	// Pixel i is at column i·Stride + x - Begin of the image.
	s := pl.W.Stride
	first := min(max(0, tiling.Ceil(max(pl.W.Begin-x, 0), s)), cols)
	end := min(max(first, tiling.Ceil(max(pl.W.In+pl.W.Begin-x, 0), s)), cols)
	clear(dst[:32*first])
	clear(dst[32*end:])
	if first == end {
		return
	}
	plane := pl.H.In * pl.W.In * Block * pl.inSize
	at := (((image*pl.inBlocks+2*pair)*pl.H.In+y)*pl.W.In + first*s + x - pl.W.Begin) * Block * pl.inSize
	lo, hi := r.op.In[at:], []byte(nil)
	if 2*pair+1 < pl.inBlocks {
		hi = lo[plane:]
	}
	if pl.InBF16 {
		pl.kern.Halves(dst[32*first:], numbers(lo), numbers(hi), end-first, s*Block)
		return
	}
	pl.kern.Blocks(dst[32*first:], floats(lo), floats(hi), end-first, s*Block)
}

func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}
