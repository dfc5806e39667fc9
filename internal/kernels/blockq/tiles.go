package blockq

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// tileGroups is how many groups tileKernels unpack for further tiles: a superblock,
// and few enough to stay in the first-level cache while a tile meets a panel.
const tileGroups = 8

// The tiles and panels that meet in turns. Their results, and the panels' groups, stay
// in the second-level cache. A tile's q is read once for all panels.
const (
	blockTiles  = 32
	blockPanels = 16
)

// maxGroups is how many groups a call of a kernel takes at most, counted for each tile
// and panel: some 60 µs.
const maxGroups = 1 << 10

// planTiles cuts for tileKernels.
func (p *plan) planTiles() {
	tiles := p.grid.MostTiles()
	p.block = tiling.Ceil(tiles, tiling.Ceil(tiles, blockTiles))
	p.batch, p.groups = min(blockPanels, p.panels), tileGroups
	if p.block == 1 { // for which unpacked groups need not stay
		p.groups = min(p.k/groupSize, maxGroups)
		p.batch = max(1, min(p.batch, maxGroups/p.groups))
	}
	acc := 4 * cols * p.kern.mr * p.block * p.batch
	p.perSlot = acc + spillBytes + p.ring()
}

// ring is the bytes of unpacked groups.
func (p *plan) ring() int {
	groups := tileGroups
	if p.block > 1 {
		groups *= p.batch
	}
	return groups * p.layout.tileKind().slotBytes()
}

// tiles multiplies tiles of rows by panels: the first one unpacks them for the others.
func (t *Task) tiles(w *workspace, scratch []byte, part *tiling.Part) {
	p, a := &t.plan, &w.args
	rest := scratch[len(scratch)-spillBytes-p.ring():]
	a.spill, a.values = unsafe.Pointer(&rest[0]), unsafe.Pointer(&rest[spillBytes])
	a.ring = p.ring()
	for first := part.Tile; first < part.TileEnd; first += p.block {
		last := min(first+p.block, part.TileEnd)
		for j := part.Panel; j < part.PanelEnd; j += p.batch {
			end := min(j+p.batch, part.PanelEnd)
			for g := 0; g < t.K/groupSize; g += p.groups {
				t.groups(w, first, last, j, end, g, part.PanelEnd)
			}
			t.finishTiles(w, first, last, j, end)
		}
	}
}

// groups adds the products with some groups, from g on, of some panels. Where there are
// fewer groups than further tiles take, each tile unpacks its own.
func (t *Task) groups(w *workspace, first, last, from, to, g, end int) {
	p, a := &t.plan, &w.args
	l, kern := p.layout, p.kern.tiles
	a.units, a.panels, a.sums = min(p.groups, t.K/groupSize-g), to-from, g
	unit := l.unit() / groupSize
	a.w = unsafe.Pointer(&t.Packed.panel(from)[g/unit*l.unitBytes()])
	a.gap = l.panelBytes(t.K) - a.units/unit*l.unitBytes()
	if a.fetch = 0; a.gap == 0 {
		a.fetch = (end - from) * l.panelBytes(t.K)
	}
	a.acc = w.acc
	for i := first; i < last; i += a.tiles {
		x := &w.tile
		t.rows.tile(i, x)
		t.setRows(a, x)
		a.q = unsafe.Add(a.q, g*x.size*qBytes(l.tileKind().pairs()))
		a.shift = unsafe.Add(a.shift, 4*g*x.size)
		a.s = unsafe.Add(a.s, 4*g*x.size*l.tileKind().sums())
		a.config = kern.config(x.size, l.tileKind().pairs())
		a.tiles = 1
		if i == first || a.units < tileGroups {
			kern.first[l.format][x.size/16](a.arg())
		} else {
			most := maxGroups / (a.panels * tileGroups)
			for a.tiles < most && i+a.tiles < last && p.kern.tileSize(p.m, i+a.tiles) == x.size {
				a.tiles++
			}
			a.tileStep = t.K / groupSize * x.size * rowGroupBytes(l.tileKind().pairs())
			kern.more[l.tileKind()][x.size/16](a.arg())
		}
		a.acc = unsafe.Add(a.acc, 4*cols*x.size*a.tiles*a.panels)
	}
}

// sums is how many of q's a group of a row has.
func (k tileKind) sums() int {
	if k == tileTwoOffsets {
		return 2
	}
	return 1
}

// finishTiles stores the results of some tiles and panels.
func (t *Task) finishTiles(w *workspace, first, last, from, to int) {
	w.finish.ahead = 4 * cols // the next panel's
	at := 0                   // row of acc
	for i := first; i < last; i++ {
		x := &w.tile
		t.rows.tile(i, x)
		for j := from; j < to; j++ {
			t.finish(w, i*t.plan.kern.mr, x.rows, j, at)
			at += x.size
		}
	}
}
