package blockq

import (
	"math/bits"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A plan says how a task is cut. None of it shows in the result.
type plan struct {
	planKey
	mr            int // rows of a tile
	tiles, panels int
	block         int          // tiles of rows that meet an unpacked panel
	half          *halfKernels // of formats of 16 bits
	direct        bool         // panels are multiplied by as they are packed,
	directs       [4]kernel    // by these, of 1<<i rows
	batch, groups int          // panels, and groups of them, that tileKernels and sweepKernels multiply by at once
	grid          tiling.Grid
	tapered       bool // cut by taper, not by the grid
	least         int  // panels of such a part
	kept          int  // groups of panels that stay unpacked until all tiles have met them
	slots         int
	promptPlan
	rowBytes int // of scratch: X
	perSlot  int // results, sums and unpacked panels
}

// planKey is what a plan depends on.
type planKey struct {
	kern    *kernels
	format  block.Format
	layout  *layout
	m, n, k int
	threads int
	prompt  bool
}

// chunkWork is the number of multiply-adds for which a chunk of its own pays.
const chunkWork = 1 << 20

func (t *Task) newPlan(threads int) plan {
	key := planKey{kern: currentFor(t.Packed.layout), format: t.Packed.format, layout: t.Packed.layout, m: t.M, n: t.N, k: t.K, threads: threads}
	key.prompt = t.Prompt && key.kern.promptsOf(key.format)
	if key == t.plan.planKey {
		return t.plan
	}
	p := plan{planKey: key}
	if p.layout == nil {
		p.planHalf()
		return p
	}
	if p.prompt {
		p.panels = tiling.Ceil(p.n, cols)
		p.planPrompt()
		return p
	}
	p.mr = p.kern.mr
	p.tiles, p.panels = tiling.Ceil(p.m, p.kern.mr), tiling.Ceil(p.n, cols)
	p.grid = tiling.Split(tiling.Shape{Items: 1, M: p.m, N: p.n, K: p.k, MR: p.kern.mr, NR: cols, ChunkWork: chunkWork}, threads)
	p.cut(p.layout.panelBytes(p.k))
	p.block = max(1, cpu.Cache().L2/2/(p.kern.mr*p.k/groupSize*rowGroupBytes(p.kern.pairsOf(p.layout, p.m))))
	p.rowBytes = tiling.Align(rowsSize(p.kern, p.m, p.k, p.kern.pairsOf(p.layout, p.m)), vector)
	p.perSlot = accBytes
	switch p.direct = p.canDirect(); {
	case p.direct:
		p.directs = p.kern.direct[p.layout.format]
	case p.kern.sweep != nil:
		p.planSweep()
	case p.kern.tiled(p.m):
		p.planTiles()
	default:
		p.perSlot += p.k / groupSize * unpackedBytes
	}
	return p
}

// unpackedBytes is what a group takes at most: values, dw, and two extra.
const unpackedBytes = 8*vector + 3*4*cols

// canDirect reports whether panels are multiplied by as they are packed.
func (p *plan) canDirect() bool {
	several := p.kern.sweep != nil || p.kern.tiles != nil
	return p.kern.direct != nil && (!several || p.m <= p.kern.mostAlone())
}

func log2(size int) int { return bits.Len(uint(size)) - 1 }

// scratch is the bytes that X and all slots need, with room for alignment.
func (p *plan) scratch() int { return p.rowBytes + p.slots*tiling.Align(p.perSlot, vector) + vector }

const (
	maxRows  = 16 // of a tile
	maxTiles = 16 // times panels, in a call of a kernel
	accBytes = 4 * cols * maxRows * maxTiles
)

// A workspace is what a chunk needs. It is not on the stack since kernels are
// called through variables, which makes arguments escape.
type workspace struct {
	acc    unsafe.Pointer // accBytes of results
	args   args
	tile   rowTile
	finish finishArgs
	prompt promptArgs
	stream *[]byte // for panels of weights that are not packed yet

	half  halfArgs
	micro gemm.Micro
	strip gemm.Strip

	_ [128]byte // no false sharing with the next
}

// chunkTask is a Task as the pool sees it.
type chunkTask Task

// Do computes chunk number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	slot := t.slots.Take()
	t.compute(&t.spaces[slot], t.work[slot*tiling.Align(t.plan.perSlot, vector):], i)
	t.slots.Give(slot)
}

// compute is chunk number i, with a workspace and perSlot bytes that no other one has meanwhile.
func (t *Task) compute(w *workspace, scratch []byte, i int) {
	if !t.plan.prompt {
		part := t.part(i)
		t.computePart(w, scratch, &part)
		return
	}
	t.prompt(w, scratch[:t.plan.perSlot], i)
	w.prompt, w.finish, w.acc = promptArgs{}, finishArgs{}, nil
}

func (t *Task) computePart(w *workspace, scratch []byte, part *tiling.Part) {
	scratch = scratch[:t.plan.perSlot]
	w.acc = unsafe.Pointer(&scratch[0])
	if t.plan.layout == nil {
		t.runHalf(w, scratch, part)
	} else if t.plan.direct {
		t.direct(w, part)
	} else if t.plan.kern.sweep != nil {
		t.sweep(w, scratch, part)
	} else if t.plan.kern.tiled(t.M) {
		t.tiles(w, scratch, part)
	} else {
		t.unpacked(w, scratch[accBytes:], part)
	}
	// Pointers to memory that may be unmapped must not stay where the collector
	// looks.
	w.args, w.tile, w.finish, w.half, w.acc = args{}, rowTile{}, finishArgs{}, halfArgs{}, nil
	w.endStream()
}

// maxDirect is how many bytes of weights a call of a kernel takes, which can't be
// interrupted, and should take less than 100 µs.
const maxDirect = 256 << 10

// againDirect is how many bytes of weights the tiles of rows are multiplied by in
// turns: they stay in the second-level cache.
const againDirect = 128 << 10

// directPanels is how many panels a call takes, for so many tiles in turns.
func (t *Task) directPanels(tiles int) int {
	bytes := maxDirect
	if tiles > 1 {
		bytes = againDirect
	}
	if t.Packed.rows != nil {
		bytes = streamed
	}
	size := t.plan.kern.tileSize(t.M, 0)
	return min(maxRows*maxTiles/size, max(1, bytes/t.plan.layout.panelBytes(t.K)))
}

// direct multiplies by panels as they are packed.
func (t *Task) direct(w *workspace, part *tiling.Part) {
	kern, a, panelBytes := t.plan.kern, &w.args, t.plan.layout.panelBytes(t.K)
	most, block := t.directPanels(part.TileEnd-part.Tile), t.plan.block
	if t.Packed.rows != nil { // panels are packed for all rows
		block = part.TileEnd - part.Tile
	}
	for first := part.Tile; first < part.TileEnd; first += block {
		last := min(first+block, part.TileEnd)
		for from := part.Panel; from < part.PanelEnd; from += most {
			to := min(from+most, part.PanelEnd)
			a.w = t.panels(w, from, to)
			for i := first; i < last; i++ {
				a.ahead, a.far = kern.ahead, kern.far
				if i > first && i == last-1 { // these are in the second-level cache: the next ones can come there
					a.far = (to - from) * panelBytes
					if kern.far == 0 { // through the first-level one
						a.ahead = a.far
					}
				}
				t.directTile(w, i, from, to)
			}
		}
	}
}

// directTile multiplies a tile of rows by some panels, which the arguments point at.
func (t *Task) directTile(w *workspace, i, from, to int) {
	x, a := &w.tile, &w.args
	t.rows.tile(i, x)
	t.setRows(a, x)
	a.units, a.panels, a.acc = t.K/t.plan.layout.unit(), to-from, w.acc
	t.place(w, i*t.plan.mr, x.rows, from)
	w.finish.acc, w.finish.mask = w.acc, t.mask(to-1)
	a.finish, a.at = unsafe.Pointer(&w.finish), 0
	t.plan.directs[log2(x.size)](a.arg())
	if t.plan.kern.finishes {
		return
	}
	for j := from; j < to; j++ {
		t.finish(w, i*t.plan.mr, x.rows, j, (j-from)*x.size)
	}
}

// unpacked unpacks panels, and multiplies tiles of rows by them.
func (t *Task) unpacked(w *workspace, scratch []byte, part *tiling.Part) {
	p, a := &t.plan, &w.args
	groups := t.K / groupSize
	a.values = unsafe.Pointer(&scratch[0])
	a.dw = unsafe.Pointer(&scratch[groups*8*vector])
	a.extra = unsafe.Pointer(&scratch[groups*(8*vector+4*cols)])
	a.acc = w.acc
	for first := part.Tile; first < part.TileEnd; first += p.block {
		last := min(first+p.block, part.TileEnd)
		for j := part.Panel; j < part.PanelEnd; j++ {
			a.w, a.units = t.panels(w, j, j+1), t.K/p.layout.unit()
			p.kern.unpack[p.layout.format](a.arg())
			a.units = groups
			for i := first; i < last; i++ {
				x := &w.tile
				t.rows.tile(i, x)
				t.setRows(a, x)
				p.kern.tile[p.layout.kind()](a.arg())
				t.finish(w, i*p.kern.mr, x.rows, j, 0)
			}
		}
	}
}

// setRows points the arguments at a tile of X.
func (t *Task) setRows(a *args, x *rowTile) {
	a.q, a.shift, a.s, a.c, a.rows = x.q, x.shift, x.s, x.c, x.size
	switch t.plan.layout.kind() {
	case pair:
		a.c = x.cHalf
	case twoOffsets:
		a.s = x.sHalf
	}
}

// finish stores the results of some rows in a panel's columns, which begin at
// row from of acc.
func (t *Task) finish(w *workspace, row, rows, panel, from int) {
	t.place(w, row, rows, panel)
	w.finish.acc, w.finish.mask = unsafe.Add(w.acc, 4*cols*from), t.mask(panel)
	t.plan.kern.finish(w.finish.arg())
}

// mask has a bit for each column of a panel that exists.
func (t *Task) mask(panel int) uint64 { return 1<<min(cols, t.N-panel*cols) - 1 }

// place says where the results of some rows in a panel's columns go, and what is added.
func (t *Task) place(w *workspace, row, rows, panel int) {
	col, f := panel*cols, &w.finish
	f.y, f.ldy = unsafe.Pointer(&t.Y[row*t.StrideY+col]), 4*t.StrideY
	f.rows = rows
	if t.plan.layout != nil && !t.plan.prompt {
		f.scales = t.rows.scale(row)
	}
	if t.Bias != nil {
		f.bias = unsafe.Pointer(&t.Bias[col])
	}
	if t.Residual != nil {
		f.residual, f.ldr = unsafe.Pointer(&t.Residual[row*t.StrideR+col]), 4*t.StrideR
	}
}
