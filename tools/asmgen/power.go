package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// logTerms is how many terms of log₂(m) = 2/ln2·(s + s³/3 + s⁵/5 + …), s = (m-1)/(m+1), are taken
// for m between √½ and √2: the rest is below 2^-40 of the logarithm. expTerms is how many 2^f = Σ
// (f·ln2)^k/k! has for |f| ≤ 1/2, to 2^-32.
const logTerms, expTerms = 8, 10

// narrowReg is a register of float32 for as many elements as a whole one has of float64.
func (v level) narrowReg() reg.VecVirtual {
	if v.wide {
		return YMM()
	}
	return XMM()
}

// power is dst = |a|^b with the sign that a whole exponent gives, through float64, for as
// many elements as fill registers of float64. An element that it can't do (a zero, subnormal,
// infinite or NaN, b infinite, NaN or 2^30 and more, a below zero and b not whole) becomes a
// signalling NaN, of the bits that the caller gives; it returns how many there are, registers counting as a whole.
func (v level) power() {
	TEXT("power"+v.suffix(), NOSPLIT, "func(dst, a, b []float32, undone uint32) int")
	Pragma("noescape")
	dst, a, b, n := base("dst"), base("a"), base("b"), length("dst")
	count, lanes := GP64(), v.width()/2
	XORQ(count, count)
	undone := v.narrowReg()
	bits, low := Load(Param("undone"), GP32()), XMM()
	VMOVD(bits, low)
	VPBROADCASTD(low, undone)
	SUBQ(step(lanes), n)
	JLT(LabelRef("done"))
	Label("each")
	x, y := v.narrowReg(), v.narrowReg()
	VMOVUPS(Mem{Base: a}, x)
	VMOVUPS(Mem{Base: b}, y)
	result, bad := v.powerOf(x, y)
	VBLENDVPS(bad, undone, result, result)
	VMOVUPS(result, Mem{Base: dst})
	m := GP32()
	VMOVMSKPS(bad, m)
	POPCNTL(m, m)
	ADDQ(m.As64(), count)
	for _, p := range []reg.GPVirtual{dst, a, b} {
		ADDQ(step(4*lanes), p)
	}
	SUBQ(step(lanes), n)
	JGE(LabelRef("each"))
	Label("done")
	Store(count, ReturnIndex(0))
	end()
}

// remainder is dst = a - q·b for the whole q next to a/b towards zero, or with floor
// downwards, for as many elements as fill registers. An element that it can't do (b zero or infinite,
// |a/b| 2^22 and more, a NaN) becomes a NaN of the bits that the caller gives; it returns how many there are.
// The rounded quotient is whole where the exact one is just below that, so that q is one too far: then the
// remainder has the wrong sign, and b is put back. Nothing else is rounded.
func (v level) remainder(name string, floor bool) {
	TEXT(name+v.suffix(), NOSPLIT, "func(dst, a, b []float32, undone uint32) int")
	Pragma("noescape")
	dst, a, b, n := base("dst"), base("a"), base("b"), length("dst")
	count, undone := GP64(), v.param("undone")
	XORQ(count, count)
	v.wholeLoop(n, func() {
		x, y := v.load(Mem{Base: a}), v.load(Mem{Base: b})
		q := v.round(v.div(x, y), toZero)
		r := v.fnma(q, y, x)
		far := v.pick(v.negative(v.xor(r, x)), v.withSign(v.abs(y), x), v.load(fconst(0)))
		r = v.withSign(v.abs(v.pick(v.cmp(eqOQ, r, fconst(0)), r, v.add(r, far))), x)
		if floor {
			other := v.pick(v.negative(v.xor(r, y)), y, v.load(fconst(0)))
			r = v.pick(v.cmp(eqOQ, r, fconst(0)), r, v.add(r, other))
		}
		bad := v.cmp(nltUQ, v.abs(q), fconst(1<<22))
		endless := v.cmp(nltUQ, v.abs(y), bitsConst(plusInf))
		m := GP32()
		if v.wide {
			KORW(endless.k, bad.k, bad.k)
			KMOVW(bad.k, m)
		} else {
			VORPS(endless.y, bad.y, bad.y)
			VMOVMSKPS(bad.y, m)
		}
		v.store(v.pick(bad, undone, r), Mem{Base: dst})
		POPCNTL(m, m)
		ADDQ(m.As64(), count)
		for _, p := range []reg.GPVirtual{dst, a, b} {
			ADDQ(step(4*v.width()), p)
		}
	})
	Store(count, ReturnIndex(0))
	end()
}

// powerOf gives the result and where there is none.
func (v level) powerOf(x, y reg.VecVirtual) (result, bad reg.VecVirtual) {
	magnitude, sign, whole, t := v.narrowReg(), v.narrowReg(), v.narrowReg(), v.narrowReg()
	VANDPS(bitsConst(butSign), x, magnitude)
	// bad where |x| is no positive normal number, or |y| too large
	bad = v.narrowReg()
	VCMPPS(U8(ltOQ), bitsConst(leastNormal), magnitude, bad)
	VCMPPS(U8(nltUQ), bitsConst(plusInf), magnitude, t)
	VORPS(t, bad, bad)
	VANDPS(bitsConst(butSign), y, t)
	VCMPPS(U8(nltUQ), fconst(1<<30), t, t)
	VORPS(t, bad, bad)
	// the sign of an odd power; bad where y is not whole and x is below 0
	VCVTTPS2DQ(y, sign)
	VCVTDQ2PS(sign, whole)
	VCMPPS(U8(neqUQ), y, whole, whole)
	VANDPS(x, whole, whole)
	VPSRAD(Imm(31), whole, whole)
	VORPS(whole, bad, bad)
	VPSLLD(Imm(31), sign, sign)
	VANDPS(x, sign, sign)

	e, m := v.narrowReg(), v.narrowReg()
	VPSUBD(bitsConst(0x3f3504f3), magnitude, e)
	VPAND(bitsConst(0x007fffff), e, m)
	VPSRAD(Imm(23), e, e)
	VPADDD(bitsConst(0x3f3504f3), m, m)
	exponent, mantissa, power := v.reg(), v.reg(), v.reg()
	VCVTDQ2PD(e, exponent)
	VCVTPS2PD(m, mantissa)
	VCVTPS2PD(y, power)

	s, sum, sq := v.reg(), v.reg(), v.reg()
	VSUBPD(doubleConst(1), mantissa, s)
	VADDPD(doubleConst(1), mantissa, sum)
	VDIVPD(sum, s, s)
	VMULPD(s, s, sq)
	log := v.reg()
	VMOVUPD(doubleConst(logCoefficient(logTerms-1)), log)
	for k := logTerms - 2; k >= 0; k-- {
		VFMADD213PD(doubleConst(logCoefficient(k)), sq, log)
	}
	VFMADD213PD(exponent, s, log) // log·s + exponent
	VMULPD(power, log, log)
	VMINPD(doubleConst(1000), log, log)
	VMAXPD(doubleConst(-1000), log, log)

	shifted, f := v.reg(), v.reg()
	VADDPD(doubleConst(3<<51), log, shifted)
	VSUBPD(doubleConst(3<<51), shifted, f)
	VSUBPD(f, log, f)
	exp := v.reg()
	VMOVUPD(doubleConst(expCoefficient(expTerms-1)), exp)
	for k := expTerms - 2; k >= 0; k-- {
		VFMADD213PD(doubleConst(expCoefficient(k)), f, exp)
	}
	VPSLLQ(Imm(52), shifted, shifted)
	VPADDQ(shifted, exp, exp)
	result = v.narrowReg()
	if v.wide {
		VCVTPD2PS(exp, result)
	} else {
		VCVTPD2PSY(exp, result)
	}
	VORPS(sign, result, result)

	// y·y and y·y·y have forms of their own
	square := v.narrowReg()
	VMULPS(x, x, square)
	VCMPPS(U8(eqOQ), fconst(2), y, t)
	VBLENDVPS(t, square, result, result)
	VANDNPS(bad, t, bad)
	VMULPS(x, square, square)
	VCMPPS(U8(eqOQ), fconst(3), y, t)
	VBLENDVPS(t, square, result, result)
	VANDNPS(bad, t, bad)
	return result, bad
}

func logCoefficient(k int) float64 { return 2 / (math.Ln2 * float64(2*k+1)) }

func expCoefficient(k int) float64 {
	c := 1.0
	for i := 1; i <= k; i++ {
		c *= math.Ln2 / float64(i)
	}
	return c
}
