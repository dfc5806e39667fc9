package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct strip of qgemm, and the size and offsets of its row
// tiles.
const (
	qgStripB        = 0
	qgStripC        = 8
	qgStripA        = 16
	qgStripTiles    = 24
	qgStripRowTiles = 32
	qgStripSteps    = 40
	qgStripPanels   = 48
	qgStripColumns  = 56
	qgStripLDC      = 64
	qgStripResidual = 72
	qgStripLDR      = 80
	qgStripColSum   = 88
	qgStripColZero  = 96
	qgStripColScale = 104
	qgStripColBias  = 112
	qgStripRowZero  = 120
	qgStripRowScale = 128
	qgStripRowSum   = 136
	qgStripSums     = 144
	qgStripConfig   = 152
	qgStripNext     = 160
	qgStripNextRuns = 168
	qgStripStepRuns = 176
	qgStripStepRows = 184
	qgStripFlags    = 192
	qgStripEnds     = 200
	qgStripLo       = 208
	qgStripHi       = 212
	qgStripLeast    = 216
	qgStripMost     = 220
	qgStripZero     = 224

	qgTileA    = 0
	qgTileLDA  = 8
	qgTileRows = 16
	qgTileSkip = 24
	qgTileRow  = 32
	qgTileC    = 40
	qgTileR    = 48
	qgTileSize = 56
)

// qgemmStrip is the state of a kernel that multiplies row tiles by some panels.
type qgemmStrip struct {
	qgemmKernel
	integerTiles

	panel, panels   Mem // in progress
	column, columns Mem // bytes of 32 bits to the panel's first; columns from it on
	tile, tiles     Mem // in progress, and how many are left
	runs            Mem // of what comes next that the panel has still to fetch
	res             Mem // the next row's residual

	// Of the row tile whose sums are in memory: the next row's sums, its place, its number
	// times 4, and rows to do. some counts those before the next step.
	src, dst, row, rows, some, p reg.GPPhysical
	of                           qgemmColumn

	gelu        *tableGelu
	least, most reg.VecVirtual // of finished numbers
}

// qgemmColumn is what a panel has for its columns.
type qgemmColumn struct{ sum, zero, scale, bias [2]reg.VecVirtual }

// qgemmStrips writes the kernels of up to 16 rows and of up to 32.
func qgemmStrips() {
	for _, tall := range []bool{false, true} {
		qgemmStripOf("u8", tall, TDPBUSD)
		qgemmStripOf("s8", tall, TDPBSSD)
	}
}

func qgemmStripOf(name string, tall bool, multiply func(b, a, c Tmm)) {
	rows := 16
	if tall {
		rows = 32
	}
	TEXT(fmt.Sprintf("%sstrip%d", name, rows), NOSPLIT, "func(s *byte)")
	Doc(fmt.Sprintf("multiplies row tiles of up to %d rows by some panels; s is a *strip.", rows))
	Pragma("noescape")
	k := &qgemmStrip{qgemmKernel: qgemmKernel{gemmKernel: gemmKernel{gemmFlavour: gemmZMM, wide: 1, vecs: 2}}, integerTiles: integerTiles{tall: tall, multiply: multiply,
		config: qgStripConfig, offsets: contiguous, steps: qgStripSteps, next: qgStripNext, sums: qgStripSums}}
	k.src, k.dst, k.row, k.rows, k.some, k.p = reg.RSI, reg.R8, reg.R13, reg.R14, reg.R9, reg.RAX
	k.ahead, k.between = k.fetchShare, k.finishSome
	k.begin("s")
	k.gelu = loadTableGelu()
	k.loop()
	VZEROUPPER()
	RET()
}

func (k *qgemmStrip) loop() {
	locals(&k.panel, &k.panels, &k.column, &k.columns, &k.tile, &k.tiles, &k.runs, &k.res)
	moveLocal(k.field(qgStripB), k.panel)
	moveLocal(k.field(qgStripPanels), k.panels)
	moveLocal(k.field(qgStripColumns), k.columns)
	MOVQ(U32(0), k.column)
	k.clear()
	Label("panel")
	moveLocal(k.field(qgStripRowTiles), k.tile)
	moveLocal(k.field(qgStripTiles), k.tiles)
	k.takeShare()
	Label("tile")
	k.eachSum(TILEZERO)
	MOVQ(k.panel, tilesB)
	MOVQ(k.tile, k.p)
	MOVQ(k.ofTile(qgTileLDA), tilesLDA)
	MOVQ(tilesLDA, tilesFar)
	SHLQ(Imm(4), tilesFar)
	MOVQ(k.ofTile(qgTileA), tilesA)
	ADDQ(k.field(qgStripA), tilesA)
	k.add()
	CMPQ(k.panels, Imm(0)) // the last row tile has been finished
	JEQ(LabelRef("return"))
	k.integerTiles.store()
	k.beginFinish()
	ADDQ(Imm(qgTileSize), k.tile)
	DECQ(k.tiles)
	JNE(LabelRef("tile"))
	MOVQ(tilesB, k.panel)
	ADDQ(U32(4*amxColumns), k.column)
	SUBQ(Imm(amxColumns), k.columns)
	// What was not fetched is left to the next panel.
	MOVQ(k.runs, k.p)
	ADDQ(k.p, k.field(qgStripNextRuns))
	DECQ(k.panels)
	JNE(LabelRef("panel"))
	TILERELEASE()
	MOVQ(k.rows, k.some)
	MOVQ(U32(1), reg.R10) // the step that follows is the last
	JMP(LabelRef("row"))
	Label("return")
	MOVQ(k.field(qgStripEnds), k.p)
	VMOVUPS(k.least, Mem{Base: k.p})
	VMOVUPS(k.most, Mem{Base: k.p, Disp: 64})
}

// clear makes that there is nothing to be finished.
func (k *qgemmStrip) clear() {
	for _, r := range []reg.GPPhysical{k.src, k.dst, k.row, k.rows} {
		XORQ(r, r)
	}
	for _, v := range []*[2]reg.VecVirtual{&k.of.sum, &k.of.zero, &k.of.scale, &k.of.bias} {
		for j := range v {
			v[j] = ZMM()
			VPXORD(v[j], v[j], v[j])
		}
	}
	for j := range k.k {
		k.k[j] = K()
		KXORW(k.k[j], k.k[j], k.k[j])
	}
	k.least, k.most = ZMM(), ZMM()
	MOVQ(k.field(qgStripEnds), k.p)
	VMOVUPS(Mem{Base: k.p}, k.least)
	VMOVUPS(Mem{Base: k.p, Disp: 64}, k.most)
}

// takeShare decides how much of what comes next is fetched meanwhile: a panel.
func (k *qgemmStrip) takeShare() {
	MOVQ(k.field(qgStripSteps), k.p)
	SHLQ(Imm(2), k.p)
	CMPQ(k.p, k.field(qgStripNextRuns))
	JLE(LabelRef("share"))
	MOVQ(k.field(qgStripNextRuns), k.p)
	Label("share")
	MOVQ(k.p, k.runs)
	SUBQ(k.p, k.field(qgStripNextRuns))
}

// fetchShare brings some of it into the second-level cache.
func (k *qgemmStrip) fetchShare() {
	CMPQ(k.runs, Imm(0))
	JEQ(LabelRef("fetched"))
	MOVQ(k.field(qgStripStepRuns), k.p)
	Label("fetch")
	for i := range amxFetched / 64 {
		PREFETCHT1(Mem{Base: tilesNext, Disp: 64 * i})
	}
	ADDQ(U32(amxFetched), tilesNext)
	DECQ(k.runs)
	JEQ(LabelRef("fetched"))
	DECQ(k.p)
	JNE(LabelRef("fetch"))
	Label("fetched")
}

func (k *qgemmStrip) ofTile(off int) Mem { return Mem{Base: k.p, Disp: off} }

// beginFinish makes what is to be finished the rows of the row tile whose sums have been
// stored.
func (k *qgemmStrip) beginFinish() {
	MOVQ(k.tile, k.p)
	CMPQ(k.p, k.field(qgStripRowTiles))
	JNE(LabelRef("loaded"))
	k.columnMasks()
	k.loadPanel()
	MOVQ(k.tile, k.p)
	Label("loaded")
	MOVQ(k.ofTile(qgTileRows), k.rows)
	MOVQ(k.ofTile(qgTileRow), k.row)
	MOVQ(k.field(qgStripSums), k.src)
	ADDQ(k.ofTile(qgTileSkip), k.src)
	MOVQ(k.field(qgStripC), k.dst)
	ADDQ(k.ofTile(qgTileC), k.dst)
	MOVQ(k.ofTile(qgTileR), k.p)
	ADDQ(k.field(qgStripResidual), k.p)
	ADDQ(k.column, k.p)
	MOVQ(k.p, k.res)
	MOVQ(k.column, k.p)
	TESTL(U32(qgemmDoBytes), k.field(qgStripFlags))
	JEQ(LabelRef("words"))
	SHRQ(Imm(2), k.p)
	Label("words")
	ADDQ(k.p, k.dst)
}

// columnMasks has bits for the columns of each half.
func (k *qgemmStrip) columnMasks() {
	m := reg.RAX
	MOVL(U32(1<<32-1), m.As32())
	MOVQ(k.columns, k.some)
	CMPQ(k.some, Imm(amxColumns))
	JGE(LabelRef("whole"))
	BZHIQ(k.some, m, m)
	Label("whole")
	for j := range k.k {
		KMOVW(m.As32(), k.k[j])
		SHRL(Imm(16), m.As32())
	}
}

// loadPanel reads what there is for the panel's columns. One zero point or scale for
// all rows is multiplied once.
func (k *qgemmStrip) loadPanel() {
	c := &k.of
	for _, x := range []struct {
		flag, field int
		label       string
		to          *[2]reg.VecVirtual
	}{
		{qgemmDoColSum, qgStripColSum, "nocolsums", &c.sum}, {qgemmDoColZero, qgStripColZero, "nocolzeros", &c.zero},
		{qgemmDoColScale, qgStripColScale, "nocolscales", &c.scale}, {qgemmDoColBias, qgStripColBias, "nocolbiases", &c.bias},
	} {
		k.unless(x.flag, x.label, func() {
			MOVQ(k.field(x.field), k.p)
			ADDQ(k.column, k.p)
			for j := range x.to {
				k.loadColumns(Mem{Base: k.p}, j, x.to[j])
			}
		})
	}
	k.unless(qgemmDoOneZero, "zeros", func() {
		z := ZMM()
		MOVQ(k.field(qgStripRowZero), k.p)
		VPBROADCASTD(Mem{Base: k.p}, z)
		for j := range c.sum {
			VPMULLD(z, c.sum[j], c.sum[j])
		}
	})
	k.unless(qgemmDoOneScale, "scales", func() {
		s := ZMM()
		MOVQ(k.field(qgStripRowScale), k.p)
		VBROADCASTSS(Mem{Base: k.p}, s)
		TESTL(U32(qgemmDoColScale), k.field(qgStripFlags))
		JNE(LabelRef("times"))
		VMOVAPS(s, c.scale[0])
		VMOVAPS(s, c.scale[1])
		JMP(LabelRef("scales"))
		Label("times")
		for j := range c.scale {
			VMULPS(s, c.scale[j], c.scale[j])
		}
	})
}

func (k *qgemmStrip) field(off int) Mem { return k.arg(off) }

// unless skips what is not to be done.
func (k *qgemmStrip) unless(flag int, label string, emit func()) {
	TESTL(U32(uint32(flag)), k.field(qgStripFlags))
	JEQ(LabelRef(label))
	emit()
	Label(label)
}

// finishSome adds what the zero points contribute to some rows of sums in memory, does
// what epilogue does, and stores them.
func (k *qgemmStrip) finishSome() {
	TESTQ(k.rows, k.rows)
	JEQ(LabelRef("finished"))
	MOVQ(k.field(qgStripStepRows), k.some)
	Label("row")
	v := [2]reg.VecVirtual{ZMM(), ZMM()}
	each := func(f func(j int)) { f(0); f(1) }
	each(func(j int) { VMOVDQU32(Mem{Base: k.src, Disp: 64 * j}, v[j]) })
	k.addZeros(v)
	k.unless(qgemmDoFloat, "store", func() {
		each(func(j int) { VCVTDQ2PS(v[j], v[j]) })
		k.scaleRow(v)
		k.unless(qgemmDoColBias, "nocolbias", func() { each(func(j int) { VADDPS(k.of.bias[j], v[j], v[j]) }) })
		k.unless(qgemmDoResidual, "noresidual", func() {
			MOVQ(k.res, k.p)
			each(func(j int) {
				r := ZMM()
				k.loadColumns(Mem{Base: k.p}, j, r)
				VADDPS(r, v[j], v[j])
			})
			ADDQ(k.field(qgStripLDR), k.p)
			MOVQ(k.p, k.res)
		})
		k.unless(qgemmDoClip, "noclip", func() {
			lo, hi := k.broadcast(qgStripLo), k.broadcast(qgStripHi)
			each(func(j int) {
				VMAXPS(v[j], lo, v[j])
				VMINPS(v[j], hi, v[j])
			})
		})
		k.unless(qgemmDoGelu, "nogelu", func() { k.gelu.of(v[0], v[1]) })
		k.unless(qgemmDoEnds, "noends", func() {
			each(func(j int) {
				VMINPS(k.least, v[j], k.k[j], k.least) // of a NaN and another number this is the other
				VMAXPS(k.most, v[j], k.k[j], k.most)
			})
		})
	})
	TESTL(U32(qgemmDoBytes), k.field(qgStripFlags))
	JNE(LabelRef("bytes"))
	each(func(j int) { k.storeColumns(v[j], Mem{Base: k.dst}, j) })
	JMP(LabelRef("stored"))
	Label("bytes")
	each(func(j int) { k.storeBytes(v[j], Mem{Base: k.dst, Disp: 16 * j}, j) })
	Label("stored")
	ADDQ(U32(amxRowSums), k.src)
	ADDQ(k.field(qgStripLDC), k.dst)
	ADDQ(Imm(4), k.row)
	DECQ(k.rows)
	JEQ(LabelRef("finished"))
	DECQ(k.some)
	JNE(LabelRef("row"))
	Label("finished")
}

func (k *qgemmStrip) broadcast(off int) reg.VecVirtual {
	v := ZMM()
	VBROADCASTSS(k.field(off), v)
	return v
}

// ofRow is where a vector has the row's number.
func (k *qgemmStrip) ofRow(off int) Mem {
	MOVQ(k.field(off), k.p)
	return Mem{Base: k.p, Index: k.row, Scale: 1}
}

// addZeros adds the zero points' part to a row of sums.
func (k *qgemmStrip) addZeros(v [2]reg.VecVirtual) {
	c := &k.of
	k.unless(qgemmDoColSum, "nocolsum", func() {
		TESTL(U32(qgemmDoOneZero), k.field(qgStripFlags))
		JNE(LabelRef("onezero"))
		for j := range v {
			k.addProduct(k.ofRow(qgStripRowZero), c.sum[j], v[j])
		}
		JMP(LabelRef("nocolsum"))
		Label("onezero")
		for j := range v {
			VPADDD(c.sum[j], v[j], v[j])
		}
	})
	k.unless(qgemmDoColZero, "nocolzero", func() {
		for j := range v {
			k.addProduct(k.ofRow(qgStripRowSum), c.zero[j], v[j])
		}
	})
}

// addProduct adds a row's number times one for each column.
func (k *qgemmStrip) addProduct(row Mem, col, v reg.VecVirtual) {
	x := ZMM()
	VPBROADCASTD(row, x)
	VPMULLD(col, x, x)
	VPADDD(x, v, v)
}

// scaleRow multiplies a row by its scale, or by its product with the column's.
func (k *qgemmStrip) scaleRow(v [2]reg.VecVirtual) {
	c := &k.of
	TESTL(U32(qgemmDoOneScale), k.field(qgStripFlags))
	JNE(LabelRef("onescale"))
	s := ZMM()
	VBROADCASTSS(k.ofRow(qgStripRowScale), s)
	TESTL(U32(qgemmDoColScale), k.field(qgStripFlags))
	JNE(LabelRef("colscale"))
	for j := range v {
		VMULPS(s, v[j], v[j])
	}
	JMP(LabelRef("scaled"))
	Label("colscale")
	for j := range v {
		both := ZMM()
		VMULPS(s, c.scale[j], both)
		VMULPS(both, v[j], v[j])
	}
	JMP(LabelRef("scaled"))
	Label("onescale")
	for j := range v {
		VMULPS(c.scale[j], v[j], v[j])
	}
	Label("scaled")
}

// storeBytes does what narrow does with half a row. A NaN becomes the lowest number.
func (k *qgemmStrip) storeBytes(v reg.VecVirtual, m Mem, half int) {
	x := ZMM()
	VBROADCASTSS(k.field(qgStripLeast), x)
	VMAXPS(x, v, v)
	VBROADCASTSS(k.field(qgStripMost), x)
	VMINPS(x, v, v)
	VCVTPS2DQ(v, v)
	VPBROADCASTD(k.field(qgStripZero), x)
	VPADDD(x, v, v)
	VPMOVDB(v, k.k[half], m)
}
