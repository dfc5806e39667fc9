package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct strip of qconv.
const (
	qsTile       = 0
	qsConfig     = 8
	qsIn         = 16
	qsOut        = 24
	qsResidual   = 32
	qsPanel      = 40
	qsSums       = 48
	qsOffsets    = 56
	qsRows       = 64
	qsPieces     = 72
	qsNext       = 80
	qsLDA        = 88
	qsFar        = 96
	qsSteps      = 104
	qsPanels     = 112
	qsPanelBytes = 120
	qsRowTiles   = 128
	qsChannels   = 136
	qsNextRuns   = 144
)

// Sizes in bytes of qconv's rowTile and piece, and of what a panel begins with.
const (
	qsRowTileBytes = 24
	qsPieceBytes   = 16
	qsHeadBytes    = 256
)

// qconvStrip is the state of a kernel that convolves in tiles.
type qconvStrip struct {
	*qconvKernel
	integerTiles

	rowTile, rowTiles Mem // in progress
	panel, panels     Mem
	column, channels  Mem
	done              Mem       // 1: no more blocks
	last              stripLast // what is to be finished

	zero16, flip, lo8, hi8, most, order reg.VecVirtual
	exist                               reg.OpmaskVirtual // the panel's channels
}

// stripLast is the block whose sums are in memory.
type stripLast struct{ rowTile, panel, column, channels Mem }

// qconvStripes writes the kernels of up to 16 rows and of up to 32.
func qconvStripes() {
	for _, tall := range []bool{false, true} {
		qconvStripOf("u8", tall, TDPBUSD)
		qconvStripOf("s8", tall, TDPBSSD)
	}
}

func qconvStripOf(name string, tall bool, multiply func(b, a, c Tmm)) {
	rows := 16
	if tall {
		rows = 32
	}
	TEXT(fmt.Sprintf("%sstrip%d", name, rows), NOSPLIT, "func(s *byte)")
	Doc(fmt.Sprintf("convolves row tiles of up to %d pixels; s is a *strip.", rows))
	Pragma("noescape")
	k := &qconvStrip{qconvKernel: &qconvKernel{qconvMode: qconvVNNI}, integerTiles: integerTiles{tall: tall, multiply: multiply,
		config: qsConfig, lda: qsLDA, far: qsFar, offsets: qsOffsets, steps: qsSteps, next: qsNext, nextRuns: qsNextRuns, sums: qsSums}}
	k.integerTiles.begin("s")
	k.constants()
	k.loop()
	end()
}

// loop goes through the row tiles and, for each, through the panels.
func (k *qconvStrip) loop() {
	locals(&k.rowTile, &k.rowTiles, &k.panel, &k.panels, &k.column, &k.channels, &k.done,
		&k.last.rowTile, &k.last.panel, &k.last.column, &k.last.channels)
	moveLocal(k.arg(qsRows), k.rowTile)
	moveLocal(k.arg(qsRowTiles), k.rowTiles)
	MOVQ(U32(0), k.last.panel)
	MOVQ(U32(0), k.done)
	Label("rowtile")
	moveLocal(k.arg(qsPanel), k.panel)
	moveLocal(k.arg(qsPanels), k.panels)
	moveLocal(k.arg(qsChannels), k.channels)
	MOVQ(U32(0), k.column)
	Label("panel")
	k.sum()
	Label("finish")
	k.finishLast()
	CMPQ(k.done, Imm(0))
	JNE(LabelRef("return"))
	k.store()
	moveLocal(k.rowTile, k.last.rowTile)
	moveLocal(k.panel, k.last.panel)
	moveLocal(k.column, k.last.column)
	moveLocal(k.channels, k.last.channels)
	MOVQ(k.arg(qsPanelBytes), reg.RAX)
	ADDQ(reg.RAX, k.panel)
	ADDQ(Imm(amxColumns), k.column)
	SUBQ(Imm(amxColumns), k.channels)
	DECQ(k.panels)
	JNE(LabelRef("panel"))
	ADDQ(Imm(qsRowTileBytes), k.rowTile)
	DECQ(k.rowTiles)
	JNE(LabelRef("rowtile"))
	TILERELEASE()
	MOVQ(U32(1), k.done)
	JMP(LabelRef("finish"))
	Label("return")
}

// constants are the same for all blocks.
func (k *qconvStrip) constants() {
	k.argStruct = k.tile()
	k.zero16, k.flip, k.lo8, k.hi8, k.most, k.order = ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
	VPBROADCASTW(k.field(qcZero16), k.zero16)
	VPBROADCASTB(k.field(qcFlip), k.flip)
	VPBROADCASTB(k.field(qcLo8), k.lo8)
	VPBROADCASTB(k.field(qcHi8), k.hi8)
	VMOVUPS(constant(65536), k.most) // what is too large for an integer would become the least
	VMOVDQU32(quartersInOrder(4), k.order)
	k.exist, k.k[0], k.k[1] = K(), K(), K()
}

// tile loads the address of the tile, whose fields are the layer's constants.
func (k *qconvStrip) tile() argStruct {
	t := GP64()
	MOVQ(k.arg(qsTile), t)
	return argStruct{t}
}

// sum adds up a block. The panel begins with the bias, which is each row's start.
func (k *qconvStrip) sum() {
	MOVQ(k.panel, tilesB)
	k.eachSum(func(i Tmm) { TILELOADD(At{Base: tilesB, Disp: 64 * int32(i%2)}, i) })
	ADDQ(U32(qsHeadBytes), tilesB)
	MOVQ(k.rowTile, tilesA)
	MOVQ(Mem{Base: tilesA}, tilesA)
	ADDQ(k.arg(qsIn), tilesA)
	k.add()
}

// stripPixels are two pixels while they are finished; the second is the first
// again where there is one.
type stripPixels struct {
	sums, out, residual reg.GPVirtual
	sumStep, outStep    reg.GPVirtual
	n                   reg.GPVirtual
}

// finishLast makes bytes of the sums in memory, if there are any.
func (k *qconvStrip) finishLast() {
	panel := GP64()
	MOVQ(k.last.panel, panel)
	TESTQ(panel, panel)
	JEQ(LabelRef("finished"))
	scale := [2]reg.VecVirtual{ZMM(), ZMM()}
	for j, s := range scale {
		VMOVUPS(Mem{Base: panel, Disp: 4*amxColumns + 64*j}, s)
	}
	k.channelMasks()
	piece, pieces := GP64(), GP64()
	r := GP64()
	MOVQ(k.last.rowTile, r)
	MOVQ(Mem{Base: r, Disp: 8}, piece)
	ADDQ(k.arg(qsPieces), piece)
	MOVQ(Mem{Base: r, Disp: 16}, pieces)
	Label("piece")
	px := k.pixelsOf(piece)
	CMPQ(k.arg(qsResidual), Imm(0))
	JNE(LabelRef("residual"))
	k.pairs("plain", px, func(v [4]reg.VecVirtual) { k.scaled(v, px, scale) })
	JMP(LabelRef("finishedpiece"))
	Label("residual")
	k.addResiduals(px, scale)
	Label("finishedpiece")
	ADDQ(Imm(qsPieceBytes), piece)
	DECQ(pieces)
	JNE(LabelRef("piece"))
	Label("finished")
}

// channelMasks has bits for the panel's channels: all, and those of each vector.
func (k *qconvStrip) channelMasks() {
	n, m := GP64(), GP64()
	MOVQ(k.last.channels, n)
	MOVL(U32(1<<32-1), m.As32())
	CMPQ(n, Imm(amxColumns))
	JGE(LabelRef("whole"))
	BZHIQ(n, m, m)
	Label("whole")
	KMOVD(m.As32(), k.exist)
	KMOVW(m.As32(), k.k[0])
	SHRQ(Imm(16), m)
	KMOVW(m.As32(), k.k[1])
}

// pixelsOf finds the pixels of a piece.
func (k *qconvStrip) pixelsOf(piece reg.GPVirtual) stripPixels {
	px := stripPixels{GP64(), GP64(), GP64(), GP64(), GP64(), GP64()}
	MOVLQSX(Mem{Base: piece}, px.sums)
	ADDQ(k.arg(qsSums), px.sums)
	MOVLQSX(Mem{Base: piece, Disp: 4}, px.n)
	MOVQ(Mem{Base: piece, Disp: 8}, px.out)
	ADDQ(k.last.column, px.out)
	MOVQ(px.out, px.residual)
	ADDQ(k.arg(qsOut), px.out)
	ADDQ(k.arg(qsResidual), px.residual)
	MOVQ(U32(4*amxColumns), px.sumStep)
	MOVQ(k.arg(qsTile), px.outStep)
	MOVQ(Mem{Base: px.outStep, Disp: qcOutPx}, px.outStep)
	return px
}

// pairs loops over pairs of pixels; scaled makes the numbers of two vectors of each,
// which are rounded and stored.
func (k *qconvStrip) pairs(name string, px stripPixels, scaled func(v [4]reg.VecVirtual)) {
	Label(name)
	CMPQ(px.n, Imm(1))
	JG(LabelRef(name + "two"))
	XORQ(px.sumStep, px.sumStep)
	XORQ(px.outStep, px.outStep)
	Label(name + "two")
	v := [4]reg.VecVirtual{ZMM(), ZMM(), ZMM(), ZMM()}
	scaled(v)
	k.narrow(v, px)
	ADDQ(U32(8*amxColumns), px.sums)
	LEAQ(Mem{Base: px.out, Index: px.outStep, Scale: 2}, px.out)
	LEAQ(Mem{Base: px.residual, Index: px.outStep, Scale: 2}, px.residual)
	SUBQ(Imm(2), px.n)
	JG(LabelRef(name))
}

// scaled loads sums and multiplies them: vectors 0 and 1 are the first pixel.
func (k *qconvStrip) scaled(v [4]reg.VecVirtual, px stripPixels, scale [2]reg.VecVirtual) {
	for i, x := range v {
		m := Mem{Base: px.sums, Disp: 64 * (i % 2)}
		if i >= 2 {
			m.Index, m.Scale = px.sumStep, 1
		}
		VCVTDQ2PS(m, x)
	}
	for i, x := range v {
		VMULPS(scale[i%2], x, x)
	}
}

// narrow rounds and saturates two pixels, and stores them.
func (k *qconvStrip) narrow(v [4]reg.VecVirtual, px stripPixels) {
	for _, x := range v {
		VMINPS(x, k.most, x) // a NaN stays, and becomes the least
		VCVTPS2DQ(x, x)
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPADDSW(k.zero16, v[0], v[0])
	VPADDSW(k.zero16, v[2], v[2])
	y := v[0]
	VPACKUSWB(v[2], y, y)
	VPMAXUB(k.lo8, y, y)
	VPMINUB(k.hi8, y, y)
	VPXORD(k.flip, y, y)
	VPERMD(y, k.order, y)
	high := YMM()
	VEXTRACTI64X4(Imm(1), y, high)
	VMOVDQU8(y.AsY(), k.exist, Mem{Base: px.out})
	VMOVDQU8(high, k.exist, Mem{Base: px.out, Index: px.outStep, Scale: 1})
}

// addResiduals finishes a piece with a residual, as addResidual of qconvKernel does.
func (k *qconvStrip) addResiduals(px stripPixels, scale [2]reg.VecVirtual) {
	k.argStruct = k.tile()
	var c [7]reg.VecVirtual
	for i, off := range []int{qcMidLo, qcMidHi, qcMidScale, qcResZero, qcResScale, qcYScale, qcYInverse} {
		c[i] = ZMM()
		VBROADCASTSS(k.field(off), c[i])
	}
	with := func(name string, load func(m Mem, mask reg.OpmaskVirtual, r reg.VecVirtual)) {
		k.pairs(name, px, func(v [4]reg.VecVirtual) {
			k.scaled(v, px, scale)
			for i, x := range v {
				VMAXPS(c[0], x, x)
				VMINPS(c[1], x, x)
				VRNDSCALEPS(Imm(0), x, x)
				VMULPS(c[2], x, x)
				m, r, q := Mem{Base: px.residual, Disp: 16 * (i % 2)}, ZMM(), ZMM()
				if i >= 2 {
					m.Index, m.Scale = px.outStep, 1
				}
				load(m, k.k[i%2], r)
				VCVTDQ2PS(r, r)
				VSUBPS(c[3], r, r)
				VMULPS(c[4], r, r)
				VADDPS(r, x, x)
				VMULPS(c[6], x, q)
				VFNMADD231PS(q, c[5], x)
				VFMADD213PS(q, c[6], x)
			}
		})
	}
	CMPQ(k.field(qcSigned), Imm(0))
	JNE(LabelRef("signed"))
	with("unsigned", func(m Mem, mask reg.OpmaskVirtual, r reg.VecVirtual) { VPMOVZXBD_Z(m, mask, r) })
	JMP(LabelRef("finishedpiece"))
	with("signed", func(m Mem, mask reg.OpmaskVirtual, r reg.VecVirtual) { VPMOVSXBD_Z(m, mask, r) })
}
