package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct Conv of mma, and the size and offsets of its
// row tiles and pieces.
const (
	convA        = 0
	convLDA      = 8
	convOffsets  = 16
	convSteps    = 24
	convB        = 32
	convPanels   = 40
	convTiles    = 48
	convCount    = 56
	convPieces   = 64
	convSums     = 72
	convNext     = 80
	convNextRuns = 88
	convStepRuns = 96
	convConfig   = 104
	convDst      = 112
	convLDC      = 120
	convHalfC    = 128
	convPanelC   = 136
	convResidual = 144
	convLDR      = 152
	convHalfR    = 160
	convPanelR   = 168
	convBias     = 176
	convNarrow   = 184
	convFlags    = 192
	convStepRows = 200
	convLo       = 208
	convHi       = 212

	convTileA      = 0
	convTilePieces = 8
	convTileCount  = 16
	convTileBytes  = 24

	pieceSkip  = 0
	pieceRows  = 8
	pieceC     = 16
	pieceR     = 24
	pieceBytes = 32
)

// Bits of Conv.flags.
const (
	convHalf         = 1 << iota // results are of bfloat16
	convResidualBF16             // so is the residual
	convAdd                      // it is added before the limits
	convAddLast                  // or after them
	convAhead                    // results and residual are fetched ahead
)

// convAheadBytes is how far ahead: the results of some 64 pixels.
const convAheadBytes = 2048

// convLoop is a convolution that brings a row tile's sums to their pixels while the
// tiles add up the next one. Sums stay in tile registers over all steps, tiles 0 to 3; 4
// and 5 are of the input, 6 and 7 of the weights.
type convLoop struct {
	tileLoop // rows are those of a piece
	silu     bool

	offsets, count GPPhysical
	halfC, flags   GPPhysical // of what is being finished

	tileA, tile                        Mem
	ofDst, ofRes, halfR, piece, pieces Mem // of what is being finished

	second OpmaskVirtual // whether there are the second 16 channels
}

// Registers of convLoop, physical for the encodings that avo doesn't know.
var (
	convBiases = [2]VecPhysical{Z28, Z29}
	convSum    = [2]VecPhysical{Z0, Z1}
	convRes    = [2]VecPhysical{Z2, Z3}
)

// newConvLoop has registers for t and the rest.
func newConvLoop(tall, silu bool) *convLoop {
	return &convLoop{tileLoop: newTileLoop(tall), silu: silu, offsets: R9, count: R11, halfC: R15, flags: R14}
}

// mmaConvFinish writes what brings the sums of the first row tile and panel to their
// pixels.
func mmaConvFinish(silu bool) {
	name, doc := "finishConv", "brings the sums of the first row tile and panel to their pixels; t is a *Conv."
	if silu {
		name, doc = "finishConvSilu", "is the same with SiLU."
	}
	TEXT(name, NOSPLIT, "func(t *byte)")
	Doc(doc)
	Pragma("noescape")
	c := newConvLoop(false, silu)
	locals(&c.tile, &c.panels, &c.panelDst, &c.panelRes, &c.panelBias, &c.sums, &c.others, &c.ofDst, &c.ofRes, &c.halfR, &c.res, &c.piece, &c.pieces)
	Load(Param("t"), c.t)
	c.beginFinish()
	c.move(c.field(convTiles), c.tile)
	c.move(c.sums, c.others)
	c.setBlocks(func(int) {})
	c.startFinish()
	c.finishSome()
	end()
}

// mmaConv writes one for up to 16 rows, or for 17 to 32 where tall; with SiLU in the
// place of the limits where silu.
func mmaConv(tall, silu bool) {
	name, doc := "conv", "convolves up to 16 rows a tile; t is a *Conv."
	if silu {
		name, doc = "convSilu", "convolves up to 16 rows a tile, with SiLU; t is a *Conv."
	}
	if tall {
		TEXT(name+"x32", NOSPLIT, "func(t *byte)")
		doc = "is the same for 17 to 32 rows."
	} else {
		TEXT(name+"x16", NOSPLIT, "func(t *byte)")
	}
	Doc(doc)
	Pragma("noescape")
	c := newConvLoop(tall, silu)
	locals(&c.tileA, &c.tile, &c.tiles, &c.panels, &c.panelB, &c.panelDst, &c.panelRes, &c.panelBias, &c.sums, &c.others,
		&c.ofDst, &c.ofRes, &c.halfR, &c.res, &c.piece, &c.pieces)
	c.begin()
	c.eachPanel()
	RET()
}

func (c *convLoop) begin() {
	c.configure(convConfig, convLDA)
	c.move(c.field(convB), c.panelB)
	c.beginFinish()
	ADDQ(U32(stripSumBytes), c.a)
	MOVQ(c.a, c.others)
}

// beginFinish sets what finishing begins with, and leaves a as the sums.
func (c *convLoop) beginFinish() {
	MOVQ(c.field(convFlags), c.flags)
	for _, m := range []struct {
		off int
		to  Mem
	}{{convDst, c.panelDst}, {convResidual, c.panelRes}, {convBias, c.panelBias}, {convPanels, c.panels}, {convSums, c.sums}} {
		c.move(c.field(m.off), m.to)
	}
	XORQ(c.rows, c.rows) // nothing is to be finished
	XORQ(c.src, c.src)
	XORQ(c.dst, c.dst)
	XORQ(c.halfC, c.halfC)
	c.second = K()
	KXORW(c.second, c.second, c.second)
	for _, z := range convBiases {
		VPXORD(z, z, z)
	}
	if c.silu {
		loadSilu()
	} else {
		VBROADCASTSS(c.field(convLo), Z30)
		VBROADCASTSS(c.field(convHi), Z31)
	}
}

func (c *convLoop) eachPanel() {
	Label("panel")
	c.move(c.field(convTiles), c.tile)
	c.move(c.field(convCount), c.tiles)
	Label("tile")
	c.startTile()
	Label("step")
	c.step()
	c.fetch()
	c.finishSome()
	DECQ(c.steps)
	JNE(LabelRef("step"))
	CMPQ(c.panels, Imm(0)) // the last row tile has been finished
	JEQ(LabelRef("end"))
	c.endTile()
	ADDQ(Imm(convTileBytes), c.tile)
	DECQ(c.tiles)
	JNE(LabelRef("tile"))
	MOVQ(c.b, c.panelB)
	for _, m := range []struct {
		off int
		to  Mem
	}{{convPanelC, c.panelDst}, {convPanelR, c.panelRes}} {
		MOVQ(c.field(m.off), c.a)
		ADDQ(c.a, m.to)
	}
	ADDQ(U32(128), c.panelBias)
	DECQ(c.panels)
	JNE(LabelRef("panel"))
	TILERELEASE()
	MOVQ(U32(1), c.steps)
	MOVQ(U32(stripSumBytes/128), c.count)
	JMP(LabelRef("row"))
	Label("end")
	VZEROUPPER()
}

// startTile makes sums and operands those of the next row tile.
func (c *convLoop) startTile() {
	for i := range 4 {
		if i < 2 || c.tall {
			TILEZERO(Tmm(i))
		}
	}
	MOVQ(c.panelB, c.b)
	MOVQ(c.tile, c.a)
	MOVQ(Mem{Base: c.a, Disp: convTileA}, c.a)
	ADDQ(c.field(convA), c.a)
	MOVQ(c.a, c.tileA)
	MOVQ(c.field(convSteps), c.steps)
	MOVQ(c.field(convOffsets), c.offsets)
}

// step multiplies a step; of the last panel only 16 columns where Narrow is 1.
func (c *convLoop) step() {
	MOVQ(Mem{Base: c.offsets}, c.a)
	ADDQ(c.tileA, c.a)
	ADDQ(Imm(8), c.offsets)
	TILELOADD(At{Base: c.a, Index: c.lda}, 4)
	TILELOADD(At{Base: c.b, Index: c.ldb}, 6)
	TDPBF16PS(6, 4, 0)
	if c.tall {
		ADDQ(c.far, c.a)
		TILELOADD(At{Base: c.a, Index: c.lda}, 5)
		TDPBF16PS(6, 5, 2)
	}
	MOVQ(c.panels, c.a)
	CMPQ(c.a, c.field(convNarrow))
	JEQ(LabelRef("halfstep"))
	TILELOADD(At{c.b, c.ldb, 64}, 7)
	TDPBF16PS(7, 4, 1)
	if c.tall {
		TDPBF16PS(7, 5, 3)
	}
	Label("halfstep")
	ADDQ(U32(2048), c.b)
}

// fetch brings some of what comes next into the second-level cache.
func (c *convLoop) fetch() {
	CMPQ(c.field(convNextRuns), Imm(0))
	JLE(LabelRef("fetched"))
	MOVQ(c.field(convStepRuns), c.count)
	MOVQ(c.field(convNext), c.a)
	SUBQ(c.count, c.field(convNextRuns))
	Label("fetch")
	for i := range mmaNextLines {
		PREFETCHT1(Mem{Base: c.a, Disp: 64 * i})
	}
	ADDQ(U32(64*mmaNextLines), c.a)
	DECQ(c.count)
	JNE(LabelRef("fetch"))
	MOVQ(c.a, c.field(convNext))
	Label("fetched")
}

// finishSome finishes some rows of the row tile before.
func (c *convLoop) finishSome() {
	TESTQ(c.rows, c.rows)
	JEQ(LabelRef("finished"))
	MOVQ(c.field(convStepRows), c.count)
	Label("row")
	c.sum()
	c.store()
	ADDQ(U32(128), c.src)
	ADDQ(c.field(convLDC), c.dst)
	DECQ(c.rows)
	JEQ(LabelRef("piece"))
	Label("more")
	DECQ(c.count)
	JNE(LabelRef("row"))
	JMP(LabelRef("finished"))
	Label("piece")
	DECQ(c.pieces)
	JEQ(LabelRef("finished"))
	c.startPiece()
	JMP(LabelRef("more"))
	Label("finished")
}

// startPiece makes what is finished the next piece of the row tile whose sums are at
// others.
func (c *convLoop) startPiece() {
	MOVQ(c.piece, c.a)
	ADDQ(Imm(pieceBytes), c.piece)
	MOVQ(Mem{Base: c.a, Disp: pieceRows}, c.rows)
	MOVQ(c.others, c.src)
	ADDQ(Mem{Base: c.a, Disp: pieceSkip}, c.src)
	MOVQ(c.ofDst, c.dst)
	ADDQ(Mem{Base: c.a, Disp: pieceC}, c.dst)
	MOVQ(Mem{Base: c.a, Disp: pieceR}, c.a)
	ADDQ(c.ofRes, c.a)
	MOVQ(c.a, c.res)
}

// sum gives a row of finished numbers.
func (c *convLoop) sum() {
	VADDPS(Mem{Base: c.src}, convBiases[0], convSum[0])
	VADDPS_Z(Mem{Base: c.src, Disp: 64}, convBiases[1], c.second, convSum[1]) // what does not exist may be slow subnormal numbers
	if c.silu {
		for j, v := range convSum {
			siluOf(v, pixelSilu[j])
		}
	} else {
		c.residual(convAdd, "noadd")
		for _, v := range convSum {
			VMAXPS(v, Z30, v) // a NaN stays
			VMINPS(v, Z31, v)
		}
	}
	c.residual(convAddLast, "noaddlast")
}

func (c *convLoop) unless(flag int, label string, emit func()) {
	TESTL(U32(uint32(flag)), c.flags.As32())
	JEQ(LabelRef(label))
	emit()
	Label(label)
}

// residual adds the residual, where a flag says so, and goes on to its next pixel.
func (c *convLoop) residual(flag int, label string) {
	c.unless(flag, label, func() {
		MOVQ(c.res, c.a)
		TESTL(U32(convResidualBF16), c.flags.As32())
		JEQ(LabelRef(label + "float"))
		VPMOVZXWD(Mem{Base: c.a}, convRes[0])
		ADDQ(c.halfR, c.a)
		VPMOVZXWD_Z(Mem{Base: c.a}, c.second, convRes[1])
		for _, r := range convRes {
			VPSLLD(Imm(16), r, r)
		}
		JMP(LabelRef(label + "loaded"))
		Label(label + "float")
		VMOVUPS(Mem{Base: c.a}, convRes[0])
		ADDQ(c.halfR, c.a)
		VMOVUPS_Z(Mem{Base: c.a}, c.second, convRes[1])
		Label(label + "loaded")
		for j, v := range convSum {
			VADDPS(convRes[j], v, v)
		}
		c.unless(convAhead, label+"near", func() {
			PREFETCHT0(Mem{Base: c.a, Disp: convAheadBytes})
			MOVQ(c.res, c.a)
			PREFETCHT0(Mem{Base: c.a, Disp: convAheadBytes})
		})
		MOVQ(c.field(convLDR), c.a)
		ADDQ(c.a, c.res)
	})
}

// store brings them to their pixels.
func (c *convLoop) store() {
	low, high := Mem{Base: c.dst}, Mem{Base: c.dst, Index: c.halfC, Scale: 1}
	c.unless(convAhead, "near", func() {
		LEAQ(high, c.a)
		PREFETCHW(c.dst, convAheadBytes)
		PREFETCHW(c.a, convAheadBytes)
	})
	TESTL(U32(convHalf), c.flags.As32())
	JEQ(LabelRef("float"))
	VCVTNE2PS2BF16(convSum[0], convSum[1], Z0)
	VMOVDQU(Y0, low)
	VEXTRACTI32X8(Imm(1), Z0, c.second, high)
	JMP(LabelRef("stored"))
	Label("float")
	VMOVUPS(convSum[0], low)
	VMOVUPS(convSum[1], c.second, high)
	Label("stored")
}

// endTile brings the sums to memory, where they are to be finished.
func (c *convLoop) endTile() {
	MOVQ(c.sums, c.src)
	c.setBlocks(c.storeTiles)
	c.move(c.others, c.sums)
	MOVQ(c.src, c.others)
	c.startFinish()
}

// setBlocks says whether a panel has the second 16 channels, and does something for each
// 16 that it has.
func (c *convLoop) setBlocks(do func(half int)) {
	MOVQ(c.field(convHalfC), c.halfC)
	c.move(c.field(convHalfR), c.halfR)
	MOVQ(U32(1<<16-1), c.count)
	KMOVW(c.count.As32(), c.second)
	do(0)
	MOVQ(c.panels, c.a)
	CMPQ(c.a, c.field(convNarrow))
	JEQ(LabelRef("narrow"))
	do(1)
	JMP(LabelRef("columns"))
	Label("narrow")
	XORQ(c.halfC, c.halfC)
	MOVQ(c.halfC, c.halfR)
	KXORW(c.second, c.second, c.second)
	Label("columns")
}

// startFinish makes what is finished the row tile and panel whose sums are at others.
func (c *convLoop) startFinish() {
	c.move(c.panelDst, c.ofDst)
	c.move(c.panelRes, c.ofRes)
	MOVQ(c.panelBias, c.a)
	for j, z := range convBiases {
		VMOVUPS(Mem{Base: c.a, Disp: 64 * j}, z)
	}
	MOVQ(c.tile, c.count)
	MOVQ(Mem{Base: c.count, Disp: convTilePieces}, c.a)
	ADDQ(c.field(convPieces), c.a)
	MOVQ(c.a, c.piece)
	c.move(Mem{Base: c.count, Disp: convTileCount}, c.pieces)
	c.startPiece()
}

// storeTiles stores the sums of a block of 16 channels.
func (c *convLoop) storeTiles(half int) {
	TILESTORED(Tmm(half), At{c.src, c.ldb, int32(64 * half)})
	if c.tall {
		TILESTORED(Tmm(2+half), At{c.src, c.ldb, int32(stripSumBytes/2 + 64*half)})
	}
}
