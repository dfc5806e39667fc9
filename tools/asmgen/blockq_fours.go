package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqFours is the state of a kernel of AVX2 that multiplies rows, four at a time, by groups of
// some panels, whose codes have 4 bits. The first four rows unpack them for the others: to
// store what is unpacked takes longer than to unpack it, and there is time for that while they
// multiply.
//
// Sums of a panel's columns stay in registers for a whole group, and a row's numbers are
// spread from memory for both halves of the columns, since there are no registers for some of
// them as bqSweep has. For many rows that is slower by 2 or 3 %.
type bqFours struct {
	kind    bqKind
	f       *bqFormat
	w       reg.GPVirtual // of packed weights: the group and the panel
	slot    reg.GPVirtual // of the group and the first panel
	q, m, e reg.GPVirtual // of some rows; m: shifts; e: sums
	acc     reg.GPVirtual // of these rows and the first panel
	spill   reg.GPVirtual
	at, to  reg.GPVirtual // of a panel: its slot, and the results
	next    reg.GPVirtual // of packed weights, what is prefetched next
	lines   reg.GPVirtual // how many are left of its panel's group
}

// fused: there is such a kernel.
func (f *bqFormat) fused() bool {
	return f.nibbles() && f.kind() == bqOffset && f.scales != bqHalfMin
}

// fours writes the product of an even number of rows, four or more, with some packed panels.
func (f *bqFormat) fours() {
	a := bqText("fours256" + f.name)
	k := &bqFours{kind: f.kind(), f: f, slot: a.value(bqValues), q: a.value(bqQ), m: a.value(bqShift), spill: a.value(bqSpill)}
	k.e = a.value(bqS)
	k.w, k.at, k.to, k.lines = GP64(), GP64(), GP64(), GP64()
	Label("group")
	k.next = a.value(bqFetch)
	MOVQ(a.field(bqLines), k.lines)
	k.acc = a.value(bqAcc)
	fours := a.value(bqRows)
	SHRQ(Imm(2), fours)
	k.some(a, 4, "first")
	DECQ(fours)
	JEQ(LabelRef("pair"))
	Label("four")
	k.some(a, 4, "more")
	DECQ(fours)
	JNE(LabelRef("four"))
	Label("pair")
	rows := a.value(bqRows)
	TESTQ(U32(2), rows)
	JEQ(LabelRef("next"))
	k.some(a, 2, "last")
	Label("next")
	ADDQ(a.field(bqSlots), k.slot)
	group := a.value(bqGroup)
	for _, field := range []int{bqFetch, bqW, bqHeader} {
		ADDQ(group, a.field(field))
	}
	DECQ(a.field(bqUnits))
	JNE(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// some multiplies the next rows.
func (k *bqFours) some(a argStruct, rows int, which string) {
	bqPrefetchShare(a, k.next, k.lines, which)
	ones := YMM()
	VMOVDQU(bitsConst(0x00010001), ones)
	for r := range rows {
		x, e := YMM(), YMM()
		VPBROADCASTD(Mem{Base: k.m, Disp: 4 * r}, x)
		VPSLLVD(x, ones, x) // for VPMADDWD, which shifts on the way
		VMOVDQU(x, k.factor(r))
		VPBROADCASTD(Mem{Base: k.e, Disp: 4 * r}, e)
		VMOVDQU(e, k.extra(r))
	}
	n := a.value(bqPanels)
	MOVQ(k.slot, k.at)
	MOVQ(k.acc, k.to)
	unpack := which == "first"
	if unpack {
		MOVQ(a.field(bqW), k.w)
	}
	Label(which)
	k.panel(a, rows, unpack)
	ADDQ(U32(uint32(k.kind.slotBytes())), k.at)
	ADDQ(a.field(bqStep), k.to)
	if unpack {
		ADDQ(a.field(bqAhead), k.w)
	}
	DECQ(n)
	JNE(LabelRef(which))
	ADDQ(Imm(uint64(32*rows)), k.q)
	ADDQ(Imm(uint64(4*rows)), k.m)
	ADDQ(Imm(uint64(4*rows)), k.e)
	ADDQ(U32(uint32(64*rows)), k.acc)
}

// factor and extra are in the spill area, in every lane: what sums of row r are multiplied by,
// and the row's sum.
func (k *bqFours) factor(r int) Mem { return Mem{Base: k.spill, Disp: 32 * r} }
func (k *bqFours) extra(r int) Mem  { return Mem{Base: k.spill, Disp: 128 + 32*r} }

// panel adds the products of some rows with a group of a panel to the results. Words add up
// 16 products each.
func (k *bqFours) panel(a argStruct, rows int, unpack bool) {
	x := k.products(rows, unpack)
	for h := range 2 {
		dw, min := k.scales(a, h, unpack)
		for r := range x {
			x, to := x[r][h], Mem{Base: k.to, Disp: 64*r + 32*h}
			VPMADDWD(k.factor(r), x, x)
			VCVTDQ2PS(x, x)
			VFMADD213PS(to, dw, x)
			VFMADD231PS(k.extra(r), min, x)
			VMOVUPS(x, to)
		}
	}
}

// products gives the words of some rows and both halves of the columns.
func (k *bqFours) products(rows int, unpack bool) [][2]reg.VecVirtual {
	sums := make([][2]reg.VecVirtual, rows)
	var waiting []func()
	add := func(most int) { // products are added when others after them are on their way
		for ; len(waiting) > most; waiting = waiting[1:] {
			waiting[0]()
		}
	}
	mask := YMM()
	if unpack {
		VMOVDQU(bitsConst(bytes4(15)), mask)
	}
	for i := range 8 {
		t := i/2 + i%2*4 // those in the same bytes follow each other
		var w [2]reg.VecVirtual
		for h := range w {
			w[h] = k.codes(t, h, mask, unpack)
		}
		for r := range sums {
			q := YMM()
			VPBROADCASTD(Mem{Base: k.q, Disp: 32*r + 4*t}, q)
			for h := range w {
				p, sum := YMM(), &sums[r][h]
				VPMADDUBSW(q, w[h], p)
				if *sum == nil {
					*sum = p
					continue
				}
				waiting = append(waiting, func() { VPADDW(p, *sum, *sum) })
				add(2)
			}
		}
	}
	add(0)
	return sums
}

// codes gives quad t of half h of the columns.
func (k *bqFours) codes(t, h int, mask reg.VecVirtual, unpack bool) reg.VecVirtual {
	x, at := YMM(), Mem{Base: k.at, Disp: 64*t + 32*h}
	if !unpack {
		VMOVDQU(at, x)
		return x
	}
	packed := Mem{Base: k.w, Disp: k.f.scaleBytes() + 64*(t%4) + 32*h}
	if t < 4 {
		VPAND(packed, mask, x)
	} else {
		VMOVDQU(packed, x)
		VPSRLW(Imm(4), x, x)
		VPAND(mask, x, x)
	}
	VMOVDQU(x, at)
	return x
}

// scales gives the scale of half h of the columns, and the negative minimum.
func (k *bqFours) scales(a argStruct, h int, unpack bool) (dw, min reg.VecVirtual) {
	numbers := make([]reg.VecVirtual, 1+k.kind.extras())
	if unpack {
		r := &bqReader{f: k.f, w: k.w, columns: []int{h}}
		if k.f.headerBytes() != 0 {
			header := GP64()
			MOVQ(k.w, header)
			SUBQ(a.field(bqHeader), header)
			r.w = header
			r.header()
			r.w = k.w
		}
		d, more := r.scales(h)
		copy(numbers, append([]reg.VecVirtual{d}, more...))
	}
	for i := range numbers {
		at := Mem{Base: k.at, Disp: 64*(k.kind.vectors()+i) + 32*h}
		if unpack {
			VMOVUPS(numbers[i], at)
			continue
		}
		numbers[i] = YMM()
		VMOVUPS(at, numbers[i])
	}
	return numbers[0], numbers[1]
}
