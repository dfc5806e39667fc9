package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// atanP has atan(a) = a + a·a²·atanP(a²) for a ≤ 1: 2^-28. asinP has the same of asin for
// a ≤ 1/2: 2^-28. sinhP has the same of sinh for a ≤ 1: 2^-31.
var (
	atanP = []float64{-0.33333298563957214, 0.1999853104352951, -0.14264051616191864, 0.10951174050569534, -0.08400469273328781,
		0.057906363159418106, -0.031126732006669044, 0.010887166485190392, -0.0017874926561489701}
	asinP = []float64{0.16666752099990845, 0.074953094124794, 0.04546914994716644, 0.024184778332710266, 0.042158305644989014}
	sinhP = []float64{0.1666666716337204, 0.00833331048488617, 0.00019842895562760532, 2.7822131869470468e-06}
)

// manyOnes is where 1 no longer counts beside a number's square.
const manyOnes = 1 << 30

// odd is a + a·z·p(z), for z = a².
func (v level) odd(a, z reg.VecVirtual, p []float64) reg.VecVirtual {
	return v.fma(v.mul(v.poly(z, p...), z), a, a)
}

// tan is for |x| up to 2^15, as sin and cos.
func (v level) tan(x reg.VecVirtual) reg.VecVirtual {
	sin, cos, q := v.quarter(v.abs(x), 0)
	sign := v.reg()
	VPSLLD(Imm(31), q, sign)
	odd := v.negative(sign)
	y := v.div(v.pick(odd, cos, sin), v.pick(odd, sin, cos))
	return v.xor(y, v.xor(sign, v.and(x, bitsConst(signBit))))
}

// atan of a above 1 is π/2 - atan(1/a).
func (v level) atan(x reg.VecVirtual) reg.VecVirtual {
	a := v.abs(x)
	t := v.div(v.atMost(a, fconst(1)), v.atLeast(a, fconst(1)))
	p := v.odd(t, v.mul(t, t), atanP)
	y := v.pick(v.cmp(gtOQ, a, fconst(1)), v.from(halfPi1, halfPi2, p), p)
	return v.withSign(y, x)
}

// from is hi + lo - y, where lo is below hi's precision.
func (v level) from(hi, lo float64, y reg.VecVirtual) reg.VecVirtual {
	return v.add(v.sub(v.load(fconst(hi)), y), fconst(lo))
}

// asinParts gives asin(a) for a = |x| ≤ 1/2; beyond, asin(√((1-a)/2)), which is (π/2 - asin(a))/2.
func (v level) asinParts(x reg.VecVirtual) (p reg.VecVirtual, beyond chosen) {
	a, root := v.abs(x), v.reg()
	beyond = v.cmp(gtOQ, a, fconst(0.5))
	rest := v.fma(a, fconst(-0.5), v.load(fconst(0.5)))
	VSQRTPS(rest, root)
	return v.odd(v.pick(beyond, root, a), v.pick(beyond, rest, v.mul(a, a)), asinP), beyond
}

func (v level) asin(x reg.VecVirtual) reg.VecVirtual {
	p, beyond := v.asinParts(x)
	return v.withSign(v.pick(beyond, v.from(halfPi1, halfPi2, v.add(p, p)), p), x)
}

func (v level) acos(x reg.VecVirtual) reg.VecVirtual {
	p, beyond := v.asinParts(x)
	double := v.add(p, p)
	far := v.pick(v.negative(x), v.from(2*halfPi1, 2*halfPi2, double), double)
	return v.pick(beyond, far, v.from(halfPi1, halfPi2, v.withSign(p, x)))
}

// halfExp is e^a/2 and e^-a/2, for a ≥ 0.
func (v level) halfExp(a reg.VecVirtual) (up, down reg.VecVirtual) {
	n, r := v.reduceExp(v.atMost(a, fconst(90)))
	up = v.scale(v.expUnscaled(r), v.sub(n, fconst(1)))
	return up, v.div(v.load(fconst(0.25)), up)
}

func (v level) sinh(x reg.VecVirtual) reg.VecVirtual {
	a := v.abs(x)
	up, down := v.halfExp(a)
	y := v.pick(v.cmp(gtOQ, a, fconst(1)), v.sub(up, down), v.odd(a, v.mul(a, a), sinhP))
	return v.withSign(y, x)
}

func (v level) cosh(x reg.VecVirtual) reg.VecVirtual {
	up, down := v.halfExp(v.abs(x))
	return v.add(up, down)
}

// asinh is log1p(a + a²/(1 + √(1+a²))), or log(a) + log(2) where a is large.
func (v level) asinh(x reg.VecVirtual) reg.VecVirtual {
	a, root := v.abs(x), v.reg()
	z := v.mul(a, a)
	VSQRTPS(v.add(z, fconst(1)), root)
	t := v.add(v.div(z, v.add(root, fconst(1))), a)
	return v.withSign(v.log1pOr(t, a), x)
}

// acosh is log1p(d + √(d² + 2d)) for d = x-1, or log(x) + log(2) where x is large.
func (v level) acosh(x reg.VecVirtual) reg.VecVirtual {
	d, root := v.sub(x, fconst(1)), v.reg()
	VSQRTPS(v.fma(d, d, v.add(d, d)), root)
	y := v.log1pOr(v.add(d, root), x)
	return v.pick(v.cmp(ltOQ, x, fconst(1)), bitsConst(quietNaN), y)
}

// log1pOr is log(1+t) for t ≥ 0, or log(2·a) where a is large.
func (v level) log1pOr(t, a reg.VecVirtual) reg.VecVirtual {
	large := v.cmp(gtOQ, a, fconst(manyOnes))
	one := v.load(fconst(1))
	u := v.add(t, one)
	lost := v.div(v.sub(t, v.sub(u, one)), u)
	y := v.add(v.logFinite(v.pick(large, a, u)), v.pick(large, fconst(0.6931471805599453), lost))
	return v.pick(v.cmp(nltUQ, a, bitsConst(plusInf)), a, y) // +Inf and NaN
}

// atanh is log1p(2a/(1-a))/2.
func (v level) atanh(x reg.VecVirtual) reg.VecVirtual {
	a := v.abs(x)
	one := v.load(fconst(1))
	t := v.div(v.add(a, a), v.sub(one, a))
	u := v.add(t, one)
	y := v.add(v.logFinite(u), v.div(v.sub(t, v.sub(u, one)), u))
	beyond := v.pick(v.cmp(eqOQ, a, fconst(1)), bitsConst(plusInf), v.load(bitsConst(quietNaN)))
	y = v.pick(v.cmp(ltOQ, a, fconst(1)), v.mul(y, fconst(0.5)), beyond)
	return v.withSign(y, x)
}

// shrink is x + b below -a, x - b above a, and 0 between; NaN stays.
func (v level) shrink(x, a, b reg.VecVirtual) reg.VecVirtual {
	y := v.pick(v.cmp(ltOQ, x, v.neg(a)), v.add(x, b), v.load(fconst(0)))
	y = v.pick(v.cmp(gtOQ, x, a), v.sub(x, b), y)
	return v.pick(v.cmp(unord, x, x), x, y)
}
