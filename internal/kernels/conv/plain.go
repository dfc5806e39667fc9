package conv

import "github.com/salver-ml/salver/internal/kernels/window"

// scratchBytes is the size of the blocked piece that a thread computes before
// it writes plain output: it stays in a first-level cache.
const scratchBytes = 32 << 10

// ScratchSize is the number of floats of scratch for runs on up to the given
// number of threads.
func (pl *Plan) ScratchSize(threads int) int {
	switch pl.algorithm {
	case Plain:
		return threads * pl.scratchPerThread()
	case Winograd:
		return pl.winogradScratchSize(threads)
	}
	return 0
}

// scratchPerThread holds pieceRows rows of the largest run of output blocks.
func (pl *Plan) scratchPerThread() int {
	most := 0
	for _, g := range pl.groupsOf {
		most = max(most, g.n)
	}
	rows, cols := pl.piece(most)
	return most * rows * cols * pl.block
}

// piece is the number of rows and columns of a scratch piece of nb blocks.
func (pl *Plan) piece(nb int) (rows, cols int) {
	g := &pl.grid
	px := max(scratchBytes/(nb*pl.block*4), pl.longestTile())
	if px < g.W.Out {
		return 1, px
	}
	return min(px/g.W.Out, g.H.Out), g.W.Out
}

// setSlots prepares one piece of scratch per thread.
func (r *Runner) setSlots(threads int) {
	if r.plan.algorithm != Plain || len(r.slots) == threads {
		return
	}
	r.slots = make(chan int, threads)
	for i := range threads {
		r.slots <- i
	}
}

// plain computes a chunk piece by piece: blocked into scratch, then plain into
// the output.
func (r *Runner) plain(t *window.Tile, c window.Chunk) {
	pl := r.plan
	slot := <-r.slots
	defer func() { r.slots <- slot }()
	per := pl.scratchPerThread()
	scratch := r.op.Scratch[slot*per : (slot+1)*per]
	rows, cols := pl.piece(pl.groupsOf[c.Group].n)
	for r0 := c.Area.R0; r0 < c.Area.R1; r0 += rows {
		for c0 := c.Area.C0; c0 < c.Area.C1; c0 += cols {
			a := window.Area{R0: r0, R1: min(r0+rows, c.Area.R1), C0: c0, C1: min(c0+cols, c.Area.C1)}
			r.plainPiece(t, c, a, scratch)
		}
	}
}

// plainPiece sums the kernel's depths in order, each on top of the last.
func (r *Runner) plainPiece(t *window.Tile, c window.Chunk, a window.Area, scratch []float32) {
	pl := r.plan
	g := pl.groupsOf[c.Group]
	grid := pl.grid
	grid.OutPx = pl.block * 4
	grid.OutRow = (a.C1 - a.C0) * grid.OutPx
	piece := (a.R1 - a.R0) * grid.OutRow
	clamp := t.Clamp
	pl.setBlocks(t, g, r.op.Weights)
	t.OutBlock = piece
	k0, k1 := pl.depth.Taps(c.Depth)
	plane := grid.H.In * grid.InRow
	image := (c.Image*pl.p.Groups + g.group) * pl.inBlocks * t.InBlock
	p := window.Planes{Out: window.At(scratch, 0)}
	in := image + pl.depth.First(c.Depth)*plane
	if k0 == k1 { // wholly in the padding: the bias alone
		t.Blocks, k0, k1, in = 0, 0, 1, image
	}
	for k := k0; k < k1; k++ {
		p.In = window.At(r.op.In, in+k*pl.depth.Dilation*plane*min(t.Blocks, 1))
		p.Weights = window.At(r.op.Weights, pl.packed.biasFloats*4+g.first*pl.weightsOut+k*pl.inBlocks*grid.H.Kernel*grid.TapRow)
		t.Clamp = 0
		if k == k1-1 && !pl.p.Residual {
			t.Clamp = clamp
		}
		grid.Sweep(t, pl.set.tiles[g.n], a, p)
		t.Bias = window.At(zeroBias[:], 0)
		p.Residual = p.Out
	}
	t.Clamp = clamp
	for j := range g.n {
		r.writePlain(c, g, g.first+j, a, scratch[j*piece/4:][:piece/4])
	}
}

var zeroBias [64]float32

// writePlain writes a piece of one output block into the plain output, with
// the residual and what is left of the activation.
func (r *Runner) writePlain(c window.Chunk, g blockGroup, block int, a window.Area, piece []float32) {
	pl := r.plan
	perGroup := pl.p.Out / pl.p.Groups
	first := (block - g.group*pl.outBlocks) * pl.block // channel in the group
	d, h, w := pl.places[0], pl.places[1], pl.places[2]
	cols := a.C1 - a.C0
	for l := range min(pl.block, perGroup-first) {
		channel := c.Image*pl.p.Out + g.group*perGroup + first + l
		plane := (channel*d.size + d.first + c.Depth*d.step) * h.size
		for y := a.R0; y < a.R1; y++ {
			at := (plane+h.first+y*h.step)*w.size + w.first + a.C0*w.step
			r.writeRow(at, w.step, cols, piece[(y-a.R0)*cols*pl.block+l:])
		}
	}
}

// writeRow writes every block-th number of piece to n places of the output,
// step apart.
func (r *Runner) writeRow(at, step, n int, piece []float32) {
	pl := r.plan
	out := r.op.Out[at : at+(n-1)*step+1]
	if !pl.p.Residual && !pl.p.Act.after() {
		for j := range n {
			out[j*step] = piece[j*pl.block]
		}
		return
	}
	for j := range n {
		v := piece[j*pl.block]
		if pl.p.Residual {
			v += r.op.Residual[at+j*step]
		}
		out[j*step] = pl.p.Act.Apply(v)
	}
}
