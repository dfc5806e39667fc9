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
	qgemmStepRows = 216
)

// qgemmStrip is the state of a kernel that multiplies a row tile by some panels.
type qgemmStrip struct {
	qgemmKernel
	integerTiles

	panel, panels   Mem // in progress
	column, columns Mem // bytes of 32 bits to the panel's first; columns from it on

	// Of the panel whose sums are in memory: the next row's sums, its place, its number
	// times 4, and rows to do. some counts those before the next step.
	src, dst, row, rows, some, p reg.GPPhysical
	of                           qgemmColumn
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
	k.src, k.dst, k.row, k.rows, k.some, k.p = reg.RSI, reg.R8, reg.R13, reg.R14, reg.R9, reg.RAX
	k.between = k.finishSome
	k.begin("t")
	k.loop()
	VZEROUPPER()
	RET()
}

func (k *qgemmStrip) loop() {
	locals(&k.panel, &k.panels, &k.column, &k.columns)
	moveLocal(k.arg(gemmB), k.panel)
	moveLocal(k.arg(qgemmPanels), k.panels)
	moveLocal(k.arg(qgemmColumns), k.columns)
	MOVQ(U32(0), k.column)
	for _, r := range []reg.GPPhysical{k.src, k.dst, k.row, k.rows} {
		XORQ(r, r) // nothing is to be finished
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
	Label("panel")
	k.eachSum(TILEZERO)
	MOVQ(k.panel, tilesB)
	MOVQ(k.arg(gemmA), tilesA)
	k.add()
	TESTQ(k.rows, k.rows)
	JNE(LabelRef("rest")) // after the last panel, or without steps
	CMPQ(k.panels, Imm(0))
	JEQ(LabelRef("return"))
	MOVQ(tilesB, k.panel)
	k.integerTiles.store()
	k.beginFinish()
	ADDQ(U32(4*amxColumns), k.column)
	SUBQ(Imm(amxColumns), k.columns)
	DECQ(k.panels)
	JNE(LabelRef("panel"))
	TILERELEASE()
	Label("rest")
	MOVQ(k.rows, k.some)
	MOVQ(U32(1), reg.R10) // the step that follows is the last
	JMP(LabelRef("row"))
	Label("return")
}

// beginFinish makes what is to be finished the rows of the panel whose sums have been
// stored.
func (k *qgemmStrip) beginFinish() {
	k.columnMasks()
	k.loadPanel()
	MOVQ(k.column, k.p)
	TESTL(U32(qgemmDoBytes), k.field(gemmFlags))
	JEQ(LabelRef("words"))
	SHRQ(Imm(2), k.p)
	Label("words")
	MOVQ(k.field(gemmC), k.dst)
	ADDQ(k.p, k.dst)
	MOVQ(k.field(qgemmSums), k.src)
	MOVQ(k.field(qgemmRows), k.rows)
	XORQ(k.row, k.row)
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
		{qgemmDoColSum, qgemmColSum, "nocolsums", &c.sum}, {qgemmDoColZero, qgemmColZero, "nocolzeros", &c.zero},
		{qgemmDoColScale, qgemmColScale, "nocolscales", &c.scale}, {qgemmDoColBias, qgemmColBias, "nocolbiases", &c.bias},
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
		MOVQ(k.field(qgemmRowZero), k.p)
		VPBROADCASTD(Mem{Base: k.p}, z)
		for j := range c.sum {
			VPMULLD(z, c.sum[j], c.sum[j])
		}
	})
	k.unless(qgemmDoOneScale, "scales", func() {
		s := ZMM()
		MOVQ(k.field(qgemmRowScale), k.p)
		VBROADCASTSS(Mem{Base: k.p}, s)
		TESTL(U32(qgemmDoColScale), k.field(gemmFlags))
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
	TESTL(U32(uint32(flag)), k.field(gemmFlags))
	JEQ(LabelRef(label))
	emit()
	Label(label)
}

// finishSome adds what the zero points contribute to some rows of sums in memory, does
// what epilogue does, and stores them.
func (k *qgemmStrip) finishSome() {
	TESTQ(k.rows, k.rows)
	JEQ(LabelRef("finished"))
	MOVQ(k.field(qgemmStepRows), k.some)
	Label("row")
	v := [2]reg.VecVirtual{ZMM(), ZMM()}
	each := func(f func(j int)) { f(0); f(1) }
	each(func(j int) { VMOVDQU32(Mem{Base: k.src, Disp: 64 * j}, v[j]) })
	k.addZeros(v)
	k.unless(qgemmDoFloat, "store", func() {
		each(func(j int) { VCVTDQ2PS(v[j], v[j]) })
		k.scaleRow(v)
		k.unless(qgemmDoColBias, "nocolbias", func() { each(func(j int) { VADDPS(k.of.bias[j], v[j], v[j]) }) })
		k.unless(qgemmDoClip, "noclip", func() {
			lo, hi := k.broadcast(qgemmLo), k.broadcast(qgemmHi)
			each(func(j int) {
				VMAXPS(v[j], lo, v[j])
				VMINPS(v[j], hi, v[j])
			})
		})
		k.unless(qgemmDoGelu, "nogelu", func() {
			each(func(j int) { VMOVAPS(rows{wide: true}.gelu(v[j]), v[j]) })
		})
	})
	TESTL(U32(qgemmDoBytes), k.field(gemmFlags))
	JNE(LabelRef("bytes"))
	each(func(j int) { k.storeColumns(v[j], Mem{Base: k.dst}, j) })
	JMP(LabelRef("stored"))
	Label("bytes")
	each(func(j int) { k.storeBytes(v[j], Mem{Base: k.dst, Disp: 16 * j}, j) })
	Label("stored")
	ADDQ(U32(amxRowSums), k.src)
	ADDQ(k.field(gemmLDC), k.dst)
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
		TESTL(U32(qgemmDoOneZero), k.field(gemmFlags))
		JNE(LabelRef("onezero"))
		for j := range v {
			k.addProduct(k.ofRow(qgemmRowZero), c.sum[j], v[j])
		}
		JMP(LabelRef("nocolsum"))
		Label("onezero")
		for j := range v {
			VPADDD(c.sum[j], v[j], v[j])
		}
	})
	k.unless(qgemmDoColZero, "nocolzero", func() {
		for j := range v {
			k.addProduct(k.ofRow(qgemmRowSum), c.zero[j], v[j])
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
	TESTL(U32(qgemmDoOneScale), k.field(gemmFlags))
	JNE(LabelRef("onescale"))
	s := ZMM()
	VBROADCASTSS(k.ofRow(qgemmRowScale), s)
	TESTL(U32(qgemmDoColScale), k.field(gemmFlags))
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
