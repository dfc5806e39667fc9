package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct Strip of mma, and the size and offsets of
// its row tiles.
const (
	stripA          = 0
	stripLDA        = 8
	stripStepA      = 16
	stripB          = 24
	stripSteps      = 32
	stripPanels     = 40
	stripRowTiles   = 48
	stripTiles      = 56
	stripSums       = 64
	stripNext       = 72
	stripNextRuns   = 80
	stripStepRuns   = 88
	stripConfig     = 96
	stripDst        = 104
	stripLDC        = 112
	stripPanelC     = 120
	stripResidual   = 128
	stripLDR        = 136
	stripColBias    = 144
	stripRowBias    = 152
	stripColumns    = 160
	stripFlags      = 168
	stripAlpha      = 176
	stripBeta       = 180
	stripLo         = 184
	stripHi         = 188
	stripSlope      = 192
	stripFinishRows = 200

	tileOfA    = 0
	tileRows   = 8
	tileSkip   = 16
	tileC      = 24
	tileR      = 32
	tileRow    = 40
	tileStride = 48
)

// Bits of Strip.flags beyond those of Finish.
const (
	stripHalf   = 1 << (5 + iota) // results are of bfloat16
	stripResume                   // the sums begin with those in memory
	stripHold                     // and stay there
)

const stripSumBytes = 4096 // of a row tile

// strip is a product of bfloat16 that finishes a row tile while the tiles add up
// the next one: they are different units of a core. Sums stay in tile registers over
// all of K, tiles 0 to 3; 4 and 5 are of A, 6 and 7 of B.
type strip struct {
	tileLoop
	gelu   bool
	coarse *coarseGelu

	next, tile GPPhysical
	count      GPPhysical // rows before the next step

	columns, runs, rowBias Mem

	mask                        [2]OpmaskVirtual
	whole                       OpmaskVirtual
	bias                        [2]VecVirtual
	alpha, beta, lo, hi, slope_ Mem
}

// newStrip has registers for t and the rest.
func newStrip(tall, gelu bool) *strip {
	s := &strip{tileLoop: newTileLoop(tall), gelu: gelu, next: R15, tile: R11, count: R9}
	s.alpha, s.beta, s.lo, s.hi, s.slope_ = s.field(stripAlpha), s.field(stripBeta), s.field(stripLo), s.field(stripHi), s.field(stripSlope)
	return s
}

// mmaStripFinish writes what finishes the sums of the first row tile.
func mmaStripFinish(gelu bool) {
	name, doc := "finishStrip", "finishes the sums of the first row tile; t is a *Strip."
	if gelu {
		name, doc = "finishStripGelu", "finishes the sums of the first row tile by way of GELU; t is a *Strip."
	}
	TEXT(name, NOSPLIT, "func(t *byte)")
	Doc(doc)
	Pragma("noescape")
	s := newStrip(false, gelu)
	locals(&s.panelDst, &s.panelRes, &s.panelBias, &s.columns, &s.sums, &s.res, &s.rowBias)
	Load(Param("t"), s.t)
	s.beginFinish()
	MOVQ(s.field(stripRowTiles), s.tile)
	if gelu {
		s.coarse = loadCoarseGelu()
	}
	MOVQ(s.sums, s.src)
	s.startFinish()
	s.finishSome()
	end()
}

// mmaStrip writes one for up to 16 rows, or for 17 to 32 where tall.
func mmaStrip(tall, gelu bool) {
	rows, name, doc := 16, "strip", "multiplies row tiles of up to %d rows by panels and finishes them; t is a *Strip."
	if tall {
		rows = 32
	}
	if gelu {
		name, doc = "stripGelu", "multiplies row tiles of up to %d rows by panels and finishes them by way of GELU; t is a *Strip."
	}
	TEXT(fmt.Sprintf("%sx%d", name, rows), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf(doc, rows))
	Pragma("noescape")
	s := newStrip(tall, gelu)
	locals(&s.panelB, &s.panelDst, &s.panelRes, &s.panelBias, &s.columns, &s.panels, &s.tiles, &s.runs, &s.sums, &s.others, &s.res, &s.rowBias)
	s.begin()
	if gelu {
		s.coarse = loadCoarseGelu()
	}
	s.eachPanel()
	RET()
}

func (s *strip) ofTile(off int) Mem { return Mem{Base: s.tile, Disp: off} }

func (s *strip) begin() {
	s.configure(stripConfig, stripLDA)
	MOVQ(s.field(stripNext), s.next)
	s.move(s.field(stripB), s.panelB)
	s.move(s.field(stripPanels), s.panels)
	s.beginFinish()
	ADDQ(U32(stripSumBytes), s.a)
	MOVQ(s.a, s.others)
}

// beginFinish sets what finishing begins with, and leaves a as the sums.
func (s *strip) beginFinish() {
	for _, m := range []struct {
		off int
		to  Mem
	}{{stripDst, s.panelDst}, {stripResidual, s.panelRes}, {stripColBias, s.panelBias}, {stripColumns, s.columns}, {stripSums, s.sums}} {
		s.move(s.field(m.off), m.to)
	}
	XORQ(s.rows, s.rows) // nothing is to be finished
	XORQ(s.src, s.src)
	XORQ(s.dst, s.dst)
	for i := range s.mask {
		s.mask[i], s.bias[i] = K(), ZMM()
		KXORW(s.mask[i], s.mask[i], s.mask[i])
		VPXORD(s.bias[i], s.bias[i], s.bias[i])
	}
	s.whole = K()
	KXORD(s.whole, s.whole, s.whole)
}

func (s *strip) eachPanel() {
	Label("panel")
	s.move(s.field(stripRowTiles), s.tile)
	s.move(s.field(stripTiles), s.tiles)
	// A panel's share of what comes next.
	MOVQ(s.field(stripSteps), s.a)
	SHLQ(Imm(2), s.a)
	CMPQ(s.a, s.field(stripNextRuns))
	JLE(LabelRef("share"))
	MOVQ(s.field(stripNextRuns), s.a)
	Label("share")
	MOVQ(s.a, s.runs)
	SUBQ(s.a, s.field(stripNextRuns))
	Label("tile")
	s.startTile()
	Label("step")
	s.step()
	s.fetch()
	s.finishSome()
	DECQ(s.steps)
	JNE(LabelRef("step"))
	CMPQ(s.panels, Imm(0)) // the last row tile has been finished
	JEQ(LabelRef("end"))
	s.endTile()
	ADDQ(Imm(tileStride), s.tile)
	DECQ(s.tiles)
	JNE(LabelRef("tile"))
	MOVQ(s.b, s.panelB)
	MOVQ(s.field(stripPanelC), s.a)
	ADDQ(s.a, s.panelDst)
	ADDQ(U32(128), s.panelRes)
	ADDQ(U32(128), s.panelBias)
	SUBQ(Imm(32), s.columns)
	// What was not fetched is left to the next panel.
	MOVQ(s.runs, s.a)
	ADDQ(s.a, s.field(stripNextRuns))
	DECQ(s.panels)
	JNE(LabelRef("panel"))
	TILERELEASE()
	MOVQ(s.next, s.field(stripNext))
	MOVQ(U32(1), s.steps)
	MOVQ(s.rows, s.count)
	TESTQ(s.rows, s.rows)
	JNE(LabelRef("row"))
	Label("end")
	VZEROUPPER()
}

// startTile makes sums and operands those of the next row tile.
func (s *strip) startTile() {
	TESTL(U32(stripResume), s.field(stripFlags))
	JNE(LabelRef("resume"))
	s.eachSum(func(i Tmm, _ int32) { TILEZERO(i) })
	JMP(LabelRef("start"))
	Label("resume")
	MOVQ(s.sums, s.count)
	s.eachSum(func(i Tmm, disp int32) { TILELOADD(At{s.count, s.ldb, disp}, i) })
	Label("start")
	MOVQ(s.panelB, s.b)
	MOVQ(s.field(stripA), s.a)
	ADDQ(s.ofTile(tileOfA), s.a)
	MOVQ(s.field(stripSteps), s.steps)
}

func (s *strip) eachSum(do func(i Tmm, disp int32)) {
	do(0, 0)
	do(1, 64)
	if s.tall {
		do(2, stripSumBytes/2)
		do(3, stripSumBytes/2+64)
	}
}

func (s *strip) step() {
	TILELOADD(At{Base: s.a, Index: s.lda}, 4)
	TILELOADD(At{Base: s.b, Index: s.ldb}, 6)
	TDPBF16PS(6, 4, 0)
	TILELOADD(At{s.b, s.ldb, 64}, 7)
	TDPBF16PS(7, 4, 1)
	if s.tall {
		LEAQ(Mem{Base: s.a, Index: s.far, Scale: 1}, s.count)
		TILELOADD(At{Base: s.count, Index: s.lda}, 5)
		TDPBF16PS(6, 5, 2)
		TDPBF16PS(7, 5, 3)
	}
	ADDQ(s.field(stripStepA), s.a)
	ADDQ(U32(2048), s.b)
}

// fetch brings some of what comes next into the second-level cache.
func (s *strip) fetch() {
	CMPQ(s.runs, Imm(0))
	JEQ(LabelRef("fetched"))
	MOVQ(s.field(stripStepRuns), s.count)
	Label("fetch")
	for i := range mmaNextLines {
		PREFETCHT1(Mem{Base: s.next, Disp: 64 * i})
	}
	ADDQ(U32(64*mmaNextLines), s.next)
	DECQ(s.runs)
	JEQ(LabelRef("fetched"))
	DECQ(s.count)
	JNE(LabelRef("fetch"))
	Label("fetched")
}

// finishSome finishes some rows of the row tile before.
func (s *strip) finishSome() {
	TESTQ(s.rows, s.rows)
	JEQ(LabelRef("finished"))
	MOVQ(s.field(stripFinishRows), s.count)
	Label("row")
	v := s.sum()
	s.store(v)
	ADDQ(U32(128), s.src)
	ADDQ(s.field(stripLDC), s.dst)
	DECQ(s.rows)
	JEQ(LabelRef("finished"))
	DECQ(s.count)
	JNE(LabelRef("row"))
	Label("finished")
}

// sum gives a row of 32 finished numbers.
func (s *strip) sum() [2]VecVirtual {
	v, r := [2]VecVirtual{ZMM(), ZMM()}, ZMM()
	each := func(f func(j int)) { f(0); f(1) }
	VBROADCASTSS(s.alpha, r)
	each(func(j int) { VMULPS(Mem{Base: s.src, Disp: 64 * j}, r, v[j]) })
	s.unless(finishDoColBias, "nocolbias", func() { each(func(j int) { VADDPS(s.bias[j], v[j], v[j]) }) })
	p := GP64()
	s.unless(finishDoRowBias, "norowbias", func() {
		MOVQ(s.rowBias, p)
		each(func(j int) { VADDPS_BCST(Mem{Base: p}, v[j], v[j]) })
		ADDQ(Imm(4), s.rowBias)
	})
	s.unless(finishDoResidual, "noresidual", func() {
		beta := ZMM()
		VBROADCASTSS(s.beta, beta)
		MOVQ(s.res, p)
		each(func(j int) {
			VMOVUPS_Z(Mem{Base: p, Disp: 64 * j}, s.mask[j], r)
			VMULPS(beta, r, r)
			VADDPS(r, v[j], v[j])
		})
		ADDQ(s.field(stripLDR), p)
		MOVQ(p, s.res)
	})
	s.unless(finishDoLeaky, "noleaky", func() {
		VBROADCASTSS(s.slope_, r)
		each(func(j int) {
			neg := K()
			VPMOVD2M(v[j], neg)
			VMULPS(r, v[j], neg, v[j])
		})
	})
	s.unless(finishDoClip, "noclip", func() {
		lo, hi := ZMM(), ZMM()
		VBROADCASTSS(s.lo, lo)
		VBROADCASTSS(s.hi, hi)
		each(func(j int) {
			VMAXPS(v[j], lo, v[j]) // a NaN stays
			VMINPS(v[j], hi, v[j])
		})
	})
	if s.gelu {
		s.coarse.of(v[0], v[1])
	}
	return v
}

func (s *strip) store(v [2]VecVirtual) {
	TESTL(U32(stripHalf), s.field(stripFlags))
	JNE(LabelRef("half"))
	VMOVUPS(v[0], s.mask[0], Mem{Base: s.dst})
	VMOVUPS(v[1], s.mask[1], Mem{Base: s.dst, Disp: 64})
	JMP(LabelRef("stored"))
	Label("half")
	VMOVAPS(v[0], Z0)
	VMOVAPS(v[1], Z1)
	VCVTNE2PS2BF16(Z0, Z1, Z0)
	VMOVDQU16(Z0, s.whole, Mem{Base: s.dst})
	Label("stored")
}

func (s *strip) unless(flag int, label string, emit func()) {
	TESTL(U32(uint32(flag)), s.field(stripFlags))
	JEQ(LabelRef(label))
	emit()
	Label(label)
}

// endTile brings the sums to memory, where they are to be finished.
func (s *strip) endTile() {
	MOVQ(s.sums, s.src)
	s.eachSum(func(i Tmm, disp int32) { TILESTORED(i, At{s.src, s.ldb, disp}) })
	TESTL(U32(stripHold), s.field(stripFlags))
	JNE(LabelRef("held"))
	MOVQ(s.others, s.count)
	MOVQ(s.count, s.sums)
	MOVQ(s.src, s.others)
	s.startFinish()
	Label("held")
}

// startFinish makes what is finished the row tile whose sums are at src.
func (s *strip) startFinish() {
	ADDQ(s.ofTile(tileSkip), s.src)
	MOVQ(s.ofTile(tileRows), s.rows)
	MOVQ(s.panelDst, s.dst)
	ADDQ(s.ofTile(tileC), s.dst)
	MOVQ(s.panelRes, s.count)
	ADDQ(s.ofTile(tileR), s.count)
	MOVQ(s.count, s.res)
	MOVQ(s.field(stripRowBias), s.count)
	ADDQ(s.ofTile(tileRow), s.count)
	MOVQ(s.count, s.rowBias)
	s.setColumns()
}

// setColumns makes masks and biases those of the panel.
func (s *strip) setColumns() {
	m := GP32()
	MOVL(U32(1<<32-1), m)
	MOVQ(s.columns, s.count)
	CMPQ(s.count, Imm(32))
	JGE(LabelRef("columns"))
	BZHIL(s.count.As32(), m, m)
	Label("columns")
	KMOVD(m, s.whole)
	KMOVW(m, s.mask[0])
	SHRL(Imm(16), m)
	KMOVW(m, s.mask[1])
	TESTL(U32(finishDoColBias), s.field(stripFlags))
	JEQ(LabelRef("nobias"))
	MOVQ(s.panelBias, s.count)
	for j := range s.bias {
		VMOVUPS_Z(Mem{Base: s.count, Disp: 64 * j}, s.mask[j], s.bias[j])
	}
	Label("nobias")
}
