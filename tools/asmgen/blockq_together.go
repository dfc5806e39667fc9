package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqSum is a sum of products of a row in a half of the columns, of each part of K that has
// a scale of its own.
type bqSum [2]reg.VecVirtual

// together: few rows are multiplied by both halves of AVX2's columns at once, so that their
// numbers are spread once, and a single sum of each is enough. What limits a row is memory, or
// instructions where the weights are in a cache.
func (k *bqDirect) together() bool {
	switch {
	case k.wide || k.f.low < 4:
		return false
	case k.rows > 1: // there are registers for sums and what waits for them
		return k.f.low == 8 || k.nibbles() && k.f.headerBytes() == 0 || k.nibbles() && k.rows == 4
	}
	return true
}

// late: sums are shifted at the end, since there are no registers for a factor of each row.
func (k *bqDirect) late() bool { return k.f.signed() && k.rows == 4 }

// alwaysDirect: with AVX2 any number of rows takes these kernels.
func (f *bqFormat) alwaysDirect() bool { return f.low == 8 || f.nibbles() && f.kind() == bqPlain }

// constants takes registers for what is in memory otherwise: codes can be there then.
func (k *bqDirect) constants() {
	if k.f.headerBytes() != 0 && k.rows > 1 {
		return
	}
	k.ones = k.constant(0x00010001)
	if k.f.low < 8 {
		k.lowMask = k.constant(bytes4(15))
	}
}

// both adds the products of a group with both halves of the columns.
func (k *bqDirect) both() {
	k.shifting = make([]reg.VecVirtual, k.rows)
	sums := make([][2]bqSum, k.rows)
	for r := range k.rows {
		switch {
		case k.late():
			k.shifting[r] = k.ones
		case !k.nibbles():
			k.shifting[r] = k.factor(r)
		}
	}
	for v := 0; v < k.f.low; v += 2 {
		for place := range 8 / k.f.low {
			k.twoQuads(v, place, sums)
		}
	}
	for h := range 2 {
		dw, extra := k.scales(h)
		for r := range sums {
			if k.nibbles() {
				k.shifting[r] = k.factor(r)
			}
			k.addSum(h, r, sums[r][h], dw, extra)
		}
	}
}

// parts is how many sums a row has.
func (k *bqDirect) parts() int { return k.kind.perHalf(bqPair) }

// factor is for VPMADDWD, which shifts on the way.
func (k *bqDirect) factor(row int) reg.VecVirtual {
	x, ones := YMM(), k.ones
	VPBROADCASTD(k.of(k.m, 0, row), x)
	if ones == nil {
		ones = YMM()
		VMOVDQU(bitsConst(0x00010001), ones)
	}
	VPSLLVD(x, ones, x)
	return x
}

// zeros is what part i of K takes off where the code of 0 is another number.
func (k *bqDirect) zeros(i, row int) reg.VecVirtual {
	c := YMM()
	VPBROADCASTD(k.of(k.c, i, row), c)
	zero := uint64(bits.TrailingZeros(uint(k.f.zero)))
	if k.nibbles() { // in the odd words, which add up 16 products of codes less 8, and what 16 others have too much: less than 2^15
		VPSLLD(Imm(9+zero), c, c)
		return c
	}
	VPSRAD(Imm(7-zero), c, c)
	by := YMM()
	VPBROADCASTD(k.of(k.m, 0, row), by)
	VPSLLVD(by, c, c)
	return c
}

// twoQuads adds the products of two quads of codes, which lie in a place of bytes from vector v on.
func (k *bqDirect) twoQuads(v, place int, sums [][2]bqSum) {
	t := v + place*k.f.low
	part := t * k.parts() / 8
	products := make([][2][2]reg.VecVirtual, k.rows)
	for i := range 2 {
		codes, signs := k.codesOfBoth(v+i, place)
		for r := range products {
			if start := t == part*4 && i == 0; start && k.f.zero != 0 {
				c := k.zeros(part, r)
				sums[r][0][part], sums[r][1][part] = c, c
			}
			q := YMM()
			VPBROADCASTD(Mem{Base: k.q, Disp: 32*r + 4*(t+i)}, q)
			for h, c := range codes {
				p := YMM()
				if k.f.signed() {
					VPSIGNB(signs[h], q, p)
					VPMADDUBSW(p, c, p)
				} else {
					VPMADDUBSW(q, c, p)
				}
				products[r][h][i] = p
				k.sumUp(&sums[r][h][part], products[r][h][:i+1], k.shifting[r])
			}
		}
	}
}

// sumUp adds the last of one or two products of quads.
func (k *bqDirect) sumUp(sum *reg.VecVirtual, p []reg.VecVirtual, factor reg.VecVirtual) {
	x := p[len(p)-1]
	switch {
	case k.nibbles():
		bqInto(sum, x, VPADDW)
	case k.f.signed():
		VPMADDWD(factor, x, x)
		bqInto(sum, x, VPADDD)
	case len(p) == 2: // sums of two stay within 16 bits
		VPADDW(p[0], x, x)
		VPMADDWD(factor, x, x)
		bqInto(sum, x, VPADDD)
	}
}

// bqInto adds x to a sum, which others may begin with too.
func bqInto(sum *reg.VecVirtual, x reg.VecVirtual, add func(...Op)) {
	if *sum != nil {
		add(x, *sum, x)
	}
	*sum = x
}

// codesOfBoth gives what is multiplied of a quad, for each half of the columns: codes, or
// magnitudes and what has their signs.
func (k *bqDirect) codesOfBoth(v, place int) (codes [2]reg.VecVirtual, signs [2]Op) {
	for h := range codes {
		at, x := Mem{Base: k.w, Disp: k.f.scaleBytes() + 64*v + 32*h}, YMM()
		switch {
		case k.f.low == 8:
			VPABSB(at, x)
			signs[h] = at
		case k.nibbles() && place == 0:
			if mask, ok := k.lowMask.(reg.VecVirtual); ok {
				VPAND(at, mask, x)
			} else {
				VMOVDQU(at, x)
				VPAND(k.lowMask, x, x)
			}
		default:
			k.load(at, x)
			var high reg.VecVirtual
			if k.f.high > 0 {
				high = YMM()
				k.load(Mem{Base: k.w, Disp: k.f.scaleBytes() + 64*(k.f.low+v%k.f.high) + 32*h}, high)
			}
			x = k.code(x, high, v+place*k.f.low)
			if k.f.signed() {
				signs[h] = x
				x = YMM()
				VPABSB(signs[h], x)
			}
		}
		codes[h] = x
	}
	return codes, signs
}

// addSum adds to a row's results of half h of the columns.
func (k *bqDirect) addSum(h, row int, sum bqSum, dw reg.VecVirtual, extra []reg.VecVirtual) {
	x := sum[0]
	if k.nibbles() {
		VPMADDWD(k.shifting[row], x, x)
	}
	if k.late() {
		by := YMM()
		VPBROADCASTD(k.of(k.m, 0, row), by)
		VPSLLVD(by, x, x)
	}
	for _, x := range sum[:k.parts()] {
		VCVTDQ2PS(x, x)
	}
	if k.kind == bqPair {
		VMULPS(extra[0], x, x)
		VFMADD231PS(extra[1], sum[1], x)
	}
	if k.acc == nil {
		VFMADD213PS(k.result(h, row), dw, x)
	} else {
		VFMADD231PS(x, dw, k.acc[h][row])
		x = k.acc[h][row]
	}
	if k.kind == bqOffset {
		k.addScaled(k.of(k.s, 0, row), extra[0], x)
	}
	if k.acc == nil {
		k.store(x, k.result(h, row))
	}
}
