package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// qgemmFinish writes what is left to do when tiles have added up 32 columns: for
// each row the zero points, and what epilogue does.
func qgemmFinish() {
	TEXT("finish512", NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	g := &qgemmKernel{gemmKernel: gemmKernel{gemmFlavour: gemmZMM}}
	g.t = Load(Param("t"), GP64()).(reg.GPVirtual)
	g.flags = g.load(gemmFlags)
	g.loadOpmasks()
	sums, c, ldc, rows := g.load(qgemmSums), g.load(gemmC), g.load(gemmLDC), g.load(qgemmRows)
	zero, rowSum, scale := g.load(qgemmRowZero), g.load(qgemmRowSum), g.load(qgemmRowScale)
	lo, hi := g.broadcast(qgemmLo), g.broadcast(qgemmHi)
	var colSum, colZero, colScale, colBias, v [2]reg.VecVirtual
	for _, x := range []*[2]reg.VecVirtual{&colSum, &colZero, &colScale, &colBias, &v} {
		x[0], x[1] = ZMM(), ZMM()
	}
	for _, x := range []struct {
		flag, field int
		label       string
		to          *[2]reg.VecVirtual
	}{
		{qgemmDoColSum, qgemmColSum, "nocolsums", &colSum}, {qgemmDoColZero, qgemmColZero, "nocolzeros", &colZero},
		{qgemmDoColScale, qgemmColScale, "nocolscales", &colScale}, {qgemmDoColBias, qgemmColBias, "nocolbiases", &colBias},
	} {
		g.unless(x.flag, x.label, func() {
			p := g.load(x.field)
			for j := range x.to {
				g.loadColumns(Mem{Base: p}, j, x.to[j])
			}
		})
	}
	// One zero point for all rows is multiplied once.
	g.unless(qgemmDoOneZero, "zeros", func() {
		z := ZMM()
		VPBROADCASTD(Mem{Base: zero}, z)
		for j := range colSum {
			VPMULLD(z, colSum[j], colSum[j])
		}
	})
	each := func(f func(j int)) { f(0); f(1) }
	Label("row")
	each(func(j int) { VMOVDQU32(Mem{Base: sums, Disp: 64 * j}, v[j]) })
	g.unless(qgemmDoColSum, "nocolsum", func() {
		TESTL(U32(qgemmDoOneZero), g.flags.As32())
		JNE(LabelRef("onezero"))
		each(func(j int) { g.addProduct(zero, colSum[j], v[j]) })
		JMP(LabelRef("nocolsum"))
		Label("onezero")
		each(func(j int) { VPADDD(colSum[j], v[j], v[j]) })
	})
	g.unless(qgemmDoColZero, "nocolzero", func() { each(func(j int) { g.addProduct(rowSum, colZero[j], v[j]) }) })
	g.unless(qgemmDoFloat, "store", func() {
		each(func(j int) { VCVTDQ2PS(v[j], v[j]) })
		s := ZMM()
		VBROADCASTSS(Mem{Base: scale}, s)
		TESTL(U32(qgemmDoColScale), g.flags.As32())
		JNE(LabelRef("colscale"))
		each(func(j int) { VMULPS(s, v[j], v[j]) })
		JMP(LabelRef("scaled"))
		Label("colscale")
		each(func(j int) {
			both := ZMM()
			VMULPS(s, colScale[j], both)
			VMULPS(both, v[j], v[j])
		})
		Label("scaled")
		g.unless(qgemmDoColBias, "nocolbias", func() { each(func(j int) { VADDPS(colBias[j], v[j], v[j]) }) })
		g.unless(qgemmDoClip, "noclip", func() {
			each(func(j int) {
				VMAXPS(v[j], lo, v[j])
				VMINPS(v[j], hi, v[j])
			})
		})
	})
	each(func(j int) { g.storeColumns(v[j], Mem{Base: c}, j) })
	ADDQ(U32(128), sums)
	ADDQ(ldc, c)
	for _, p := range []reg.GPVirtual{zero, rowSum, scale} {
		ADDQ(Imm(4), p)
	}
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// addProduct adds a row's number times one for each column.
func (g *qgemmKernel) addProduct(row reg.GPVirtual, col, v reg.VecVirtual) {
	x := ZMM()
	VPBROADCASTD(Mem{Base: row}, x)
	VPMULLD(col, x, x)
	VPADDD(x, v, v)
}
