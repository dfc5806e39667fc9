package conv

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// BlockedLen is the number of floats of a blocked activation: n·⌈c/block⌉·plane·block.
func BlockedLen(n, c, plane, block int) int { return n * blocks(c, block) * plane * block }

func blocks(c, block int) int { return (c + block - 1) / block }

// Reorder converts activations between layouts, one run at a time; it is the
// task of its run, with a chunk per image and channel block.
type Reorder struct {
	c, plane, block int
	toBlocked       bool
	squares         transposeFunc
	plain, blocked  []float32
}

// transposeFunc transposes n squares of block×block floats; row strides of a
// square and steps from one to the next are in bytes.
type transposeFunc func(dst, src *byte, dstStride, srcStride, dstStep, srcStep, n int)

// NewToBlocked converts plain [n, c, plane] to blocked [n, ⌈c/b⌉, plane, b],
// where plane is the number of pixels and b is Block(level).
func NewToBlocked(c, plane int, level cpu.Target) *Reorder {
	return &Reorder{c: c, plane: plane, block: Block(level), toBlocked: true, squares: forLevel(level).transpose}
}

// NewFromBlocked converts blocked to plain and drops the padding channels.
func NewFromBlocked(c, plane int, level cpu.Target) *Reorder {
	return &Reorder{c: c, plane: plane, block: Block(level), squares: forLevel(level).transpose}
}

// Run converts n images from src into dst; without a pool, on the calling thread.
func (r *Reorder) Run(p *pool.Pool, n int, dst, src []float32) {
	r.plain, r.blocked = src, dst
	if !r.toBlocked {
		r.plain, r.blocked = dst, src
	}
	p.Run(n*blocks(r.c, r.block), r)
	r.plain, r.blocked = nil, nil
}

// Do converts one channel block of one image.
func (r *Reorder) Do(i int) {
	per := blocks(r.c, r.block)
	first := i % per * r.block
	channels := min(r.block, r.c-first)
	plain := r.plain[(i/per*r.c+first)*r.plane:][:channels*r.plane]
	blocked := r.blocked[i*r.plane*r.block:][:r.plane*r.block]
	done := 0
	switch {
	case channels == r.block && r.squares != nil:
		done = r.whole(blocked, plain)
	case channels >= 8 && r.toBlocked: // squares of 8 fit
		clear(blocked)
		transpose.Tile32(blocked, plain, r.block, r.plane, channels, r.plane)
		return
	case channels >= 8:
		transpose.Tile32(plain, blocked, r.plane, r.block, r.plane, channels)
		return
	}
	if r.toBlocked {
		interleave(blocked, plain, channels, r.plane, r.block, done)
	} else {
		deinterleave(plain, blocked, channels, r.plane, r.block, done)
	}
}

// squaresPerCall keeps one call of a kernel short.
const squaresPerCall = 512

// whole converts as many pixels as fill squares, and gives their number.
func (r *Reorder) whole(blocked, plain []float32) int {
	row, vector := r.plane*4, r.block*4
	total := r.plane / r.block
	for at := 0; at < total; at += squaresPerCall {
		n := min(squaresPerCall, total-at)
		b := (*byte)(window.At(blocked, at*vector*r.block))
		p := (*byte)(window.At(plain, at*vector))
		if r.toBlocked {
			r.squares(b, p, vector, row, vector*r.block, vector, n)
		} else {
			r.squares(p, b, row, vector, vector, vector*r.block, n)
		}
	}
	return total * r.block
}

// interleave writes channel rows of plain as the columns of blocked, from a
// pixel on, and zeros beyond the channels.
func interleave(blocked, plain []float32, channels, plane, block, from int) {
	if channels < block {
		clear(blocked[from*block:])
	}
	for c := range channels {
		for j, v := range plain[c*plane+from : (c+1)*plane] {
			blocked[(from+j)*block+c] = v
		}
	}
}

func deinterleave(plain, blocked []float32, channels, plane, block, from int) {
	for c := range channels {
		row := plain[c*plane+from : (c+1)*plane]
		for j := range row {
			row[j] = blocked[(from+j)*block+c]
		}
	}
}

// turn transposes a block of channels of n pixels, at least a block of them: channels of dst or src are so many floats apart,
// or pixels are. The last square ends with the pixels, some of which are written twice then.
func (s *kernels) turn(dst, src []float32, dstStride, srcStride, dstPixel, srcPixel, n int) {
	squares := func(at, count int) {
		s.transpose(bytesAt(dst, at*dstPixel), bytesAt(src, at*srcPixel), dstStride*4, srcStride*4, dstPixel*s.block*4, srcPixel*s.block*4, count)
	}
	whole := n / s.block
	for at := 0; at < whole; at += squaresPerCall {
		squares(at*s.block, min(squaresPerCall, whole-at))
	}
	if whole*s.block < n {
		squares(n-s.block, 1)
	}
}
