package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["elemwise"] = elemwise }

// elemwise writes the unary and binary functions, narrow float conversions and
// quantization loops of internal/kernels/elemwise.
func elemwise() {
	for _, v := range rowLevels {
		for _, f := range unaries {
			v.unary(f)
		}
		for _, f := range binaries {
			v.binary(f.name, f.body)
		}
		v.conversions()
		v.quantization()
	}
}

type vec = reg.VecVirtual

// unaryFunc is a function's body; params are broadcast where it has some.
type unaryFunc struct {
	name   string
	params int
	unroll int
	body   func(v rows, x vec, p []vec) vec
}

func plain(f func(v rows, x vec) vec) func(rows, vec, []vec) vec {
	return func(v rows, x vec, _ []vec) vec { return f(v, x) }
}

var unaries = []unaryFunc{
	{"abs", 0, 4, plain(rows.abs)},
	{"neg", 0, 4, plain(rows.neg)},
	{"sign", 0, 2, plain(func(v rows, x vec) vec { // zeros and NaN stay
		one := v.or(v.and(x, bitsConst(signBit)), fconst(1))
		return v.pick(v.cmp(gtOQ, v.abs(x), fconst(0)), one, x)
	})},
	{"floor", 0, 4, plain(func(v rows, x vec) vec { return v.round(x, toFloor) })},
	{"ceil", 0, 4, plain(func(v rows, x vec) vec { return v.round(x, toCeil) })},
	{"round", 0, 4, plain(func(v rows, x vec) vec { return v.round(x, toEven) })},
	{"sqrt", 0, 1, plain(func(v rows, x vec) vec { r := v.reg(); VSQRTPS(x, r); return r })},
	{"rsqrt", 0, 1, plain(func(v rows, x vec) vec {
		r := v.reg()
		VSQRTPS(x, r)
		return v.div(v.load(fconst(1)), r)
	})},
	{"reciprocal", 0, 1, plain(func(v rows, x vec) vec { return v.div(v.load(fconst(1)), x) })},
	{"square", 0, 4, plain(func(v rows, x vec) vec { return v.mul(x, x) })},
	{"exp", 0, 1, plain(rows.exp)},
	{"expm1", 0, 1, plain(rows.expm1)},
	{"log", 0, 1, plain(rows.log)},
	{"sin", 0, 1, plain(rows.sin)},
	{"cos", 0, 1, plain(rows.cos)},
	{"tan", 0, 1, plain(rows.tan)},
	{"asin", 0, 1, plain(rows.asin)},
	{"acos", 0, 1, plain(rows.acos)},
	{"atan", 0, 1, plain(rows.atan)},
	{"sinh", 0, 1, plain(rows.sinh)},
	{"cosh", 0, 1, plain(rows.cosh)},
	{"asinh", 0, 1, plain(rows.asinh)},
	{"acosh", 0, 1, plain(rows.acosh)},
	{"atanh", 0, 1, plain(rows.atanh)},
	{"tanh", 0, 1, plain(rows.tanh)},
	{"sigmoid", 0, 1, plain(rows.sigmoid)},
	{"erf", 0, 1, plain(rows.erf)},
	{"gelu", 0, 1, plain(rows.gelu)},
	{"geluTanh", 0, 1, plain(rows.geluTanh)},
	{"silu", 1, 1, func(v rows, x vec, p []vec) vec { return v.silu(x, p[0]) }},
	{"hardSigmoid", 2, 1, func(v rows, x vec, p []vec) vec { return v.unit(v.add(v.mul(x, p[0]), p[1])) }},
	{"hardSwish", 0, 1, plain(func(v rows, x vec) vec {
		return v.mul(x, v.unit(v.add(v.mul(x, fconst(1.0/6)), fconst(0.5))))
	})},
	{"mish", 0, 1, plain(rows.mish)},
	{"softplus", 0, 1, plain(rows.softplus)},
	{"softsign", 0, 1, plain(func(v rows, x vec) vec { return v.div(x, v.add(v.abs(x), fconst(1))) })},
	{"elu", 3, 1, func(v rows, x vec, p []vec) vec { return v.elu(x, p[0], p[1], p[2]) }},
	{"leakyRelu", 1, 2, func(v rows, x vec, p []vec) vec {
		return v.pick(v.cmp(ltOQ, x, fconst(0)), v.mul(x, p[0]), x)
	}},
	{"thresholdedRelu", 1, 2, func(v rows, x vec, p []vec) vec {
		return v.pick(v.cmp(nleUQ, x, p[0]), x, v.load(fconst(0)))
	}},
	{"relu", 0, 4, plain(func(v rows, x vec) vec { return v.atLeast(x, fconst(0)) })},
	{"clip", 2, 2, func(v rows, x vec, p []vec) vec { return v.min(p[1], v.max(p[0], x)) }},
	{"shrink", 2, 2, func(v rows, x vec, p []vec) vec { return v.shrink(x, p[0], p[1]) }},
	{"affine", 2, 2, func(v rows, x vec, p []vec) vec { return v.add(v.mul(x, p[0]), p[1]) }},
}

func (v rows) unary(f unaryFunc) {
	TEXT(f.name+v.suffix(), NOSPLIT, "func(dst, src []float32, a, b, c float32)")
	Pragma("noescape")
	var params []vec
	for _, name := range []string{"a", "b", "c"}[:f.params] {
		params = append(params, v.param(name))
	}
	dst, src, n := base("dst"), base("src"), length("dst")
	v.rowLoop(n, f.unroll, []reg.GPVirtual{dst, src}, func(disp int, t *tail) {
		v.put(f.body(v, v.get(src, disp, t), params), dst, disp, t)
	})
	end()
}

var binaries = []struct {
	name string
	body func(v rows, a, b vec) vec
}{
	{"add", func(v rows, a, b vec) vec { return v.add(a, b) }},
	{"sub", func(v rows, a, b vec) vec { return v.sub(a, b) }},
	{"mul", func(v rows, a, b vec) vec { return v.mul(a, b) }},
	{"div", func(v rows, a, b vec) vec { return v.div(a, b) }},
	{"min", func(v rows, a, b vec) vec { return v.pick(v.cmp(unord, a, a), a, v.min(a, b)) }},
	{"max", func(v rows, a, b vec) vec { return v.pick(v.cmp(unord, a, a), a, v.max(a, b)) }},
	{"prelu", func(v rows, a, b vec) vec { return v.pick(v.cmp(ltOQ, a, fconst(0)), v.mul(a, b), a) }},
	{"addRelu", func(v rows, a, b vec) vec { return v.atLeast(v.add(a, b), fconst(0)) }},
}

// binary writes the forms row∘row, row∘value and value∘row.
func (v rows) binary(name string, body func(v rows, a, b vec) vec) {
	for _, form := range []string{"RR", "RV", "VR"} {
		TEXT(name+form+v.suffix(), NOSPLIT, "func(dst, a, b []float32)")
		Pragma("noescape")
		dst, a, b, n := base("dst"), base("a"), base("b"), length("dst")
		pointers := []reg.GPVirtual{dst}
		get := func(p reg.GPVirtual, row bool) func(int, *tail) vec {
			if row {
				pointers = append(pointers, p)
				return func(disp int, t *tail) vec { return v.get(p, disp, t) }
			}
			value := v.broadcast(Mem{Base: p})
			return func(int, *tail) vec { return value }
		}
		left, right := get(a, form[0] == 'R'), get(b, form[1] == 'R')
		v.rowLoop(n, 2, pointers, func(disp int, t *tail) {
			v.put(body(v, left(disp, t), right(disp, t)), dst, disp, t)
		})
		end()
	}
}

// wholeLoop walks as many elements as fill registers; Go's code does the rest.
func (v rows) wholeLoop(n reg.GPVirtual, emit func()) {
	SUBQ(step(v.width()), n)
	JLT(LabelRef("done"))
	Label("each")
	emit()
	SUBQ(step(v.width()), n)
	JGE(LabelRef("each"))
	Label("done")
}

// conversion is a loop over elements of two sizes in bytes.
func (v rows) conversion(name, dstType, srcType string, dstSize, srcSize int, emit func(dst, src Mem)) {
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

func (v rows) conversions() {
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
func (v rows) longConversions() {
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
func (v rows) halves(name, to, from string, do func(ops ...Op)) {
	v.conversion(name, to, from, 8, 4, func(dst, src Mem) {
		for half := range 2 {
			r := v.reg()
			do(src.Offset(half*2*v.width()), r)
			v.store(r, dst.Offset(half*4*v.width()))
		}
	})
}

// halved converts float64 to elements of half the size.
func (v rows) halved(name, to string, wide, narrow func(ops ...Op)) {
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
func (v rows) lowHalves(dst, src Mem) {
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
func (v rows) narrowBF16(dst, src Mem) {
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

func (v rows) quantization() {
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

func (v rows) quantize(name, typ string, signed bool) {
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
	v := rows{wide: true}
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

var dwordTables = map[string]Mem{}

// dwords is a table of 16 numbers of 32 bits in the data section.
func dwords(name string, f func(i int) int) Mem {
	if m, ok := dwordTables[name]; ok {
		return m
	}
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i := range 16 {
		DATA(4*i, U32(uint32(f(i))))
	}
	dwordTables[name] = m
	return m
}

func (v rows) dequantize(name, typ string, signed bool) {
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

// minMax is the range of x and 0, NaN left out.
func (v rows) minMax() {
	TEXT("minMax"+v.suffix(), NOSPLIT, "func(x []float32) (lo, hi float32)")
	Pragma("noescape")
	p, n := base("x"), length("x")
	var lo, hi [4]vec // minima and maxima take four cycles each
	for i := range lo {
		lo[i], hi[i] = v.load(fconst(0)), v.load(fconst(0))
	}
	v.rowLoop(n, len(lo), []reg.GPVirtual{p}, func(disp int, t *tail) {
		x, i := v.get(p, disp, t), disp/(4*v.width())
		VMINPS(lo[i], x, lo[i])
		VMAXPS(hi[i], x, hi[i])
	})
	least, most := func(b, a, r Op) { VMINPS(b, a, r) }, func(b, a, r Op) { VMAXPS(b, a, r) }
	for i := 1; i < len(lo); i++ {
		least(lo[i], lo[0], lo[0])
		most(hi[i], hi[0], hi[0])
	}
	result(v.foldRegister(lo[0], least), Return("lo"))
	result(v.foldRegister(hi[0], most), Return("hi"))
	end()
}

// foldRegister joins lane j with lane j+h for each half h down to 1. join
// computes r from the upper lanes b and the lower lanes a.
func (v rows) foldRegister(x vec, join func(b, a, r Op)) vec {
	low := Op(x.AsX())
	if v.wide {
		up, y := YMM(), YMM()
		VEXTRACTF32X8(Imm(1), x, up)
		join(up, x.AsY(), y)
		x, low = y, y.AsX()
	}
	up, r := XMM(), XMM()
	VEXTRACTF128(Imm(1), x, up)
	join(up, low, r)
	VPERMILPS(Imm(0x0e), r, up)
	join(up, r, r)
	VPERMILPS(Imm(0x01), r, up)
	join(up, r, r)
	return r
}
