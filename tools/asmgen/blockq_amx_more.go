package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// bqMore is a kernel that multiplies tiles of rows by unpacked groups of panels, eight
// of each. Loading tiles is nearly as much work as scaling sums: q of most groups
// stays in tile registers for all panels.
type bqMore struct{ bqAMX }

// Its registers beside those of bqAMX.
var (
	bqmAcc        = R11 // of the panel whose sums are taken
	bqmPanels     = R12 // left of the tile to multiply
	bqmRuns       = R14 // panels times tiles likewise
	bqmTakePanels = R15 // panels left of the tile whose sums are taken
)

const (
	bqmGroups = 8
	bqmStay   = 5 // groups whose q stays, in the registers after bqxRows
)

func (k *bqMore) write(name string) {
	k.text("amxMore" + name)
	k.begin()
	MOVQ(k.arg(bqAcc), bqmAcc)
	MOVQ(k.arg(bqPanels), bqmPanels)
	MOVQ(bqmPanels, bqmTakePanels)
	MOVQ(bqmPanels, bqmRuns)
	IMULQ(k.arg(bqTiles), bqmRuns)
	k.loadStaying()
	k.startResults(bqmAcc, "first")
	for g := range bqxRing - 1 {
		k.multiply(g, g > 0)
	}
	JMP(LabelRef("first"))
	Label("run")
	for g := range bqmGroups {
		if g == bqxRing-1 {
			k.nextResults()
			Label("first")
		}
		k.multiply(g, true)
		k.takeBehind(g)
	}
	DECQ(bqmRuns)
	JEQ(LabelRef("last"))
	ADDQ(U32(uint32(bqmGroups*k.slotBytes())), bqxValues)
	DECQ(bqmPanels)
	JNE(LabelRef("run"))
	MOVQ(k.arg(bqPanels), bqmPanels)
	MOVQ(k.arg(bqValues), bqxValues)
	ADDQ(k.arg(bqTile), bqxQ)
	k.loadStaying()
	JMP(LabelRef("run"))
	Label("last")
	k.storeSums(bqmGroups - 1)
	for g := range bqxRing - 1 {
		k.takeBehind(g)
	}
	k.storeResults(bqmAcc)
	k.end()
}

// loadStaying loads what stays.
func (k *bqMore) loadStaying() {
	for g := range bqmStay {
		k.loadRows(g, k.rowsOf(g))
	}
}

// rowsOf is the register for a group's q.
func (k *bqMore) rowsOf(g int) Tmm {
	if g < bqmStay {
		return bqxRows + 1 + Tmm(g)
	}
	return bqxRows
}

// multiply begins the sums of a group, and stores those of the one before.
func (k *bqMore) multiply(g int, before bool) {
	k.load(bqxValues, g*k.slotBytes(), bqxB)
	if g >= bqmStay {
		k.loadRows(g, bqxRows)
	}
	if before {
		k.storeSums(g + bqmGroups - 1)
	}
	k.product(k.rowsOf(g), g)
}

func (k *bqMore) storeSums(g int) { k.store(bqxSpill, g%bqxRing<<10) }

// takeBehind adds the contribution of the group that is three before g.
func (k *bqMore) takeBehind(g int) {
	g += bqmGroups - (bqxRing - 1)
	k.take(g%bqmGroups, func(row int) Mem { return Mem{Base: bqxSpill, Disp: g%bqxRing<<10 + 64*row} })
}

// nextResults stores the results of a panel, and goes on to those of the next.
func (k *bqMore) nextResults() {
	k.storeResults(bqmAcc)
	ADDQ(U32(uint32(64*k.rows)), bqmAcc)
	k.startResults(bqmAcc, "next")
	ADDQ(U32(uint32(bqmGroups*k.slotBytes())), bqxScales)
	DECQ(bqmTakePanels)
	JNE(LabelRef("sametile"))
	MOVQ(k.arg(bqPanels), bqmTakePanels)
	MOVQ(k.arg(bqValues), bqxScales)
	ADDQ(k.arg(bqTile), bqxShift)
	ADDQ(k.arg(bqTile), bqxS)
	Label("sametile")
}
