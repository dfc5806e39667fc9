package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// outputs addresses the pixels of a buffer.
func (k *qconvKernel) outputs(start Mem) pixels {
	base := GP64()
	MOVQ(start, base)
	px := newPixels(base, k.value(qcOutPx), k.mr)
	if px.far != nil {
		MOVQ(k.field(qcOutFar), px.far)
		ADDQ(base, px.far)
	}
	return px
}

// finish makes bytes of the sums and stores them.
func (k *qconvKernel) finish() {
	scale := k.value(qcScale)
	s := k.reg()
	for j := range k.nv {
		VMOVUPS(Mem{Base: scale, Disp: j * k.bytes()}, s)
		for i := range k.mr {
			a := k.acc[j][i]
			VCVTDQ2PS(a, a)
			VMULPS(s, a, a)
		}
	}
	CMPQ(k.field(qcResidual), Imm(0))
	JE(LabelRef("narrow"))
	k.addResidual()
	Label("narrow")
	k.roundSums()
	k.storeBytes()
}

// roundSums makes integers. What is too large for one would become the least, as NaN does.
func (k *qconvKernel) roundSums() {
	most := k.reg()
	VMOVUPS(constant(65536), most)
	k.each(func(a reg.VecVirtual) {
		VMINPS(a, most, a)
		VCVTPS2DQ(a, a)
	})
}

// storeBytes narrows with saturation, limits and stores.
func (k *qconvKernel) storeBytes() {
	zero := k.reg()
	VPBROADCASTW(k.field(qcZero16), zero)
	var words []reg.VecVirtual // of two vectors of sums each
	sums := 0
	for i := range k.mr {
		for j := range k.nv {
			if a := k.acc[j][i]; sums%2 == 0 {
				words = append(words, a)
			} else {
				VPACKSSDW(a, words[sums/2], words[sums/2])
			}
			sums++
		}
	}
	if sums%2 == 1 {
		VPACKSSDW(words[sums/2], words[sums/2], words[sums/2])
	}
	for _, a := range words {
		VPADDSW(zero, a, a)
	}
	lo, hi, flip, order := k.reg(), k.reg(), k.reg(), k.reg()
	VPBROADCASTB(k.field(qcLo8), lo)
	VPBROADCASTB(k.field(qcHi8), hi)
	VPBROADCASTB(k.field(qcFlip), flip)
	VMOVUPS(quartersInOrder(k.bytes()/16), order)
	var exist reg.OpmaskVirtual
	if k.wide {
		exist = K()
		KMOVQ(k.field(qcMask), exist)
	}
	px := k.outputs(k.out)
	pixels := 4 / k.nv // of a vector of bytes
	for i := 0; i < k.mr; i += pixels {
		n := i * k.nv / 2
		a, b := words[n], words[min(n+1, len(words)-1)]
		VPACKUSWB(b, a, a)
		VPMAXUB(lo, a, a)
		VPMINUB(hi, a, a)
		if k.wide {
			VPXORD(flip, a, a)
		} else {
			VPXOR(flip, a, a)
		}
		VPERMD(a, order, a)
		for q := range min(pixels, k.mr-i) {
			k.storePixel(a, q, px.at(i+q, 0), exist)
		}
	}
}

func (k *qconvKernel) each(f func(a reg.VecVirtual)) {
	for _, row := range k.acc {
		for _, a := range row {
			f(a)
		}
	}
}

// with runs f with a field in all lanes of a vector.
func (k *qconvKernel) with(off int, f func(v reg.VecVirtual)) {
	v := k.reg()
	VBROADCASTSS(k.field(off), v)
	f(v)
}

func (k *qconvKernel) clamp(lo, hi int) {
	k.with(lo, func(v reg.VecVirtual) { k.each(func(a reg.VecVirtual) { VMAXPS(v, a, a) }) })
	k.with(hi, func(v reg.VecVirtual) { k.each(func(a reg.VecVirtual) { VMINPS(v, a, a) }) })
}

// storePixel stores the channels of pixel q of a vector.
func (k *qconvKernel) storePixel(a reg.VecVirtual, q int, m Mem, exist reg.OpmaskVirtual) {
	switch {
	case k.wide && k.nv == 2:
		y := a.AsY()
		if q > 0 {
			high := YMM()
			VEXTRACTI64X4(Imm(1), a, high)
			y = high
		}
		VMOVDQU8(y, exist, m)
	case k.wide:
		x := a.AsX()
		if q > 0 {
			part := XMM()
			VEXTRACTI32X4(Imm(uint64(q)), a, part)
			x = part
		}
		VMOVDQU8(x, exist, m)
	case k.nv == 2 && q == 0:
		VMOVDQU(a.AsX(), m)
	case k.nv == 2:
		VEXTRACTI128(Imm(1), a, m)
	case q == 0:
		VMOVQ(a.AsX(), m)
	case q == 1:
		VMOVHPS(a.AsX(), m)
	default:
		high := XMM()
		VEXTRACTI128(Imm(1), a, high)
		if q == 2 {
			VMOVQ(high, m)
		} else {
			VMOVHPS(high, m)
		}
	}
}

// quartersInOrder is the order of double words that brings the first of each of n quarters
// of a vector together, then the second ones, and so on.
func quartersInOrder(n int) Mem {
	order := make([]uint32, 4*n)
	for d := range order {
		order[d] = uint32(4*(d%n) + d/n)
	}
	return words(fmt.Sprintf("quarters_%d", n), order...)
}

// addResidual rounds to the integers of the convolution's own scale, adds what
// both stand for and divides by the result's scale: the product with its
// inverse, corrected by the remainder, is the quotient.
func (k *qconvKernel) addResidual() {
	k.clamp(qcMidLo, qcMidHi)
	k.each(func(a reg.VecVirtual) {
		if k.wide {
			VRNDSCALEPS(Imm(0), a, a)
		} else {
			VROUNDPS(Imm(0), a, a)
		}
	})
	k.with(qcMidScale, func(v reg.VecVirtual) { k.each(func(a reg.VecVirtual) { VMULPS(v, a, a) }) })
	CMPQ(k.field(qcSigned), Imm(0))
	JNE(LabelRef("signed"))
	k.addBytes(false)
	JMP(LabelRef("added"))
	Label("signed")
	k.addBytes(true)
	Label("added")
	s, y := k.reg(), k.reg()
	VBROADCASTSS(k.field(qcYScale), s)
	VBROADCASTSS(k.field(qcYInverse), y)
	q := k.reg()
	k.each(func(a reg.VecVirtual) {
		VMULPS(y, a, q)
		VFNMADD231PS(q, s, a)
		VFMADD213PS(q, y, a)
	})
}

func (k *qconvKernel) addBytes(signed bool) {
	zero, scale, r := k.reg(), k.reg(), k.reg()
	VBROADCASTSS(k.field(qcResZero), zero)
	VBROADCASTSS(k.field(qcResScale), scale)
	px := k.outputs(k.res)
	for n := range k.mr * k.nv {
		i, j := n/k.nv, n%k.nv
		m := px.at(i, j*k.bytes()/4)
		switch {
		case k.wide && signed:
			VPMOVSXBD_Z(m, k.k[j], r)
		case k.wide:
			VPMOVZXBD_Z(m, k.k[j], r)
		case signed:
			VPMOVSXBD(m, r)
		default:
			VPMOVZXBD(m, r)
		}
		VCVTDQ2PS(r, r)
		VSUBPS(zero, r, r)
		VMULPS(scale, r, r)
		VADDPS(r, k.acc[j][i], k.acc[j][i])
	}
}
