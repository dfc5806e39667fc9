package bdepth

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// Operands are the buffers of one run, which do not overlap.
type Operands struct {
	N       int
	In      []byte // InSize(N)
	Packed  []byte // PackedSize()
	Out     []byte // OutSize(N)
	Scratch []byte // ScratchSize(threads)
}

// ScratchSize is the bytes of working memory of a run.
func (pl *Plan) ScratchSize(threads int) int { return slots(threads)*pl.slotBytes() + lineBytes }

const lineBytes = 64

func slots(threads int) int { return min(threads, tiling.MaxSlots) }

// slotBytes is widened rows and, where an activation follows, sums.
func (pl *Plan) slotBytes() int {
	pixels := pl.widened(pl.rows) * pl.cols
	if pl.After != nil {
		pixels += pl.rows * pl.width
	}
	return pixels * pixelBytes
}

// Runner runs a plan, one run at a time.
type Runner struct {
	plan   *Plan
	op     Operands
	memory []byte
	slots  tiling.Slots
	spaces []mma.Depthwise
	bands  int // of a plane
	groups int // of planes
}

// NewRunner makes a runner for one session.
func (pl *Plan) NewRunner() *Runner { return &Runner{plan: pl} }

const (
	chunkTaps = 1 << 14 // of 16 channels, for which a chunk of its own pays
	// Networks have as many channels more, for each pixel of a plane, where their weights
	// are so much that threads divide these, and not the pixels.
	bandPixels = 7
)

// Run computes op on the threads of p.
func (r *Runner) Run(p *pool.Pool, op Operands) error {
	pl := r.plan
	for _, b := range []struct {
		name      string
		got, want int
	}{{"input", len(op.In), pl.InSize(op.N)}, {"packed weights", len(op.Packed), pl.PackedSize()}, {"output", len(op.Out), pl.OutSize(op.N)}} {
		if b.got != b.want {
			return fmt.Errorf("bdepth: %s has %d bytes, expected %d for %d images of %d channels, %d×%d→%d×%d",
				b.name, b.got, b.want, op.N, pl.Channels, pl.H.In, pl.W.In, pl.H.Out, pl.W.Out)
		}
	}
	if want := pl.ScratchSize(p.Threads()); len(op.Scratch) < want {
		return fmt.Errorf("bdepth: scratch has %d bytes, expected %d", len(op.Scratch), want)
	}
	if op.N == 0 {
		return nil
	}
	n := slots(p.Threads())
	if len(r.spaces) < n {
		r.spaces = make([]mma.Depthwise, n)
	}
	r.op = op
	r.memory = op.Scratch[int(-uintptr(unsafe.Pointer(unsafe.SliceData(op.Scratch)))&(lineBytes-1)):]
	r.slots.Reset(n)
	r.divide(p.Threads())
	p.RunFromEnds(r.bands*r.groups, r)
	r.op, r.memory = Operands{}, nil
	return nil
}

// divide cuts a run into groups of planes, and all planes of an image that is alone into
// bands where they are large: as convolutions of a single pixel before and after are
// cut, so that a thread finds what it reads in its own cache.
func (r *Runner) divide(threads int) {
	pl := r.plan
	planes, pixels := r.op.N*pl.blocks, pl.H.Out*pl.W.Out
	want := max(1, min(4*threads, planes*pixels*pl.taps/chunkTaps))
	r.bands = 1
	switch {
	case threads == 1:
		want = 1
	case want >= threads && r.op.N == 1 && pl.H.Out >= 4*threads && (pixels*bandPixels > pl.Channels || planes < threads):
		r.bands = threads
	}
	r.groups = min(max(1, want/r.bands), planes)
}

// Do computes chunk i: a band of some planes.
func (r *Runner) Do(i int) {
	pl := r.plan
	slot := r.slots.Take()
	memory := r.memory[slot*pl.slotBytes():][:pl.slotBytes()]
	planes := r.op.N * pl.blocks
	band, group := i/r.groups, i%r.groups
	for plane := group * planes / r.groups; plane < (group+1)*planes/r.groups; plane++ {
		r.band(&r.spaces[slot], memory, plane, band)
	}
	r.spaces[slot] = mma.Depthwise{} // memory that may be unmapped must not stay referenced
	r.slots.Give(slot)
}

// band computes a band of a plane, piece by piece.
func (r *Runner) band(d *mma.Depthwise, memory []byte, plane, band int) {
	pl := r.plan
	wide := floats(memory)[:pl.widened(pl.rows)*pl.cols*Block]
	sums := floats(memory)[len(wide):]
	weights := floats(r.op.Packed)[plane%pl.blocks*pl.blockFloats():][:pl.blockFloats()]
	*d = mma.Depthwise{Bias: unsafe.Pointer(&weights[0]), Weights: unsafe.Pointer(&weights[Block]), Src: unsafe.Pointer(&wide[0]), Taps: unsafe.Pointer(&pl.offsets[0]),
		Count: pl.taps, Step: pl.W.Stride * pixelBytes, RowStep: pl.H.Stride * pl.cols * pixelBytes, Lo: pl.Lo, Hi: pl.Hi, BF16: pl.OutBF16 && pl.After == nil}
	end := (band + 1) * pl.H.Out / r.bands
	for y := band * pl.H.Out / r.bands; y < end; y += pl.rows {
		d.Rows = min(pl.rows, end-y)
		for x := 0; x < pl.W.Out; x += pl.width {
			d.N = min(pl.width, pl.W.Out-x)
			r.widen(wide[:pl.widened(d.Rows)*pl.cols*Block], plane, y*pl.H.Stride-pl.H.Begin, x*pl.W.Stride-pl.W.Begin)
			out := r.op.Out[((plane*pl.H.Out+y)*pl.W.Out+x)*Block*pl.outSize:]
			if pl.After == nil {
				d.Dst, d.RowGap = unsafe.Pointer(&out[0]), (pl.W.Out-d.N)*Block*pl.outSize
				pl.kern.Depthwise(d)
				continue
			}
			sums := sums[:d.Rows*d.N*Block]
			d.Dst, d.RowGap = unsafe.Pointer(&sums[0]), 0
			pl.kern.Depthwise(d)
			pl.After(sums)
			for i := range d.Rows {
				pl.store(out[i*pl.W.Out*Block*pl.outSize:], sums[i*d.N*Block:][:d.N*Block])
			}
		}
	}
}

// widen converts the piece of a plane that begins at row y and column x; what is in the
// padding is zeros.
func (r *Runner) widen(dst []float32, plane, y, x int) {
	pl := r.plan
	row := pl.cols * Block
	first, rows := inside(pl.H.In, y, len(dst)/row)
	left, cols := inside(pl.W.In, x, pl.cols)
	clear(dst[:first*row])
	clear(dst[(first+rows)*row:])
	if rows == 0 {
		return
	}
	dst = dst[first*row:][:rows*row]
	if cols == 0 {
		clear(dst)
		return
	}
	src := r.op.In[((plane*pl.H.In+y+first)*pl.W.In+x+left)*Block*pl.inSize:]
	if pl.InBF16 {
		pl.kern.Widen(dst, numbers(src), left, cols, pl.cols-left-cols, rows, pl.W.In*Block)
		return
	}
	clear(dst)
	for i := range rows {
		copy(dst[i*row+left*Block:][:cols*Block], floats(src)[i*pl.W.In*Block:])
	}
}

// inside is which of n rows from a row on, or columns, are of an image of a size: so many
// after the first.
func inside(size, from, n int) (first, count int) {
	first = min(max(-from, 0), n)
	return first, max(0, min(n, size-from)-first)
}

// store writes a row of results.
func (pl *Plan) store(out []byte, sums []float32) {
	if pl.OutBF16 {
		pl.kern.Round(numbers(out[:2*len(sums)]), sums)
	} else {
		copy(floats(out), sums)
	}
}
