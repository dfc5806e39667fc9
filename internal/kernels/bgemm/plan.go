package bgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/amx"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A plan says how a task is cut. None of it shows in the result.
//
// A call of a kernel multiplies some row tiles by some panels over a block of K. The
// block of a panel stays in the first cache while the row tiles pass, which come from
// the second; a single row tile stays there while panels pass. So K is cut once more.
type plan struct {
	planKey
	kern   *amx.Kernels
	steps  int // of 32 k
	tiles  int // of rows, in a product
	height int // rows of a tile; the last may have fewer
	panels int
	depth  int // steps of a block
	stack  int // row tiles of a call, at most
	group  int // panels of a call
	grid   tiling.Grid
	slots  int
	rounds int // chunks of the first sweep

	// Of A, in bytes: from row to row, from step to step, from row tile to row tile.
	rowPitch, stepPitch, tilePitch int
	offsets                        [maxDepth]int // where the steps of a block begin

	// Where what is in scratch: row tiles of A, panels of B, room for each chunk of
	// the first sweep to turn an operand in, sums.
	bOff, turnedOff, cOff, end int
}

// planKey is what a plan depends on.
type planKey struct {
	level          cpu.Target
	m, n, k, items int
	threads        int
	packed, transA bool
	transB         bool
	stride         int // of an A that is read where it is; 0: it is brought to scratch
}

// chunkWork is the number of multiply-adds for which a chunk of its own pays.
const chunkWork = 1 << 22

const (
	// stackBytes is how much of A stays in the second cache, of 2 MiB wherever there are
	// tiles, while all panels pass.
	stackBytes = 1408 << 10
	maxStack   = 24 // whose sums stay there too
	// wholeDepth is the most steps that are not worth a cut, blockDepth the steps of
	// a block otherwise: a panel's take a third of the first cache.
	wholeDepth = 12
	blockDepth = 8
	// loneBytes is how much of a single row tile stays in the first cache.
	loneBytes = 24 << 10
	maxDepth  = 64
	// groupTiles is about how many products of tiles a call has, over which the
	// configuration of the tile registers is spread.
	groupTiles = 4
)

func (t *Task) newPlan(threads int) plan {
	key := planKey{level: cpu.Level(), m: t.M, n: t.N, k: t.K, items: t.items(), threads: threads, packed: t.Weights != nil, transA: t.A.Trans, transB: t.B.Trans}
	if t.HalfA && t.K%amx.StepBF16 == 0 {
		key.stride = t.A.Stride // no step of K reaches beyond a row
	}
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
		p.rowPitch, p.stepPitch, p.tilePitch = 2*p.stride, amx.StepBytes, 2*p.stride*p.height
		return
	}
	p.rowPitch, p.stepPitch = amx.StepBytes, p.height*amx.StepBytes
	p.tilePitch = p.steps * p.stepPitch
}

// block chooses the sizes of calls.
func (p *plan) block() {
	p.stack = min(p.grid.MostTiles(), maxStack, max(1, stackBytes/max(p.height*p.steps*amx.StepBytes, 1)))
	most, usual := wholeDepth, blockDepth
	if p.stack == 1 {
		most = min(loneBytes/(p.height*amx.StepBytes), maxDepth)
		usual = most
	}
	p.depth = p.steps
	if p.steps > most {
		p.depth = tiling.Ceil(p.steps, tiling.Ceil(p.steps, usual))
	}
	p.group = min(max(1, groupTiles/p.stack), p.panels)
	for i := range p.depth {
		p.offsets[i] = i * p.stepPitch
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
	panelSums = 4 * amx.Rows * amx.Cols // bytes
	roundWork = 1 << 15                 // numbers for which a chunk of the first sweep pays
	lineBytes = 64
	halfBytes = 64 // of a row of a panel's sums
)

func (p *plan) itemBytes() int { return itemSize(p.k, p.n) }

// rowSums is the bytes of a row of a panel's sums, sumBytes those of a call.
const rowSums = 4 * amx.Cols

func (p *plan) sumBytes() int { return p.group * p.stack * p.height * rowSums }

// rows are those of row tiles from and to, which is not included.
func (p *plan) rows(from, to int) (row, end int) {
	return from * p.height, min(to*p.height, p.m)
}

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
