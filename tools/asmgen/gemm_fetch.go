package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ahead says how far B is fetched: eight rows, which take some two hundred cycles,
// or with few rows of A, where a row of B takes four, 32 of them.
func (g *gemmKernel) ahead(ldb reg.GPVirtual) {
	g.far, g.farScale = ldb, 8
	if g.mr <= 3 {
		g.far = GP64()
		MOVQ(ldb, g.far)
		SHLQ(Imm(2), g.far)
	}
}

// later says what is fetched for calls to come, B itself if nothing.
func (g *gemmKernel) later(b reg.GPVirtual) {
	g.next = g.here(gemmNext, gemmNextStep)
	TESTQ(g.next, g.next)
	CMOVQEQ(b, g.next)
}

// fetchResidual brings the residual, a field of the tile with its stride, to the second cache
// while products are summed: it is often another product's result of long ago, and
// waiting for it takes a tenth of the time of a tile with K = 384.
func (g *gemmKernel) fetchResidual(field, stride int) {
	p, ld := g.hereColumns(field), g.load(stride)
	for i := range g.mr {
		if i > 0 {
			ADDQ(ld, p)
		}
		for line := range g.panelBytes() / 64 {
			PREFETCHT1(Mem{Base: p, Disp: 64 * line})
		}
	}
}

// fetchLater brings what two rows of a panel take to the second cache, every two steps. That
// is more than enough where several tiles of rows share in fetching.
func (g *gemmKernel) fetchLater() {
	for line := range 2 * g.panelBytes() / 64 {
		PREFETCHT1(Mem{Base: g.next, Disp: 64 * line})
	}
	ADDQ(g.field(gemmAdvance), g.next)
}
