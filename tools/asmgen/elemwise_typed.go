package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["elemwise_typed"] = typedFamily }

// typedFamily writes the loops of internal/kernels/elemwise that compare float32, narrow
// it to bytes, or work on integers and bits. They take whole registers' worth of elements;
// Go's code does the rest.
func typedFamily() {
	for _, v := range rowLevels {
		for _, c := range []struct {
			name      string
			predicate int
		}{{"equal", eqOQ}, {"less", ltOQ}, {"lessEqual", leOQ}, {"greater", gtOQ}, {"greaterEqual", geOQ}} {
			v.comparison(c.name, c.predicate, true)
			v.comparison(c.name, c.predicate, false)
		}
		v.truths("notZero", neqUQ, func(x vec) (vec, Op) { return x, fconst(0) })
		v.truths("isNaN", unord, func(x vec) (vec, Op) { return x, x })
		v.truths("isInf", eqOQ, func(x vec) (vec, Op) { return v.abs(x), bitsConst(plusInf) })
		for _, size := range []int{2, 4, 8} {
			v.integerComparison("equal", size, intEqual)
			v.integerComparison("greater", size, intGreater)
			if size > 2 {
				v.integerComparison("lessEqual", size, intLessEqual)
			}
		}
		v.doubleComparison("equal", eqOQ)
		v.doubleComparison("less", ltOQ)
		v.doubleComparison("lessEqual", leOQ)
		for _, f := range []struct {
			name, of string
			size     int
			do       func(b Op, a, r reg.VecVirtual)
		}{
			{"addInt32", "int32", 4, vectorOp(VPADDD)}, {"subInt32", "int32", 4, vectorOp(VPSUBD)}, {"mulInt32", "int32", 4, vectorOp(VPMULLD)},
			{"minInt32", "int32", 4, vectorOp(VPMINSD)}, {"maxInt32", "int32", 4, vectorOp(VPMAXSD)},
			{"minInt64", "int64", 8, v.extremum64(VPMINSQ, false)}, {"maxInt64", "int64", 8, v.extremum64(VPMAXSQ, true)},
			{"shiftLeft32", "uint32", 4, vectorOp(VPSLLVD)}, {"shiftRight32", "uint32", 4, vectorOp(VPSRLVD)},
			{"shiftLeft64", "uint64", 8, vectorOp(VPSLLVQ)}, {"shiftRight64", "uint64", 8, vectorOp(VPSRLVQ)},
			{"addInt64", "int64", 8, vectorOp(VPADDQ)}, {"subInt64", "int64", 8, vectorOp(VPSUBQ)},
			{"addBytes", "byte", 1, vectorOp(VPADDB)}, {"subBytes", "byte", 1, vectorOp(VPSUBB)}, {"mulBytes", "byte", 1, v.mulBytes}, {"equalBytes", "byte", 1, v.equalBytes},
			{"minInt8", "byte", 1, vectorOp(VPMINSB)}, {"maxInt8", "byte", 1, vectorOp(VPMAXSB)}, {"minUint8", "byte", 1, vectorOp(VPMINUB)}, {"maxUint8", "byte", 1, vectorOp(VPMAXUB)},
			{"addInt16", "byte", 1, vectorOp(VPADDW)}, {"subInt16", "byte", 1, vectorOp(VPSUBW)}, {"mulInt16", "byte", 1, vectorOp(VPMULLW)},
			{"minInt16", "byte", 1, vectorOp(VPMINSW)}, {"maxInt16", "byte", 1, vectorOp(VPMAXSW)},
			{"addDouble", "float64", 8, vectorOp(VADDPD)}, {"subDouble", "float64", 8, vectorOp(VSUBPD)}, {"mulDouble", "float64", 8, vectorOp(VMULPD)}, {"divDouble", "float64", 8, vectorOp(VDIVPD)},
			{"minDouble", "float64", 8, func(b Op, a, r vec) { v.keepNaN(VMINPD, v.load(b), a, r) }}, {"maxDouble", "float64", 8, func(b Op, a, r vec) { v.keepNaN(VMAXPD, v.load(b), a, r) }},
			{"andBits", "byte", 1, v.bits(VPAND, VPANDD)}, {"orBits", "byte", 1, v.bits(VPOR, VPORD)}, {"xorBits", "byte", 1, v.bits(VPXOR, VPXORD)},
		} {
			v.typed(f.name, f.of, f.size, f.do)
		}
		v.doubles("sqrtDouble", func(src Mem, r vec) { VSQRTPD(src, r) })
		v.doubles("floorDouble", v.rounded(toFloor))
		v.doubles("ceilDouble", v.rounded(toCeil))
		v.doubles("roundDouble", v.rounded(toEven))
		v.doubleFunctions()
		v.power()
		v.remainder("fmod", false)
		v.remainder("mod", true)
		one := func() vec { return v.load(truthOnes()) }
		v.truth("andTruth", one, func(a, b, one, r vec) { VPMINUB(b, a, r); VPMINUB(one, r, r) })
		v.truth("orTruth", one, func(a, b, one, r vec) { v.bits(VPOR, VPORD)(b, a, r); VPMINUB(one, r, r) })
		v.truth("xorTruth", one, func(a, b, one, r vec) {
			VPMINUB(one, a, a)
			VPMINUB(one, b, b)
			v.bits(VPXOR, VPXORD)(b, a, r)
		})
	}
}

// extremum64 is the lesser or greater of 64-bit integers, for which AVX2 has no instruction.
func (v level) extremum64(wide func(ops ...Op), greater bool) func(b Op, a, r reg.VecVirtual) {
	if v.wide {
		return vectorOp(wide)
	}
	return func(b Op, a, r reg.VecVirtual) {
		y, more := v.load(b), v.reg()
		VPCMPGTQ(y, a, more) // a > y
		if greater {
			VBLENDVPD(more, a, y, r)
		} else {
			VBLENDVPD(more, y, a, r)
		}
	}
}

// mulBytes multiplies bytes, the even and the odd ones as 16-bit integers.
func (v level) mulBytes(b Op, a, r reg.VecVirtual) {
	x, y := v.load(b), v.reg()
	VPSRLW(Imm(8), a, y)
	VPMULLW(x, a, a)
	VPSRLW(Imm(8), x, x)
	VPMULLW(x, y, y)
	VPSLLW(Imm(8), y, y)
	VPSLLW(Imm(8), a, a)
	VPSRLW(Imm(8), a, a)
	v.bits(VPOR, VPORD)(y, a, r)
}

// equalBytes is 1 where bytes are equal, and 0 elsewhere.
func (v level) equalBytes(b Op, a, r reg.VecVirtual) {
	if v.wide {
		k := K()
		VPCMPEQB(b, a, k)
		VMOVDQU8_Z(v.load(truthOnes()), k, r)
		return
	}
	VPCMPEQB(b, a, r)
	VPAND(truthOnes(), r, r)
}

// storeTruths writes a byte, 0 or 1, for each element of a condition.
func (v level) storeTruths(c chosen, dst Mem) {
	x := XMM()
	if v.wide {
		VMOVDQU8_Z(truthOnes(), c.k, x)
		VMOVDQU(x, dst)
		return
	}
	high := XMM()
	VEXTRACTI128(Imm(1), c.y, high)
	VPACKSSDW(high, c.y.AsX(), x)
	VPACKSSWB(x, x, x)
	VPAND(truthOnes(), x, x)
	VMOVQ(x, dst)
}

func truthOnes() Mem { return bitsConst(0x01010101) }

// comparison is dst = a ∘ b, where b may be one value.
func (v level) comparison(name string, predicate int, row bool) {
	form := "RV"
	if row {
		form = "RR"
	}
	TEXT(name+form+v.suffix(), NOSPLIT, "func(dst []bool, a, b []float32)")
	Pragma("noescape")
	dst, a, b, n := base("dst"), base("a"), base("b"), length("dst")
	var right Op = Mem{Base: b}
	if !row {
		right = v.broadcast(Mem{Base: b})
	}
	v.wholeLoop(n, func() {
		v.storeTruths(v.cmp(predicate, v.load(Mem{Base: a}), right), Mem{Base: dst})
		ADDQ(step(v.width()), dst)
		ADDQ(step(4*v.width()), a)
		if row {
			ADDQ(step(4*v.width()), b)
		}
	})
	end()
}

// Predicates of AVX-512 for integers.
const (
	intEqual     = 0
	intLessEqual = 2
	intGreater   = 6
)

// integerComparison is dst = a ∘ b on rows of signed integers of so many bytes.
func (v level) integerComparison(name string, size int, predicate uint8) {
	of := map[int]string{2: "int16", 4: "int32", 8: "int64"}[size]
	v.rowComparison(fmt.Sprintf("%sInt%d", name, 8*size), of, size, func(a, b Mem) chosen {
		switch {
		case v.wide && size == 2:
			c, x := chosen{k: K()}, YMM()
			VMOVDQU(a, x)
			VPCMPW(U8(predicate), b, x, c.k)
			return c
		case size == 2:
			y := YMM()
			VPMOVSXWD(b, y)
			c := chosen{y: YMM()}
			VPMOVSXWD(a, c.y)
			if predicate == intEqual {
				VPCMPEQD(y, c.y, c.y)
			} else {
				VPCMPGTD(y, c.y, c.y)
			}
			return c
		}
		x := v.load(a)
		switch {
		case v.wide && size == 4:
			c := chosen{k: K()}
			VPCMPD(U8(predicate), b, x, c.k)
			return c
		case v.wide:
			c := chosen{k: K()}
			VPCMPQ(U8(predicate), b, x, c.k)
			return c
		case predicate == intEqual && size == 4:
			VPCMPEQD(b, x, x)
		case predicate == intEqual:
			VPCMPEQQ(b, x, x)
		case size == 4:
			VPCMPGTD(b, x, x)
		default:
			VPCMPGTQ(b, x, x)
		}
		if predicate == intLessEqual { // what is not greater
			all := v.reg()
			VPCMPEQD(all, all, all)
			VPXOR(all, x, x)
		}
		return chosen{y: x}
	})
}

// doubleComparison is dst = a ∘ b on rows of float64.
func (v level) doubleComparison(name string, predicate int) {
	v.rowComparison(name+"Double", "float64", 8, func(a, b Mem) chosen {
		x := v.load(a)
		if v.wide {
			c := chosen{k: K()}
			VCMPPD(U8(uint64(predicate)), b, x, c.k)
			return c
		}
		VCMPPD(U8(uint64(predicate)), b, x, x)
		return chosen{y: x}
	})
}

// rowComparison is dst = a ∘ b on rows of elements of so many bytes.
func (v level) rowComparison(name, of string, size int, compare func(a, b Mem) chosen) {
	TEXT(name+v.suffix(), NOSPLIT, "func(dst []bool, a, b []"+of+")")
	Pragma("noescape")
	dst, a, b, n := base("dst"), base("a"), base("b"), length("dst")
	v.wholeLoop(n, func() {
		c := compare(Mem{Base: a}, Mem{Base: b})
		if size == 8 {
			high := compare(Mem{Base: a, Disp: 4 * v.width()}, Mem{Base: b, Disp: 4 * v.width()})
			if v.wide {
				KUNPCKBW(c.k, high.k, c.k)
			} else {
				VSHUFPS(Imm(0x88), high.y, c.y, c.y) // of each 128 bits: c0 c1 high0 high1
				VPERMQ(Imm(0xd8), c.y, c.y)
			}
		}
		v.storeTruths(c, Mem{Base: dst})
		ADDQ(step(v.width()), dst)
		ADDQ(step(size*v.width()), a)
		ADDQ(step(size*v.width()), b)
	})
	end()
}

// truths compares each element with what with says.
func (v level) truths(name string, predicate int, with func(x vec) (vec, Op)) {
	TEXT(name+v.suffix(), NOSPLIT, "func(dst []bool, src []float32)")
	Pragma("noescape")
	dst, src, n := base("dst"), base("src"), length("dst")
	v.wholeLoop(n, func() {
		a, b := with(v.load(Mem{Base: src}))
		v.storeTruths(v.cmp(predicate, a, b), Mem{Base: dst})
		ADDQ(step(v.width()), dst)
		ADDQ(step(4*v.width()), src)
	})
	end()
}

// storeLowBytes writes the low byte of each 32 bits.
func (v level) storeLowBytes(r vec, dst Mem) {
	if v.wide {
		VPMOVDB(r, dst)
		return
	}
	x, high := XMM(), XMM()
	VPAND(bitsConst(255), r, r)
	VEXTRACTI128(Imm(1), r, high)
	VPACKUSDW(high, r.AsX(), x)
	VPACKUSWB(x, x, x)
	VMOVQ(x, dst)
}

// typed is dst = a ∘ b on rows of integers.
func (v level) typed(name, of string, size int, do func(b Op, a, r reg.VecVirtual)) {
	TEXT(name+v.suffix(), NOSPLIT, "func(dst, a, b []"+of+")")
	Pragma("noescape")
	dst, a, b, n := base("dst"), base("a"), base("b"), length("dst")
	v.byteLoop(n, size, func() {
		x := v.load(Mem{Base: a})
		do(Mem{Base: b}, x, x)
		v.store(x, Mem{Base: dst})
		for _, p := range []reg.GPVirtual{dst, a, b} {
			ADDQ(step(4*v.width()), p)
		}
	})
	end()
}

// doubles is a function of each float64 of a row.
func (v level) doubles(name string, do func(src Mem, r vec)) {
	TEXT(name+v.suffix(), NOSPLIT, "func(dst, src []float64)")
	Pragma("noescape")
	dst, src, n := base("dst"), base("src"), length("dst")
	v.byteLoop(n, 8, func() {
		x := v.reg()
		do(Mem{Base: src}, x)
		v.store(x, Mem{Base: dst})
		ADDQ(step(4*v.width()), dst)
		ADDQ(step(4*v.width()), src)
	})
	end()
}

// rounded is round of float64.
func (v level) rounded(mode uint64) func(src Mem, r vec) {
	return func(src Mem, r vec) {
		if v.wide {
			VRNDSCALEPD(Imm(mode), src, r)
		} else {
			VROUNDPD(Imm(mode), src, r)
		}
	}
}

// truth is dst = a ∘ b on rows of bytes of which any but 0 is true.
func (v level) truth(name string, one func() vec, do func(a, b, one, r vec)) {
	TEXT(name+v.suffix(), NOSPLIT, "func(dst, a, b []byte)")
	Pragma("noescape")
	dst, a, b, n := base("dst"), base("a"), base("b"), length("dst")
	ones := one()
	v.byteLoop(n, 1, func() {
		x, y, r := v.load(Mem{Base: a}), v.load(Mem{Base: b}), v.reg()
		do(x, y, ones, r)
		v.store(r, Mem{Base: dst})
		for _, p := range []reg.GPVirtual{dst, a, b} {
			ADDQ(step(4*v.width()), p)
		}
	})
	end()
}
