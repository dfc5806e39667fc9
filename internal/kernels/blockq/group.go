package blockq

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// A Group is products of one X. It is prepared once for all of them, and threads go on from
// one product to the next without waiting for each other. The bits are those of the products
// alone.
type Group struct {
	Tasks []*Task
	// Gate, if there is one, makes what is wanted of the results of two products of one format
	// and size, and leaves it in the first one's: it gets a row's neighbouring columns, of
	// both, soon after they are written.
	Gate func(y, z []float32)

	// Scratch is at least ScratchSize bytes that nothing else uses during Run.
	// With too little, Run allocates and keeps its own.
	Scratch []byte

	slots   tiling.Slots
	spaces  []workspace
	work    []byte // of all slots
	perSlot int
	own     []byte
}

// Run computes all products on the pool's threads. An error means that they don't fit
// together, and that nothing was computed.
func (g *Group) Run(p *pool.Pool) error {
	if err := g.check(); err != nil {
		return err
	}
	if g.Tasks[0].M == 0 {
		return nil
	}
	rows, slots, perSlot := g.plan(p.Threads(), func(t *Task, p plan) { t.follow(p) })
	scratch := g.Scratch
	if need := groupScratch(rows, slots, perSlot); len(scratch) < need {
		if len(g.own) < need {
			g.own = make([]byte, need)
		}
		scratch = g.own
	}
	for i, t := range g.Tasks {
		if t.plan.layout == nil {
			continue
		}
		if first := g.sameRows(i); first < i {
			t.rows.share(&g.Tasks[first].rows)
			continue
		}
		t.prepareRows(scratch, p)
		scratch = scratch[t.plan.rowBytes:]
	}
	g.work, g.perSlot = aligned(scratch), perSlot
	g.slots.Reset(slots)
	if len(g.spaces) < slots {
		g.spaces = make([]workspace, slots)
	}
	p.Run(g.chunks(), (*groupTask)(g))
	g.work = nil
	for _, t := range g.Tasks {
		t.rows.data = nil
		if t.Packed.rows != nil {
			t.Packed.read.Store(true)
		}
	}
	return nil
}

// share makes r what from is, for as long as that stays.
func (r *inputRows) share(from *inputRows) {
	args, rounding := r.args, r.rounding
	*r = *from
	r.args, r.rounding = args, rounding
}

// ScratchSize is how many bytes of Scratch a Run on so many threads uses. It depends on
// sizes.
func (g *Group) ScratchSize(threads int) int {
	if g.Tasks[0].M == 0 {
		return 0
	}
	return groupScratch(g.plan(threads, func(*Task, plan) {}))
}

func groupScratch(rows, slots, perSlot int) int { return rows + slots*perSlot + vector }

// plan visits the plans of all products, and gives what they need together: bytes of X, slots,
// and bytes of each.
func (g *Group) plan(threads int, visit func(*Task, plan)) (rows, slots, perSlot int) {
	for i, t := range g.Tasks {
		p := t.newPlan(threads)
		visit(t, p)
		slots, perSlot = slots+p.slots, max(perSlot, tiling.Align(p.perSlot, vector))
		if p.layout != nil && g.sameRows(i) == i {
			rows += p.rowBytes
		}
	}
	return rows, min(slots, max(threads, 1), tiling.MaxSlots), perSlot
}

// sameRows is the first of the tasks up to number i for which X takes the same form.
func (g *Group) sameRows(i int) int {
	form := g.Tasks[i].form()
	for j, t := range g.Tasks[:i] {
		if t.form() == form {
			return j
		}
	}
	return i
}

// rowForm is what the form that X takes depends on.
type rowForm struct {
	kern    *kernels // nil: as it comes
	rounded bool
	pairs   bool
}

func (t *Task) form() rowForm {
	l := t.Packed.layout
	if l == nil {
		return rowForm{}
	}
	kern := currentFor(l)
	if t.Prompt && kern.promptsOf(t.Packed.format) {
		return rowForm{kern: kern, rounded: true}
	}
	return rowForm{kern: kern, pairs: kern.pairsOf(l, t.M)}
}

func (g *Group) check() error {
	if len(g.Tasks) == 0 || g.Gate != nil && len(g.Tasks) != 2 {
		return fmt.Errorf("blockq: a group of %d products, expected at least one, and two with a gate", len(g.Tasks))
	}
	first := &g.Tasks[0].Product
	for i, t := range g.Tasks {
		if err := t.Check(); err != nil {
			return fmt.Errorf("product %d: %w", i, err)
		}
		if t.M != first.M || t.K != first.K || t.StrideX != first.StrideX || t.Prompt != first.Prompt || unsafe.SliceData(t.X) != unsafe.SliceData(first.X) {
			return fmt.Errorf("blockq: product %d has another X than the first one", i)
		}
	}
	if z := g.Tasks[len(g.Tasks)-1]; g.Gate != nil && (z.N != first.N || z.Packed.format != first.Packed.format) {
		return fmt.Errorf("blockq: %d rows of %v with a gate of %d rows of %v, expected the same", z.N, z.Packed.format, first.N, first.Packed.format)
	}
	return nil
}

func (g *Group) chunks() (n int) {
	if g.Gate != nil {
		return g.Tasks[0].chunks()
	}
	for _, t := range g.Tasks {
		n += t.chunks()
	}
	return n
}

// groupTask is a Group as the pool sees it.
type groupTask Group

// Do computes chunk number i.
func (c *groupTask) Do(i int) {
	g := (*Group)(c)
	slot := g.slots.Take()
	w, scratch := &g.spaces[slot], g.work[slot*g.perSlot:][:g.perSlot]
	if g.Gate != nil {
		g.gated(w, scratch, i)
		g.slots.Give(slot)
		return
	}
	for _, t := range g.Tasks {
		n := t.chunks()
		if i < n {
			t.compute(w, scratch, i)
			break
		}
		i -= n
	}
	g.slots.Give(slot)
}

// gated computes chunk number i of both products, and what the gate makes of it. Where parts
// are large, that is done in pieces that stay in the second-level cache.
func (g *Group) gated(w *workspace, scratch []byte, i int) {
	y, z := g.Tasks[0], g.Tasks[1]
	if p := &y.plan; p.prompt {
		y.compute(w, scratch, i)
		z.compute(w, scratch, i)
		first, last := tiling.Rows(i%p.stacks, p.tiles, p.stacks)
		from, to := tiling.Rows(i/p.stacks, tiling.Ceil(p.panels, 2), p.parts)
		g.gate(first*promptRows, last*promptRows, 2*from*cols, 2*to*cols)
		return
	}
	all := y.part(i)
	tiles, panels := y.piece(&all)
	for t := all.Tile; t < all.TileEnd; t += tiles {
		for j := all.Panel; j < all.PanelEnd; j += panels {
			part := all
			part.Tile, part.TileEnd = t, min(t+tiles, all.TileEnd)
			part.Panel, part.PanelEnd = j, min(j+panels, all.PanelEnd)
			y.computePart(w, scratch, &part)
			z.computePart(w, scratch, &part)
			width := cols
			if y.plan.layout == nil {
				width *= halfStep
			}
			g.gate(part.Tile*y.plan.mr, part.TileEnd*y.plan.mr, part.Panel*width, part.PanelEnd*width)
		}
	}
}

// gateBytes is about what the results of both products take in a piece.
const gateBytes = 256 << 10

// piece is how many tiles and panels of a part are computed before the gate: as many as
// kernels take at once, or more. Kernels that unpack panels have the next ones of the same
// matrix fetched meanwhile, so their parts stay whole.
func (t *Task) piece(part *tiling.Part) (tiles, panels int) {
	tiles, panels = part.TileEnd-part.Tile, part.PanelEnd-part.Panel
	if p := &t.plan; p.direct {
		tiles = min(tiles, p.block)
		step := t.directPanels(tiles)
		panels = max(1, gateBytes/(2*4*cols*p.mr*tiles)/step) * step
	}
	return tiles, panels
}

// gate makes what is wanted of some rows and columns, as far as they exist.
func (g *Group) gate(row, rowEnd, col, colEnd int) {
	y, z := &g.Tasks[0].Product, &g.Tasks[1].Product
	n := min(colEnd, y.N) - col
	for ; row < min(rowEnd, y.M); row++ {
		g.Gate(y.Y[row*y.StrideY+col:][:n], z.Y[row*z.StrideY+col:][:n])
	}
}
