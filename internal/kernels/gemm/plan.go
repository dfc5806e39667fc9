package gemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A plan says how a task is cut. None of it shows in the result.
type plan struct {
	planKey
	kern    *kernels
	rows    int // of A in a tile, at most
	kc      int // rows of B in a block
	ncPanel int // panels of B in a block
	tiles   int // row tiles of a product
	panels  int // of nr columns, the last may be partial
	grid    tiling.Grid

	stream int // rows of B that go before the tiles; stream.go
	aRows  int // of A, transposed, that a product with one column has in scratch at once

	packB    bool // B's blocks are copied to scratch
	packTail bool // only the partial panel is
	bOff     int  // where in a slot's scratch that is
	keepR    bool // the residual, which is C, is copied before C holds sums of blocks of K
	rOff     int  // where that is
	rStride  int
	perSlot  int // elements of scratch
	slots    int
}

// planKey is what a plan depends on.
type planKey struct {
	level          cpu.Target
	m, n, k, items int
	threads        int
	transA, transB bool
	packed         bool
	bContiguous    bool // a single column of B lies contiguously
	strideA        int  // bytes from row to row as the kernels read A; 0: its rows are copied
	inPlace        bool // the residual is C
	tuning         Tuning
}

// key is what the plan of a run on so many threads depends on.
func (t *Task) key(threads int) planKey {
	key := planKey{
		level: cpu.Level(), m: t.M, n: t.N, k: t.K, items: t.items(), threads: threads,
		transA: t.A.Trans, transB: t.B.Trans, packed: t.Packed != nil,
		bContiguous: t.B.Trans || t.B.Stride == 1,
		tuning:      t.Tuning,
		inPlace:     t.Residual.Data != nil && unsafe.SliceData(t.Residual.Data) == unsafe.SliceData(t.C.Data),
	}
	if t.Packed != nil {
		key.level = t.Packed.kern.level
	}
	if !t.A.Trans {
		key.strideA = 4 * t.A.Stride
	}
	return key
}

func newPlan(key planKey) plan {
	p := plan{planKey: key, kern: forLevel(key.level)}
	p.rows = min(p.kern.mr, p.rowsWithoutConflict())
	if n := p.tuning.TileRows; n > 0 {
		p.rows = min(n, p.kern.mr)
	}
	p.block()
	p.split()
	p.measureScratch()
	return p
}

// cacheStep is the bytes after which addresses fall into the same set of the
// first-level cache.
const cacheStep = 4096

// rowsWithoutConflict is the most rows of A, a stride apart, that stay in the
// first-level cache: rows of 3,072 or 4,096 floats all begin in the same
// set, and more of them than it has ways come from the second-level cache for every
// k. At K = 3,072 with 8 ways, tiles of 8 rows are 12 % faster than those of 14.
func (p *plan) rowsWithoutConflict() int {
	ways := cpu.Cache().L1d / cacheStep
	if p.strideA == 0 || ways < 2 {
		return maxRows
	}
	sets := cacheStep / gcd(p.strideA, cacheStep) // that rows begin in
	return sets * ways
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// blockRows is the most rows of a block of B: few enough for a tile of A to stay in
// the first cache, many enough that loading and storing C is cheap.
const blockRows = 768

// fewRowsBlock is the most bytes of a block of packed B of more than two panels that meets
// few rows: the first block, which nobody has fetched, is then a good part of them.
const fewRowsBlock = 128 << 10

// packFrom is the number of rows of A from which B is worth a copy into panels.
const packFrom = 256

func (p *plan) block() {
	p.stream = p.streamed()
	p.kc = p.k - p.stream
	depth := blockRows
	if n := p.tuning.DepthRows; n > 0 {
		depth = n
	}
	if p.kc > depth {
		blocks := tiling.Ceil(p.k, depth)
		p.kc = tiling.Align(tiling.Ceil(p.k, blocks), 4)
	}
	p.keepR = p.inPlace && p.kc < p.k
	p.aRows = columnRows(p.k)
	p.tiles = tiling.Ceil(p.m, p.rows)
	p.panels = tiling.Ceil(p.n, p.kern.nr)
	size := BlockBytes(p.packed)
	if n := p.tuning.BlockBytes; n > 0 {
		size = n
	}
	panel := 4 * max(p.kc, 1) * p.kern.nr
	p.ncPanel = min(max(size/panel, 1), p.panels)
	if p.packed && p.m < packFrom && p.tuning.BlockBytes == 0 {
		p.ncPanel = min(p.ncPanel, max(2, fewRowsBlock/panel))
	}
	if p.packed {
		return
	}
	p.packB = p.transB || p.tuning.CopyB.Or(p.m >= packFrom)
	p.packTail = !p.packB && !p.kern.masksB && p.n%p.kern.nr != 0
}

// chunkWork is the number of multiply-adds for which a chunk of its own pays.
const chunkWork = 1 << 18

// stripWork is the same for the last chunks, in which threads wait for each other.
const stripWork = 1 << 20

func (p *plan) split() {
	s := tiling.Shape{
		Items: p.items, M: p.m, N: p.n, K: p.k, MR: p.rows, NR: p.kern.nr,
		ChunkWork: chunkWork, CopiesB: p.packB, Along: p.tuning.Along, StripWork: stripWork,
	}
	p.grid = tiling.Split(s, p.threads)
	p.slots = min(p.threads, p.grid.Chunks(), tiling.MaxSlots)
}

func (p *plan) measureScratch() {
	n := 0
	if p.n == 1 {
		if p.transA {
			n += align(p.aRows * p.k)
		}
		p.bOff = n
		if !p.packed && !p.bContiguous {
			n += align(p.k)
		}
		p.perSlot = n
		return
	}
	if p.transA {
		n += align(tiling.Align(p.kern.mr, transposeBlock) * p.kc)
	}
	p.bOff = n
	switch {
	case p.packB:
		n += align(p.kc * p.ncPanel * p.kern.nr)
	case p.packTail:
		n += align(p.kc * p.kern.nr)
	}
	if p.keepR {
		p.rOff, p.rStride = n, p.ncPanel*p.kern.nr
		n += p.grid.MostTiles() * p.rows * p.rStride
	}
	p.perSlot = n
}

// columnRows is how many rows of a transposed A with so many columns are copied at once:
// those of a cache line, but not too many elements.
func columnRows(k int) int {
	const most = 1 << 16
	return min(max(most/max(k, 1)&^(transposeBlock-1), 1), lineBytes/4)
}

// scratch is the elements that all slots need, with room for alignment.
func (p *plan) scratch() int {
	if p.perSlot == 0 {
		return 0
	}
	return p.slots*p.perSlot + lineBytes/4
}

// align rounds up to whole cache lines.
func align(n int) int { return tiling.Align(n, lineBytes/4) }
