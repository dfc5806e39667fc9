package main

import (
	"fmt"
	"math"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqUnpack makes of packed groups what tiles multiply. For those of bytes these are 8 rows
// of quads for each column. For the others it is 16 rows of pairs of bfloat16: row 2·t has
// elements 0 and 2 of quad t, row 2·t + 1 elements 1 and 3, those that are in the same
// bytes of words.
//
// There, products of codes and scales that are small stand in the low bits of a word, where
// VPERMW looks them up. Products w of codes and scales that have more bits
// are 128·h + l with l of 7 bits, in two rows that are added: of -128·(h-1) and of
// -(128 + l), whose bfloat16 has l as its lowest bits; together they are -w, of which
// zeros - products is the start.
type bqUnpack struct {
	*bqReader
	table reg.VecVirtual    // of values
	more  Mem               // those that are beyond a register
	low7  reg.VecVirtual    // a mask
	zeros reg.VecVirtual    // the code that stands for 0 in each byte
	signs [2]reg.VecVirtual // matrices that make of either 4 bits, of which 8 stands for 0, a byte
}

// bqUnpackOf is for packed weights at bqpW.
func bqUnpackOf(f *bqFormat) *bqUnpack {
	v := bqLevel{avx512}
	return &bqUnpack{bqReader: &bqReader{bqLevel: v, f: f, w: bqpW, columns: []int{0}}}
}

// double: a group has two tiles of values.
func (f *bqFormat) double() bool { return f.scales == bqSuperPair }

// begin loads constants, and the first header.
func (u *bqUnpack) begin(bytes bool) {
	switch f := u.f; {
	case bytes:
		u.loadBytes()
	case f.scales == bqSuperPair:
		u.low7 = u.constant(0x007f007f)
		u.table = u.lookup("minusHigh", 64, func(i int) int { return -128 * (int(int8(i<<2))/4 - 1) })
	default:
		u.table = u.lookup("integers", 64, func(i int) int { return i })
	}
	u.header()
}

// value is what a code stands for. Codes of 4 bits may have any bit above.
func (f *bqFormat) value(code int) int {
	code &= 1<<(f.low+f.high) - 1
	if f.table != "" {
		return int(bqTables[f.table][code])
	}
	return code - f.zero
}

// lookup loads a table of n values as bfloat16; those beyond 32 are read from
// memory.
func (u *bqUnpack) lookup(name string, n int, value func(int) int) reg.VecVirtual {
	numbers := make([]uint32, n/2)
	for i := range n {
		x := math.Float32bits(float32(value(i)))
		if x&0xffff != 0 {
			panic(fmt.Sprintf("blockq: %d is no bfloat16", value(i)))
		}
		numbers[i/2] |= x >> 16 << (i % 2 * 16)
	}
	m := words(name, numbers...)
	u.more = m.Offset(64)
	t := ZMM()
	VMOVDQU16(m, t)
	return t
}

// group unpacks a group to bqpSlot, and moves on to the next.
func (u *bqUnpack) group(k *bqAMX) {
	dw, extra := u.scales(0)
	if u.f.scales == bqSuperPair {
		extra = nil // values contain them
	}
	for i, x := range append([]reg.VecVirtual{dw}, extra...) {
		VMOVUPS(x, Mem{Base: bqpSlot, Disp: k.valueBytes() + 64*i})
	}
	if k.bytes() {
		u.bytes()
	} else {
		u.pairs()
	}
	u.next()
}

// pairs stores the rows of products of codes and scales.
func (u *bqUnpack) pairs() {
	places := 8 / u.f.low
	var scales, zeros reg.VecVirtual
	for s := range places {
		if s%(places/2) == 0 {
			scales, zeros = u.words(s / (places / 2))
		}
		for v := range u.f.low {
			even, odd := u.code(v, s), ZMM()
			VPALIGNR(Imm(1), even, even, odd)
			for i, x := range []reg.VecVirtual{even, odd} {
				u.row(2*(v+s*u.f.low)+i, x, scales, zeros)
			}
		}
	}
}

// words are the scales of a half as words, and what codes that stand for 0 give.
func (u *bqUnpack) words(half int) (scales, zeros reg.VecVirtual) {
	x, high := ZMM(), ZMM()
	if u.f.scales == bqSuperQ2 {
		VPMOVZXBD(u.at(16*half, 1, 0), x)
		VPANDD_BCST(bitsConst(15), x, x)
	} else {
		VPMOVSXBD(u.at(16*half, 1, 0), x)
		VPANDD_BCST(bitsConst(0xffff), x, x)
	}
	VPSLLD(Imm(16), x, high)
	VPORD(high, x, x)
	if u.f.zero > 0 {
		zeros = ZMM()
		VPSLLW(Imm(uint64(bits.TrailingZeros(uint(u.f.zero)))), x, zeros)
	}
	return x, zeros
}

// code has, in place s of the bytes of vector v of the low plane, the codes of quad
// v + s·low in the low bits of bytes, and others above them.
func (u *bqUnpack) code(v, s int) reg.VecVirtual {
	f := u.f
	x := ZMM()
	VMOVDQU32(u.plane(v), x)
	if s > 0 {
		VPSRLW(Imm(uint64(s*f.low)), x, x)
	}
	if f.high == 0 {
		return x
	}
	t := v + s*f.low
	y, at := ZMM(), t
	if f.high == 2 {
		at = t / 2 * 2
	}
	VMOVDQU32(u.plane(f.low+t%f.high), y)
	if n := f.low - at; n > 0 {
		VPSLLW(Imm(uint64(n)), y, y)
	} else if n < 0 {
		VPSRLW(Imm(uint64(-n)), y, y)
	}
	high := bytes4((1<<f.high - 1) << f.low)
	VPTERNLOGD_BCST(Imm(0xd8), bitsConst(high), y, x) // y where the mask has ones
	return x
}

func (u *bqUnpack) plane(i int) Mem { return Mem{Base: u.w, Disp: u.f.scaleBytes() + 64*i} }

// row stores row i of a tile, or of two, whose codes are in the low bytes of words.
func (u *bqUnpack) row(i int, x, scales, zeros reg.VecVirtual) {
	to := Mem{Base: bqpSlot, Disp: 64 * i}
	store := func(x reg.VecVirtual, tile int) { VMOVDQU32(x, to.Offset(1024*tile)) }
	const andOr = 0xea // of the destination with the second, with the first
	codes := uint32(1<<(u.f.low+u.f.high)-1) * 0x00010001
	VPANDD_BCST(bitsConst(codes), x, x)
	VPMULLW(scales, x, x)
	if u.f.scales == bqSuperQ2 {
		VPERMI2W(u.more, u.table, x)
		store(x, 0)
		return
	}
	VPSUBW(x, zeros, x) // -w
	h := ZMM()
	VPSRLW(Imm(7), x, h)
	VPERMI2W(u.more, u.table, h)
	VPTERNLOGD_BCST(Imm(andOr), bitsConst(0xc300c300), u.low7, x) // -(128 + l)
	store(x, 0)
	store(h, 1)
}

// centered: 4 bits, of which 8 stands for 0.
func (u *bqUnpack) centered() bool { return u.f.low == 4 && u.f.high == 0 && u.f.zero == 8 }

// loadBytes loads constants for bytes.
func (u *bqUnpack) loadBytes() {
	if u.centered() {
		for i, shift := range []int{0, 4} {
			matrix := make([]uint32, 2) // byte 7-b has the bit that bit b is made of
			for b := range 8 {
				matrix[(7-b)/4] |= 1 << (min(b, 3) + shift) << ((7 - b) % 4 * 8)
			}
			u.signs[i] = ZMM()
			VPBROADCASTQ(words([]string{"lowSigns", "highSigns"}[i], matrix...), u.signs[i])
		}
		return
	}
	u.masks()
	if u.f.zero != 0 {
		u.zeros = u.constant(bytes4(u.f.zero))
	}
}

// bytes stores the rows of quads.
func (u *bqUnpack) bytes() {
	store := func(t int, x reg.VecVirtual) { VMOVDQU32(x, Mem{Base: bqpSlot, Disp: 64 * t}) }
	if u.centered() {
		const flip = 0xf8 // of the sign's bits, which are copies of bit 3
		for v := range 4 {
			low, high := ZMM(), ZMM()
			VMOVDQU32(u.plane(v), low)
			VGF2P8AFFINEQB(Imm(flip), u.signs[1], low, high)
			VGF2P8AFFINEQB(Imm(flip), u.signs[0], low, low)
			store(v, low)
			store(v+4, high)
		}
		return
	}
	u.codes(0, func(t int, x, y reg.VecVirtual) {
		for i, c := range []reg.VecVirtual{x, y} {
			if u.f.zero != 0 {
				VPSUBB(u.zeros, c, c)
			}
			store(t+i, c)
		}
	})
}
