package gemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// A plan says how a task is cut. None of it shows in the result.
type plan struct {
	planKey
	kern    *kernels
	kc      int // rows of B in a block
	ncPanel int // panels of B in a block
	tiles   int // row tiles of a product
	panels  int // of nr columns, the last may be partial

	groups     int // chunks the batch is cut in, if less than its items
	rows, cols int // what each product is cut in, where groups is 0

	packB    bool // B's blocks are copied to scratch
	packTail bool // only the partial panel is
	bOff     int  // where in a slot's scratch that is
	perSlot  int  // elements of scratch
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
	inPlace        bool // the residual is C
}

func (t *Task) newPlan(threads int) plan {
	key := planKey{
		level: cpu.Level(), m: t.M, n: t.N, k: t.K, items: t.items(), threads: threads,
		transA: t.A.Trans, transB: t.B.Trans, packed: t.Packed != nil,
		bContiguous: t.B.Trans || t.B.Stride == 1,
		inPlace:     t.Residual.Data != nil && unsafe.SliceData(t.Residual.Data) == unsafe.SliceData(t.C.Data),
	}
	if t.Packed != nil {
		key.level = t.Packed.kern.level
	}
	if key == t.plan.planKey {
		return t.plan
	}
	p := plan{planKey: key, kern: forLevel(key.level)}
	p.block()
	p.split()
	p.measureScratch()
	return p
}

// Limits of a block of B: few enough rows for a tile of A to stay in the first
// cache, many enough that loading and storing C is cheap; and half of the second
// cache in all.
const (
	blockRows    = 512
	oneBlockRows = 768 // up to here K is not cut
)

// packFrom is the number of rows of A from which B is worth a copy into panels.
const packFrom = 256

func (p *plan) block() {
	p.kc = p.k
	if p.k > oneBlockRows && !p.inPlace {
		blocks := ceil(p.k, blockRows)
		p.kc = ceil(ceil(p.k, blocks), 4) * 4
	}
	p.tiles = ceil(p.m, p.kern.mr)
	p.panels = ceil(p.n, p.kern.nr)
	fit := cpu.Cache().L2 / 2 / 4 / max(p.kc, 1) / p.kern.nr
	p.ncPanel = min(max(fit, 1), p.panels)
	if p.packed {
		return
	}
	p.packB = p.transB || p.m >= packFrom
	p.packTail = !p.packB && !p.kern.masksB && p.n%p.kern.nr != 0
}

// chunkWork is the number of multiply-adds for which a chunk of its own pays:
// some microseconds.
const chunkWork = 1 << 19

// chunksPerThread lets threads that are late be helped.
const chunksPerThread = 4

func (p *plan) split() {
	p.rows, p.cols = 1, 1
	work := float64(p.items) * float64(p.m) * float64(p.n) * float64(max(p.k, 1))
	chunks := 1
	if p.threads > 1 {
		chunks = int(min(float64(chunksPerThread*p.threads), work/chunkWork))
		chunks = max(chunks, 1)
	}
	switch {
	case p.items >= chunks:
		p.groups = chunks
	case p.n == 1:
		p.rows = min(ceil(chunks, p.items), p.tiles)
	default:
		p.splitProduct(chunks)
	}
	p.slots = min(p.threads, p.chunks(), maxSlots)
}

// splitProduct chooses rows and cols so that the threads finish together, and
// among such cuts the one that reads A and B the fewest times.
func (p *plan) splitProduct(chunks int) {
	parts := ceil(chunks, p.items)
	best := 0.0
	for want := 1; want <= parts; want++ {
		for c := 1; c <= min(want, p.panels); c++ {
			r := min(want/c, p.tiles)
			if cost := p.cost(r, c); best == 0 || cost < best {
				best, p.rows, p.cols = cost, r, c
			}
		}
	}
}

// cost estimates the time of a cut in units of a multiply-add per lane.
func (p *plan) cost(r, c int) float64 {
	chunks := r * c * p.items
	rounds := ceil(chunks, p.threads)
	compute := float64(ceil(p.tiles, r)*p.kern.mr) * float64(ceil(p.panels, c)*p.kern.nr) * float64(p.k)
	if p.m < p.kern.mr {
		compute = float64(p.m) * float64(ceil(p.panels, c)*p.kern.nr) * float64(p.k)
	}
	const perRead, perCopy, perChunk = 4, 16, 40000
	rows, cols := float64(p.m)/float64(r), float64(p.n)/float64(c)
	read := (rows + cols) * float64(p.k) * perRead
	if p.packB {
		read += cols * float64(p.k) * perCopy
	}
	return float64(rounds) * (compute + read + perChunk)
}

// chunks is how many there are.
func (p *plan) chunks() int {
	if p.groups > 0 {
		return p.groups
	}
	return p.items * p.rows * p.cols
}

func (p *plan) measureScratch() {
	n := 0
	if p.n == 1 {
		if p.transA {
			n += align(p.k)
		}
		p.bOff = n
		if !p.packed && !p.bContiguous {
			n += align(p.k)
		}
		p.perSlot = n
		return
	}
	if p.transA {
		n += align(p.kern.mr * p.kc)
	}
	p.bOff = n
	switch {
	case p.packB:
		n += align(p.kc * p.ncPanel * p.kern.nr)
	case p.packTail:
		n += align(p.kc * p.kern.nr)
	}
	p.perSlot = n
}

// scratch is the elements that all slots need, with room for alignment.
func (p *plan) scratch() int {
	if p.perSlot == 0 {
		return 0
	}
	return p.slots*p.perSlot + lineBytes/4
}

func ceil(a, b int) int { return (a + b - 1) / b }

// align rounds up to whole cache lines.
func align(n int) int { return ceil(n, lineBytes/4) * (lineBytes / 4) }
