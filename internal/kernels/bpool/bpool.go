// Package bpool computes max pooling of activations in bfloat16, in the blocked
// layout [N, ⌈C/16⌉, H, W, 16] of package conv.
//
//	plan := bpool.New(blocks, h, w, cpu.Level())
//	err := plan.NewRunner().Run(pool, n, in, out)
//
// Nothing is allocated per run. A Plan is safe for concurrent use, a Runner is for
// one run at a time. A maximum is one of its operands, so the result is exact: it is
// what rounding the maximum of the numbers before they were rounded would give. What
// a maximum over NaN gives is not defined. Padding counts as −∞.
package bpool

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

const (
	pixelBytes = 32 // of 16 channels
	minusInf   = 0xff80
	// maxKernel bounds a window's sides, and with them the tables of taps.
	maxKernel = 32
	// chunkTaps is how many taps a chunk should have at least: some microseconds'.
	chunkTaps = 1 << 14
	// callTaps bounds those of one call, which can't be preempted.
	callTaps = 1 << 16
)

// Supports reports whether there is a plan for such windows.
func Supports(h, w window.Dim) bool { return max(h.Kernel, w.Kernel) <= maxKernel }

// Plan is a pooling prepared for one input size and level.
type Plan struct {
	kern   *mma.Kernels
	blocks int // of an image
	h, w   window.Dim
	// taps[n] is where the taps of windows of n columns are, in bytes from the first,
	// row by row; fewer rows are its beginning.
	taps       [][]int
	first, end int // columns [first, end) of outputs have all taps of a row
}

// New prepares the pooling of images of so many blocks of channels. At levels
// without tiles it is computed by portable twins, for tests.
func New(blocks int, h, w window.Dim, level cpu.Target) *Plan {
	pl := &Plan{kern: mma.For(level), blocks: blocks, h: h, w: w, taps: make([][]int, w.Kernel+1)}
	for n := range pl.taps {
		for y := range h.Kernel {
			for x := range n {
				pl.taps[n] = append(pl.taps[n], (y*h.Dilation*w.In+x*w.Dilation)*pixelBytes)
			}
		}
	}
	pl.first = min(tiling.Ceil(w.Begin, w.Stride), w.Out)
	pl.end = pl.first
	if room := w.In + w.Begin - (w.Kernel-1)*w.Dilation - 1; room >= 0 {
		pl.end = max(pl.first, min(room/w.Stride+1, w.Out))
	}
	return pl
}

// InSize is the bytes of an input of n images.
func (pl *Plan) InSize(n int) int { return n * pl.blocks * pl.h.In * pl.w.In * pixelBytes }

// OutSize is the bytes of an output of n images.
func (pl *Plan) OutSize(n int) int { return n * pl.blocks * pl.h.Out * pl.w.Out * pixelBytes }

// Runner runs a plan, one run at a time.
type Runner struct {
	plan         *Plan
	in, out      []byte
	rows, chunks int // of all planes
}

// NewRunner makes a runner for one session.
func (pl *Plan) NewRunner() *Runner { return &Runner{plan: pl} }

// Run pools n images on the threads of p.
func (r *Runner) Run(p *pool.Pool, n int, in, out []byte) error {
	pl := r.plan
	if len(in) != pl.InSize(n) || len(out) != pl.OutSize(n) {
		return fmt.Errorf("bpool: input of %d and output of %d bytes, expected %d and %d for %d images of %d blocks, %d×%d→%d×%d",
			len(in), len(out), pl.InSize(n), pl.OutSize(n), n, pl.blocks, pl.h.In, pl.w.In, pl.h.Out, pl.w.Out)
	}
	r.in, r.out = in, out
	r.rows = n * pl.blocks * pl.h.Out
	taps := r.rows * pl.w.Out * pl.h.Kernel * pl.w.Kernel
	r.chunks = max(1, min(8*p.Threads(), r.rows, taps/chunkTaps))
	if r.rows > 0 {
		p.RunFromEnds(r.chunks, r)
	}
	r.in, r.out = nil, nil
	return nil
}

// Do computes chunk i: some rows.
func (r *Runner) Do(i int) {
	for row := i * r.rows / r.chunks; row < (i+1)*r.rows/r.chunks; row++ {
		r.row(row)
	}
}

// row computes a row of outputs of one plane.
func (r *Runner) row(row int) {
	pl := r.plan
	plane, y := row/pl.h.Out, row%pl.h.Out
	dst := r.out[row*pl.w.Out*pixelBytes:][:pl.w.Out*pixelBytes]
	src := r.in[plane*pl.h.In*pl.w.In*pixelBytes:][:pl.h.In*pl.w.In*pixelBytes]
	for x := range pl.first {
		pl.windows(dst, src, y, x, 1)
	}
	most := max(1, callTaps/(pl.h.Kernel*pl.w.Kernel))
	for x := pl.first; x < pl.end; x += most {
		pl.windows(dst, src, y, x, min(most, pl.end-x))
	}
	for x := pl.end; x < pl.w.Out; x++ {
		pl.windows(dst, src, y, x, 1)
	}
}

// windows computes n windows of row y from column x on, which have the same taps.
func (pl *Plan) windows(dst, src []byte, y, x, n int) {
	dst = dst[x*pixelBytes:][:n*pixelBytes]
	row, rows := inside(pl.h, y)
	col, cols := inside(pl.w, x)
	if rows*cols == 0 {
		for i := 0; i < len(dst); i += 2 {
			binary.LittleEndian.PutUint16(dst[i:], minusInf)
		}
		return
	}
	at := src[(row*pl.w.In+col)*pixelBytes:]
	pl.kern.Maximum(unsafe.Pointer(&dst[0]), unsafe.Pointer(&at[0]), pl.taps[cols][:rows*cols], n, pl.w.Stride*pixelBytes)
}

// inside is the first tap of window i that is no padding, and their number.
func inside(d window.Dim, i int) (first, n int) {
	start := i*d.Stride - d.Begin
	skip := tiling.Ceil(max(-start, 0), d.Dilation)
	n = min(d.Kernel, tiling.Ceil(max(d.In-start, 0), d.Dilation)) - skip
	return start + skip*d.Dilation, max(n, 0)
}
