package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func (v level) quantization() {
	for _, signed := range []bool{false, true} {
		name, typ := "U8", "uint8"
		if signed {
			name, typ = "S8", "int8"
		}
		v.quantize("quant"+name, typ, signed)
		v.dequantize("dequant"+name, typ, signed)
	}
	v.minMax()
}

func (v level) quantize(name, typ string, signed bool) {
	if v.wide {
		quotients(name, typ, signed)
		return
	}
	TEXT(name+v.suffix(), NOSPLIT, "func(dst []"+typ+", src []float32, scale, lo, hi float32, zero int32)")
	Pragma("noescape")
	scale, lo, hi := v.param("scale"), v.param("lo"), v.param("hi")
	zero := v.param("zero")
	dst, src, n := base("dst"), base("src"), length("dst")
	v.wholeLoop(n, func() {
		x := v.min(v.max(v.div(v.load(Mem{Base: src}), scale), lo), hi)
		q := v.reg()
		VCVTPS2DQ(x, q)
		VPADDD(zero, q, q)
		up := XMM()
		VEXTRACTI128(Imm(1), q, up)
		VPACKSSDW(up, q.AsX(), up)
		if signed {
			VPACKSSWB(up, up, up)
		} else {
			VPACKUSWB(up, up, up)
		}
		VMOVQ(up, Mem{Base: dst})
		ADDQ(step(4*v.width()), src)
		ADDQ(step(v.width()), dst)
	})
	end()
}

// quotients quantizes without a division: the product with the rounded inverse is within
// 2 ulp of the quotient, a correction by the remainder, which is exact, brings it within
// 1 ulp, and another one gives it as it is rounded (Markstein, 1990). hi is a limit of src,
// where the integers saturate; a NaN, an infinity and what has no int32 below become the
// least int32.
func quotients(name, typ string, signed bool) {
	v := avx512
	TEXT(name+v.suffix(), NOSPLIT, "func(dst []"+typ+", src []float32, scale, inverse, hi float32, zero int32)")
	Pragma("noescape")
	scale, inverse, hi, zero, words := v.param("scale"), v.param("inverse"), v.param("hi"), v.param("zero"), v.reg()
	VPACKSSDW(zero, zero, words)
	dst, src, n := base("dst"), base("src"), length("dst")
	order := v.load(dwords("lanesofpacked", func(i int) int { return i%4*4 + i/4 }))
	quotient := func(disp int) vec {
		x := v.min(hi, Mem{Base: src, Disp: disp})
		q := v.mul(x, inverse)
		for range 2 {
			q = v.fma(v.fnma(q, scale, x), inverse, q)
		}
		VCVTPS2DQ(q, q)
		return q
	}
	SUBQ(step(64), n)
	JLT(LabelRef("few"))
	Label("many")
	var pairs [2]vec
	for i := range pairs {
		a, b := quotient(128*i), quotient(128*i+64)
		VPACKSSDW(b, a, a)
		VPADDSW(words, a, a)
		pairs[i] = a
	}
	if signed {
		VPACKSSWB(pairs[1], pairs[0], pairs[0])
	} else {
		VPACKUSWB(pairs[1], pairs[0], pairs[0])
	}
	VPERMD(pairs[0], order, pairs[0])
	VMOVDQU32(pairs[0], Mem{Base: dst})
	ADDQ(step(256), src)
	ADDQ(step(64), dst)
	SUBQ(step(64), n)
	JGE(LabelRef("many"))
	Label("few")
	ADDQ(step(64), n)
	none, least := v.load(fconst(0)), reg.VecVirtual(nil)
	if signed {
		least = v.load(bitsConst(1<<32 - 512)) // the least int32 and a zero point below 0 have no sum
	}
	v.wholeLoop(n, func() {
		q := quotient(0)
		if signed {
			VPMAXSD(least, q, q)
		}
		VPADDD(zero, q, q)
		if signed {
			VPMOVSDB(q, Mem{Base: dst})
		} else {
			VPMAXSD(none, q, q)
			VPMOVUSDB(q, Mem{Base: dst})
		}
		ADDQ(step(64), src)
		ADDQ(step(16), dst)
	})
	end()
}

func (v level) dequantize(name, typ string, signed bool) {
	TEXT(name+v.suffix(), NOSPLIT, "func(dst []float32, src []"+typ+", scale float32, zero int32)")
	Pragma("noescape")
	scale, zero := v.param("scale"), v.param("zero")
	dst, src, n := base("dst"), base("src"), length("dst")
	v.wholeLoop(n, func() {
		q := v.reg()
		if signed {
			VPMOVSXBD(Mem{Base: src}, q)
		} else {
			VPMOVZXBD(Mem{Base: src}, q)
		}
		VPSUBD(zero, q, q)
		VCVTDQ2PS(q, q)
		v.store(v.mul(q, scale), Mem{Base: dst})
		ADDQ(step(4*v.width()), dst)
		ADDQ(step(v.width()), src)
	})
	end()
}
