package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// alone: a single row is multiplied by both halves of AVX2's columns together, so that its
// numbers are spread once, and a single sum of each half is enough. What limits that is memory,
// or instructions where the weights are in a cache.
func (k *bqDirect) alone() bool {
	return !k.wide && k.rows == 1 && k.f.low >= 4
}

// constants takes registers for what is in memory otherwise: codes can be there then.
func (k *bqDirect) constants() {
	k.ones = k.constant(0x00010001)
	if k.f.low < 8 {
		k.lowMask = k.constant(bytes4(15))
	}
}

// both adds the products of a group with both halves of the columns.
func (k *bqDirect) both() {
	shift, factor := YMM(), YMM() // the latter for VPMADDWD, which shifts on the way
	VPBROADCASTD(k.of(k.m, 0, 0), shift)
	VPSLLVD(shift, k.ones, factor)
	parts := k.kind.perHalf(bqPair)
	var sums [2][2]reg.VecVirtual // of each half of the columns, of each part of K
	for i := range parts {
		if k.f.zero != 0 {
			c := k.zeros(i, shift)
			sums[0][i], sums[1][i] = c, c
		}
	}
	for v := 0; v < k.f.low; v += 2 {
		for place := range 8 / k.f.low {
			t := v + place*k.f.low
			q := [2]reg.VecVirtual{YMM(), YMM()}
			for i := range q {
				VPBROADCASTD(Mem{Base: k.q, Disp: 4 * (t + i)}, q[i])
			}
			for h := range sums {
				k.twoQuads(h, v, place, q, factor, &sums[h][t*parts/8])
			}
		}
	}
	for h := range sums {
		k.addAlone(h, factor, sums[h][:parts])
	}
}

// zeros is what part i of K takes off where the code of 0 is another number.
func (k *bqDirect) zeros(i int, shift reg.VecVirtual) reg.VecVirtual {
	c := YMM()
	VPBROADCASTD(k.of(k.c, i, 0), c)
	zero := uint64(bits.TrailingZeros(uint(k.f.zero)))
	if k.nibbles() { // in the odd words
		VPSLLD(Imm(9+zero), c, c)
		return c
	}
	VPSRAD(Imm(7-zero), c, c)
	VPSLLVD(shift, c, c)
	return c
}

// twoQuads adds the products of two quads of codes, which lie in a place of bytes from vector v on.
func (k *bqDirect) twoQuads(h, v, place int, q [2]reg.VecVirtual, factor reg.VecVirtual, sum *reg.VecVirtual) {
	add := func(x reg.VecVirtual, how func(...Op)) {
		if *sum == nil {
			*sum = x
			return
		}
		next := YMM() // the halves of the columns may begin with the same
		how(x, *sum, next)
		*sum = next
	}
	words := func(ops ...Op) { VPADDW(ops[0], ops[1], ops[2]) }
	doubles := func(ops ...Op) { VPADDD(ops[0], ops[1], ops[2]) }
	var p [2]reg.VecVirtual
	for i := range p {
		p[i] = YMM()
		k.quadProducts(h, v+i, place, q[i], p[i])
		switch {
		case k.f.signed():
			VPMADDWD(factor, p[i], p[i])
			add(p[i], doubles)
		case k.nibbles():
			add(p[i], words)
		}
	}
	if k.f.signed() || k.nibbles() {
		return
	}
	VPADDW(p[1], p[0], p[0]) // sums of two stay within 16 bits
	VPMADDWD(factor, p[0], p[0])
	add(p[0], doubles)
}

// quadProducts makes p the sums of pairs of products of a quad.
func (k *bqDirect) quadProducts(h, v, place int, q, p reg.VecVirtual) {
	at, x := Mem{Base: k.w, Disp: k.f.scaleBytes() + 64*v + 32*h}, YMM()
	switch {
	case k.f.low == 8:
		VPSIGNB(at, q, p)
		VPABSB(at, x)
		VPMADDUBSW(p, x, p)
		return
	case k.nibbles() && place == 0:
		VPAND(at, k.lowMask.(reg.VecVirtual), x)
	default:
		k.load(at, x)
		var high reg.VecVirtual
		if k.f.high > 0 {
			high = YMM()
			k.load(Mem{Base: k.w, Disp: k.f.scaleBytes() + 64*(k.f.low+v%k.f.high) + 32*h}, high)
		}
		x = k.code(x, high, v+place*k.f.low)
	}
	if !k.f.signed() {
		VPMADDUBSW(q, x, p)
		return
	}
	VPSIGNB(x, q, p)
	VPABSB(x, x)
	VPMADDUBSW(p, x, p)
}

// addAlone adds to the results of half h of the columns.
func (k *bqDirect) addAlone(h int, factor reg.VecVirtual, sums []reg.VecVirtual) {
	if k.nibbles() {
		VPMADDWD(factor, sums[0], sums[0])
	}
	for _, x := range sums {
		VCVTDQ2PS(x, x)
	}
	acc := k.acc[h][0]
	dw, extra := k.scales(h)
	if k.kind == bqPair {
		VMULPS(extra[0], sums[0], sums[0])
		VFMADD231PS(extra[1], sums[1], sums[0])
	}
	VFMADD231PS(sums[0], dw, acc)
	if k.kind == bqOffset {
		k.addScaled(k.of(k.s, 0, 0), extra[0], acc)
	}
}
