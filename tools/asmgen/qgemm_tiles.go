package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes of fields of qgemm's tile that only kernels of tiles know.
const (
	qgemmConfig   = 152
	qgemmFar      = 160
	qgemmPanels   = 168
	qgemmColumns  = 176
	qgemmNext     = 184
	qgemmNextRuns = 192
	qgemmLeast    = 200
	qgemmMost     = 204
	qgemmZero     = 208
)

// qgemmStrip is the state of a kernel that multiplies a row tile by some panels.
type qgemmStrip struct {
	qgemmKernel
	integerTiles

	panel, panels     Mem // in progress
	column, columns   Mem // bytes of 32 bits to the panel's first; columns from it on
	done              Mem // 1: no more panels
	lastColumn, lastN Mem // of the panel whose sums are in memory; 0 if none
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
	TEXT(fmt.Sprintf("%sstrip%d", name, rows), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("multiplies up to %d rows by some panels; t is a *tile.", rows))
	Pragma("noescape")
	k := &qgemmStrip{qgemmKernel: qgemmKernel{gemmKernel{gemmFlavour: gemmZMM}}, integerTiles: integerTiles{tall: tall, multiply: multiply,
		config: qgemmConfig, lda: gemmLDA, far: qgemmFar, offsets: contiguous, steps: gemmK, next: qgemmNext, nextRuns: qgemmNextRuns, sums: qgemmSums}}
	k.begin("t")
	k.loop()
	VZEROUPPER()
	RET()
}

func (k *qgemmStrip) loop() {
	locals(&k.panel, &k.panels, &k.column, &k.columns, &k.done, &k.lastColumn, &k.lastN)
	moveLocal(k.arg(gemmB), k.panel)
	moveLocal(k.arg(qgemmPanels), k.panels)
	moveLocal(k.arg(qgemmColumns), k.columns)
	for _, m := range []Mem{k.column, k.done, k.lastN} {
		MOVQ(U32(0), m)
	}
	Label("panel")
	k.eachSum(TILEZERO)
	MOVQ(k.panel, tilesB)
	MOVQ(k.arg(gemmA), tilesA)
	k.add()
	MOVQ(tilesB, k.panel)
	Label("finish")
	k.finishLast()
	CMPQ(k.done, Imm(0))
	JNE(LabelRef("return"))
	k.integerTiles.store()
	moveLocal(k.column, k.lastColumn)
	moveLocal(k.columns, k.lastN)
	ADDQ(U32(4*amxColumns), k.column)
	SUBQ(Imm(amxColumns), k.columns)
	DECQ(k.panels)
	JNE(LabelRef("panel"))
	TILERELEASE()
	MOVQ(U32(1), k.done)
	JMP(LabelRef("finish"))
	Label("return")
}

// finishLast adds what the zero points contribute to the sums in memory, if there
// are any, does what epilogue does, and stores.
func (k *qgemmStrip) finishLast() {
	n := GP64()
	MOVQ(k.lastN, n)
	TESTQ(n, n)
	JEQ(LabelRef("finished"))
	k.t = GP64()
	MOVQ(tilesArg, k.t)
	k.flags = k.load(gemmFlags)
	k.columnMasks(n)
	c := k.loadPanel()
	k.rowLoop(c)
	Label("finished")
}

// columnMasks has bits for the columns of each half, n of both.
func (k *qgemmStrip) columnMasks(n reg.GPVirtual) {
	m := GP64()
	MOVL(U32(1<<32-1), m.As32())
	CMPQ(n, Imm(amxColumns))
	JGE(LabelRef("whole"))
	BZHIQ(n, m, m)
	Label("whole")
	for j := range k.k {
		k.k[j] = K()
		KMOVW(m.As32(), k.k[j])
		SHRL(Imm(16), m.As32())
	}
}

// loadPanel reads what there is for the panel's columns. One zero point or scale for
// all rows is multiplied once.
func (k *qgemmStrip) loadPanel() (c qgemmColumn) {
	for _, v := range []*[2]reg.VecVirtual{&c.sum, &c.zero, &c.scale, &c.bias} {
		v[0], v[1] = ZMM(), ZMM()
	}
	for _, x := range []struct {
		flag, field int
		label       string
		to          *[2]reg.VecVirtual
	}{
		{qgemmDoColSum, qgemmColSum, "nocolsums", &c.sum}, {qgemmDoColZero, qgemmColZero, "nocolzeros", &c.zero},
		{qgemmDoColScale, qgemmColScale, "nocolscales", &c.scale}, {qgemmDoColBias, qgemmColBias, "nocolbiases", &c.bias},
	} {
		k.unless(x.flag, x.label, func() {
			p := k.load(x.field)
			ADDQ(k.lastColumn, p)
			for j := range x.to {
				k.loadColumns(Mem{Base: p}, j, x.to[j])
			}
		})
	}
	k.unless(qgemmDoOneZero, "zeros", func() {
		z := ZMM()
		VPBROADCASTD(Mem{Base: k.load(qgemmRowZero)}, z)
		for j := range c.sum {
			VPMULLD(z, c.sum[j], c.sum[j])
		}
	})
	k.unless(qgemmDoOneScale, "scales", func() {
		s := ZMM()
		VBROADCASTSS(Mem{Base: k.load(qgemmRowScale)}, s)
		TESTL(U32(qgemmDoColScale), k.flags.As32())
		JNE(LabelRef("times"))
		VMOVAPS(s, c.scale[0])
		VMOVAPS(s, c.scale[1])
		JMP(LabelRef("scales"))
		Label("times")
		for j := range c.scale {
			VMULPS(s, c.scale[j], c.scale[j])
		}
	})
	return c
}

// rowLoop finishes and stores the rows of a panel.
func (k *qgemmStrip) rowLoop(c qgemmColumn) {
	sums, out, ldc, rows := k.load(qgemmSums), k.load(gemmC), k.load(gemmLDC), k.load(qgemmRows)
	zero, rowSum, scale := k.load(qgemmRowZero), k.load(qgemmRowSum), k.load(qgemmRowScale)
	column := GP64()
	MOVQ(k.lastColumn, column)
	TESTL(U32(qgemmDoBytes), k.flags.As32())
	JEQ(LabelRef("words"))
	SHRQ(Imm(2), column)
	Label("words")
	ADDQ(column, out)
	lo, hi := k.broadcast(qgemmLo), k.broadcast(qgemmHi)
	v := [2]reg.VecVirtual{ZMM(), ZMM()}
	each := func(f func(j int)) { f(0); f(1) }
	Label("row")
	each(func(j int) { VMOVDQU32(Mem{Base: sums, Disp: 64 * j}, v[j]) })
	k.addZeros(c, v, zero, rowSum)
	k.unless(qgemmDoFloat, "store", func() {
		each(func(j int) { VCVTDQ2PS(v[j], v[j]) })
		k.scaleRow(c, v, scale)
		k.unless(qgemmDoColBias, "nocolbias", func() { each(func(j int) { VADDPS(c.bias[j], v[j], v[j]) }) })
		k.unless(qgemmDoClip, "noclip", func() {
			each(func(j int) {
				VMAXPS(v[j], lo, v[j])
				VMINPS(v[j], hi, v[j])
			})
		})
	})
	TESTL(U32(qgemmDoBytes), k.flags.As32())
	JNE(LabelRef("bytes"))
	each(func(j int) { k.storeColumns(v[j], Mem{Base: out}, j) })
	JMP(LabelRef("stored"))
	Label("bytes")
	each(func(j int) { k.storeBytes(v[j], Mem{Base: out, Disp: 16 * j}, j) })
	Label("stored")
	ADDQ(U32(amxRowSums), sums)
	ADDQ(ldc, out)
	for _, p := range []reg.GPVirtual{zero, rowSum, scale} {
		ADDQ(Imm(4), p)
	}
	DECQ(rows)
	JNE(LabelRef("row"))
}

// addZeros adds the zero points' part to a row of sums.
func (k *qgemmStrip) addZeros(c qgemmColumn, v [2]reg.VecVirtual, zero, rowSum reg.GPVirtual) {
	k.unless(qgemmDoColSum, "nocolsum", func() {
		TESTL(U32(qgemmDoOneZero), k.flags.As32())
		JNE(LabelRef("onezero"))
		for j := range v {
			k.addProduct(zero, c.sum[j], v[j])
		}
		JMP(LabelRef("nocolsum"))
		Label("onezero")
		for j := range v {
			VPADDD(c.sum[j], v[j], v[j])
		}
	})
	k.unless(qgemmDoColZero, "nocolzero", func() {
		for j := range v {
			k.addProduct(rowSum, c.zero[j], v[j])
		}
	})
}

// addProduct adds a row's number times one for each column.
func (k *qgemmStrip) addProduct(row reg.GPVirtual, col, v reg.VecVirtual) {
	x := ZMM()
	VPBROADCASTD(Mem{Base: row}, x)
	VPMULLD(col, x, x)
	VPADDD(x, v, v)
}

// scaleRow multiplies a row by its scale, or by its product with the column's.
func (k *qgemmStrip) scaleRow(c qgemmColumn, v [2]reg.VecVirtual, scale reg.GPVirtual) {
	TESTL(U32(qgemmDoOneScale), k.flags.As32())
	JNE(LabelRef("onescale"))
	s := ZMM()
	VBROADCASTSS(Mem{Base: scale}, s)
	TESTL(U32(qgemmDoColScale), k.flags.As32())
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
	VBROADCASTSS(k.field(qgemmLeast), x)
	VMAXPS(x, v, v)
	VBROADCASTSS(k.field(qgemmMost), x)
	VMINPS(x, v, v)
	VCVTPS2DQ(v, v)
	VPBROADCASTD(k.field(qgemmZero), x)
	VPADDD(x, v, v)
	VPMOVDB(v, k.k[half], m)
}
