package blockq

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// sweepKernels multiply pairs of rows by unpacked groups of some panels, which stay in the
// first-level cache while all pairs of a tile meet them.
type sweepKernels struct {
	// spread[f] unpacks groups of some panels to slots: those of a group together.
	spread map[block.Format]kernel
	// rows[k] adds the products of pairs of rows with such groups to the results.
	rows [kinds]kernel
	// nibbles is rows[offset] where codes are at most 15.
	nibbles kernel
	// fours[f], if there is one, does what spread[f] and rows do, for four rows at a time, and a
	// pair that is left: the first four unpack the groups. It takes no fewer than four rows.
	fours map[block.Format]kernel
}

const (
	sweepPanels = 8 // that go by while numbers of two rows stay in registers
	sweepSpill  = 256 + 2*4*cols*sweepPanels

	// sweepBytes is what results, sums and unpacked groups take at most, unless there is only
	// one of these. The rest of the first-level cache is for what is read once.
	sweepBytes = 24 << 10

	// Unpacked panels are kept in the second-level cache for further tiles if it has room
	// for so many: fewer at a time would cost more than they save.
	keptPanels = 6

	keptGroups = 8 // of them in a call of a kernel: 10 µs

	// Groups in a call of the kernels that unpack them too, and how far ahead these are
	// prefetched, since memory takes long where others use it: those of a superblock, whose
	// groups follow each other.
	fusedGroups = 8
)

// slotBytes is what sweepKernels unpack a group of a panel to: values, which are words if
// they are signed, the scale, and what else the kind has.
func (k kind) slotBytes() int {
	return [...]int{plain: 9, offset: 10, pair: 11, twoOffsets: 11, signed: 17}[k] * vector
}

// sweepStep is the bytes from a panel's results to the next one's. It is no power of two:
// a load waits for a store that is 4 KiB, or a multiple of them, away and not long ago.
func sweepStep(rows int) int { return 4 * cols * (rows + 1) }

// planSweep cuts for sweepKernels.
func (p *plan) planSweep() {
	p.batch, p.groups = sweepPanels, 1
	slot, step, groups := p.layout.kind().slotBytes(), sweepStep(p.kern.tileSize(p.m, 0)), p.k/groupSize
	if keep := cpu.Cache().L2 / 8 * 5 / (groups * slot); p.tiles > 1 && keep >= keptPanels {
		p.kept = groups
		p.batch = min(p.batch, keep)
	} else if sweepPanels*(step+2*slot)+sweepSpill <= sweepBytes {
		p.groups = 2
	}
	p.perSlot = p.batch*(step+max(p.kept, p.groups)*slot) + sweepSpill
}

// sweep multiplies tiles of rows by some panels at a time.
func (t *Task) sweep(w *workspace, scratch []byte, part *tiling.Part) {
	p, a := &t.plan, &w.args
	at := p.batch * sweepStep(p.kern.tileSize(p.m, 0))
	a.spill = unsafe.Pointer(&scratch[at])
	values := unsafe.Pointer(&scratch[at+sweepSpill])
	a.acc, a.zero = w.acc, p.layout.shift()
	w.finish.ahead = 2 * 4 * cols // those after the next panel
	panels := part.PanelEnd - part.Panel
	batch := tiling.Ceil(panels, tiling.Ceil(panels, p.batch))
	for from := part.Panel; from < part.PanelEnd; from += batch {
		to := min(from+batch, part.PanelEnd)
		packed := t.panels(w, from, to)
		for i := part.Tile; i < part.TileEnd; i++ {
			x := &w.tile
			t.rows.tile(i, x)
			step := sweepStep(x.size)
			clear(scratch[:step*(to-from)])
			a.values = values
			if p.kept > 0 && i > part.Tile {
				t.sweepAgain(a, x, to-from)
			} else {
				t.sweepTile(a, x, packed, to-from)
			}
			for j := from; j < to; j++ {
				t.finish(w, i*p.kern.mr, x.rows, j, (j-from)*step/(4*cols))
			}
		}
	}
}

// sweepAgain multiplies a further tile of rows by some panels that are unpacked.
func (t *Task) sweepAgain(a *args, x *rowTile, panels int) {
	p, k := &t.plan, t.plan.layout.kind()
	a.slots = panels * k.slotBytes()
	a.panels, a.step, a.group = panels, sweepStep(x.size), a.slots
	a.lines, a.gap = a.slots/vector, 0
	a.share = tiling.Ceil(2*a.lines, x.size)
	t.setRows(a, x)
	rows := p.sweepRows()
	for groups := t.K / groupSize; groups > 0; {
		n := min(groups, keptGroups)
		a.units, a.fetch = n, int(uintptr(a.values))+a.slots
		rows(a.arg())
		a.values = unsafe.Add(a.values, n*a.slots)
		t.nextGroups(a, x, n)
		groups -= n
	}
}

func (p *plan) sweepRows() kernel {
	k := p.layout.kind()
	if p.layout.nibbles() {
		return p.kern.sweep.nibbles
	}
	return p.kern.sweep.rows[k]
}

// nextGroups moves on in a tile's numbers.
func (t *Task) nextGroups(a *args, x *rowTile, n int) {
	q, numbers := groupSize*n*x.size, 4*n*x.size
	sums := numbers * t.plan.layout.kind().sums()
	a.q, a.shift = unsafe.Add(a.q, q), unsafe.Add(a.shift, numbers)
	a.s, a.c = unsafe.Add(a.s, sums), unsafe.Add(a.c, sums)
}

// sweepTile multiplies a tile of rows by some panels.
func (t *Task) sweepTile(a *args, x *rowTile, packed unsafe.Pointer, panels int) {
	p := &t.plan
	l, k := p.layout, p.layout.kind()
	spread, rows := p.kern.sweep.spread[l.format], p.sweepRows()
	fours, fused := p.kern.sweep.fours[l.format]
	if fused = fused && x.size >= 4; fused {
		rows = fours
	}
	unit, panelBytes, groups := log2(l.unit()/groupSize), l.panelBytes(t.K), t.K/groupSize
	header, groupBytes, unitBytes := l.headerBytes(), l.groupBytes(), l.unitBytes()
	place := func(g int) int { return g>>unit*unitBytes + g&(1<<unit-1)*groupBytes }
	a.panels, a.ahead, a.step, a.slots = panels, panelBytes, sweepStep(x.size), panels*k.slotBytes()
	a.group, a.lines = groupBytes, tiling.Ceil(groupBytes, vector)
	once, each, ahead := 2, p.groups, 1+p.groups // the group after the next may be used too soon
	if fused {
		once, each, ahead = 4, fusedGroups, fusedGroups
		if p.kept == 0 { // all groups can have the same slots
			a.slots = 0
		}
	}
	a.gap, a.share = panelBytes-vector*a.lines, tiling.Ceil(panels*a.lines, tiling.Ceil(x.size, once))
	t.setRows(a, x)
	for g := 0; g < groups; g += each {
		n := min(each, groups-g)
		a.header = header + g&(1<<unit-1)*groupBytes
		a.w, a.units = unsafe.Add(packed, place(g)+header), n
		if !fused {
			spread(a.arg())
		}
		next := g + ahead
		a.fetch = int(uintptr(packed)) + place(next)
		if next >= groups { // of the panels that follow these
			a.fetch += (panels - 1) * panelBytes
		}
		a.units = n
		rows(a.arg())
		t.nextGroups(a, x, n)
		if p.kept > 0 {
			a.values = unsafe.Add(a.values, n*a.slots)
		}
	}
}

// sums is how many of a row's numbers a group has.
func (k kind) sums() int {
	if k == pair || k == twoOffsets {
		return 2
	}
	return 1
}
