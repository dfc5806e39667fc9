package bgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A plan says how a task is cut. None of it shows in the result.
//
// A call of a kernel multiplies some row tiles by some panels, over all of K: sums
// stay in registers, and what is read comes from the second cache.
type plan struct {
	planKey
	kern   *mma.Kernels
	steps  int // of 32 k
	tiles  int // of rows, in a product
	height int // rows of a tile; the last one begins before the end of the one before
	panels int
	depth  int // steps of a call
	stack  int // row tiles of a call, at most
	group  int // panels of a call
	grid   tiling.Grid
	slots  int
	rounds int // chunks of the first sweep

	// Of A, in bytes: from row to row, from step to step, from row tile to row tile.
	rowPitch, stepPitch, tilePitch int

	// Where what is in scratch: row tiles of A, panels of B, room for each chunk of
	// the first sweep to turn an operand in, sums of each slot.
	bOff, turnedOff, cOff, end int
}

// planKey is what a plan depends on.
type planKey struct {
	level          cpu.Target
	m, n, k, items int
	threads        int
	packed, transA bool
	transB         bool
	post           bool
	stride         int // of an A that is read where it is; 0: it is brought to scratch
}

// chunkWork is the number of multiply-adds for which a chunk of its own pays.
const chunkWork = 1 << 22

const (
	maxStack = 64
	// callSteps is about how many steps of 32 rows and columns a call has: 50 µs.
	callSteps = 2 * mma.MaxSteps
)

// stackBytes is how much of A stays in the second cache while all panels pass.
func stackBytes() int { return cpu.Cache().L2 / 16 * 11 }

func (t *Task) newPlan(threads int) plan {
	key := planKey{level: cpu.Level(), m: t.M, n: t.N, k: t.K, items: t.items(), threads: threads, packed: t.Weights != nil, transA: t.A.Trans, transB: t.B.Trans, post: t.Post != nil}
	if t.HalfA && t.K%mma.StepBF16 == 0 {
		key.stride = t.A.Stride // no step of K reaches beyond a row
	}
	if t.Weights != nil {
		key.level = t.Weights.level
	}
	if key == t.plan.planKey {
		return t.plan
	}
	p := plan{planKey: key, kern: mma.For(key.level)}
	p.steps = tiling.Ceil(p.k, mma.StepBF16)
	// Fewer rows than a tile has take as long: the time is that of reading B.
	s := tiling.Shape{Items: p.items, M: max(p.m, mma.Rows), N: p.n, K: p.k, MR: mma.Rows, NR: mma.Cols, ChunkWork: chunkWork}
	p.tiles, p.panels = s.Tiles(), s.Panels()
	p.height = tiling.Ceil(p.m, p.tiles)
	p.pitches()
	p.grid = tiling.Split(s, threads)
	p.slots = min(threads, p.grid.Chunks(), tiling.MaxSlots)
	p.block()
	if n := p.units(); n > 0 {
		p.rounds = 1
		if threads > 1 {
			p.rounds = max(1, min(4*threads, n, p.items*(p.m+p.n)*p.k/roundWork))
		}
	}
	p.place()
	return p
}

// pitches says where A lies.
func (p *plan) pitches() {
	if p.stride > 0 {
		p.rowPitch, p.stepPitch, p.tilePitch = 2*p.stride, mma.StepBytes, 2*p.stride*p.height
		return
	}
	p.rowPitch, p.stepPitch = mma.StepBytes, p.height*mma.StepBytes
	p.tilePitch = p.steps * p.stepPitch
}

// block chooses the sizes of calls. Sums that are longer than a call are of one row
// tile and panel.
func (p *plan) block() {
	p.depth = min(p.steps, callSteps)
	p.stack, p.group = 1, 1
	if p.steps == 0 || p.depth < p.steps {
		return
	}
	p.stack = min(p.grid.MostTiles(), maxStack, max(1, min(stackBytes()/(p.height*mma.StepBytes), callSteps)/p.steps))
	if !p.post {
		p.group = min(max(1, callSteps/(p.steps*p.stack)), p.panels)
	}
}

// turns reports whether operands are turned in the first sweep.
func (p *plan) turns() bool { return p.transA || p.transB && !p.packed }

// place divides the scratch memory.
func (p *plan) place() {
	if p.stride == 0 {
		p.bOff = p.items * p.tiles * p.tilePitch
	}
	p.turnedOff = p.bOff
	if !p.packed {
		p.turnedOff += p.items * p.itemBytes()
	}
	p.cOff = p.turnedOff
	if p.turns() {
		p.cOff += p.rounds * 2 * turnedSize
	}
	p.end = p.cOff + p.slots*p.sumBytes()
}

const (
	roundWork = 1 << 15 // numbers for which a chunk of the first sweep pays
	lineBytes = 64
	halfBytes = 64 // of a row of a panel's sums
)

func (p *plan) itemBytes() int { return itemSize(p.k, p.n) }

// rowSums is the bytes of a row of a panel's sums.
const rowSums = 4 * mma.Cols

// sumBytes is what a slot needs: the kernel's sums, and with Post those of a call.
func (p *plan) sumBytes() int {
	n := mma.StripSums
	if p.post {
		n += p.stack * p.height * rowSums
	}
	return n
}

// row is the first row of a tile that no tile before it has, start the first one
// that it is computed from: all tiles have as many rows.
func (p *plan) row(tile int) int   { return min(tile*p.height, p.m) }
func (p *plan) start(tile int) int { return min(tile*p.height, p.m-p.height) }

// units is how many pieces the first sweep has: tiles of rows, and panels.
func (p *plan) units() int {
	n := 0
	if p.stride == 0 {
		n = p.tiles
	}
	if !p.packed {
		n += p.panels
	}
	return p.items * n
}

// scratch is the bytes of a run, with room for alignment.
func (p *plan) scratch() int { return p.end + lineBytes }

// aligned drops what is before a cache line.
func aligned(s []byte) []byte {
	return s[int(-uintptr(unsafe.Pointer(unsafe.SliceData(s)))&(lineBytes-1)):]
}
