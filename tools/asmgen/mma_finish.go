package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct Finish of mma.
const (
	finishSrc      = 0
	finishDst      = 8
	finishResidual = 16
	finishColBias  = 24
	finishRowBias  = 32
	finishLDC      = 40
	finishLDR      = 48
	finishRows     = 56
	finishMask     = 64
	finishFlags    = 72
	finishAlpha    = 80
	finishBeta     = 84
	finishLo       = 88
	finishHi       = 92
	finishSlope    = 96
	finishHalfC    = 104
	finishHalfR    = 112
)

// Bits of Finish.flags.
const (
	finishDoColBias = 1 << iota
	finishDoRowBias
	finishDoResidual
	finishDoLeaky
	finishDoClip
)

// mmaFinish writes what is done to the sums of a panel in float32.
func mmaFinish() {
	TEXT("finish512", NOSPLIT, "func(t *byte)")
	Doc("finishes rows of a panel; t is a *Finish.")
	Pragma("noescape")
	t := arg("t")
	g := &gemmKernel{gemmFlavour: gemmZMM, wide: 1, vecs: 2, t: t.(GPVirtual)}
	g.flags = g.load(finishFlags)
	src, dst, rows, res, rowBias := g.load(finishSrc), g.load(finishDst), g.load(finishRows), g.load(finishResidual), g.load(finishRowBias)
	ldc, ldr, halfC, halfR := g.load(finishLDC), g.load(finishLDR), g.load(finishHalfC), g.load(finishHalfR)
	m := GP32()
	MOVL(g.field(finishMask), m)
	for j := range g.k {
		g.k[j] = K()
		KMOVW(m, g.k[j])
		SHRL(Imm(16), m)
	}
	alpha, beta, lo, hi, slope := g.broadcast(finishAlpha), g.broadcast(finishBeta), g.broadcast(finishLo), g.broadcast(finishHi), g.broadcast(finishSlope)
	bias, v, r := [2]VecVirtual{ZMM(), ZMM()}, [2]VecVirtual{ZMM(), ZMM()}, [2]VecVirtual{ZMM(), ZMM()}
	each := func(f func(j int)) { f(0); f(1) }
	g.unless(finishDoColBias, "nocolumns", func() {
		p := g.load(finishColBias)
		each(func(j int) { VMOVUPS_Z(Mem{Base: p, Disp: 64 * j}, g.k[j], bias[j]) })
	})
	Label("row")
	each(func(j int) { VMULPS(Mem{Base: src, Disp: 64 * j}, alpha, v[j]) })
	g.unless(finishDoColBias, "nocolbias", func() { each(func(j int) { VADDPS(bias[j], v[j], v[j]) }) })
	g.unless(finishDoRowBias, "norowbias", func() {
		each(func(j int) { VADDPS_BCST(Mem{Base: rowBias}, v[j], v[j]) })
		ADDQ(Imm(4), rowBias)
	})
	g.unless(finishDoResidual, "noresidual", func() {
		VMOVUPS_Z(Mem{Base: res}, g.k[0], r[0])
		VMOVUPS_Z(Mem{Base: res, Index: halfR, Scale: 1}, g.k[1], r[1])
		each(func(j int) {
			VMULPS(beta, r[j], r[j])
			VADDPS(r[j], v[j], v[j])
		})
		ADDQ(ldr, res)
	})
	g.unless(finishDoLeaky, "noleaky", func() {
		each(func(j int) {
			neg := K()
			VPMOVD2M(v[j], neg)
			VMULPS(slope, v[j], neg, v[j])
		})
	})
	g.unless(finishDoClip, "noclip", func() {
		each(func(j int) {
			VMAXPS(v[j], lo, v[j]) // a NaN stays
			VMINPS(v[j], hi, v[j])
		})
	})
	VMOVUPS(v[0], g.k[0], Mem{Base: dst})
	VMOVUPS(v[1], g.k[1], Mem{Base: dst, Index: halfC, Scale: 1})
	ADDQ(U32(128), src)
	ADDQ(ldc, dst)
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}
