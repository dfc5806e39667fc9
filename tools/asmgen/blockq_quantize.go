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
	m      reg.GPVirtual    // shifts, 64 bytes a group; s and c are step and 2·step on
	half   reg.GPVirtual    // 128 bytes a group: s; c is 2·step on
	step   reg.GPVirtual
	groups reg.GPVirtual
}

// bqQuantizeTile writes the quantization of a tile.
func bqQuantizeTile(name string, pairs bool) {
	a := bqText(name)
	t := &bqRowTile{pairs: pairs, q: a.value(bqqQ), m: a.value(bqqShift), half: a.value(bqqSHalf), groups: a.value(bqqGroups), step: GP64()}
	t.x[0], t.ldx[1] = a.value(bqqX), a.value(bqqLDX)
	t.ldx[3] = GP64()
	LEAQ(Mem{Base: t.ldx[1], Index: t.ldx[1], Scale: 2}, t.ldx[3])
	for i := 1; i < 4; i++ {
		t.x[i] = GP64()
		LEAQ(Mem{Base: t.x[i-1], Index: t.ldx[1], Scale: 4}, t.x[i])
	}
	MOVQ(t.groups, t.step)
	SHLQ(Imm(6), t.step)
	inverses := AllocLocal(64)
	if pairs {
		t.bytes = AllocLocal(512)
	}
	inverse, good := t.scales(a)
	JMP(LabelRef("first"))
	Label("group")
	t.sums()
	Label("first")
	t.shifts(inverse, good, inverses)
	for r := range 16 {
		for h := range 2 {
			x := ZMM()
			VMOVUPS(t.row(r, h), x)
			VMULPS_BCST(inverses.Offset(4*r), x, x)
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
	ADDQ(Imm(64), t.m)
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

// raise raises the magnitudes of each row to those of a group.
func (t *bqRowTile) raise(rows []reg.VecVirtual) {
	mask := bqLevel{avx512}.constant(0x7fffffff)
	for r, most := range rows {
		for h := range 2 {
			x := ZMM()
			VPANDD(t.row(r, h), mask, x)
			VPMAXUD(x, most, most)
		}
	}
}

// zeros are magnitudes of nothing. They are loaded: what is xored with itself seems to be read.
func (t *bqRowTile) zeros() []reg.VecVirtual {
	rows := make([]reg.VecVirtual, 16)
	for r := range rows {
		rows[r] = bqLevel{avx512}.constant(0)
	}
	return rows
}

// largest has the bits of each row's largest magnitude.
func (t *bqRowTile) largest(rows []reg.VecVirtual) reg.VecVirtual {
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
	return bqLanePairs(bqLanePairs(x, join), join)[0]
}

// bqLanePairs joins half as many.
func bqLanePairs(x []reg.VecVirtual, join func(b, a, r Op)) []reg.VecVirtual {
	even := func(b, a, r Op) { VSHUFI32X4(Imm(0x88), b, a, r) }
	odd := func(b, a, r Op) { VSHUFI32X4(Imm(0xdd), b, a, r) }
	return bqPairs(x, join, even, odd)
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

// scales stores the rows' scales. It gives 127 over the largest of each, 0 where a row counts
// as zero or has something that is not finite, and a mask of the others.
func (t *bqRowTile) scales(a argStruct) (inverse reg.VecVirtual, good reg.OpmaskVirtual) {
	v := bqLevel{avx512}
	left, whole := GP64(), GP64()
	MOVQ(t.groups, left)
	MOVQ(t.groups, whole)
	SHLQ(Imm(7), whole)
	rows := t.zeros()
	Label("largest")
	t.raise(rows)
	for _, x := range t.x {
		ADDQ(U32(128), x)
	}
	DECQ(left)
	JNE(LabelRef("largest"))
	for _, x := range t.x {
		SUBQ(whole, x)
	}
	most := t.largest(rows)
	finite := K()
	good, inverse = K(), ZMM()
	VPCMPUD(Imm(1), v.constant(0x7f800000), most, finite)
	VPCMPUD(Imm(5), v.constant(bqTiny), most, good) // at least
	KANDW(finite, good, good)
	full, scale := v.constant(0x42fe0000), ZMM() // 127
	VDIVPS_Z(full, most, good, scale)
	VDIVPS_Z(most, full, good, inverse)
	VMULPS_BCST(bitsConst(bqScaleDown), scale, scale)
	KNOTW(finite, finite)
	VMOVDQA32(v.constant(0x7fc00000), finite, scale)
	VMOVUPS(scale, Mem{Base: a.value(bqqScale)})
	return inverse, good
}

// shifts stores those of a group, and what its numbers are multiplied by.
func (t *bqRowTile) shifts(inverse reg.VecVirtual, good reg.OpmaskVirtual, inverses Mem) {
	v := bqLevel{avx512}
	rows := t.zeros()
	t.raise(rows)
	finer, by := t.largest(rows), ZMM()
	VMULPS(inverse, finer, finer)
	v.finer(finer)
	VPSLLD(Imm(23), finer, by)
	VPADDD_Z(inverse, by, good, by)
	VMOVUPS(by, inverses)
	most := uint32(bqMostShift)
	if t.pairs {
		most += 127
	}
	shift := v.constant(most)
	VPSUBD(finer, shift, shift)
	if t.pairs { // as a power of two
		VPSLLD(Imm(23), shift, shift)
	}
	VMOVDQU32(shift, Mem{Base: t.m})
}

// sums stores what is made of the sums of the group before, whose bytes are in
// memory by now.
func (t *bqRowTile) sums() {
	v := bqLevel{avx512}
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
	shift := ZMM()
	VMOVDQU32(Mem{Base: t.m, Disp: -64}, shift)
	var halves [2]reg.VecVirtual
	for h := range halves {
		numbers := make([]uint32, 16)
		for r := range numbers {
			numbers[r] = uint32(r/8*16 + (r%2*2+h)*4 + r%8/2)
		}
		halves[h] = ZMM()
		VMOVDQU32(words([]string{"firstHalves", "secondHalves"}[h], numbers...), halves[h])
		VPERMI2D(x[1], x[0], halves[h])
		t.store(halves[h], shift, Mem{Base: t.half, Disp: 64*h - 128})
	}
	VPADDD(halves[1], halves[0], halves[0])
	t.store(halves[0], shift, Mem{Base: t.m, Index: t.step, Scale: 1, Disp: -64})
}

// store writes the sum, shifted, at m, and as an integer times -128 two
// steps on, or one for whole groups.
func (t *bqRowTile) store(sum, shift reg.VecVirtual, m Mem) {
	f, c, shifted := ZMM(), bqLevel{avx512}.constant(0), ZMM()
	if t.pairs {
		VCVTDQ2PS(sum, f)
		VMULPS(shift, f, f)
	} else {
		VPSLLVD(shift, sum, f)
		VCVTDQ2PS(f, f)
	}
	VMOVUPS(f, m)
	VPSLLD(Imm(7), sum, shifted)
	VPSUBD(shifted, c, c)
	m.Index, m.Scale = t.step, 2
	VMOVDQU32(c, m)
}

// bqRowsAtOnce is how many rows bqQuantizeRows does.
const bqRowsAtOnce = 4

// bqQuantizeRows writes the quantization of some rows of a tile to 8-bit integers, for AVX2
// and all above. A row alone writes a few bytes of each of the tile's cache lines, and
// reduces across registers what four rows reduce in lanes.
func bqQuantizeRows() {
	a := bqText("quantize256x4")
	t := &bqFourRows{a: a, x: a.value(bqqX), ldx: a.value(bqqLDX), q: a.value(bqqQ)}
	groups, rows := a.value(bqqGroups), a.value(bqqRows)
	t.ldx3, t.step = GP64(), GP64()
	qStep := GP64()
	LEAQ(Mem{Base: t.ldx, Index: t.ldx, Scale: 2}, t.ldx3)
	MOVQ(rows, t.step)
	SHLQ(Imm(2), t.step)
	MOVQ(rows, qStep)
	SHLQ(Imm(5), qStep)
	t.order, t.magnitude = YMM(), t.constant(0x7fffffff)
	VMOVDQU(words("quadOrder", 0, 4, 1, 5, 2, 6, 3, 7), t.order)
	t.ones, t.ones16 = t.constant(0x01010101), t.constant(0x00010001)
	t.inverses, t.goods = AllocLocal(4*bqRowsAtOnce), AllocLocal(4*bqRowsAtOnce)
	inverse := t.scales(t.largest())
	m, s, c, sHalf, cHalf := a.value(bqqShift), a.value(bqqS), a.value(bqqC), a.value(bqqSHalf), a.value(bqqCHalf)
	Label("group")
	shift := t.shift(m, inverse)
	halves := bqQuads256(t.bytes(), func(b, a, r Op) { VPADDD(b, a, r) }) // of rows, in the lanes
	total, second := XMM(), XMM()
	VEXTRACTI128(Imm(1), halves, second)
	VPADDD(second, halves.AsX(), total)
	t.store(total, shift, Mem{Base: s}, Mem{Base: c})
	t.store(halves.AsX(), shift, Mem{Base: sHalf}, Mem{Base: cHalf})
	t.store(second, shift, Mem{Base: sHalf, Index: t.step, Scale: 1}, Mem{Base: cHalf, Index: t.step, Scale: 1})
	bqNextGroup(groups, t.x, t.q, qStep, t.step, [...]reg.GPVirtual{m, s, c}, [...]reg.GPVirtual{sHalf, cHalf})
	VZEROUPPER()
	RET()
}

// bqFourRows is bqQuantizeRows at work.
type bqFourRows struct {
	bqLevel
	a                argStruct
	x, ldx, ldx3, q  reg.GPVirtual
	step             reg.GPVirtual // from group to group of what has 4 bytes for a row
	order, magnitude reg.VecVirtual
	ones, ones16     reg.VecVirtual
	inverses, goods  Mem // of each row: what it is multiplied by, and all bits where it is quantized
}

// row is a register's worth of row r of what is at x.
func (t *bqFourRows) row(x reg.GPVirtual, r, i int) Mem {
	return []Mem{{Base: x}, {Base: x, Index: t.ldx, Scale: 1}, {Base: x, Index: t.ldx, Scale: 2}, {Base: x, Index: t.ldx3, Scale: 1}}[r].Offset(32 * i)
}

// largest is the largest magnitude of each row; it leaves that of each block where the
// block's shift comes.
func (t *bqFourRows) largest() reg.VecVirtual {
	all := XMM()
	VPXOR(all, all, all)
	at, to, left := t.a.value(bqqX), t.a.value(bqqShift), t.a.value(bqqGroups)
	Label("largest")
	var most [bqRowsAtOnce]reg.VecVirtual
	for r := range most {
		most[r] = YMM()
		VPAND(t.row(at, r, 0), t.magnitude, most[r])
		for i := 1; i < 4; i++ {
			m := YMM()
			VPAND(t.row(at, r, i), t.magnitude, m)
			VPMAXUD(m, most[r], most[r])
		}
	}
	largest, hi := bqQuads256(most, func(b, a, r Op) { VPMAXUD(b, a, r) }), XMM()
	VEXTRACTI128(Imm(1), largest, hi)
	VPMAXUD(hi, largest.AsX(), largest.AsX())
	VMOVDQU(largest.AsX(), Mem{Base: to})
	VPMAXUD(largest.AsX(), all, all)
	ADDQ(U32(128), at)
	ADDQ(t.step, to)
	DECQ(left)
	JNE(LabelRef("largest"))
	return all
}

// scales writes the rows' scales and what to do with each row, and gives the inverses of
// the scales.
func (t *bqFourRows) scales(largest reg.VecVirtual) (inverse reg.VecVirtual) {
	full, finite, good, scale, nan := XMM(), XMM(), XMM(), XMM(), XMM()
	inverse = XMM()
	VBROADCASTSS(bitsConst(0x7f800000), finite)
	VPCMPGTD(largest, finite, finite)
	VBROADCASTSS(bitsConst(bqTiny), good)
	VPCMPGTD(largest, good, good) // below it
	VPANDN(finite, good, good)
	VMOVDQU(good, t.goods)
	VBROADCASTSS(bitsConst(0x42fe0000), full) // 127
	VDIVPS(full, largest, scale)
	VDIVPS(largest, full, inverse)
	VPAND(good, inverse, inverse)
	VPAND(good, scale, scale)
	VMULPS(bitsConst(bqScaleDown), scale, scale)
	VPANDN(bitsConst(0x7fc00000), finite, nan)
	VPOR(nan, scale, scale)
	VMOVUPS(scale, Mem{Base: t.a.value(bqqScale)})
	return inverse
}

// shift gives the bits by which a group's sums are shifted, from the largest of each row at
// m, where it goes, and writes what the rows are multiplied by.
func (t *bqFourRows) shift(m reg.GPVirtual, inverse reg.VecVirtual) reg.VecVirtual {
	finer, shift := YMM(), XMM()
	VMULPS(Mem{Base: m}, inverse, finer.AsX())
	t.finer(finer)
	VMOVDQU(bitsConst(bqMostShift), shift)
	VPSUBD(finer.AsX(), shift, shift)
	VMOVDQU(shift, Mem{Base: m})
	VPSLLD(Imm(23), finer.AsX(), finer.AsX())
	VPADDD(inverse, finer.AsX(), finer.AsX())
	VMOVUPS(finer.AsX(), t.inverses)
	return shift
}

// bytes writes a group's integers of each row, and gives the sums of every four of them.
func (t *bqFourRows) bytes() (sums [bqRowsAtOnce]reg.VecVirtual) {
	for r := range sums {
		var e [4]reg.VecVirtual
		by := YMM()
		VBROADCASTSS(t.inverses.Offset(4*r), by)
		for i := range e {
			e[i] = YMM()
			VMULPS(t.row(t.x, r, i), by, e[i])
			VCVTPS2DQ(e[i], e[i])
		}
		VPACKSSDW(e[1], e[0], e[0])
		VPACKSSDW(e[3], e[2], e[2])
		VPACKSSWB(e[2], e[0], e[0])
		VPERMD(e[0], t.order, e[0])
		VPBROADCASTD(t.goods.Offset(4*r), by)
		VPAND(by, e[0], e[0])
		VMOVDQU(e[0], Mem{Base: t.q, Disp: 32 * r})
		sums[r] = YMM()
		VPMADDUBSW(e[0], t.ones, sums[r])
		VPMADDWD(t.ones16, sums[r], sums[r])
	}
	return sums
}

// store writes the rows' sums, shifted, at s, and as integers times -128 at c.
func (t *bqFourRows) store(sum Op, shift reg.VecVirtual, s, c Mem) {
	f, shifted := XMM(), XMM()
	VPSLLVD(shift, sum, f)
	VCVTDQ2PS(f, f)
	VMOVUPS(f, s)
	VPSLLD(Imm(7), sum, shifted)
	VPXOR(f, f, f)
	VPSUBD(shifted, f, f)
	VMOVDQU(f, c)
}

// bqQuads256 joins the four words in each 128 bits of four registers, into one that has a
// word of each in turn.
func bqQuads256(x [4]reg.VecVirtual, join func(b, a, r Op)) reg.VecVirtual {
	for i := 0; i < 4; i += 2 {
		low := YMM()
		VPUNPCKLDQ(x[i+1], x[i], low)
		VPUNPCKHDQ(x[i+1], x[i], x[i])
		join(low, x[i], x[i])
	}
	low := YMM()
	VPUNPCKLQDQ(x[2], x[0], low)
	VPUNPCKHQDQ(x[2], x[0], x[0])
	join(low, x[0], x[0])
	return x[0]
}
