package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The functions' polynomials are minimax fits: the figure is the error that
// the polynomial alone leaves, relative to the result.

const (
	ln2Hi = 0.693359375 // few bits, so that n·ln2Hi is exact
	ln2Lo = -2.12194440e-4
)

// expQ has e^r = 1 + r + r²·expQ(r) for |r| ≤ ln2/2: 2^-28.
var expQ = []float64{0.5, 0.16666512191295624, 0.0416661873459816, 0.008369598537683487, 0.0013951717410236597}

// exp2P has 2^f = 1 + f·exp2P(f) for |f| ≤ 1/16: 2^-25.
var exp2P = []float64{0.69314721426008, 0.24025762977557902, 0.0554962218598975}

// sinP has sin(r) = r + r·r²·sinP(r²), cosP has cos(r) = 1 - r²/2 + r⁴·cosP(r²), for
// |r| ≤ π/4: 2^-27.
var (
	sinP = []float64{-0.16666654611, 0.0083321608736, -0.00019515295891}
	cosP = []float64{0.04166664568298827, -0.001388731625493765, 2.443315711809948e-05}
)

// logP has log(1+f) = f - f²/2 + f³·logP(f) between √½-1 and √2-1: 2^-30.
var logP = []float64{0.3333331346511841, -0.25000008940696716, 0.20002134144306183, -0.16668006777763367, 0.14219222962856293,
	-0.12405137717723846, 0.11890336126089096, -0.11679643392562866, 0.06746559590101242}

// erfSmall has erf(x) = x + x·erfSmall(x²) for |x| ≤ 1: 2^-29.
var erfSmall = []float64{0.12837916612625122, -0.3761262595653534, 0.1128358542919159, -0.026853810995817184, 0.005188327748328447,
	-0.0008010192541405559, 7.853857823647559e-05}

// erfLarge has erf(x) = 1 - e^-erfLarge(x) for 1 ≤ x ≤ 4: 2^-29.
var erfLarge = []float64{0.00032056443160399795, 1.1271716356277466, 0.638012170791626, 0.10321826487779617, -0.02188967354595661,
	0.0029601221904158592, -0.00018760564853437245}

// normalTail has Φ(-a) = e^(-a²/2)·normalTail((a-4)/(a+4))/(1+a) for 0 ≤ a ≤ 14.6: 2^-29.
var normalTail = []float64{0.472053200006485, -0.09670346975326538, 0.013999597169458866, 0.028599977493286133, -0.03219728544354439,
	0.017940208315849304, -0.005004288628697395, -0.0003036941634491086, 0.0006927174399606884, -6.0770147683797404e-05, -7.169124000938609e-05}

// reduceExp splits x = n·ln2 + r for |x| below 2^20: adding 3·2^22 rounds to an
// integer, in fewer steps than the rounding instruction.
func (v level) reduceExp(x reg.VecVirtual) (n, r reg.VecVirtual) {
	n, r, _ = v.reduceExpBits(x)
	return n, r
}

// reduceExpBits also gives n in the lowest bits of an integer.
func (v level) reduceExpBits(x reg.VecVirtual) (n, r, bits reg.VecVirtual) {
	const toInteger = 3 << 22
	bits = v.load(fconst(toInteger))
	v.either(fconst(1.4426950408889634), x, bits, VFMADD231PS, VFMADD231PS_BCST)
	n = v.sub(bits, fconst(toInteger))
	r = v.fnma(n, fconst(ln2Hi), x)
	return n, v.fnma(n, fconst(ln2Lo), r), bits
}

// scale is p·2^n for an integral n, rounded once.
func (v level) scale(p, n reg.VecVirtual) reg.VecVirtual {
	if v.wide {
		r := v.reg()
		VSCALEFPS(n, p, r)
		return r
	}
	i, half := YMM(), YMM()
	VCVTPS2DQ(n, i)
	VPSRAD(Imm(1), i, half)
	VPSUBD(half, i, i)
	for _, e := range []reg.VecVirtual{half, i} {
		e = v.addInt(e, bitsConst(127))
		VPSLLD(Imm(23), e, e)
		p = v.mul(p, e)
	}
	return p
}

func (v level) exp(x reg.VecVirtual) reg.VecVirtual {
	x = v.atLeast(v.atMost(x, fconst(89)), fconst(-105))
	return v.expInRange(x)
}

// expInRange is e^x for x between -105 and 89, or NaN.
func (v level) expInRange(x reg.VecVirtual) reg.VecVirtual {
	n, r := v.reduceExp(x)
	return v.expReduced(n, r)
}

// leastExp is the least number whose power of e is no subnormal number.
const leastExp = -87.33654

// expNotPositive is e^x for x ≤ 0, or NaN. Where the result would be subnormal, it is zero: such
// numbers take a hundred times as long, here and in products with what is read from here.
func (v level) expNotPositive(x reg.VecVirtual) reg.VecVirtual {
	if v.wide {
		some := v.cmp(nltUQ, x, fconst(leastExp))
		n, r := v.reduceExp(x)
		e := v.reg()
		VSCALEFPS_Z(n, v.expUnscaled(r), some.k, e)
		return e
	}
	some := v.cmp(nltUQ, x, fconst(leastExp))
	_, r, n := v.reduceExpBits(x)
	power := v.reg() // 2^n, which is at least 2^-126 where the result counts
	VPSLLD(Imm(23), n, power)
	return v.and(v.mul(v.expUnscaled(r), v.addInt(power, fconst(1))), some.y)
}

// exp2 is 2^x, or zero below 2^-126; from 2^127.9 on, +Inf or NaN. What eighths of x multiply
// by is looked up and gets its exponent as integers, and the rest of x takes three
// coefficients: multiplying units, which are what limits this on Zen 4, have half the work
// that a polynomial of all fractions gives them.
func (v level) exp2(x reg.VecVirtual) reg.VecVirtual {
	const eighths = 3 << 19 // adding it rounds to eighths, whose number is then in the lowest bits
	some := v.cmp(nltUQ, x, fconst(-126))
	x = v.atMost(x, fconst(128))
	n := v.add(x, fconst(eighths))
	f := v.sub(x, v.sub(n, fconst(eighths)))
	power := v.reg()
	VPERMPS(eighthPowers(), n, power)
	VPSLLD(Imm(20), n, n)
	VPADDD(n, power, power)
	e := v.mul(v.poly(f, exp2P...), f)
	if v.wide {
		VFMADD213PS_Z(power, power, some.k, e)
		return e
	}
	VFMADD213PS(power, power, e)
	return v.and(e, some.y)
}

// eighthPowers are the powers of two of eighths, twice, without what the number of eighths
// adds to the exponent.
func eighthPowers() Mem {
	return dwords("eighthPowers", func(i int) int {
		return int(math.Float32bits(float32(math.Exp2(float64(i%8)/8)))) - i%8<<20
	})
}

// expSum is e^(x+lo) for a lo below x's precision.
func (v level) expSum(x, lo reg.VecVirtual) reg.VecVirtual {
	n, r := v.reduceExp(x)
	return v.expReduced(n, v.add(r, lo))
}

func (v level) expReduced(n, r reg.VecVirtual) reg.VecVirtual {
	return v.scale(v.expUnscaled(r), n)
}

// expUnscaled is e^r for r between -ln2/2 and ln2/2.
func (v level) expUnscaled(r reg.VecVirtual) reg.VecVirtual {
	q := v.poly(r, expQ...)
	p := v.fma(q, v.mul(r, r), r)
	return v.add(p, fconst(1))
}

// expNegative is e^-|x|.
func (v level) expNegative(x reg.VecVirtual) reg.VecVirtual {
	return v.expInRange(v.atLeast(v.or(x, bitsConst(signBit)), fconst(-105)))
}

// expm1 keeps the sign of zero.
func (v level) expm1(x reg.VecVirtual) reg.VecVirtual {
	y := v.halfExpm1(v.atLeast(v.atMost(x, fconst(89)), fconst(-30)))
	return v.or(v.add(y, y), v.and(x, bitsConst(signBit)))
}

// halfExpm1 is (e^x - 1)/2 for x between -80 and 89, or NaN.
func (v level) halfExpm1(x reg.VecVirtual) reg.VecVirtual {
	_, r, n := v.reduceExpBits(x)
	q := v.poly(r, expQ...)
	p := v.fma(q, v.mul(r, r), r)
	half := v.reg() // 2^(n-1), since 2^128 is too large
	VPSLLD(Imm(23), n, half)
	half = v.addInt(half, bitsConst(126<<23))
	return v.fma(half, p, v.sub(half, fconst(0.5)))
}

// tanh is (e^t - 1)/(e^t + 1) for t = -2|x|, with x's sign.
func (v level) tanh(x reg.VecVirtual) reg.VecVirtual {
	y := v.halfExpm1(v.atLeast(v.or(v.add(x, x), bitsConst(signBit)), fconst(-40)))
	return v.merge(v.div(y, v.add(y, fconst(1))), x, butSign)
}

func (v level) sigmoid(x reg.VecVirtual) reg.VecVirtual {
	e := v.expNegative(x)
	num := v.pick(v.negative(x), e, v.load(fconst(1)))
	return v.div(num, v.add(e, fconst(1)))
}

// The parts of π/2: with a fused multiply-add the first is subtracted exactly.
const (
	halfPi1 = 1.57079637050628662109375
	halfPi2 = -4.37113900018624283e-8
	halfPi3 = -1.71512493923e-15
)

// sin and cos are for |x| up to 2^15.
func (v level) sin(x reg.VecVirtual) reg.VecVirtual {
	return v.xor(v.quarters(v.abs(x), 0), v.and(x, bitsConst(signBit)))
}

func (v level) cos(x reg.VecVirtual) reg.VecVirtual { return v.quarters(v.abs(x), 1) }

// quarter is the sine and cosine of a's distance to the nearest multiple of π/2, for a ≥ 0,
// and the number of that multiple plus shift in q's lowest bits.
func (v level) quarter(a reg.VecVirtual, shift uint32) (sin, cos, q reg.VecVirtual) {
	const toInteger = 3 << 22
	n := v.fma(a, v.load(fconst(0.6366197723675814)), v.load(fconst(toInteger)))
	q = n
	if shift != 0 {
		q = v.addInt(n, bitsConst(shift)) // its lowest bits are n's
	}
	n = v.sub(n, fconst(toInteger))
	r := v.fnma(n, fconst(halfPi3), v.fnma(n, fconst(halfPi2), v.fnma(n, fconst(halfPi1), a)))
	z := v.mul(r, r)
	sin = v.odd(r, z, sinP)
	cos = v.add(v.fma(v.mul(z, z), v.poly(z, cosP...), v.mul(z, fconst(-0.5))), fconst(1))
	return sin, cos, q
}

// quarters is sin(a + shift·π/2) for a ≥ 0.
func (v level) quarters(a reg.VecVirtual, shift uint32) reg.VecVirtual {
	sin, cos, q := v.quarter(a, shift)
	odd, sign := v.reg(), v.reg()
	VPSLLD(Imm(31), q, odd)
	VPSLLD(Imm(30), q, sign)
	y := v.pick(v.negative(odd), cos, sin)
	return v.xor(y, v.and(sign, bitsConst(signBit)))
}

// logFinite is log(x) for a finite x > 0.
func (v level) logFinite(x reg.VecVirtual) reg.VecVirtual {
	tiny := v.cmp(ltOQ, x, bitsConst(leastNormal))
	x = v.pick(tiny, v.mul(x, fconst(1<<23)), x)
	bias := v.pick(tiny, fconst(-23), v.load(fconst(0)))
	// i = bits(x) - bits(√½) + bits(1): its exponent is that of x/√½.
	i := v.addInt(x, bitsConst(0x3f800000-0x3f3504f3))
	e := v.reg()
	VPSRLD(Imm(23), i, e)
	e = v.addInt(e, bitsConst(uint32(0xffffff81))) // -127
	VCVTDQ2PS(e, e)
	e = v.add(e, bias)
	m := v.addInt(v.and(i, bitsConst(0x007fffff)), bitsConst(0x3f3504f3))
	f := v.sub(m, fconst(1))
	z := v.mul(f, f)
	y := v.mul(v.mul(v.poly(f, logP...), z), f)
	y = v.fma(e, fconst(ln2Lo), y)
	y = v.fnma(z, fconst(0.5), y)
	return v.fma(e, fconst(ln2Hi), v.add(f, y))
}

func (v level) log(x reg.VecVirtual) reg.VecVirtual {
	y := v.logFinite(x)
	y = v.pick(v.cmp(nltUQ, x, bitsConst(plusInf)), x, y) // +Inf and NaN
	y = v.pick(v.cmp(eqOQ, x, fconst(0)), bitsConst(minusInf), y)
	return v.pick(v.cmp(ltOQ, x, fconst(0)), bitsConst(quietNaN), y)
}

// softplus is max(x, 0) + log1p(e^-|x|).
func (v level) softplus(x reg.VecVirtual) reg.VecVirtual {
	e := v.expNegative(x)
	u := v.add(e, fconst(1))
	lost := v.sub(e, v.sub(u, fconst(1)))
	l := v.add(v.logFinite(u), v.div(lost, u))
	return v.add(l, v.atLeast(x, fconst(0)))
}

func (v level) erf(x reg.VecVirtual) reg.VecVirtual {
	a := v.abs(x)
	small := v.fma(v.poly(v.mul(x, x), erfSmall...), x, x)
	c := v.atMost(a, fconst(4))
	large := v.sub(v.load(fconst(1)), v.expInRange(v.neg(v.poly(c, erfLarge...))))
	return v.pick(v.cmp(geOQ, a, fconst(1)), v.withSign(large, x), small)
}

// reciprocal is 1/d within 2 ulp, for a positive normal d, by Newton's iteration
// from the negated exponent: it leaves the divider to what needs it. (The
// processor's own estimates differ between vendors.)
func (v level) reciprocal(d reg.VecVirtual) reg.VecVirtual {
	r := v.reg()
	VPSUBD(d, v.load(bitsConst(0x7ef311c3)), r) // 12 %
	for range 3 {
		r = v.fma(r, v.oneMinus(d, r), r)
	}
	return r
}

// oneMinus is 1 - a·b.
func (v level) oneMinus(a, b reg.VecVirtual) reg.VecVirtual {
	r := v.load(fconst(1))
	VFNMADD231PS(b, a, r)
	return r
}

// gelu is x·Φ(x), down to -geluMost from polynomials of pieces.
func (v level) gelu(x reg.VecVirtual) reg.VecVirtual {
	y := v.geluByPieces(x)
	far := v.cmp(ltOQ, x, fconst(-geluMost))
	near := newLabel("near")
	v.unlessAny(far, near)
	VMOVAPS(v.pick(far, v.geluFar(x), y), y)
	Label(near)
	return y
}

// geluFar is gelu for x < 0 from Φ(x) with the square's rounding error put back.
func (v level) geluFar(x reg.VecVirtual) reg.VecVirtual {
	a := v.atMost(v.abs(x), fconst(14.6))
	u := v.mul(v.sub(a, fconst(4)), v.reciprocal(v.add(a, fconst(4))))
	g := v.div(v.poly(u, normalTail...), v.add(a, fconst(1)))
	hi := v.mul(a, a)
	lo := v.fms(a, a, hi)
	e := v.expSum(v.atLeast(v.mul(hi, fconst(-0.5)), fconst(-105)), v.mul(lo, fconst(-0.5)))
	return v.neg(v.mul(v.mul(a, g), e))
}

// silu is x·sigmoid(a·x).
func (v level) silu(x, a reg.VecVirtual) reg.VecVirtual {
	w := v.mul(x, a)
	return v.timesSigmoid(x, w, v.fms(x, a, w))
}

// timesSigmoid is x·sigmoid(w+lo), where lo is small and x has w's sign. For
// negative x it is x·e^w/(1+e^w), so the tail keeps its digits.
func (v level) timesSigmoid(x, w, lo reg.VecVirtual) reg.VecVirtual {
	small := v.cmp(ltOQ, v.abs(lo), fconst(1)) // not where w is infinite
	lo = v.pick(small, lo, v.load(fconst(0)))
	lo = v.xor(lo, v.and(v.neg(w), bitsConst(signBit))) // of -|w|
	e := v.expSum(v.atLeast(v.or(w, bitsConst(signBit)), fconst(-105)), lo)
	num := v.pick(v.negative(w), v.mul(v.finite(x), e), x)
	return v.div(num, v.add(e, fconst(1)))
}

// finite limits infinities to the largest number, so that 0 times it is 0.
func (v level) finite(x reg.VecVirtual) reg.VecVirtual {
	return v.atLeast(v.atMost(x, bitsConst(largest)), bitsConst(minusLargest))
}

// logitOfNormal has log₂(Φ(x)/(1-Φ(x))) = x·logitOfNormal(min(x², 25)), so near that x/(1 + 2^-that)
// is x·Φ(x) to 1.2e-4 of itself or of 0.01.
var logitOfNormal = []float64{2.301657199859619, 0.10580979287624359, -0.0005778821068815887, -6.022870002198033e-05, 2.105614612446516e-06}

// coarseGelu is x·Φ(x) for results that are rounded to bfloat16: to 3e-4 of itself or of
// 0.01. Its constants stay in registers.
type coarseGelu struct {
	most, low, high, one vec
	logit, exp           []vec
}

func loadCoarseGelu() *coarseGelu {
	v := avx512
	g := &coarseGelu{most: v.load(fconst(25)), low: v.load(fconst(-126)), high: v.load(fconst(126)), one: v.load(fconst(1))}
	for _, c := range logitOfNormal {
		g.logit = append(g.logit, v.load(fconst(-c)))
	}
	for _, c := range attnExp {
		g.exp = append(g.exp, v.load(fconst(c)))
	}
	return g
}

// of applies it in place; a NaN stays.
func (g *coarseGelu) of(x ...vec) {
	each := func(do func(i int)) {
		for i := range x {
			do(i)
		}
	}
	regs := func() []vec {
		r := make([]vec, len(x))
		for i := range r {
			r[i] = ZMM()
		}
		return r
	}
	u, t, p := regs(), regs(), regs()
	each(func(i int) { VMULPS(x[i], x[i], u[i]) })
	each(func(i int) { VMINPS(g.most, u[i], u[i]) })
	last := len(g.logit) - 1
	each(func(i int) { VMOVAPS(g.logit[last], t[i]) })
	for k := last - 1; k >= 0; k-- {
		each(func(i int) { VFMADD213PS(g.logit[k], u[i], t[i]) })
	}
	each(func(i int) { VMULPS(x[i], t[i], t[i]) })
	each(func(i int) { VMAXPS(g.low, t[i], t[i]) }) // 2^t is neither subnormal nor infinite
	each(func(i int) { VMINPS(g.high, t[i], t[i]) })
	each(func(i int) { VREDUCEPS(Imm(1), t[i], u[i]) })
	each(func(i int) { VMOVAPS(g.exp[2], p[i]) })
	for _, c := range []vec{g.exp[1], g.exp[0], g.one} {
		each(func(i int) { VFMADD213PS(c, u[i], p[i]) })
	}
	each(func(i int) { VSCALEFPS(t[i], p[i], p[i]) })
	each(func(i int) { VADDPS(g.one, p[i], p[i]) })
	each(func(i int) { VRCP14PS(p[i], p[i]) })
	each(func(i int) { VMULPS(p[i], x[i], x[i]) })
}

// geluTanh is x·sigmoid(w) with w = x·(c1 + c2·x²) in two float32.
func (v level) geluTanh(x reg.VecVirtual) reg.VecVirtual {
	const (
		c1, c1lo = 1.5957691669464111, -4.534068032135963e-08
		c2, c2lo = 0.07135481387376785, 2.3988323966106506e-09
	)
	c := v.atLeast(v.atMost(x, fconst(11)), fconst(-11))
	sq := v.mul(c, c)
	sqLo := v.fms(c, c, sq)
	p := v.mul(sq, fconst(c2))
	pLo := v.fms(sq, fconst(c2), p)
	pLo = v.fma(sq, fconst(c2lo), pLo)
	pLo = v.fma(sqLo, fconst(c2), pLo)
	t := v.add(p, fconst(c1))
	// the exact error of p + c1 (Knuth)
	b := v.sub(t, p)
	err := v.sub(p, v.sub(t, b))
	err = v.add(err, v.sub(v.load(fconst(c1)), b))
	tLo := v.add(v.add(err, pLo), fconst(c1lo))
	w := v.mul(c, t)
	wLo := v.fms(c, t, w)
	wLo = v.fma(c, tLo, wLo)
	return v.timesSigmoid(x, w, wLo)
}

func (v level) mish(x reg.VecVirtual) reg.VecVirtual {
	e := v.expInRange(v.atLeast(v.atMost(x, fconst(20)), fconst(-105)))
	n := v.fma(e, e, v.add(e, e))
	return v.mul(v.atLeast(x, bitsConst(minusLargest)), v.div(n, v.add(n, fconst(2))))
}

// elu is x > 0 ? b·x : a·expm1(c·x).
func (v level) elu(x, a, b, c reg.VecVirtual) reg.VecVirtual {
	right := v.mul(x, b)
	left := v.mul(v.expm1(v.mul(x, c)), a)
	return v.pick(v.cmp(gtOQ, x, fconst(0)), right, left)
}

// leakyRelu is x·alpha where x is below zero, else x. Here and in hardSwish loops may load 0 and 1 once.
func (v level) leakyRelu(x, alpha reg.VecVirtual, zero Op) reg.VecVirtual {
	return v.pick(v.cmp(ltOQ, x, zero), v.mul(x, alpha), x)
}

func (v level) hardSwish(x, zero, one reg.VecVirtual) reg.VecVirtual {
	return v.mul(x, v.min(one, v.max(zero, v.add(v.mul(x, fconst(1.0/6)), fconst(0.5)))))
}

// unit limits x to [0, 1].
func (v level) unit(x reg.VecVirtual) reg.VecVirtual {
	return v.atMost(v.atLeast(x, fconst(0)), fconst(1))
}
