package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqSweep is the state of a kernel of AVX2 that multiplies pairs of rows by unpacked
// groups of some panels. Half or a quarter of a group's numbers of both rows stay in
// registers, in all lanes, while the panels go by: the load ports, which limit kernels
// that spread numbers for each panel, have little to do. What a pass over the panels adds
// up of a group waits in the spill area for the next pass.
//
// For codes of 4 bits, two rows and 8 columns take 38 operations of the vector units for the
// 1024 multiplications and additions of a group: 16 VPMADDUBSW and as many VPADDW, among these
// the corrections for the zero, then two each of VPMADDWD, VCVTDQ2PS and VFMADD. On Zen 4 they
// take 11.6 to 12.7 cycles if all operands are in registers, in whichever order, since VPADDW
// takes slots of the two units that multiply too; this kernel takes 13.1. Where a neighbour
// computes on the same core it is 20, whatever there is beside these 38: kernels that hold
// weights in registers and read numbers spread in memory, with 46 instructions in place of 55,
// take 14.2 and 20. Only fewer of the 38 would make it faster. An arithmetic of blocks of 64,
// whose two scales are 15-bit integers by which VPMADDWD multiplies and adds the sums of both,
// takes 35, and 9 to 15 % less time, but rounds the weights' own scales.
type bqSweep struct {
	bqLevel
	kind    bqKind
	nibbles bool          // codes are at most 15
	slot    reg.GPVirtual // of the group and the first panel
	q, m, e reg.GPVirtual // of a pair of rows; m: shifts; e: sums or corrections
	acc     reg.GPVirtual // of the pair and the first panel
	spill   reg.GPVirtual
	at      reg.GPVirtual // of a panel: its slot,
	sums    reg.GPVirtual // what waits,
	to      reg.GPVirtual // and the results
	next    reg.GPVirtual // of packed weights, what is prefetched next
	lines   reg.GPVirtual // how many are left of its panel's group
	ms, es  [2]reg.VecVirtual
}

// The spill area: what a row adds, then sums of each panel.
const bqSweepSums = 256

// vectors of 64 bytes that a group's values take, four of which are multiplied at once.
// Signed values are words: even bytes of a quad, then odd ones.
func (k bqKind) vectors() int {
	if k == bqSigned {
		return 16
	}
	return 8
}

// extras is how many numbers there are for a group beside the scale.
func (k bqKind) extras() int {
	switch k {
	case bqOffset:
		return 1
	case bqPair, bqTwoOffsets:
		return 2
	}
	return 0
}

// slotBytes is what an unpacked group of a panel takes: values, the scale, and more.
func (k bqKind) slotBytes() int { return 64 * (k.vectors() + 1 + k.extras()) }

// sweep writes the product of pairs of rows with some panels.
func (kind bqKind) sweep(nibbles bool) {
	codes := ""
	if nibbles {
		codes = "Nibbles"
	}
	a := bqText(fmt.Sprintf("sweep256%s%s", kind, codes))
	k := &bqSweep{kind: kind, nibbles: nibbles, slot: a.value(bqValues), q: a.value(bqQ), m: a.value(bqShift), spill: a.value(bqSpill)}
	switch kind {
	case bqPlain, bqPair:
		k.e = a.value(bqC)
	case bqOffset, bqTwoOffsets:
		k.e = a.value(bqS)
	}
	k.at, k.sums, k.to = GP64(), GP64(), GP64()
	k.lines = GP64()
	Label("group")
	k.next = a.value(bqFetch)
	MOVQ(a.field(bqLines), k.lines)
	k.acc = a.value(bqAcc)
	pairs := a.value(bqRows)
	SHRQ(Imm(1), pairs)
	Label("pair")
	bqPrefetchShare(a, k.next, k.lines, "")
	for i := range kind.vectors() / 4 {
		k.pass(a, i)
	}
	ADDQ(Imm(64), k.q)
	ADDQ(Imm(8), k.m)
	if k.e != nil {
		ADDQ(Imm(8), k.e)
	}
	ADDQ(U32(128), k.acc)
	DECQ(pairs)
	JNE(LabelRef("pair"))
	if kind.extras() == 2 { // the halves of K have numbers of their own
		rows := a.value(bqRows)
		LEAQ(Mem{Base: k.e, Index: rows, Scale: 4}, k.e)
	}
	ADDQ(a.field(bqSlots), k.slot)
	group := a.value(bqGroup)
	ADDQ(group, a.field(bqFetch))
	DECQ(a.field(bqUnits))
	JNE(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// bqPrefetchShare asks for some rows' share of the lines that are unpacked later: all at once
// would be more than the processor asks for at a time, and waits would follow.
func bqPrefetchShare(a argStruct, next, lines reg.GPVirtual, suffix string) {
	n := a.value(bqShare)
	Label("line" + suffix)
	PREFETCHT0(Mem{Base: next})
	ADDQ(Imm(64), next)
	DECQ(lines)
	JNE(LabelRef("same" + suffix))
	MOVQ(a.field(bqLines), lines)
	ADDQ(a.field(bqGap), next)
	Label("same" + suffix)
	DECQ(n)
	JNE(LabelRef("line" + suffix))
}

func (k *bqSweep) last(i int) bool { return i == k.kind.vectors()/4-1 }

// pass multiplies vectors 4·i to 4·i+3 of the group.
func (k *bqSweep) pass(a argStruct, i int) {
	k.constants(a, i)
	q := k.numbers(i)
	n := a.value(bqPanels)
	MOVQ(k.slot, k.at)
	LEAQ(Mem{Base: k.spill, Disp: bqSweepSums}, k.sums)
	if k.last(i) {
		MOVQ(k.acc, k.to)
	}
	label := fmt.Sprintf("panel%d", i)
	Label(label)
	for h := range 2 {
		k.half(h, i, q)
	}
	ADDQ(U32(uint32(k.kind.slotBytes())), k.at)
	ADDQ(U32(128), k.sums)
	if k.last(i) {
		ADDQ(a.field(bqStep), k.to)
	}
	DECQ(n)
	JNE(LabelRef(label))
}

// constants loads what is the same for all panels; what there are no registers for waits.
func (k *bqSweep) constants(a argStruct, i int) {
	spread := func(half, r int) reg.VecVirtual {
		x, m := YMM(), Mem{Base: k.e, Disp: 4 * r}
		if half > 0 {
			m.Index, m.Scale = a.value(bqRows), 4
		}
		VPBROADCASTD(m, x)
		return x
	}
	for r := range 2 {
		if k.last(i) || k.shiftsParts() {
			k.ms[r] = YMM()
			VPBROADCASTD(Mem{Base: k.m, Disp: 4 * r}, k.ms[r])
		}
		switch {
		case k.kind == bqPair:
			x := spread(i, r)
			VPSRAD(a.field(bqZero), x, x)
			VPSLLVD(k.ms[r], x, x)
			VMOVDQU(x, k.start(0, r))
		case !k.last(i):
		case k.kind == bqPlain:
			k.es[r] = spread(0, r)
			VPSRAD(a.field(bqZero), k.es[r], k.es[r])
			VPSLLVD(k.ms[r], k.es[r], k.es[r])
		case k.kind == bqOffset:
			k.es[r] = spread(0, r)
		case k.kind == bqTwoOffsets:
			for half := range 2 {
				VMOVDQU(spread(half, r), k.start(half, r))
			}
		}
		if k.kind != bqSigned && k.ms[r] != nil { // for VPMADDWD, which shifts on the way
			ones := YMM()
			VMOVDQU(bitsConst(0x00010001), ones)
			VPSLLVD(k.ms[r], ones, k.ms[r])
		}
	}
}

// shiftsParts: what all passes add up is shifted.
func (k *bqSweep) shiftsParts() bool { return k.kind != bqSigned && !k.nibbles }

// start is where what row r adds waits.
func (k *bqSweep) start(i, r int) Mem { return Mem{Base: k.spill, Disp: 64*i + 32*r} }

// numbers has four bytes of each row in every lane, four times, or two words.
func (k *bqSweep) numbers(i int) (q [2][4]reg.VecVirtual) {
	for r := range q {
		if k.kind != bqSigned {
			for t := range q[r] {
				q[r][t] = YMM()
				VPBROADCASTD(Mem{Base: k.q, Disp: 32*r + 4*(4*i+t)}, q[r][t])
			}
			continue
		}
		for t := range 2 {
			even, odd := YMM(), YMM()
			VPBROADCASTD(Mem{Base: k.q, Disp: 32*r + 4*(2*i+t)}, odd)
			bqWords(odd, even)
			q[r][2*t], q[r][2*t+1] = even, odd
		}
	}
	return q
}

// bqWords makes words of the even bytes of x, and of the odd ones in x itself.
func bqWords(x, even reg.VecVirtual) {
	VPSLLW(Imm(8), x, even)
	VPSRAW(Imm(8), even, even)
	VPSRAW(Imm(8), x, x)
}

// half multiplies half h of a panel's columns.
func (k *bqSweep) half(h, i int, q [2][4]reg.VecVirtual) {
	waiting := func(r int) Mem { return Mem{Base: k.sums, Disp: 64*r + 32*h} }
	var x [2]reg.VecVirtual
	switch {
	case k.nibbles:
		x = k.nibbleDots(h, i, q)
		if k.last(i) {
			for r := range x {
				VPADDW(waiting(r), x[r], x[r])
			}
			for r := range x {
				VPMADDWD(k.ms[r], x[r], x[r])
			}
		}
	case k.kind == bqPair || k.kind == bqTwoOffsets: // of which only two fit into 16 bits
		x = k.dots(h, i, 0, 2, q)
		y := k.dots(h, i, 2, 4, q)
		for r := range x {
			VPMADDWD(k.ms[r], x[r], x[r])
			VPMADDWD(k.ms[r], y[r], y[r])
			VPADDD(y[r], x[r], x[r])
		}
	default:
		x = k.dots(h, i, 0, 4, q)
		for r := range x {
			if k.kind != bqSigned {
				VPMADDWD(k.ms[r], x[r], x[r])
			}
		}
	}
	if k.kind == bqPair {
		k.scaleHalf(h, i, x, waiting)
	} else if i > 0 && !k.nibbles {
		for r := range x {
			VPADDD(waiting(r), x[r], x[r])
		}
	}
	if !k.last(i) {
		for r := range x {
			VMOVDQU(x[r], waiting(r))
		}
		return
	}
	k.finish(h, x)
}

// nibbleDots is dots for codes that are at most 15.
func (k *bqSweep) nibbleDots(h, i int, q [2][4]reg.VecVirtual) [2]reg.VecVirtual {
	if k.last(i) { // there are no registers for more products at a time
		return k.dots(h, i, 0, 4, q)
	}
	var p [4][2]reg.VecVirtual
	multiply := func(t int) { p[t] = k.dots(h, i, t, t+1, q) }
	add := func(t int) {
		for r, x := range p[0] {
			VPADDW(p[t][r], x, x)
		}
	}
	multiply(0)
	multiply(1)
	multiply(2)
	add(1)
	multiply(3)
	add(2)
	add(3)
	return p[0]
}

// dots gives each row's sums of products with vectors from to up to to of the pass: words, but for signed values.
func (k *bqSweep) dots(h, i, from, to int, q [2][4]reg.VecVirtual) (x [2]reg.VecVirtual) {
	multiply, add := VPMADDUBSW, VPADDW
	if k.kind == bqSigned {
		multiply, add = VPMADDWD, VPADDD
	}
	for t := from; t < to; t++ {
		w := YMM()
		VMOVDQU(Mem{Base: k.at, Disp: 64*(4*i+t) + 32*h}, w)
		for r := range x {
			p := YMM()
			multiply(q[r][t], w, p)
			if t == from {
				x[r] = p
			} else {
				add(p, x[r], x[r])
			}
		}
	}
	return x
}

// scaleHalf multiplies the sums of a half of K by its scale, and adds the other half's.
func (k *bqSweep) scaleHalf(h, i int, x [2]reg.VecVirtual, waiting func(int) Mem) {
	sc := YMM()
	VMOVUPS(k.extra(h, i), sc)
	for r := range x {
		VPADDD(k.start(0, r), x[r], x[r])
		VCVTDQ2PS(x[r], x[r])
		if i == 0 {
			VMULPS(sc, x[r], x[r])
		} else {
			VFMADD213PS(waiting(r), sc, x[r])
		}
	}
}

// extra is number i beside the scale.
func (k *bqSweep) extra(h, i int) Mem {
	return Mem{Base: k.at, Disp: 64*(k.kind.vectors()+1+i) + 32*h}
}

// finish adds a group's sums to the results.
func (k *bqSweep) finish(h int, x [2]reg.VecVirtual) {
	for r := range x {
		if k.kind == bqPlain {
			VPADDD(k.es[r], x[r], x[r])
		}
		if k.kind == bqSigned {
			VPSLLVD(k.ms[r], x[r], x[r])
		}
		if k.kind != bqPair {
			VCVTDQ2PS(x[r], x[r])
		}
	}
	dw := YMM()
	VMOVUPS(k.extra(h, -1), dw)
	for r := range x {
		VFMADD213PS(Mem{Base: k.to, Disp: 64*r + 32*h}, dw, x[r])
		switch k.kind {
		case bqOffset:
			VFMADD231PS(k.extra(h, 0), k.es[r], x[r])
		case bqTwoOffsets:
			for i := range 2 {
				m := YMM()
				VMOVUPS(k.extra(h, i), m)
				VFMADD231PS(k.start(i, r), m, x[r])
			}
		}
		VMOVUPS(x[r], Mem{Base: k.to, Disp: 64*r + 32*h})
	}
}

// spread writes the unpacking of groups of some panels to slots.
func (v bqLevel) spread(f *bqFormat) {
	a := bqText(fmt.Sprintf("spread%s%s", v.suffix(), f.name))
	r := v.reader(f, a)
	kind := f.kind()
	if f.signed() {
		kind = bqSigned
	}
	base, out, panels, at := a.value(bqW), a.value(bqValues), a.value(bqPanels), GP64()
	Label("panel")
	if f.headerBytes() != 0 {
		MOVQ(base, r.w)
		SUBQ(a.field(bqHeader), r.w)
		r.header()
		MOVQ(base, r.w)
	} else {
		MOVQ(base, r.w)
	}
	MOVQ(out, at)
	groups := a.value(bqUnits)
	Label("group")
	for h := range v.halves() {
		dw, more := r.scales(h)
		for i, x := range append([]reg.VecVirtual{dw}, more...) {
			v.store(x, Mem{Base: at, Disp: 64*(kind.vectors()+i) + 32*h})
		}
		factors := r.factors(h)
		r.codes(h, func(t int, x, y reg.VecVirtual) {
			for i, c := range []reg.VecVirtual{x, y} {
				to := Mem{Base: at, Disp: 64*(t+i) + 32*h}
				if kind == bqSigned {
					even := YMM()
					bqWords(c, even)
					v.store(even, to.Offset(64*(t+i)))
					v.store(c, to.Offset(64*(t+i+1)))
					continue
				}
				if factors != nil {
					VPMULLW(factors[t/4], c, c)
				}
				v.store(c, to)
			}
		})
	}
	r.next()
	ADDQ(a.field(bqSlots), at)
	DECQ(groups)
	JNE(LabelRef("group"))
	ADDQ(a.field(bqAhead), base)
	ADDQ(U32(uint32(kind.slotBytes())), out)
	DECQ(panels)
	JNE(LabelRef("panel"))
	VZEROUPPER()
	RET()
}
