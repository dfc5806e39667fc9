package conv

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/bconv"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// Operands are the buffers of one run, in the plan's layouts. Out may be the
// same slice as Residual; otherwise it overlaps nothing.
type Operands struct {
	N        int       // images
	In       []float32 // InSize(N)
	Weights  []float32 // PackedSize()
	Residual []float32 // OutSize(N) where Params.Residual
	Out      []float32 // OutSize(N)
	Scratch  []float32 // ScratchSize(threads)
}

// Runner runs a plan, one run at a time; it holds the state of a run, so that
// nothing is allocated once it has seen the largest batch.
type Runner struct {
	plan  *Plan
	op    Operands
	cut   window.Cut
	tiles []window.Tile // one per chunk

	slots  chan int  // Plain, volumes of Winograd, and depthwise over copied rows: free pieces of scratch
	gather *Reorder  // Plain: with its own state
	source []float32 // Plain: what the kernels read
	image  int       // Plain, volumes: the first image of the chunks

	threads  int // of the run
	images   int // of a chunk, where tiles run along images
	channels int // depthwise: blocks of a chunk

	half *bconv.Runner

	planar *planarRun

	thin   *Runner
	copies thinner

	band    band      // Winograd
	patches []float32 // Winograd: patchFloats per chunk; of a volume, per thread

	packs packJob
}

// NewRunner makes a runner for one session.
func (pl *Plan) NewRunner() *Runner {
	r := &Runner{plan: pl}
	if pl.gather != nil {
		g := *pl.gather
		r.gather = &g
	}
	if pl.half != nil {
		r.half = pl.half.NewRunner()
	}
	if pl.planar != nil {
		r.planar = &planarRun{plan: pl}
	}
	if pl.thin != nil {
		r.thin = pl.thin.NewRunner()
	}
	return r
}

// Run computes op on the threads of p.
func (r *Runner) Run(p *pool.Pool, op Operands) error {
	if r.half != nil {
		return r.runHalf(p, op)
	}
	if err := r.plan.check(op, p.Threads()); err != nil {
		return err
	}
	if op.N == 0 {
		return nil
	}
	if r.thin != nil {
		return r.runThin(p, op)
	}
	if r.planar != nil {
		r.planar.run(p, op)
		return nil
	}
	r.op = op
	switch r.plan.algorithm {
	case Winograd:
		r.runWinograd(p)
	case WinogradVolume:
		r.runVolume(p)
	case Plain:
		r.runPlain(p)
	default:
		r.runChunks(p, op.N)
	}
	r.op, r.source = Operands{}, nil
	clear(r.tiles) // holds no buffer alive
	return nil
}

// runChunks computes some images chunk by chunk.
func (r *Runner) runChunks(p *pool.Pool, images int) {
	r.cut = window.NewCut(r.plan.work(images, p.Threads()))
	n := r.cut.Chunks()
	r.grow(n)
	r.threads, r.channels, r.images = p.Threads(), r.plan.chunkChannels(images, p.Threads()), r.plan.chunkImages(images)
	r.setSlots(p.Threads())
	p.RunFromEnds(n, r)
}

func (pl *Plan) check(op Operands, threads int) error {
	return pl.checkBuffers(op, pl.PackedSize(), pl.ScratchSize(threads))
}

// checkBuffers refuses buffers of other sizes.
func (pl *Plan) checkBuffers(op Operands, packed, scratch int) error {
	residual := 0
	if pl.p.Residual {
		residual = pl.OutSize(op.N)
	}
	for _, b := range []struct {
		name      string
		got, want int
	}{
		{"input", len(op.In), pl.InSize(op.N)}, {"packed weights", len(op.Weights), packed},
		{"residual", len(op.Residual), residual}, {"output", len(op.Out), pl.OutSize(op.N)},
	} {
		if b.got != b.want {
			return fmt.Errorf("conv: %s has %d floats, expected %d for %d images of %d→%d channels, %v→%v",
				b.name, b.got, b.want, op.N, pl.p.In, pl.p.Out, pl.in, pl.out)
		}
	}
	if len(op.Scratch) < scratch {
		return fmt.Errorf("conv: scratch has %d floats, the threads need %d", len(op.Scratch), scratch)
	}
	return nil
}

// Do computes chunk i.
func (r *Runner) Do(i int) {
	if r.plan.packed.winograd {
		r.doWinograd(i)
		return
	}
	t := &r.tiles[i]
	lo, hi, clamp := r.plan.p.Act.clamp()
	t.Lo, t.Hi = lo, hi
	if clamp {
		t.Clamp = 1
	}
	switch r.plan.algorithm {
	case Depthwise:
		r.depthwise(t, r.cut.At(i))
	case Plain:
		r.plain(t, r.cut.At(i))
	default:
		r.fetchNext(t, i)
		r.direct(t, r.cut.At(i))
	}
}

// fetchNext has a chunk fetch the weights of the one that its thread is likely to
// compute after it, coming from its end of the chunks, where these have not been read yet and both fit the second
// cache: layers of many channels and few pixels would wait for memory otherwise.
func (r *Runner) fetchNext(t *window.Tile, i int) {
	t.Next, t.NextEnd = 0, 0
	step := max(1, r.threads/2) // at each end
	if r.threads > 1 && i >= r.cut.Chunks()/2 {
		step = -step
	}
	later := i + step
	if later < 0 || later >= r.cut.Chunks() || !r.cut.First(later) {
		return
	}
	pl, next := r.plan, r.cut.At(later).Group
	g := pl.groupsOf[next]
	bytes := g.n * pl.weightsOut
	if next == r.cut.At(i).Group || 3*bytes > cpu.Cache().L2 {
		return
	}
	t.Next = uintptr(window.At(r.op.Weights, pl.packed.biasFloats*4+g.first*pl.weightsOut))
	t.NextEnd = t.Next + uintptr(bytes)
}

// direct computes a chunk of blocked output from blocked or plain input.
func (r *Runner) direct(t *window.Tile, c window.Chunk) {
	pl := r.plan
	g := pl.groupsOf[c.Group]
	first, _, _ := pl.inputs(g)
	image := c.Image * r.images
	images := min(r.images, r.op.N-image)
	perImage := pl.packed.allOut() * pl.outPlane
	out := image*perImage + g.first*pl.outPlane + pl.origin + pl.grid.Offset(c.Area)
	pl.setBlocks(t, g, r.op.Weights)
	t.OutBlock = pl.outPlane
	p := window.Planes{
		In:      window.At(r.op.In, (image*pl.imageBlocks()+first)*t.InBlock),
		Weights: window.At(r.op.Weights, pl.packed.biasFloats*4+g.first*pl.weightsOut),
		Out:     window.At(r.op.Out, out),
		Images:  images, ImageIn: pl.imageBlocks() * t.InBlock, ImageOut: perImage,
	}
	if pl.p.Residual {
		p.Residual = window.At(r.op.Residual, out)
	}
	if pl.packed.taps {
		r.sumTaps(t, g, c.Area, p)
	} else {
		r.sumBlocks(t, g, &pl.grid, c.Area, p, 0)
	}
	for i := range images {
		for j := range g.n {
			r.activate(out+i*perImage+j*pl.outPlane, c.Area)
		}
	}
}

// sumBlocks sweeps an area once per run of input blocks that one call can sum,
// and finishes the outputs with the last. Sums that wait in the output would
// overwrite a residual that is the same buffer, so there one call does all. With partial 1 the output holds sums to go on from.
func (r *Runner) sumBlocks(t *window.Tile, g blockGroup, grid *window.Grid, a window.Area, p window.Planes, partial int) {
	pl := r.plan
	kernels := pl.set.tiles[g.n]
	clamp, residual := t.Clamp, p.Residual
	in, weights := p.In, p.Weights
	perBlock := grid.H.Kernel * grid.TapRow
	_, count, last := pl.inputs(g)
	run := pl.blockRun
	if residual == p.Out {
		run = count
	}
	for at := 0; at < count; at += run {
		t.Blocks = min(run, count-at)
		t.Partial, t.Clamp, p.Residual = min(at+partial, 1), 0, nil
		t.LastCI = 0
		if at+t.Blocks == count {
			t.Clamp, p.Residual, t.LastCI = clamp, residual, last
		}
		p.In, p.Weights = unsafe.Add(in, at*t.InBlock), unsafe.Add(weights, at*perBlock)
		grid.Sweep(t, kernels, a, p)
	}
	t.Partial = 0
}

// setBlocks sets the loops over blocks.
func (pl *Plan) setBlocks(t *window.Tile, g blockGroup, weights []float32) {
	t.Blocks = pl.inBlocks
	_, _, t.LastCI = pl.inputs(g)
	t.LastSkip = (pl.block - t.LastCI) * pl.block * 4
	t.InBlock = pl.grid.H.In * pl.grid.InRow * pl.depth.In
	t.WeightsOut = pl.weightsOut
	t.Bias = window.At(weights, g.first*pl.block*4)
}

// depthwise computes a chunk of some channel blocks.
func (r *Runner) depthwise(t *window.Tile, c window.Chunk) {
	pl := r.plan
	first := c.Group * r.channels
	t.Blocks = 1
	t.Channels = min(r.channels, pl.packed.outBlocks-first)
	t.InBlock, t.OutBlock, t.WeightsOut = pl.grid.H.In*pl.grid.InRow*pl.depth.In, pl.outPlane*pl.places[0].size, pl.weightsOut
	t.Bias = window.At(r.op.Weights, first*pl.block*4)
	plane := c.Image*pl.packed.outBlocks + first
	out := plane*t.OutBlock + c.Depth*pl.outPlane + pl.origin + pl.grid.Offset(c.Area)
	p := window.Planes{
		In:      window.At(r.op.In, plane*t.InBlock),
		Weights: window.At(r.op.Weights, pl.packed.biasFloats*4+first*pl.weightsOut),
		Out:     window.At(r.op.Out, out),
	}
	if pl.p.Residual {
		p.Residual = window.At(r.op.Residual, out)
	}
	channels := t.Channels
	switch {
	case len(pl.p.Kernel) == 3:
		pl.depthwiseVolume(t, c, p)
	case pl.padded != nil:
		slot := <-r.slots
		per := pl.scratchPerThread()
		scratch := r.op.Scratch[slot*per:][:per]
		g := r.copied(t, c.Area, plane*t.InBlock, scratch)
		p.In = window.At(scratch, 0)
		g.Sweep(t, pl.set.depthwise, c.Area, p)
		r.slots <- slot
	default:
		pl.grid.Sweep(t, pl.set.depthwise, c.Area, p)
	}
	for j := range channels {
		r.activate(out+j*t.OutBlock, c.Area)
	}
}

// depthwiseVolume sums the kernel's depths in order, each on top of the last, a block
// of channels after the other.
func (pl *Plan) depthwiseVolume(t *window.Tile, c window.Chunk, all window.Planes) {
	plane := pl.grid.H.In * pl.grid.InRow
	bias, clamp, channels := t.Bias, t.Clamp, t.Channels
	t.Channels = 1
	k0, k1 := pl.depth.Taps(c.Depth)
	in := pl.depth.First(c.Depth) * plane
	if k0 == k1 { // wholly in the padding: the bias alone
		t.Blocks, k0, k1, in = 0, 0, 1, 0
	}
	for j := range channels {
		t.Bias = unsafe.Add(bias, j*pl.block*4)
		p := window.Planes{Out: unsafe.Add(all.Out, j*t.OutBlock)}
		for k := k0; k < k1; k++ {
			p.In = unsafe.Add(all.In, j*t.InBlock+in+k*pl.depth.Dilation*plane*t.Blocks)
			p.Weights = unsafe.Add(all.Weights, j*t.WeightsOut+k*pl.grid.H.Kernel*pl.grid.TapRow)
			t.Clamp = 0
			if k == k1-1 {
				t.Clamp = clamp
			}
			pl.grid.Sweep(t, pl.set.depthwise, c.Area, p)
			t.Bias, p.Residual = window.At(zeroBias[:], 0), p.Out
		}
	}
}

// activate finishes the chunk's area of one output block, which is out bytes
// into the output, while it is in the cache.
func (r *Runner) activate(out int, a window.Area) {
	act, g := r.plan.p.Act, &r.plan.grid
	if !act.after() {
		return
	}
	n := ((a.R1-a.R0-1)*g.OutRow + (a.C1-a.C0)*g.OutPx) / 4
	r.plan.set.activate(act.Kind, act.Alpha, r.op.Out[out/4:][:n])
}
