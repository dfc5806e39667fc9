package bdepth

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/amx"
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

// slotBytes is a ring and a row of zeros, a row of sums, and where the taps are.
func (pl *Plan) slotBytes() int {
	return tiling.Align(((pl.ring+1)*pl.cols+pl.W.Out)*4*Block+8*pl.taps, lineBytes)
}

// Runner runs a plan, one run at a time.
type Runner struct {
	plan   *Plan
	op     Operands
	memory []byte
	slots  tiling.Slots
	spaces []amx.Depthwise
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
		r.spaces = make([]amx.Depthwise, n)
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
	r.spaces[slot] = amx.Depthwise{} // memory that may be unmapped must not stay referenced
	r.slots.Give(slot)
}

// band computes a band of a plane.
func (r *Runner) band(d *amx.Depthwise, memory []byte, plane, band int) {
	pl := r.plan
	ring := floats(memory)[:(pl.ring+1)*pl.cols*Block]
	sums := floats(memory)[len(ring):][:pl.W.Out*Block]
	taps := unsafe.Slice((*int)(unsafe.Pointer(&memory[4*(len(ring)+len(sums))])), pl.taps)
	clear(ring[pl.ring*pl.cols*Block:])
	weights := floats(r.op.Packed)[plane%pl.blocks*pl.blockFloats():][:pl.blockFloats()]
	*d = amx.Depthwise{Bias: unsafe.Pointer(&weights[0]), Weights: unsafe.Pointer(&weights[Block]), Src: unsafe.Pointer(&ring[0]), Taps: unsafe.Pointer(&taps[0]),
		Count: pl.taps, N: pl.W.Out, Step: pl.W.Stride * 4 * Block, Lo: pl.Lo, Hi: pl.Hi, BF16: pl.OutBF16 && pl.After == nil}
	outRow := pl.W.Out * Block * pl.outSize
	next := 0 // the first row of the input that is not in the ring
	for y := band * pl.H.Out / r.bands; y < (band+1)*pl.H.Out/r.bands; y++ {
		top := y*pl.H.Stride - pl.H.Begin
		for next = max(next, top, 0); next < min(top+pl.ring, pl.H.In); next++ {
			r.widen(ring[next%pl.ring*pl.cols*Block:][:pl.cols*Block], plane, next)
		}
		pl.setTaps(taps, top)
		out := r.op.Out[(plane*pl.H.Out+y)*outRow:][:outRow]
		if pl.After == nil {
			d.Dst = unsafe.Pointer(&out[0])
			pl.kern.Depthwise(d)
			continue
		}
		d.Dst = unsafe.Pointer(&sums[0])
		pl.kern.Depthwise(d)
		pl.After(sums)
		pl.store(out, sums)
	}
}

// setTaps finds the taps of a row of outputs whose first row of inputs is top. Rows in
// the padding are the one after the ring, which is zeros.
func (pl *Plan) setTaps(taps []int, top int) {
	for kh := range pl.H.Kernel {
		row := top + kh*pl.H.Dilation
		slot := pl.ring
		if row >= 0 && row < pl.H.In {
			slot = row % pl.ring
		}
		for kw := range pl.W.Kernel {
			taps[kh*pl.W.Kernel+kw] = (slot*pl.cols + kw*pl.W.Dilation) * 4 * Block
		}
	}
}

// widen converts a row of a plane, with its borders.
func (r *Runner) widen(dst []float32, plane, y int) {
	pl := r.plan
	left := min(pl.W.Begin, pl.cols)
	n := max(0, min(pl.W.In, pl.cols-left))
	clear(dst[:left*Block])
	clear(dst[(left+n)*Block:])
	src := r.op.In[(plane*pl.H.In+y)*pl.W.In*Block*pl.inSize:][:n*Block*pl.inSize]
	if pl.InBF16 {
		pl.kern.Widen(dst[left*Block:], numbers(src))
	} else {
		copy(dst[left*Block:], floats(src))
	}
}

// store writes a row of results.
func (pl *Plan) store(out []byte, sums []float32) {
	if pl.OutBF16 {
		pl.kern.Round(numbers(out), sums)
	} else {
		copy(floats(out), sums)
	}
}
