package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// conversion is a loop over elements of two sizes in bytes.
func (v level) conversion(name, dstType, srcType string, dstSize, srcSize int, emit func(dst, src Mem)) {
	TEXT(name+v.suffix(), NOSPLIT, "func(dst []"+dstType+", src []"+srcType+")")
	Pragma("noescape")
	dst, src, n := base("dst"), base("src"), length("dst")
	v.wholeLoop(n, func() {
		emit(Mem{Base: dst}, Mem{Base: src})
		ADDQ(step(dstSize*v.width()), dst)
		ADDQ(step(srcSize*v.width()), src)
	})
	end()
}

func (v level) conversions() {
	v.conversion("widenF16", "float32", "uint16", 4, 2, func(dst, src Mem) {
		r := v.reg()
		VCVTPH2PS(src, r)
		v.store(r, dst)
	})
	v.conversion("narrowF16", "uint16", "float32", 2, 4, func(dst, src Mem) {
		VCVTPS2PH(Imm(0), v.load(src), dst)
	})
	v.conversion("widenBF16", "float32", "uint16", 4, 2, func(dst, src Mem) {
		r := v.reg()
		VPMOVZXWD(src, r)
		VPSLLD(Imm(16), r, r)
		v.store(r, dst)
	})
	v.conversion("narrowBF16", "uint16", "float32", 2, 4, v.narrowBF16)
	v.conversion("float32FromInt32", "float32", "int32", 4, 4, func(dst, src Mem) {
		r := v.reg()
		VCVTDQ2PS(src, r)
		v.store(r, dst)
	})
	v.conversion("int32FromFloat32", "int32", "float32", 4, 4, func(dst, src Mem) {
		r := v.reg()
		VCVTTPS2DQ(src, r)
		v.store(r, dst)
	})
	v.conversion("float32FromUint8", "float32", "uint8", 4, 1, func(dst, src Mem) {
		r := v.reg()
		VPMOVZXBD(src, r)
		VCVTDQ2PS(r, r)
		v.store(r, dst)
	})
	v.conversion("float32FromBool", "float32", "uint8", 4, 1, func(dst, src Mem) {
		r := v.reg()
		VPMOVZXBD(src, r)
		if v.wide {
			VPMINUD_BCST(bitsConst(1), r, r)
		} else {
			VPMINUD(bitsConst(1), r, r)
		}
		VCVTDQ2PS(r, r)
		v.store(r, dst)
	})
	if v.wide {
		v.longConversions()
	}
	for _, c := range []struct {
		name, of string
		size     int
		widen    func(ops ...Op)
	}{{"int32FromInt8", "int8", 1, VPMOVSXBD}, {"int32FromUint8", "uint8", 1, VPMOVZXBD}, {"int32FromInt16", "int16", 2, VPMOVSXWD}, {"int32FromUint16", "uint16", 2, VPMOVZXWD}} {
		v.conversion(c.name, "int32", c.of, 4, c.size, func(dst, src Mem) {
			r := v.reg()
			c.widen(src, r)
			v.store(r, dst)
		})
	}
	v.conversion("int8FromInt32", "int8", "int32", 1, 4, func(dst, src Mem) { v.storeLowBytes(v.load(src), dst) })
	v.conversion("int16FromInt32", "int16", "int32", 2, 4, func(dst, src Mem) {
		r := v.load(src)
		if v.wide {
			VPMOVDW(r, dst)
			return
		}
		x, high := XMM(), XMM()
		VPAND(bitsConst(0xffff), r, r)
		VEXTRACTI128(Imm(1), r, high)
		VPACKUSDW(high, r.AsX(), x)
		VMOVDQU(x, dst)
	})
	v.halves("int64FromInt32", "int64", "int32", VPMOVSXDQ)
	v.halves("float64FromInt32", "float64", "int32", VCVTDQ2PD)
	v.halves("float64FromFloat32", "float64", "float32", VCVTPS2PD)
	v.halved("int32FromFloat64", "int32", VCVTTPD2DQ, VCVTTPD2DQY)
	v.halved("float32FromFloat64", "float32", VCVTPD2PS, VCVTPD2PSY)
	v.conversion("int32FromInt64", "int32", "int64", 4, 8, v.lowHalves)
}

// longConversions are those between float32 and int64; AVX2 has none. What no int64 holds becomes its
// least value, but for numbers from 2^63 to 2^64, which become their unsigned bits.
func (v level) longConversions() {
	v.conversion("float32FromInt64", "float32", "int64", 4, 8, func(dst, src Mem) {
		for half := range 2 {
			r := YMM()
			VCVTQQ2PS(v.load(src.Offset(half*64)), r)
			VMOVUPS(r, dst.Offset(half*32))
		}
	})
	v.conversion("float64FromInt64", "float64", "int64", 8, 8, func(dst, src Mem) {
		for half := range 2 {
			r := ZMM()
			VCVTQQ2PD(src.Offset(half*64), r)
			v.store(r, dst.Offset(half*64))
		}
	})
	v.conversion("int64FromFloat64", "int64", "float64", 8, 8, func(dst, src Mem) {
		most, double := ZMM(), ZMM()
		VBROADCASTSS(fconst(1<<63), most)
		VCVTPS2PD(most.AsY(), most)
		VADDPD(most, most, double)
		for half := range 2 {
			x, r, large := v.load(src.Offset(half*64)), ZMM(), K()
			VCVTTPD2QQ(x, r)
			VCMPPD(U8(geOQ), most, x, large)
			VCMPPD(U8(ltOQ), double, x, large, large)
			VCVTTPD2UQQ(x, large, r)
			v.store(r, dst.Offset(half*64))
		}
	})
	v.conversion("int64FromFloat32", "int64", "float32", 8, 4, func(dst, src Mem) {
		for half := range 2 {
			x, r, most, large := YMM(), ZMM(), YMM(), K()
			VMOVUPS(src.Offset(half*32), x)
			VCVTTPS2QQ(x, r)
			VBROADCASTSS(fconst(1<<63), most)
			VCMPPS(U8(geOQ), most, x, large)
			VADDPS(most, most, most)
			VCMPPS(U8(ltOQ), most, x, large, large)
			VCVTTPS2UQQ(x, large, r)
			v.store(r, dst.Offset(half*64))
		}
	})
}

// halves converts to elements of twice the size.
func (v level) halves(name, to, from string, do func(ops ...Op)) {
	v.conversion(name, to, from, 8, 4, func(dst, src Mem) {
		for half := range 2 {
			r := v.reg()
			do(src.Offset(half*2*v.width()), r)
			v.store(r, dst.Offset(half*4*v.width()))
		}
	})
}

// halved converts float64 to elements of half the size.
func (v level) halved(name, to string, wide, narrow func(ops ...Op)) {
	v.conversion(name, to, "float64", 4, 8, func(dst, src Mem) {
		for half := range 2 {
			x, r := v.load(src.Offset(half*4*v.width())), v.narrowReg()
			if v.wide {
				wide(x, r)
			} else {
				narrow(x, r)
			}
			VMOVUPS(r, dst.Offset(half*2*v.width()))
		}
	})
}

// lowHalves keeps the low 32 bits of each 64.
func (v level) lowHalves(dst, src Mem) {
	a, b := v.load(src), v.load(src.Offset(4*v.width()))
	if v.wide {
		VPMOVQD(a, dst)
		VPMOVQD(b, dst.Offset(32))
		return
	}
	VSHUFPS(Imm(0x88), b, a, a) // of each 128 bits: a0 a1 b0 b1
	VPERMQ(Imm(0xd8), a, a)
	v.store(a, dst)
}

// narrowBF16 adds 0x7fff and the last bit that stays; a NaN is made quiet.
func (v level) narrowBF16(dst, src Mem) {
	x := v.load(src)
	top, odd := v.reg(), v.reg()
	VPSRLD(Imm(16), x, top)
	one := v.load(bitsConst(1))
	if v.wide {
		VPANDD(one, top, odd)
	} else {
		VPAND(one, top, odd)
	}
	odd = v.addInt(v.addInt(odd, bitsConst(0x7fff)), x)
	VPSRLD(Imm(16), odd, odd)
	r := v.pick(v.cmp(unord, x, x), v.or(top, bitsConst(0x40)), odd)
	if v.wide {
		VPMOVDW(r, dst)
		return
	}
	hi := XMM()
	VEXTRACTI128(Imm(1), r, hi)
	VPACKUSDW(hi, r.AsX(), hi)
	VMOVDQU(hi, dst)
}
