package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct Finish of amx.
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
)

// Bits of Finish.flags.
const (
	finishDoColBias = 1 << iota
	finishDoRowBias
	finishDoResidual
	finishDoLeaky
	finishDoClip
)

// amxFinish writes what is done to 16 columns of sums in float32.
func amxFinish() {
	TEXT("finish512", NOSPLIT, "func(t *byte)")
	Doc("finishes rows of 16 columns; t is a *Finish.")
	Pragma("noescape")
	t := Load(Param("t"), GP64())
	g := &gemmKernel{gemmFlavour: gemmZMM, t: t.(GPVirtual)}
	flags, src, dst, rows := g.load(finishFlags), g.load(finishSrc), g.load(finishDst), g.load(finishRows)
	res, rowBias, ldc, ldr := g.load(finishResidual), g.load(finishRowBias), g.load(finishLDC), g.load(finishLDR)
	k := K()
	m := GP32()
	MOVL(g.field(finishMask), m)
	KMOVW(m, k)
	alpha, beta, lo, hi, slope := g.broadcast(finishAlpha), g.broadcast(finishBeta), g.broadcast(finishLo), g.broadcast(finishHi), g.broadcast(finishSlope)
	bias := ZMM()
	g.flags = flags
	g.unless(finishDoColBias, "nocolumns", func() { VMOVUPS_Z(Mem{Base: g.load(finishColBias)}, k, bias) })
	Label("row")
	v := ZMM()
	VMOVUPS(Mem{Base: src}, v)
	VMULPS(alpha, v, v)
	g.unless(finishDoColBias, "nocolbias", func() { VADDPS(bias, v, v) })
	g.unless(finishDoRowBias, "norowbias", func() {
		VADDPS_BCST(Mem{Base: rowBias}, v, v)
		ADDQ(Imm(4), rowBias)
	})
	g.unless(finishDoResidual, "noresidual", func() {
		r := ZMM()
		VMOVUPS_Z(Mem{Base: res}, k, r)
		VMULPS(beta, r, r)
		VADDPS(r, v, v)
		ADDQ(ldr, res)
	})
	g.unless(finishDoLeaky, "noleaky", func() {
		neg := K()
		VPMOVD2M(v, neg)
		VMULPS(slope, v, neg, v)
	})
	g.unless(finishDoClip, "noclip", func() {
		VMAXPS(v, lo, v) // a NaN stays
		VMINPS(v, hi, v)
	})
	VMOVUPS(v, k, Mem{Base: dst})
	ADDQ(U32(128), src)
	ADDQ(ldc, dst)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}
