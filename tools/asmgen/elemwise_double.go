package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// tanhP and tanhQ are the coefficients of Cephes' tanh near zero: x + x·z·P(z)/Q(z) with z = x².
var (
	tanhP = []float64{-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3}
	tanhQ = []float64{1, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3}
)

// doubleFunctions writes e^x, sigmoid and tanh.
func (v level) doubleFunctions() {
	v.doubles("expDouble", func(src Mem, r vec) {
		x := v.load(src)
		VMINPD(x, v.double(750), x) // a NaN stays
		VMAXPD(x, v.double(-750), x)
		v.doubleExp(x, r)
	})
	v.doubles("sigmoidDouble", func(src Mem, r vec) {
		x := v.load(src)
		e := v.expOfMinus(x, 1)
		one := v.double(1)
		VADDPD(one, e, r)
		v.bySign(x, e, one, e)
		VDIVPD(r, e, r)
	})
	v.doubles("tanhDouble", func(src Mem, r vec) {
		x := v.load(src)
		e, one, far, near := v.expOfMinus(x, 2), v.double(1), v.reg(), v.reg()
		VSUBPD(e, one, far)
		VADDPD(one, e, e)
		VDIVPD(e, far, far)
		sign := v.double(math.Copysign(0, -1))
		v.bits(VPAND, VPANDD)(sign, x, sign)
		z := v.reg()
		VMULPD(x, x, z)
		p, q := v.doublePoly(z, tanhP), v.doublePoly(z, tanhQ)
		VDIVPD(q, p, p)
		VMULPD(z, x, near)
		VFMADD213PD(x, p, near) // near·p + x
		a := v.reg()
		v.bits(VPOR, VPORD)(v.double(math.Copysign(0, -1)), x, a)
		VADDPD(v.double(.625), a, a) // negative where far is for x
		v.bySign(a, far, near, r)
		v.bits(VPOR, VPORD)(sign, r, r)
	})
}

// double is a number in all lanes.
func (v level) double(f float64) vec {
	b := math.Float64bits(f)
	m := data(fmt.Sprintf("quad%016x", b), func() { DATA(0, U64(b)) })
	r := v.reg()
	VBROADCASTSD(m, r)
	return r
}

// bySign is a where x has the sign bit, else b.
func (v level) bySign(x, a, b, r vec) {
	if !v.wide {
		VBLENDVPD(x, a, b, r)
		return
	}
	k := K()
	VPMOVQ2M(x, k)
	VBLENDMPD(a, b, k, r)
}

// expOfMinus is e to -times·|x|.
func (v level) expOfMinus(x vec, times float64) vec {
	a, e := v.reg(), v.reg()
	v.bits(VPOR, VPORD)(v.double(math.Copysign(0, -1)), x, a)
	VMULPD(v.double(times), a, a)
	VMAXPD(a, v.double(-750), a)
	v.doubleExp(a, e)
	return e
}

// doublePoly has the coefficient of the highest power first.
func (v level) doublePoly(x vec, c []float64) vec {
	p := v.double(c[0])
	for _, c := range c[1:] {
		VFMADD213PD(v.double(c), x, p)
	}
	return p
}

// doubleExp sets r to e^x for x between -750 and 750, or NaN: 2^n·e^f with the series of e^f, |f| ≤ ln2/2.
func (v level) doubleExp(x, r vec) {
	n, f, square := v.reg(), v.reg(), v.reg()
	VMULPD(v.double(math.Log2E), x, n)
	if v.wide {
		VRNDSCALEPD(Imm(toEven), n, n)
	} else {
		VROUNDPD(Imm(toEven), n, n)
	}
	VMOVAPD(x, f)
	VFNMADD231PD(v.double(math.Ln2), n, f)
	VFNMADD231PD(v.double(2.3190468138462996e-17), n, f) // what Ln2 lacks
	VMULPD(f, f, square)
	var c []float64
	for k := 13; k >= 2; k-- {
		c = append(c, 1/math.Gamma(float64(k+1)))
	}
	p := v.doublePoly(f, c)
	VFMADD213PD(f, square, p)
	VADDPD(v.double(1), p, p)
	if v.wide {
		VSCALEFPD(n, p, r)
		return
	}
	// Two factors, so that each is a number and the result is rounded once.
	whole, half := XMM(), XMM()
	VCVTPD2DQY(n, whole)
	VPSRAD(Imm(1), whole, half)
	VPSUBD(half, whole, whole)
	bias := v.double(math.Float64frombits(1023))
	for _, part := range []Op{half, whole} {
		y := YMM()
		VPMOVSXDQ(part, y)
		VPADDQ(bias, y, y)
		VPSLLQ(Imm(52), y, y)
		VMULPD(y, p, p)
	}
	VMOVAPD(p, r)
}
