package qconv

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/qgemm"
	"github.com/salver-ml/salver/internal/pool"
)

// Operands are the buffers of one run: bytes [N, H, W, C]. Out may be the same
// slice as Residual; otherwise it overlaps nothing.
type Operands struct {
	N        int
	In       []byte
	Packed   []byte
	Residual []byte // where Params.Residual
	Out      []byte
	Scratch  []byte // ScratchSize of the pool's threads, or more
}

// Runner runs a plan, one run at a time, without allocation once it has seen the
// largest number of threads.
type Runner struct {
	plan   *Plan
	op     Operands
	src    []byte // what the kernels read
	out    []byte // of the images in progress
	resid  []byte
	images int        // in progress
	bytes  int        // of a number of the input as the kernels read it
	inner  innerBlock // where kernels of inner products are in use
	cut    cut
	copies int // chunks of the copy
	work   []workspace

	squareCut   squareCut
	squareFirst int // chunk of those in progress
}

// workspace is what a chunk needs.
type workspace struct {
	tile
	square squareTile
	src    []byte  // what the kernels read
	row0   int     // the row of output whose input is at its beginning
	pixel0 int     // the same for a pixel, of flat inputs
	taken  []int32 // from the sums of a block's pixels, for each group; or what spills add to them
	span   int     // pixels in it
	block  qgemm.SpillBlock

	perPixel int // of taken
	strip    strip
	layout
	sums []byte // of a block of tiles
	tail []byte // the input of a last tile, with room for what is read beyond
	// A tile of a panel whose vectors are not full, where kernels have no masks.
	bytes, residual [maxPixels * 16]byte
}

// NewRunner makes a runner for one session.
func (pl *Plan) NewRunner() *Runner { return &Runner{plan: pl} }

func (pl *Plan) check(op Operands, threads int) error {
	residual := 0
	if pl.p.Residual != nil {
		residual = op.N * pl.outBytes()
	}
	for _, b := range []struct {
		name      string
		got, want int
	}{
		{"input", len(op.In), op.N * pl.inBytes()}, {"packed weights", len(op.Packed), pl.PackedSize()},
		{"residual", len(op.Residual), residual}, {"output", len(op.Out), op.N * pl.outBytes()},
	} {
		if op.N < 0 || b.got != b.want {
			return fmt.Errorf("qconv: %s has %d bytes, expected %d for %d images of %d→%d channels, %d×%d→%d×%d",
				b.name, b.got, b.want, op.N, pl.p.In, pl.p.Out, pl.h.In, pl.w.In, pl.h.Out, pl.w.Out)
		}
	}
	if s := pl.scratchSize(threads); len(op.Scratch) < s {
		return fmt.Errorf("qconv: scratch has %d bytes, expected %d", len(op.Scratch), s)
	}
	return nil
}

// Run computes op on the threads of p.
func (r *Runner) Run(p *pool.Pool, op Operands) error {
	pl := r.plan
	if err := pl.check(op, p.Threads()); err != nil || op.N == 0 {
		return err
	}
	r.op = op
	r.bytes = 1
	switch {
	case r.bySquares():
		r.bytes = 2
	case pl.packed.innerMayDo() && !r.pairs():
		r.bytes = 2
		r.inner = pl.newInnerBlock(p.Threads())
	}
	if !pl.flat || r.copied() && !r.byInner() {
		for i := range op.N {
			r.image(p, i, 1)
		}
	} else {
		r.image(p, 0, op.N)
	}
	r.op, r.src, r.out, r.resid = Operands{}, nil, nil, nil
	for i := range r.work {
		r.work[i].tile, r.work[i].square, r.work[i].src, r.work[i].strip, r.work[i].taken = tile{}, squareTile{}, nil, strip{}, nil // holds no buffer alive
	}
	return nil
}

// pairs says whether VPMADDUBSW multiplies: what the packed weights begin with says
// whether it can't saturate.
func (r *Runner) pairs() bool {
	first := r.op.Packed[0]
	return (first == packedPairs || first == packedClipped) && r.plan.packed.innerMayDo()
}

// copied says whether kernels read a copy of the input.
func (r *Runner) copied() bool { return r.plan.copied || r.bytes > 1 }

// mostPixels is the most pixels of the kernels in use.
func (r *Runner) mostPixels() int {
	k := r.plan.kern
	switch {
	case r.plan.packed.tiled:
		return mma.Rows
	case r.plan.p.depthwise():
		return k.depthwisePixels
	case r.pairs():
		return k.pairsPixels
	}
	return k.tilePixels
}

// image computes n images, the first of which is number i.
func (r *Runner) image(p *pool.Pool, i, n int) {
	pl := r.plan
	r.images = n
	r.src = r.op.In[i*pl.inBytes():][:n*pl.inBytes()]
	r.out = r.op.Out[i*pl.outBytes():][:n*pl.outBytes()]
	if pl.p.Residual != nil {
		r.resid = r.op.Residual[i*pl.outBytes():][:n*pl.outBytes()]
	}
	if r.copied() && !pl.byBlocks() && !r.byInner() {
		r.copies = min(pl.rows, 1+pl.inBytes()/copyWork, 4*p.Threads())
		p.RunFromEnds(r.copies, (*copyTask)(r))
		r.src = r.op.Scratch
	}
	if r.bySquares() {
		r.squares(p)
		return
	}
	r.cut = pl.newCut(n, p.Threads(), r.mostPixels())
	r.need(r.cut.chunks())
	p.RunFromEnds(r.cut.chunks(), (*tileTask)(r))
}

// need makes workspaces for so many chunks.
func (r *Runner) need(chunks int) {
	if len(r.work) >= chunks {
		return
	}
	r.work = make([]workspace, chunks)
	for i := range r.work {
		r.work[i].sums, r.work[i].tail = r.plan.newSums(), make([]byte, r.plan.tailBytes())
	}
}

// copyWork is the input for which a chunk of the copy pays.
const copyWork = 32 << 10

// copyTask is a Runner that copies input with its borders.
type copyTask Runner

// Do copies chunk i.
func (c *copyTask) Do(i int) {
	pl := c.plan
	row := pl.cols * pl.p.In * c.bytes
	for y := i * pl.rows / c.copies; y < (i+1)*pl.rows/c.copies; y++ {
		pl.copyRow(c.op.Scratch[y*row:][:row], c.src, y, c.bytes)
	}
	if i == c.copies-1 {
		clear(c.op.Scratch[pl.rows*row:][:slack*c.bytes])
	}
}

// copyRow copies row y of a padded image: unsigned bytes, or words less 128.
func (pl *Plan) copyRow(dst, src []byte, y, bytes int) {
	zero := uint16(pl.packed.zero())
	if bytes > 1 {
		zero -= 128
	}
	if y -= pl.h.Begin; y < 0 || y >= pl.h.In {
		fill(dst, zero, bytes)
		return
	}
	row := pl.w.In * pl.p.In
	left := 0
	if pl.cols > pl.w.In {
		left = pl.w.Begin * pl.p.In * bytes
	}
	fill(dst[:left], zero, bytes)
	fill(dst[left+row*bytes:], zero, bytes)
	src, dst = src[y*row:][:row], dst[left:][:row*bytes]
	flips := byte(0)
	if pl.p.Input.Signed != (bytes > 1) && !pl.packed.tiled {
		flips = 128
	}
	switch {
	case bytes == 2:
		pl.kern.widen(dst, src, flips)
	case flips == 0:
		copy(dst, src)
	default:
		flip(dst, src)
	}
}

// flip turns signed bytes into unsigned ones, 128 larger, eight at a time.
func flip(dst, src []byte) {
	for len(src) >= 8 && len(dst) >= 8 {
		*(*uint64)(unsafe.Pointer(&dst[0])) = *(*uint64)(unsafe.Pointer(&src[0])) ^ 0x8080808080808080
		src, dst = src[8:], dst[8:]
	}
	for i, x := range src {
		dst[i] = x ^ 0x80
	}
}

// portableWiden writes bytes, with some bits flipped, as signed numbers of 16 bits.
func portableWiden(dst, src []byte, flips byte) {
	for i, x := range src {
		binary.NativeEndian.PutUint16(dst[2*i:], uint16(int8(x^flips)))
	}
}

// fill writes a number of one or two bytes again and again.
func fill(dst []byte, x uint16, bytes int) {
	switch {
	case len(dst) == 0:
		return
	case bytes > 1:
		binary.NativeEndian.PutUint16(dst, x)
	default:
		dst[0] = byte(x)
	}
	for n := bytes; n < len(dst); n *= 2 {
		copy(dst[n:], dst[:n])
	}
}
