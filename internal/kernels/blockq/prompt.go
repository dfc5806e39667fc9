package blockq

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// Prompts, where there are tiles of bfloat16: rows are rounded once, weights are
// decoded and rounded a few groups at a time, and all rows meet these while they are in
// the first-level cache.

// promptKernels multiply rows by weights, both rounded to bfloat16. A tile of 16 rows,
// as the groups of a panel of weights, has promptBytes for each group: pairs of numbers
// in the order 0, 2, 1, 3 of each four.
type promptKernels struct {
	decode  map[block.Format]kernel // some groups of a panel
	product kernel                  // tiles of rows by groups of two panels
	round   kernel                  // a tile of rows
}

// promptArgs is what they take. The assembly knows the offsets.
type promptArgs struct {
	w        unsafe.Pointer // packed groups
	b        unsafe.Pointer // decoded groups; of round: the tile
	a        unsafe.Pointer // tiles of rows; of round: X
	acc      unsafe.Pointer // 16 sums of each row
	config   unsafe.Pointer // of the tile registers
	groups   int
	tiles    int
	tileStep int    // bytes from tile to tile of a
	panelB   int    // bytes from the first panel's groups to the second's
	panelAcc int    // bytes from the first panel's sums to the second's
	sums     int    // if not 0, acc has the sums of groups before
	ahead    uint64 // bytes from the packed groups to those that are prefetched
	ldx      int    // bytes from row to row of X
	rows     int    // of a tile that exist
}

func (a *promptArgs) arg() *byte { return (*byte)(unsafe.Pointer(a)) }

const (
	promptRows   = 16
	promptBytes  = 1 << 10
	promptGroups = 8  // decoded at once: a superblock
	promptTiles  = 32 // of rows that meet decoded groups, at most
	rowSums      = 4 * cols

	// What stays in the second-level cache while panels pass: rows, or else the part
	// of rows and the sums of some panels that meet in turns.
	promptWhole = 1 << 20
	promptPart  = 768 << 10
	promptSums  = 512 << 10
)

// promptPlan is the part of a plan that only prompts have.
type promptPlan struct {
	stack, stacks int // tiles of rows that meet decoded groups; how often
	parts         int // that the panels are cut into
	depth         int // groups that all panels of a batch pass before the next ones
}

// PromptsDiffer reports whether prompts have an arithmetic of their own at the current
// level, for weights of the format.
func PromptsDiffer(f block.Format) bool { return current().promptsOf(f) }

func (kern *kernels) promptsOf(f block.Format) bool {
	return kern.prompts != nil && kern.prompts.decode[f] != nil
}

// planPrompt cuts a product of prompt tokens.
func (p *plan) planPrompt() {
	groups := p.k / groupSize
	p.tiles = tiling.Ceil(p.m, promptRows)
	p.stacks = tiling.Ceil(p.tiles, promptTiles)
	p.stack = tiling.Ceil(p.tiles, p.stacks)
	pairs := tiling.Ceil(p.panels, 2)
	p.parts = 1
	if p.threads > 1 {
		p.parts = max(1, min(pairs, 4*p.threads, p.m*p.n*p.k/chunkWork))
	}
	p.depth, p.batch = groups, 2
	if p.stack*groups*promptBytes > promptWhole {
		most := max(promptGroups, promptPart/(p.stack*promptBytes))
		p.depth = tiling.Align(tiling.Ceil(groups, tiling.Ceil(groups, most)), promptGroups)
		p.batch = min(2*tiling.Ceil(pairs, p.parts), max(2, promptSums/(p.stack*promptRows*rowSums)&^1))
	}
	p.slots = min(p.threads, p.parts*p.stacks, tiling.MaxSlots)
	p.perSlot = 2*promptGroups*promptBytes + promptSums // whatever the rows: fewer ones need no more memory
	p.rowBytes = tiling.Align(roundedSize(p.m, p.k), vector)
}

// prompt multiplies a part of the panels by some tiles of rows.
func (t *Task) prompt(w *workspace, scratch []byte, chunk int) {
	p, a := &t.plan, &w.prompt
	first, last := tiling.Rows(chunk%p.stacks, p.tiles, p.stacks)
	from, to := tiling.Rows(chunk/p.stacks, tiling.Ceil(p.panels, 2), p.parts)
	rows := (last - first) * promptRows
	groups := t.K / groupSize
	b := unsafe.Pointer(&scratch[0])
	w.acc = unsafe.Pointer(&scratch[2*promptGroups*promptBytes])
	a.config = p.kern.tiles.config(promptRows, true)
	a.tiles, a.tileStep = last-first, promptGroups*promptBytes
	a.panelB, a.panelAcc = promptGroups*promptBytes, rows*rowSums
	w.finish.ahead = rowSums
	for j, end := 2*from, min(2*to, p.panels); j < end; j += p.batch {
		for g := 0; g < groups; g += p.depth {
			for i := j; i < min(j+p.batch, end); i += 2 {
				acc := unsafe.Add(w.acc, (i-j)*rows*rowSums)
				t.promptPanels(a, b, acc, first, i, g, min(g+p.depth, groups))
			}
		}
		for i := j; i < min(j+p.batch, end); i++ {
			t.finish(w, first*promptRows, min(rows, t.M-first*promptRows), i, (i-j)*rows)
		}
	}
}

// promptPanels adds up the products of some groups of two panels, or of the last one.
func (t *Task) promptPanels(a *promptArgs, b, acc unsafe.Pointer, tile, panel, from, to int) {
	p, l := &t.plan, t.plan.layout
	unit := l.unit() / groupSize
	decode := p.kern.prompts.decode[l.format]
	a.ahead = uint64(promptGroups / unit * l.unitBytes())
	for g := from; g < to; g += promptGroups {
		a.groups = min(promptGroups, to-g)
		for i := panel; i < min(panel+2, p.panels); i++ {
			a.w, a.b = unsafe.Pointer(&t.Packed.panel(i)[g/unit*l.unitBytes()]), unsafe.Add(b, (i-panel)*promptGroups*promptBytes)
			decode(a.arg())
		}
		a.a, a.b, a.acc, a.sums = t.rows.roundedTile(tile, g), b, acc, g
		p.kern.prompts.product(a.arg())
	}
}

// roundedSize is the bytes of m rounded rows of k elements.
func roundedSize(m, k int) int {
	return tiling.Ceil(m, promptRows)*tiling.Align(k/groupSize, promptGroups)*promptBytes + vector
}

// roundedTile is where group g of a tile is, the first of promptGroups. These follow
// each other, and then come those of the next tile.
func (r *inputRows) roundedTile(tile, g int) unsafe.Pointer {
	return unsafe.Pointer(&r.data[(g*tiling.Ceil(r.m, promptRows)+promptGroups*tile)*promptBytes])
}

// round makes r the m rows of k elements of x for prompts.
func (r *inputRows) round(dst []byte, x []float32, m, k, stride int, p *pool.Pool) {
	r.kern, r.m, r.k, r.data = current(), m, k, aligned(dst)
	r.x, r.stride = x, stride
	const work = 1 << 15 // elements that are worth a chunk
	tiles := tiling.Ceil(m, promptRows)
	r.chunks = max(1, min(tiles, m*k/work, 4*p.Threads()))
	if len(r.rounding) < r.chunks {
		r.rounding = make([]promptSpace, r.chunks)
	}
	p.Run(r.chunks, (*roundTask)(r))
	r.x = nil
}

// promptSpace is not on the stack since kernels are called through variables.
type promptSpace struct {
	promptArgs
	_ [128]byte // no false sharing with the next
}

type roundTask inputRows

// Do rounds chunk i of the tiles.
func (t *roundTask) Do(i int) {
	r := (*inputRows)(t)
	a := &r.rounding[i].promptArgs
	from, to := tiling.Rows(i, tiling.Ceil(r.m, promptRows), r.chunks)
	for tile := from; tile < to; tile++ {
		first := tile * promptRows
		a.ldx, a.rows = 4*r.stride, min(promptRows, r.m-first)
		for g := 0; g < r.k/groupSize; g += promptGroups {
			a.a, a.b = unsafe.Pointer(&r.x[first*r.stride+g*groupSize]), r.roundedTile(tile, g)
			if a.groups = min(promptGroups, r.k/groupSize-g); a.rows < promptRows {
				clear(view[byte](a.b, a.groups*promptBytes))
			}
			r.kern.prompts.round(a.arg())
		}
	}
	*a = promptArgs{}
}
