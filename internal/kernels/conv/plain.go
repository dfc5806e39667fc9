package conv

import (
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// scratchBytes is the size of the blocked piece that a thread computes before
// it writes plain output: it stays in a first-level cache.
const scratchBytes = 32 << 10

// ScratchSize is the number of floats of scratch for runs on up to the given
// number of threads.
func (pl *Plan) ScratchSize(threads int) int {
	if pl.half != nil {
		return (pl.half.ScratchSize(threads) + 3) / 4
	}
	if pl.thin != nil {
		return pl.thinImages() * pl.thin.InSize(1)
	}
	if pl.planar != nil {
		return threads * pl.planar.scratchPerThread()
	}
	switch pl.algorithm {
	case Depthwise:
		return threads * pl.scratchPerThread()
	case Plain:
		return pl.gatheredSize() + threads*pl.scratchPerThread()
	case Winograd:
		return pl.winogradScratchSize(threads)
	case WinogradVolume:
		return pl.volumeScratch(threads)
	}
	return 0
}

// gatheredSize is the number of floats of an image's input in blocks.
func (pl *Plan) gatheredSize() int {
	if pl.gather == nil {
		return 0
	}
	return BlockedLen(pl.p.Groups, pl.p.In/pl.p.Groups, product(pl.in), pl.block)
}

// scratchPerThread holds a piece of any run of output blocks; of a depthwise
// plan the copied rows of a chunk.
func (pl *Plan) scratchPerThread() int {
	if pl.algorithm == Depthwise {
		if pl.padded == nil {
			return 0
		}
		return pl.padded.floats(pl.channelRun)
	}
	most := 0
	for _, g := range pl.groupsOf { // shorter runs have more rows, and not always fewer numbers
		rows, cols := pl.piece(g.n)
		most = max(most, g.n*rows*cols*pl.block)
	}
	return most
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
	if len(r.slots) == threads {
		return
	}
	r.slots = make(chan int, threads)
	for i := range threads {
		r.slots <- i
	}
}

// runPlain computes a run: all images together or, where the input is brought
// into blocks, one after the other.
func (r *Runner) runPlain(p *pool.Pool) {
	pl := r.plan
	r.setSlots(p.Threads())
	if pl.gather == nil {
		r.source, r.image = r.op.In, 0
		r.runChunks(p, r.op.N)
		return
	}
	in := pl.InSize(1)
	for r.image = range r.op.N {
		r.source = r.op.Scratch[:pl.gatheredSize()]
		r.gather.Run(p, pl.p.Groups, r.source, r.op.In[r.image*in:][:in])
		r.runChunks(p, 1)
	}
}

// plain computes a chunk piece by piece: blocked into scratch, then plain into
// the output.
func (r *Runner) plain(t *window.Tile, c window.Chunk) {
	pl := r.plan
	slot := <-r.slots
	defer func() { r.slots <- slot }()
	per := pl.scratchPerThread()
	scratch := r.op.Scratch[pl.gatheredSize()+slot*per:][:per]
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
		p.In = window.At(r.source, in+k*pl.depth.Dilation*plane*min(t.Blocks, 1))
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
		r.finishPlain(c, g, g.first+j, a, scratch[j*piece/4:][:piece/4])
	}
}

// finishPlain writes a piece of one output block, with the residual and what is left of the activation.
func (r *Runner) finishPlain(c window.Chunk, g blockGroup, block int, a window.Area, piece []float32) {
	if r.rowsTakeResidual() {
		r.writePlain(c, g, block, a, piece)
		r.addResidual(c, g, block, a)
		return
	}
	r.finishPiece(c, g, block, a, piece)
	r.writePlain(c, g, block, a, piece)
}

var zeroBias [64]float32

// writePlain writes a piece of one output block into the plain output.
func (r *Runner) writePlain(c window.Chunk, g blockGroup, block int, a window.Area, piece []float32) {
	pl := r.plan
	at, rowStep, lanes := pl.plainPlace(r.image+c.Image, c.Depth, g, block, a)
	rows, cols := pl.plainRows(a, rowStep)
	for y := range rows {
		r.writeRow(at+y*rowStep, pl.plainPlane(), lanes, cols, piece[y*cols*pl.block:])
	}
}

// plainRows gives the rows and columns of an area of plain output whose rows are so far apart: one
// long row where each begins where the last ends.
func (pl *Plan) plainRows(a window.Area, rowStep int) (rows, cols int) {
	rows, cols = a.R1-a.R0, a.C1-a.C0
	if cols == rowStep && pl.places[2].step == 1 {
		return 1, rows * cols
	}
	return rows, cols
}

// rowsTakeResidual reports whether the residual is added to finished rows of the output, where it is not the output itself.
func (r *Runner) rowsTakeResidual() bool {
	p := &r.plan.p
	return p.Residual && r.plan.places[2].step == 1 && !p.Act.after() && &r.op.Residual[0] != &r.op.Out[0]
}

// addResidual adds the residual to an area of one block of plain output, and applies what the kernels do of an activation.
func (r *Runner) addResidual(c window.Chunk, g blockGroup, block int, a window.Area) {
	pl := r.plan
	at, rowStep, lanes := pl.plainPlace(r.image+c.Image, c.Depth, g, block, a)
	rows, cols := pl.plainRows(a, rowStep)
	lo, hi, clamp := pl.p.Act.clamp()
	add, clip := elemwise.Row(elemwise.Add), elemwise.Float32(elemwise.Clip)
	for y := range rows {
		for l := range lanes {
			from := at + y*rowStep + l*pl.plainPlane()
			out := r.op.Out[from:][:cols]
			add(out, out, r.op.Residual[from:][:cols], 1, 1)
			if clamp {
				clip(out, out, elemwise.Params{A: lo, B: hi})
			}
		}
	}
}

// plainPlane is the number of outputs of a channel.
func (pl *Plan) plainPlane() int { return pl.places[0].size * pl.places[1].size * pl.places[2].size }

// plainPlace is where the first pixel of an area is in the plain output for the
// first channel of a block, the step from row to row, and the channels.
func (pl *Plan) plainPlace(image, depth int, g blockGroup, block int, a window.Area) (at, rowStep, lanes int) {
	d, h, w := pl.places[0], pl.places[1], pl.places[2]
	perGroup := pl.p.Out / pl.p.Groups
	first := (block - g.group*pl.outBlocks) * pl.block // channel in the group
	row := (d.first+depth*d.step)*h.size + h.first + a.R0*h.step
	at = (image*pl.p.Out+g.group*perGroup+first)*pl.plainPlane() + row*w.size + w.first + a.C0*w.step
	return at, h.step * w.size, min(pl.block, perGroup-first)
}

// finishPiece adds the residual to a piece of one output block and applies
// what is left of the activation.
func (r *Runner) finishPiece(c window.Chunk, g blockGroup, block int, a window.Area, piece []float32) {
	pl := r.plan
	if pl.p.Residual {
		at, rowStep, lanes := pl.plainPlace(r.image+c.Image, c.Depth, g, block, a)
		cols, step := a.C1-a.C0, pl.places[2].step
		for y := range a.R1 - a.R0 {
			for l := range lanes {
				from := r.op.Residual[at+y*rowStep+l*pl.plainPlane():]
				for j := range cols {
					piece[(y*cols+j)*pl.block+l] += from[j*step]
				}
			}
		}
	}
	switch act := pl.p.Act; {
	case act.after():
		pl.set.activate(act.Kind, act.Alpha, piece)
	case pl.p.Residual:
		for j, v := range piece {
			piece[j] = act.Apply(v)
		}
	}
}

// writeRow writes n pixels of some lanes of piece to the output, where lanes
// are a plane apart.
func (r *Runner) writeRow(at, plane, lanes, n int, piece []float32) {
	pl := r.plan
	step := pl.places[2].step
	switch {
	case step == 1 && lanes == pl.block && pl.set.transpose != nil && n >= pl.block:
		pl.set.turn(r.op.Out[at:], piece, plane, pl.block, 1, pl.block, n)
		return
	case step == 1 && lanes >= 8 && n >= 8:
		transpose.Tile32(r.op.Out[at:], piece, plane, pl.block, n, lanes)
		return
	}
	for l := range lanes {
		out := r.op.Out[at+l*plane:][:(n-1)*step+1]
		for j := range n {
			out[j*step] = piece[j*pl.block+l]
		}
	}
}
