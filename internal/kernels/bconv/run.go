package bconv

import (
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// Operands are the buffers of one run. Out may be the same slice as Residual;
// otherwise it overlaps nothing.
type Operands struct {
	N        int
	In       []byte // InSize(N)
	Packed   []byte // PackedSize()
	Residual []byte // ResidualSize(N)
	Out      []byte // OutSize(N)
	Scratch  []byte // ScratchSize(threads)
}

// InSize is the bytes of an input of n images.
func (pl *Plan) InSize(n int) int {
	channels := pl.inBlocks * Block
	if pl.Plain {
		channels = pl.In
	}
	return n * channels * pl.H.In * pl.W.In * pl.inSize
}

// OutSize is the bytes of the output.
func (pl *Plan) OutSize(n int) int { return n * pl.outputs() * pl.outSize }

// ResidualSize is the bytes of the residual, 0 where there is none.
func (pl *Plan) ResidualSize(n int) int {
	if !pl.Residual {
		return 0
	}
	return n * pl.outputs() * pl.residualSize
}

// outputs is the numbers of an output of one image.
func (pl *Plan) outputs() int {
	return pl.outBlocks * pl.Places[0].Size * pl.Places[1].Size * Block
}

// ScratchSize is the bytes of working memory of a run, for any number of images.
func (pl *Plan) ScratchSize(threads int) int {
	most := 0
	for n := 1; n <= 4*threads; n++ { // from there on a run is divided alike
		c := pl.newCut(n, threads)
		most = max(most, c.bytes)
	}
	return most
}

// Runner runs a plan, one run at a time, without allocation once it has seen the
// largest number of threads.
type Runner struct {
	plan   *Plan
	cut    cut
	last   band // of an image, which may have fewer rows
	slots  tiling.Slots
	spaces []workspace
	memory []byte
	op     Operands
	image  int // shared: the one in progress
}

// NewRunner makes a runner for one session.
func (pl *Plan) NewRunner() *Runner { return &Runner{plan: pl} }

// Run computes op on the threads of p.
func (r *Runner) Run(p *pool.Pool, op Operands) error {
	pl := r.plan
	if op.N == 0 {
		return nil
	}
	if r.cut.images != op.N || r.cut.threads != p.Threads() {
		r.cut = pl.newCut(op.N, p.Threads())
		r.last = pl.newBand(pl.H.Out - (r.cut.bands-1)*r.cut.band.rows)
		r.last.tabulate(pl)
		r.spaces = make([]workspace, r.cut.slots)
	}
	if err := r.check(op); err != nil {
		return err
	}
	r.op = op
	r.memory = op.Scratch[int(-uintptr(unsafe.Pointer(unsafe.SliceData(op.Scratch)))&(lineBytes-1)):]
	r.slots.Reset(r.cut.slots)
	if !r.cut.shared {
		p.RunFromEnds(r.cut.chunks(), (*bandTask)(r))
	} else {
		for r.image = range op.N {
			p.RunFromEnds(r.cut.rounds, (*roundTask)(r))
			p.RunFromEnds(r.cut.chunks(), (*partTask)(r))
		}
	}
	r.op, r.memory = Operands{}, nil
	return nil
}

func (r *Runner) check(op Operands) error {
	pl := r.plan
	for _, b := range []struct {
		name      string
		got, want int
	}{
		{"input", len(op.In), pl.InSize(op.N)}, {"packed weights", len(op.Packed), pl.PackedSize()},
		{"residual", len(op.Residual), pl.ResidualSize(op.N)}, {"output", len(op.Out), pl.OutSize(op.N)},
	} {
		if b.got != b.want {
			return fmt.Errorf("bconv: %s has %d bytes, expected %d for %d images of %d→%d channels, %d×%d→%d×%d",
				b.name, b.got, b.want, op.N, pl.In, pl.Out, pl.H.In, pl.W.In, pl.H.Out, pl.W.Out)
		}
	}
	if len(op.Scratch) < r.cut.bytes {
		return fmt.Errorf("bconv: scratch has %d bytes, expected %d", len(op.Scratch), r.cut.bytes)
	}
	return nil
}

// A workspace is what a chunk needs.
type workspace struct {
	conv   mma.Conv
	block  mma.Block
	pixels mma.Pixels
	sums   []byte
	input  []byte // rounded

	_ [128]byte // no false sharing with the next
}

// bandTask is a Runner that computes bands.
type bandTask Runner

// Do computes band i.
func (t *bandTask) Do(i int) {
	r := (*Runner)(t)
	c := &r.cut
	slot := r.slots.Take()
	w := &r.spaces[slot]
	s := r.memory[slot*c.slotBytes:][:c.slotBytes]
	w.input, w.sums = s[:c.band.bytes], s[c.sumsOff:]
	image, n := i/c.bands, i%c.bands
	b := &c.band
	if n == c.bands-1 {
		b = &r.last
	}
	row := n * c.band.rows
	r.round(w.input, b, image, row, 0, r.plan.units(b))
	r.compute(w, b, image, row, r.plan.whole(b))
	*w = workspace{} // memory that may be unmapped must not stay referenced
	r.slots.Give(slot)
}

// roundTask is a Runner that rounds an image.
type roundTask Runner

// Do rounds part i.
func (t *roundTask) Do(i int) {
	r := (*Runner)(t)
	n := r.plan.units(&r.cut.band)
	r.round(r.memory[:r.cut.band.bytes], &r.cut.band, r.image, 0, i*n/r.cut.rounds, (i+1)*n/r.cut.rounds)
}

// partTask is a Runner that computes parts of an image.
type partTask Runner

// Do computes part i.
func (t *partTask) Do(i int) {
	r := (*Runner)(t)
	c := &r.cut
	slot := r.slots.Take()
	w := &r.spaces[slot]
	w.input, w.sums = r.memory[:c.band.bytes], r.memory[c.sumsOff+slot*c.slotBytes:][:c.slotBytes]
	r.compute(w, &c.band, r.image, 0, c.part(r.plan, i))
	*w = workspace{}
	r.slots.Give(slot)
}

// compute computes an area of a band whose first row of outputs is row.
func (r *Runner) compute(w *workspace, b *band, image, row int, a area) {
	if r.plan.atOnce() {
		r.convolve(w, b, image, row, a)
		return
	}
	if r.cut.byTiles {
		for t := a.tile; t < a.tileEnd; {
			n := r.cut.inCall(b, t, a.tileEnd)
			for p := a.panel; p < a.panelEnd; p += r.cut.group {
				r.tile(w, b, image, row, t, n, p, min(p+r.cut.group, a.panelEnd))
			}
			t += n
		}
		return
	}
	for p := a.panel; p < a.panelEnd; p += r.cut.group {
		end := min(p+r.cut.group, a.panelEnd)
		next := r.panels(end, min(end+r.cut.group, a.panelEnd))
		for t := a.tile; t < a.tileEnd; {
			n := r.cut.inCall(b, t, a.tileEnd)
			next = w.block.Fetch(next, r.plan.steps*(end-p)*n, a.tileEnd-a.tile)
			r.tile(w, b, image, row, t, n, p, end)
			t += n
		}
	}
}

// inCall is how many tiles from t on a call computes: whole ones, or the last, which has fewer rows.
func (c *cut) inCall(b *band, t, end int) int {
	whole := b.run/mma.Rows - t
	return max(1, min(c.tall, whole, end-t))
}

// panels is the memory of packed panels [from, to).
func (r *Runner) panels(from, to int) []byte {
	pl := r.plan
	return r.op.Packed[pl.biasBytes()+from*pl.panelBytes() : pl.biasBytes()+to*pl.panelBytes()]
}

// tile computes n tiles of outputs, the first of which is number t, of some panels.
func (r *Runner) tile(w *workspace, b *band, image, row, t, n, from, to int) {
	pl, x := r.plan, &w.block
	first := t * mma.Rows
	end := min(first+n*mma.Rows, b.run)
	x.Configure(pl.configs, min(mma.Rows, end-first))
	x.Tiles, x.TileA, x.TileC = n, mma.Rows*b.rowStep, panelSums
	x.A, x.LDA = unsafe.Pointer(&w.input[pl.input(b, from)+first*b.rowStep]), b.rowStep
	x.B = unsafe.Pointer(&r.op.Packed[pl.biasBytes()+from*pl.panelBytes()])
	x.C, x.LDC, x.PanelC = unsafe.Pointer(&w.sums[0]), 4*mma.Cols, n*panelSums
	x.Panels = to - from
	x.Narrow = 0
	if to == pl.panels {
		x.Narrow = pl.outBlocks % 2
	}
	y, col := first/b.width, first%b.width
	r.ahead(x, image, row+y, col, from)
	pl.kern.At(x, b.offsets)
	// Pieces of the run that are outputs of one row each.
	for at := 0; at < end-first; y, col = y+1, 0 {
		n := min(end-first-at, b.width-col)
		if outputs := min(n, b.outputs-col); outputs > 0 {
			r.finish(w, image, row+y, col, at, outputs, from, to)
		}
		at += n
	}
}

// ahead makes a call fetch the places of its outputs, and the residual there, while
// tiles multiply.
func (r *Runner) ahead(x *mma.Block, image, y, col, panel int) {
	pl := r.plan
	x.AheadRuns = 0
	if !pl.fetches {
		return
	}
	ph, pw := &pl.Places[0], &pl.Places[1]
	step := pw.Step * Block * pl.outSize // from pixel to pixel
	x.AheadRuns = mma.Rows * step / mma.NextRun
	plane := ph.Size * pw.Size
	first := (image*pl.outBlocks+2*panel)*plane + r.pixel(y, col)
	for half := range 2 {
		x.Ahead[half], x.Ahead[2+half] = mma.Ahead{}, mma.Ahead{}
		if 2*panel+half >= pl.outBlocks {
			continue
		}
		x.Ahead[half] = fetch(r.op.Out, first+half*plane, plane, pl.outSize, x)
		if pl.Residual {
			x.Ahead[2+half] = fetch(r.op.Residual, first+half*plane, plane, pl.residualSize, x)
		}
	}
}

// fetch is the fetching of a block of each panel from a pixel on.
func fetch(b []byte, pixel, plane, size int, x *mma.Block) mma.Ahead {
	size *= Block
	return mma.Ahead{From: uintptr(unsafe.Pointer(&b[pixel*size])), Skip: 2*plane*size - x.Tiles*x.AheadRuns*mma.NextRun}
}

// pixel is the place of an output in its plane.
func (r *Runner) pixel(y, x int) int {
	ph, pw := &r.plan.Places[0], &r.plan.Places[1]
	return (ph.First+y*ph.Step)*pw.Size + pw.First + x*pw.Step
}

// finish brings n sums of each panel, from number at, to their places in row y of
// outputs, from column x.
func (r *Runner) finish(w *workspace, image, y, x, at, n, from, to int) {
	pl := r.plan
	ph, pw := &pl.Places[0], &pl.Places[1]
	pixel := r.pixel(y, x)
	for p := from; p < to; p++ {
		f := &w.pixels
		*f = mma.Pixels{Rows: n, Lo: pl.Lo, Hi: pl.Hi, Mask: 1<<(2*Block) - 1, Silu: pl.Silu}
		plane := ph.Size * pw.Size
		first := (image*pl.outBlocks+2*p)*plane + pixel
		if 2*p+1 == pl.outBlocks { // there is no second block to go to
			f.Mask, plane = 1<<Block-1, 0
		}
		sums := w.sums[(p-from)*w.block.PanelC+at*4*mma.Cols:][:n*4*mma.Cols]
		f.Src = unsafe.Pointer(&sums[0])
		f.Bias = unsafe.Pointer(&r.op.Packed[p*4*mma.Cols])
		if pl.Residual && !pl.ResidualLast {
			r.addResidual(f, first, plane)
		}
		if pl.After != nil || pl.ResidualLast && !pl.Silu { // where they lie, one after the other
			f.Dst, f.LDC, f.HalfC = f.Src, 4*bits.OnesCount64(f.Mask), 4*Block
			pl.kern.Pixels(f)
			if pl.After != nil {
				pl.After(floats(sums[:n*f.LDC]))
			}
			*f = mma.Pixels{Rows: n, Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1)), LDS: f.LDC, Mask: f.Mask, Src: f.Src}
		}
		if pl.ResidualLast {
			r.addResidual(f, first, plane)
		}
		size := Block * pl.outSize
		f.Dst = unsafe.Pointer(&r.op.Out[first*size])
		f.LDC, f.HalfC, f.BF16 = pw.Step*size, plane*size, pl.OutBF16
		pl.kern.Pixels(f)
	}
}

// addResidual makes f add the residual from a pixel on, in blocks so many pixels apart.
func (r *Runner) addResidual(f *mma.Pixels, pixel, plane int) {
	pl := r.plan
	size := Block * pl.residualSize
	f.Residual = unsafe.Pointer(&r.op.Residual[pixel*size])
	f.LDR, f.HalfR, f.ResidualBF16 = pl.Places[1].Step*size, plane*size, pl.ResidualBF16
}
