package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tileLoop is what products and convolutions have in common that finish a row tile while the
// tiles add up the next one.
type tileLoop struct {
	tall bool

	t, a, lda, b, ldb, far, steps GPPhysical
	rows, src, dst                GPPhysical // of what is being finished

	panelB, panelDst, panelRes, panelBias, panels, tiles Mem
	sums, others, res                                    Mem
}

func newTileLoop(tall bool) tileLoop {
	return tileLoop{tall: tall, t: RDI, a: RAX, lda: RCX, b: RDX, ldb: RBX, far: R12, steps: R10, rows: R13, src: RSI, dst: R8}
}

func (l *tileLoop) field(off int) Mem { return Mem{Base: l.t, Disp: off} }

func (l *tileLoop) move(from, to Op) {
	MOVQ(from, l.a)
	MOVQ(l.a, to)
}

// configure loads the argument, of which the fields at config and lda are, and configures
// the tiles.
func (l *tileLoop) configure(config, lda int) {
	Load(Param("t"), l.t)
	MOVQ(l.field(config), l.a)
	LDTILECFG(At{Base: l.a})
	MOVQ(l.field(lda), l.lda)
	MOVQ(l.lda, l.far)
	SHLQ(Imm(4), l.far)
	MOVQ(U32(128), l.ldb)
}
