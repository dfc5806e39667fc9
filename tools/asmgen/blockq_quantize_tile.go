package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqBlocks is how many blocks of 32 numbers bqWholeTile quantizes at once: what is reduced
// across registers leaves one number of each in a lane.
const bqBlocks = 8

// bqWholeTile quantizes the rows of a tile of 1, 4 or 8 rows to 8-bit integers, for AVX-512.
// Eight blocks are done at once, as the tile has them in memory: of fewer rows more groups,
// whose number is a multiple of so many. So all that is stored is next to each other.
type bqWholeTile struct {
	bqLevel
	n       int              // rows
	x       [2]reg.GPVirtual // rows 0 and 4
	ldx     [4]reg.GPVirtual // times 1, 2 and 3; the first is none
	left    reg.GPVirtual    // of times that eight blocks are done
	whole   reg.GPVirtual    // bytes of a row
	inverse reg.VecVirtual   // of each block's row
	good    reg.OpmaskVirtual
	goods   [bqBlocks / 2]reg.OpmaskVirtual // of the numbers of two blocks
}

func bqQuantizeWhole(n int) {
	t := &bqWholeTile{bqLevel: bqLevel{avx512}, n: n}
	a := bqText(fmt.Sprintf("quantize512Tile%d", n))
	t.load(a)
	t.scales(a)
	q, m, s, c, sHalf, cHalf := a.value(bqqQ), a.value(bqqShift), a.value(bqqS), a.value(bqqC), a.value(bqqSHalf), a.value(bqqCHalf)
	inverses := AllocLocal(4 * bqBlocks)
	order := t.words("tileOrder", func(i int) int { return i%4*4 + i/8*2 + i/4%2 })
	plain, slots := t.halves(8), t.slots()
	halves := plain
	if n != 8 {
		halves = t.halves(n)
	}
	Label("group")
	finer, by, shift := ZMM(), ZMM(), t.constant(bqMostShift)
	VMULPS(Mem{Base: m}, t.inverse.AsY(), finer.AsY())
	t.finer(finer)
	VPSLLD(Imm(23), finer, by)
	VPADDD(t.inverse, by, by)
	VMOVUPS(by.AsY(), inverses)
	VPSUBD(finer, shift, shift)
	VMOVDQU32(shift.AsY(), Mem{Base: m})
	sums := make([]reg.VecVirtual, bqBlocks/2)
	ones := t.constant(0x01010101)
	for i := range sums { // two blocks
		var y [4]reg.VecVirtual
		for j := range 2 {
			by := ZMM()
			VPBROADCASTD(inverses.Offset(4*(2*i+j)), by)
			for h := range 2 {
				x := ZMM()
				VMULPS(t.block(2*i+j, h), by, x)
				VCVTPS2DQ(x, x)
				y[2*j+h] = x
			}
		}
		VPACKSSDW(y[1], y[0], y[0])
		VPACKSSDW(y[3], y[2], y[2])
		VPACKSSWB(y[2], y[0], y[0])
		VPERMD_Z(y[0], order, t.goods[i], y[0])
		VMOVDQU32(y[0], Mem{Base: q, Disp: 64 * i})
		sums[i] = t.constant(0)
		VPDPBUSD(y[0], ones, sums[i])
	}
	sum := bqQuads(sums, func(b, a, r Op) { VPADDD(b, a, r) })[0]
	ofHalves, total, high, shifts := ZMM(), ZMM(), YMM(), ZMM()
	VPERMD(sum, plain, total)
	if n == 8 {
		VMOVDQA32(total, ofHalves)
	} else {
		VPERMD(sum, halves, ofHalves)
	}
	VEXTRACTI64X4(Imm(1), total, high)
	VPADDD(high, total.AsY(), total.AsY())
	VPERMD(shift, slots, shifts)
	t.store(ofHalves, shifts, false, Mem{Base: sHalf}, Mem{Base: cHalf})
	t.store(total, shift, true, Mem{Base: s}, Mem{Base: c})
	t.next()
	ADDQ(U32(32*bqBlocks), q)
	for _, p := range []reg.GPVirtual{m, s, c} {
		ADDQ(Imm(4*bqBlocks), p)
	}
	for _, p := range []reg.GPVirtual{sHalf, cHalf} {
		ADDQ(Imm(8*bqBlocks), p)
	}
	DECQ(t.left)
	JNE(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// load loads what says where the rows are.
func (t *bqWholeTile) load(a argStruct) {
	t.x[0], t.whole, t.left = a.value(bqqX), a.value(bqqGroups), GP64()
	SHLQ(Imm(7), t.whole)
	if t.n > 1 {
		t.ldx[1], t.ldx[3] = a.value(bqqLDX), GP64()
		LEAQ(Mem{Base: t.ldx[1], Index: t.ldx[1], Scale: 2}, t.ldx[3])
	}
	if t.n == 8 {
		t.x[1] = GP64()
		LEAQ(Mem{Base: t.x[0], Index: t.ldx[1], Scale: 4}, t.x[1])
	}
}

// count makes left how many times eight blocks are done.
func (t *bqWholeTile) count() {
	MOVQ(t.whole, t.left)
	SHRQ(Imm(map[int]uint64{1: 10, 4: 8, 8: 7}[t.n]), t.left)
}

// block is half h of a block.
func (t *bqWholeTile) block(slot, h int) Mem {
	row := slot % t.n
	m := Mem{Base: t.x[row/4], Disp: slot/t.n*128 + 64*h}
	switch row % 4 {
	case 1, 2:
		m.Index, m.Scale = t.ldx[1], uint8(row%4)
	case 3:
		m.Index, m.Scale = t.ldx[3], 1
	}
	return m
}

// next goes on to the next eight blocks.
func (t *bqWholeTile) next() {
	for i := range max(1, t.n/4) {
		ADDQ(U32(uint32(128*bqBlocks/t.n)), t.x[i])
	}
}

// largest has the largest of each register, as unsigned integers, and once more.
func (t *bqWholeTile) largest(x []reg.VecVirtual) reg.VecVirtual {
	largest := func(b, a, r Op) { VPMAXUD(b, a, r) }
	y := bqLanePairs(bqQuads(x, largest), largest)[0]
	return bqLanePairs([]reg.VecVirtual{y, y}, largest)[0]
}

// scales stores the rows' scales, and the largest of each block where its shift comes. It
// makes what is common to all of a row.
func (t *bqWholeTile) scales(a argStruct) {
	most, mask, m := t.constant(0), t.constant(0x7fffffff), a.value(bqqShift)
	t.count()
	Label("largest")
	all := make([]reg.VecVirtual, bqBlocks)
	for j := range all {
		all[j] = ZMM()
		x := ZMM()
		VPANDD(t.block(j, 0), mask, all[j])
		VPANDD(t.block(j, 1), mask, x)
		VPMAXUD(x, all[j], all[j])
	}
	largest := t.largest(all)
	VMOVDQU32(largest.AsY(), Mem{Base: m})
	VPMAXUD(largest, most, most)
	t.next()
	ADDQ(Imm(4*bqBlocks), m)
	DECQ(t.left)
	JNE(LabelRef("largest"))
	t.count()
	for i := range max(1, t.n/4) {
		SUBQ(t.whole, t.x[i])
	}
	if t.n < 8 { // a row has several lanes
		y := ZMM()
		VSHUFI32X4(Imm(0xb1), most, most, y)
		VPMAXUD(y, most, most)
	}
	if t.n == 1 {
		for _, shuffle := range []uint64{0x4e, 0xb1} {
			y := ZMM()
			VPSHUFD(Imm(shuffle), most, y)
			VPMAXUD(y, most, most)
		}
	}
	finite := K()
	t.good, t.inverse = K(), ZMM()
	VPCMPUD(Imm(1), t.constant(0x7f800000), most, finite)
	VPCMPUD(Imm(5), t.constant(bqTiny), most, t.good) // at least
	KANDW(finite, t.good, t.good)
	full, scale := t.constant(0x42fe0000), ZMM() // 127
	VDIVPS_Z(full, most, t.good, scale)
	VDIVPS_Z(most, full, t.good, t.inverse)
	VMULPS_BCST(bitsConst(bqScaleDown), scale, scale)
	KNOTW(finite, finite)
	VMOVDQA32(t.constant(0x7fc00000), finite, scale)
	switch to := (Mem{Base: a.value(bqqScale)}); t.n {
	case 1:
		VMOVSS(scale.AsX(), to)
	case 4:
		VMOVUPS(scale.AsX(), to)
	default:
		VMOVUPS(scale.AsY(), to)
	}
	goods, slot, two := ZMM(), t.words("tilePair", func(i int) int { return i / 8 }), t.constant(2)
	VPMOVM2D(t.good, goods)
	for i := range t.goods {
		t.goods[i] = K()
		pair := ZMM()
		VPERMD(goods, slot, pair)
		VPMOVD2M(pair, t.goods[i])
		VPADDD(two, slot, slot)
	}
}

// halves permutes the sums of halves that bqQuads leaves to how tiles of n rows have them.
func (t *bqWholeTile) halves(n int) reg.VecVirtual {
	return t.words(fmt.Sprintf("tileHalves%d", n), func(i int) int {
		slot, half := i/(2*n)*n+i%n, i/n%2
		return slot%2*8 + half*4 + slot/2
	})
}

// slots are the blocks whose halves halves gives.
func (t *bqWholeTile) slots() reg.VecVirtual {
	return t.words(fmt.Sprintf("tileSlots%d", t.n), func(i int) int { return i/(2*t.n)*t.n + i%t.n })
}

func (t *bqWholeTile) words(name string, word func(i int) int) reg.VecVirtual {
	numbers := make([]uint32, 16)
	for i := range numbers {
		numbers[i] = uint32(word(i))
	}
	v := ZMM()
	VMOVDQU32(words(name, numbers...), v)
	return v
}

// store stores sums, shifted, and as integers times -128: of all halves, or of the eight
// blocks, which are in the lower half of the registers.
func (t *bqWholeTile) store(sum, shift reg.VecVirtual, blocks bool, s, c Mem) {
	part := func(x reg.VecVirtual) Op {
		if blocks {
			return x.AsY()
		}
		return x
	}
	f, shifted, none := ZMM(), ZMM(), t.constant(0)
	VPSLLVD(part(shift), part(sum), part(f))
	VCVTDQ2PS(part(f), part(f))
	VMOVUPS(part(f), s)
	VPSLLD(Imm(7), part(sum), part(shifted))
	VPSUBD(part(shifted), part(none), part(none))
	VMOVUPS(part(none), c)
}
