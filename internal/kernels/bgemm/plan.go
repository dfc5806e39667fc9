package bgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/amx"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A plan says how a task is cut. None of it shows in the result.
type plan struct {
	planKey
	kern   *amx.Kernels
	steps  int // of 32 k
	tiles  int // of rows, in a product
	panels int
	group  int // panels of a call
	grid   tiling.Grid
	slots  int
	rounds int // chunks of the first sweep

	// Where what is in scratch: rows of A, panels of B, a column of B for each chunk
	// of the first sweep, sums.
	bOff, columnOff, cOff, end int
}

// planKey is what a plan depends on.
type planKey struct {
	level          cpu.Target
	m, n, k, items int
	threads        int
	packed, transB bool
}

// chunkWork is the number of multiply-adds for which a chunk of its own pays.
const chunkWork = 1 << 22

// callSteps is about how many steps a call of a kernel should have: enough to make
// up for the configuration of tiles, and few enough that their sums stay in the
// first cache.
const callSteps = 128

func (t *Task) newPlan(threads int) plan {
	key := planKey{level: cpu.Level(), m: t.M, n: t.N, k: t.K, items: t.items(), threads: threads, packed: t.Weights != nil, transB: t.B.Trans}
	if t.Weights != nil {
		key.level = t.Weights.level
	}
	if key == t.plan.planKey {
		return t.plan
	}
	p := plan{planKey: key, kern: amx.For(key.level)}
	p.steps = tiling.Ceil(p.k, amx.StepBF16)
	// Fewer rows than a tile has take as long: the time is that of reading B.
	s := tiling.Shape{Items: p.items, M: max(p.m, amx.Rows), N: p.n, K: p.k, MR: amx.Rows, NR: amx.Cols, ChunkWork: chunkWork}
	p.tiles, p.panels = s.Tiles(), s.Panels()
	p.grid = tiling.Split(s, threads)
	p.slots = min(threads, p.grid.Chunks(), tiling.MaxSlots)
	p.group = min(max(1, callSteps/max(p.steps, 1)), p.panels, maxGroup)
	p.rounds = 1
	if threads > 1 {
		p.rounds = max(1, min(4*threads, p.units(), p.items*(p.m+p.n)*p.k/roundWork))
	}
	p.place()
	return p
}

// place divides the scratch memory.
func (p *plan) place() {
	p.bOff = p.items * p.m * p.rowBytes()
	p.columnOff = p.bOff
	if !p.packed {
		p.columnOff += p.items * p.itemBytes()
	}
	p.cOff = p.columnOff
	if !p.packed && p.transB {
		p.cOff += p.rounds * p.rowBytes()
	}
	p.end = p.cOff + p.slots*p.group*panelSums
}

const (
	maxGroup  = 4
	panelSums = 4 * amx.Rows * amx.Cols // bytes
	roundWork = 1 << 15                 // numbers for which a chunk of the first sweep pays
	lineBytes = 64
	halfBytes = 64 // of a row of a panel's sums
)

func (p *plan) rowBytes() int  { return rowSize(p.k) }
func (p *plan) itemBytes() int { return itemSize(p.k, p.n) }

// units is how many pieces the first sweep has: tiles of rows, and panels.
func (p *plan) units() int {
	if p.packed {
		return p.items * p.tiles
	}
	return p.items * (p.tiles + p.panels)
}

// scratch is the bytes of a run, with room for alignment.
func (p *plan) scratch() int { return p.end + lineBytes }

// aligned drops what is before a cache line.
func aligned(s []byte) []byte {
	return s[int(-uintptr(unsafe.Pointer(unsafe.SliceData(s)))&(lineBytes-1)):]
}
