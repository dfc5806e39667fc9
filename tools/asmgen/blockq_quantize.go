package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqPairOrder shuffles four elements to 0, 2, 1, 3.
const bqPairOrder = 0xd8

// bqRowTile quantizes a tile of 16 rows: what a single row reduces across a register,
// 16 rows reduce in a tree that leaves a number of each row in a lane. Numbers are bytes,
// or bfloat16 in the order in which tiles pair them: 0, 2, 1, 3 of each four.
type bqRowTile struct {
	pairs  bool             // of bfloat16
	x      [4]reg.GPVirtual // rows 0, 4, 8 and 12
	ldx    [4]reg.GPVirtual // times 1, 2 and 3; the first is none
	q      reg.GPVirtual    // 512 bytes a group, or 1024
	bytes  Mem              // of one group, of pairs
	d      reg.GPVirtual    // 64 bytes a group; s and c are step and 2·step on
	half   reg.GPVirtual    // 128 bytes a group: s; c is 2·step on
	step   reg.GPVirtual
	groups reg.GPVirtual
}

// bqQuantizeTile writes the quantization of a tile.
func bqQuantizeTile(name string, pairs bool) {
	a := bqText(name)
	t := &bqRowTile{pairs: pairs, q: a.load(bqqQ), d: a.load(bqqD), half: a.load(bqqSHalf), groups: a.load(bqqGroups), step: GP64()}
	t.x[0], t.ldx[1] = a.load(bqqX), a.load(bqqLDX)
	t.ldx[3] = GP64()
	LEAQ(Mem{Base: t.ldx[1], Index: t.ldx[1], Scale: 2}, t.ldx[3])
	for i := 1; i < 4; i++ {
		t.x[i] = GP64()
		LEAQ(Mem{Base: t.x[i-1], Index: t.ldx[1], Scale: 4}, t.x[i])
	}
	MOVQ(t.groups, t.step)
	SHLQ(Imm(6), t.step)
	inverse := AllocLocal(64)
	if pairs {
		t.bytes = AllocLocal(512)
	}
	JMP(LabelRef("first"))
	Label("group")
	t.sums()
	Label("first")
	t.scales(t.largest(), inverse)
	for r := range 16 {
		for h := range 2 {
			x := ZMM()
			VMOVUPS(t.row(r, h), x)
			VMULPS_BCST(inverse.Offset(4*r), x, x)
			VCVTPS2DQ(x, x)
			if !pairs {
				VPMOVDB(x, Mem{Base: t.q, Disp: 32*r + 16*h}) // which makes 0 of what is no number
				continue
			}
			VPSHUFD(Imm(bqPairOrder), x, x)
			VPMOVDB(x, t.bytes.Offset(32*r+16*h))
			VCVTDQ2PS(x, x)
			VPSRLD(Imm(16), x, x)
			VPMOVDW(x, Mem{Base: t.q, Disp: 64*r + 32*h})
		}
	}
	for _, x := range t.x {
		ADDQ(U32(128), x)
	}
	ADDQ(U32(uint32(t.groupBytes())), t.q)
	ADDQ(Imm(64), t.d)
	ADDQ(U32(128), t.half)
	DECQ(t.groups)
	JNE(LabelRef("group"))
	t.sums()
	VZEROUPPER()
	RET()
}

func (t *bqRowTile) groupBytes() int {
	if t.pairs {
		return 1024
	}
	return 512
}

// row is half h of a row's group.
func (t *bqRowTile) row(r, h int) Mem {
	m := Mem{Base: t.x[r/4], Disp: 64 * h}
	switch r % 4 {
	case 1, 2:
		m.Index, m.Scale = t.ldx[1], uint8(r%4)
	case 3:
		m.Index, m.Scale = t.ldx[3], 1
	}
	return m
}

// largest has the bits of each row's largest magnitude.
func (t *bqRowTile) largest() reg.VecVirtual {
	v := bqLevel{wide: true}
	mask := v.constant(0x7fffffff)
	rows := make([]reg.VecVirtual, 16)
	for r := range rows {
		low := ZMM()
		rows[r] = ZMM()
		VPANDD(t.row(r, 0), mask, low)
		VPANDD(t.row(r, 1), mask, rows[r])
		VPMAXUD(low, rows[r], rows[r])
	}
	largest := func(b, a, r Op) { VPMAXUD(b, a, r) }
	return bqLanes(bqQuads(rows, largest), largest)
}

// bqQuads joins the four words in each 128 bits of each register: registers 4·i to
// 4·i+3 become one with a word of each in turn.
func bqQuads(x []reg.VecVirtual, join func(b, a, r Op)) []reg.VecVirtual {
	x = bqPairs(x, join, func(b, a, r Op) { VPUNPCKLDQ(b, a, r) }, func(b, a, r Op) { VPUNPCKHDQ(b, a, r) })
	return bqPairs(x, join, func(b, a, r Op) { VPUNPCKLQDQ(b, a, r) }, func(b, a, r Op) { VPUNPCKHQDQ(b, a, r) })
}

// bqLanes joins the four 128 bits of each of four registers: into one with those
// of each in turn.
func bqLanes(x []reg.VecVirtual, join func(b, a, r Op)) reg.VecVirtual {
	even := func(b, a, r Op) { VSHUFI32X4(Imm(0x88), b, a, r) }
	odd := func(b, a, r Op) { VSHUFI32X4(Imm(0xdd), b, a, r) }
	return bqPairs(bqPairs(x, join, even, odd), join, even, odd)[0]
}

func bqPairs(x []reg.VecVirtual, join, low, high func(b, a, r Op)) (out []reg.VecVirtual) {
	for i := 0; i < len(x); i += 2 {
		l := ZMM()
		low(x[i+1], x[i], l)
		high(x[i+1], x[i], x[i])
		join(l, x[i], x[i])
		out = append(out, x[i])
	}
	return out
}

// scales stores d, and 127 over the largest: 0 where the block counts as zero or
// has something that is not finite.
func (t *bqRowTile) scales(most reg.VecVirtual, inverse Mem) {
	v := bqLevel{wide: true}
	finite, good := K(), K()
	VPCMPUD(Imm(1), v.constant(0x7f800000), most, finite)
	VPCMPUD(Imm(5), v.constant(0x03800000), most, good) // at least 2^-120
	KANDW(finite, good, good)
	full, d, i := v.constant(0x42fe0000), ZMM(), ZMM() // 127
	VDIVPS_Z(full, most, good, d)
	VDIVPS_Z(most, full, good, i)
	KNOTW(finite, finite)
	VMOVDQA32(v.constant(0x7fc00000), finite, d)
	VMOVUPS(d, Mem{Base: t.d})
	VMOVUPS(i, inverse)
}

// sums stores what is made of the sums of the group before, whose bytes are in
// memory by now.
func (t *bqRowTile) sums() {
	v := bqLevel{wide: true}
	ones := v.constant(0x01010101)
	x := make([]reg.VecVirtual, 8) // of two rows, each in two halves
	for i := range x {
		x[i] = v.constant(0)
		bytes := Mem{Base: t.q, Disp: 64*i - t.groupBytes()}
		if t.pairs {
			bytes = t.bytes.Offset(64 * i)
		}
		VPDPBUSD(bytes, ones, x[i])
	}
	x = bqQuads(x, func(b, a, r Op) { VPADDD(b, a, r) })
	d := ZMM()
	VMOVUPS(Mem{Base: t.d, Disp: -64}, d)
	var halves [2]reg.VecVirtual
	for h := range halves {
		words := make([]uint32, 16)
		for r := range words {
			words[r] = uint32(r/8*16 + (r%2*2+h)*4 + r%8/2)
		}
		halves[h] = ZMM()
		VMOVDQU32((&gemmKernel{}).constant([]string{"firstHalves", "secondHalves"}[h], words), halves[h])
		VPERMI2D(x[1], x[0], halves[h])
		t.store(halves[h], d, Mem{Base: t.half, Disp: 64*h - 128})
	}
	VPADDD(halves[1], halves[0], halves[0])
	t.store(halves[0], d, Mem{Base: t.d, Index: t.step, Scale: 1, Disp: -64})
}

// store writes the sum times the scale at m, and as an integer times -128 two
// steps on, or one for whole groups.
func (t *bqRowTile) store(sum, d reg.VecVirtual, m Mem) {
	f, c, shifted := ZMM(), bqLevel{wide: true}.constant(0), ZMM()
	VCVTDQ2PS(sum, f)
	VMULPS(d, f, f)
	VMOVUPS(f, m)
	VPSLLD(Imm(7), sum, shifted)
	VPSUBD(shifted, c, c)
	m.Index, m.Scale = t.step, 2
	VMOVDQU32(c, m)
}
