package attn

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/bgemm"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A plan says how a task is cut. None of it shows in the result.
//
// Batch items that share K and V (grouped queries) are a unit: they use one
// packed copy of a tile of keys. The row tiles of a unit are those of all its
// items, in order. A chunk is some units, or a part of one unit's row tiles.
type plan struct {
	planKey
	micro  micro
	group  int // items of a unit
	units  int
	tiles  int // row tiles of an item
	parts  int // chunks of a unit; 1: chunks are whole units
	whole  int // chunks, where parts is 1
	packV  bool
	padded int // elements from one row of scores to the next
	rows   int // queries of a chunk, at most

	// where in a slot's scratch
	vOff, scoreOff, stateOff, biasOff, topOff, workOff int
	perSlot, slots                                     int
	stream                                             streamPlan
	flow                                               flowPlan
}

type planKey struct {
	level                     cpu.Target
	items, group, m, n, d, dv int
	threads                   int
	bf16, streams             bool
}

// micro multiplies: a gemm.Micro, or a bgemm.Micro.
type micro interface {
	Rows() int
	NeedsPanels(n int) bool
	PanelSize(k, n int) int
	Pack(dst []float32, b *gemm.Matrix, k, n int)
	Multiply(s *gemm.Strip)
}

const (
	chunkWork = 1 << 19 // multiply-adds for which a chunk of its own pays
	perThread = 4       // chunks, so that threads that are late are helped
	leastPart = 4       // row tiles for which copying the keys pays
	packRows  = 48      // queries for which copying the values pays
)

func (t *Task) newPlan(threads int) plan {
	key := planKey{level: cpu.Level(), items: t.items(), group: t.sharing(), m: t.M, n: t.N, d: t.D, dv: t.DV, threads: threads, bf16: t.BF16, streams: t.streams()}
	if key == t.plan.planKey {
		return t.plan
	}
	p := plan{planKey: key, group: key.group}
	if key.items == 0 || key.m == 0 {
		return p
	}
	p.micro = t.micros.use(p.bf16)
	p.units = p.items / p.group
	p.tiles = tiling.Ceil(p.m, p.micro.Rows())
	p.split()
	p.measure()
	return p
}

// sharing is the number of consecutive items that have the same keys and values.
func (t *Problem) sharing() int {
	n := 1
	for i := len(t.Batch) - 1; i >= 0; i-- {
		if t.K.Steps != nil && t.K.Steps[i] != 0 || t.V.Steps != nil && t.V.Steps[i] != 0 || i == 0 && t.Keys.Lens != nil {
			break
		}
		n *= t.Batch[i]
	}
	return n
}

func (p *plan) split() {
	chunks := 1
	if p.threads > 1 {
		work := float64(p.items) * float64(p.m) * float64(p.n) * float64(p.d+p.dv+16)
		chunks = max(1, int(min(float64(perThread*p.threads), work/chunkWork)))
	}
	p.parts, p.whole = 1, min(chunks, p.units)
	if chunks > p.units {
		p.parts = max(1, min(tiling.Ceil(chunks, p.units), p.group*p.tiles/leastPart))
		p.whole = p.units
	}
	if p.streams && p.units >= p.threads && (p.units%p.threads == 0 || p.units >= perThread*p.threads) {
		p.parts, p.whole = 1, min(chunks, p.units) // packing is a tenth of the work on tiles, 2 to 4 % without
	}
	p.slots = min(p.threads, p.chunks(), tiling.MaxSlots)
}

func (p *plan) chunks() int { return p.whole * p.parts }

func (p *plan) measure() {
	n := min(p.n, TileKeys)
	tiles := tiling.Ceil(p.group*p.tiles, p.parts)
	p.rows = tiles * p.micro.Rows()
	p.packV = p.rows >= packRows || p.micro.NeedsPanels(p.dv)
	// The pad keeps rows of scores from falling into the same lines of the cache.
	p.padded = tiling.Align(n, lanes) + 16
	p.vOff = tiling.Align(p.micro.PanelSize(p.d, n), 16)
	p.scoreOff = p.vOff
	if p.packV {
		p.scoreOff += tiling.Align(p.micro.PanelSize(n, p.dv), 16)
	}
	p.stateOff = p.scoreOff + p.micro.Rows()*p.padded
	p.biasOff = p.stateOff + 2*p.rows
	p.topOff = p.biasOff + p.micro.Rows()
	p.workOff = tiling.Align(p.topOff+2*p.micro.Rows(), 16)
	p.perSlot = p.workOff
	if p.bf16 {
		p.perSlot += tiling.Align(new(bgemm.Micro).WorkSize(max(p.d, n)), 16)
	}
	switch {
	case p.streams && p.bf16:
		p.stream = p.streamPlan(p.perSlot)
		p.perSlot = p.stream.end
	case p.streams:
		p.flow = p.flowPlan(p.perSlot)
		p.perSlot = p.flow.end
	}
}

// part gives the units and, within each, the row tiles of a chunk.
func (p *plan) part(i int) (unit, unitEnd, tile, tileEnd int) {
	all := p.group * p.tiles
	if p.parts == 1 {
		return i * p.units / p.whole, (i + 1) * p.units / p.whole, 0, all
	}
	unit, i = i/p.parts, i%p.parts
	return unit, unit + 1, i * all / p.parts, (i + 1) * all / p.parts
}
