package conv

import (
	"fmt"
	"unsafe"

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
	cut   cut
	tiles []tile // one per chunk
	slots chan int
}

// NewRunner makes a runner for one session.
func (pl *Plan) NewRunner() *Runner { return &Runner{plan: pl} }

// Run computes op on the threads of p.
func (r *Runner) Run(p *pool.Pool, op Operands) error {
	if err := r.plan.check(op, p.Threads()); err != nil {
		return err
	}
	if op.N == 0 {
		return nil
	}
	r.op = op
	r.cut = r.plan.cutFor(op.N, p.Threads())
	n := r.cut.chunks()
	if len(r.tiles) < n {
		r.tiles = make([]tile, n)
	}
	r.setSlots(p.Threads())
	p.Run(n, r)
	r.op = Operands{}
	clear(r.tiles[:n]) // holds no buffer alive
	return nil
}

func (pl *Plan) check(op Operands, threads int) error {
	residual := 0
	if pl.p.Residual {
		residual = pl.OutSize(op.N)
	}
	for _, b := range []struct {
		name      string
		got, want int
	}{
		{"input", len(op.In), pl.InSize(op.N)}, {"packed weights", len(op.Weights), pl.PackedSize()},
		{"residual", len(op.Residual), residual}, {"output", len(op.Out), pl.OutSize(op.N)},
	} {
		if b.got != b.want {
			return fmt.Errorf("conv: %s has %d floats, expected %d for %d images of %d→%d channels, %v→%v",
				b.name, b.got, b.want, op.N, pl.p.In, pl.p.Out, pl.in, pl.out)
		}
	}
	if s := pl.ScratchSize(threads); len(op.Scratch) < s {
		return fmt.Errorf("conv: scratch has %d floats, %d threads need %d", len(op.Scratch), threads, s)
	}
	return nil
}

// Do computes chunk i.
func (r *Runner) Do(i int) {
	t := &r.tiles[i]
	lo, hi, clamp := r.plan.p.Act.clamp()
	t.lo, t.hi = lo, hi
	if clamp {
		t.clamp = 1
	}
	switch r.plan.algorithm {
	case Depthwise:
		r.depthwise(t, r.cut.at(i))
	case Plain:
		r.plain(t, r.cut.at(i))
	default:
		r.direct(t, r.cut.at(i))
	}
}

// direct computes a chunk of blocked output from blocked or plain input.
func (r *Runner) direct(t *tile, c chunk) {
	pl := r.plan
	g := pl.groupsOf[c.group]
	outPlane := pl.grid.h.Out * pl.grid.outRow
	out := (c.image*pl.packed.allOut()+g.first)*outPlane + pl.grid.offset(c.area)
	pl.setBlocks(t, g, r.op.Weights)
	t.outBlk = outPlane
	p := planes{
		in:      ptr(r.op.In, (c.image*pl.p.Groups+g.group)*pl.inBlocks*t.inBlock),
		weights: ptr(r.op.Weights, pl.packed.biasFloats*4+g.first*pl.weightsOut),
		out:     ptr(r.op.Out, out),
	}
	if pl.p.Residual {
		p.residual = ptr(r.op.Residual, out)
	}
	pl.grid.sweep(t, kernels{tiles: pl.set.tiles[g.n]}, c.area, p)
	for j := range g.n {
		r.activate(out+j*outPlane, c.area)
	}
}

// setBlocks sets the loops over blocks.
func (pl *Plan) setBlocks(t *tile, g blockGroup, weights []float32) {
	t.blocks = pl.inBlocks
	t.inBlock = pl.grid.h.In * pl.grid.inRow * pl.depth.In
	t.weightsOut = pl.weightsOut
	t.bias = ptr(weights, g.first*pl.block*4)
}

// depthwise computes a chunk of one channel block.
func (r *Runner) depthwise(t *tile, c chunk) {
	pl := r.plan
	outPlane := pl.grid.h.Out * pl.grid.outRow
	plane := c.image*pl.packed.outBlocks + c.group
	t.blocks = 1
	t.bias = ptr(r.op.Weights, c.group*pl.block*4)
	out := plane*outPlane + pl.grid.offset(c.area)
	p := planes{
		in:      ptr(r.op.In, plane*pl.grid.h.In*pl.grid.inRow),
		weights: ptr(r.op.Weights, pl.packed.biasFloats*4+c.group*pl.weightsOut),
		out:     ptr(r.op.Out, out),
	}
	if pl.p.Residual {
		p.residual = ptr(r.op.Residual, out)
	}
	pl.grid.sweep(t, kernels{whole: pl.set.depthwise}, c.area, p)
	r.activate(out, c.area)
}

// activate finishes the chunk's area of one output block, which is out bytes
// into the output, while it is in the cache.
func (r *Runner) activate(out int, a area) {
	act, g := r.plan.p.Act, &r.plan.grid
	if !act.after() {
		return
	}
	n := ((a.r1-a.r0-1)*g.outRow + (a.c1-a.c0)*g.outPx) / 4
	r.plan.set.activate(act.Kind, act.Alpha, r.op.Out[out/4:][:n])
}

func ptr(s []float32, bytes int) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), bytes)
}
