package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqTileKernel is the state of a tile kernel of AVX2: rows by half the columns of a panel.
type bqTileKernel struct {
	bqLevel
	kind              bqKind
	nibbles           bool // codes are at most 15
	rows              int
	values, dw, extra reg.GPVirtual
	q, d, s, c        reg.GPVirtual
	ones              Op
	zero              Mem
	acc               []reg.VecVirtual
}

// tile writes the product of some rows with an unpacked panel.
func (kind bqKind) tile(rows int, nibbles bool) {
	v := bqLevel{}
	codes := ""
	if nibbles {
		codes = "Nibbles"
	}
	a := bqText(fmt.Sprintf("tile%s%s%sx%d", v.suffix(), kind, codes, rows))
	k := &bqTileKernel{bqLevel: v, kind: kind, nibbles: nibbles, rows: rows}
	k.values, k.dw, k.extra = a.load(bqValues), a.load(bqDW), a.load(bqExtra)
	out, groups, halves := a.load(bqAcc), GP64(), GP64()
	for range rows {
		k.acc = append(k.acc, v.reg())
	}
	k.ones, k.zero = bitsConst(0x00010001), a.field(bqZero)
	if kind != bqPair { // which has no register left
		k.ones = v.constant(0x00010001)
	}
	MOVQ(U32(2), halves)
	Label("half")
	k.q, k.d, k.s, k.c = a.load(bqQ), a.load(bqD), a.load(bqS), a.load(bqC)
	MOVQ(a.field(bqUnits), groups)
	for _, acc := range k.acc {
		v.clear(acc)
	}
	Label("group")
	k.group()
	k.next()
	DECQ(groups)
	JNE(LabelRef("group"))
	for i, acc := range k.acc {
		v.store(acc, Mem{Base: out, Disp: 64 * i})
	}
	ADDQ(Imm(32), out)
	for _, f := range []struct {
		off int
		p   reg.GPVirtual
	}{{bqValues, k.values}, {bqDW, k.dw}, {bqExtra, k.extra}} {
		MOVQ(a.field(f.off), f.p)
		ADDQ(Imm(32), f.p)
	}
	DECQ(halves)
	JNE(LabelRef("half"))
	VZEROUPPER()
	RET()
}

// perHalf is 2 where a row has two numbers a group, one for each half of K.
func (k bqKind) perHalf(what bqKind) int {
	if k == what {
		return 2
	}
	return 1
}

func (k *bqTileKernel) next() {
	ADDQ(U32(512), k.values)
	ADDQ(Imm(64), k.dw)
	ADDQ(U32(uint32(32*k.rows)), k.q)
	ADDQ(Imm(uint64(4*k.rows)), k.d)
	switch k.kind {
	case bqOffset, bqTwoOffsets:
		per := k.kind.perHalf(bqTwoOffsets)
		ADDQ(U32(uint32(64*per)), k.extra)
		ADDQ(Imm(uint64(4*k.rows*per)), k.s)
	case bqPair:
		ADDQ(U32(128), k.extra)
	}
	if k.hasC() {
		ADDQ(Imm(uint64(4*k.rows*k.kind.perHalf(bqPair))), k.c)
	}
}

// hasC: values are codes, from which the kinds without minimums take the zero.
func (k *bqTileKernel) hasC() bool { return k.kind == bqPlain || k.kind == bqPair }

// start gives a sum for each row; of half i of K for pairs.
func (k *bqTileKernel) start(i int) []reg.VecVirtual {
	dot := make([]reg.VecVirtual, k.rows)
	for r := range dot {
		dot[r] = k.reg()
		if !k.hasC() {
			k.clear(dot[r])
			continue
		}
		VPBROADCASTD(Mem{Base: k.c, Disp: 4 * (k.rows*i + r)}, dot[r])
		VPSRAD(k.zero, dot[r], dot[r])
	}
	return dot
}

func (k *bqTileKernel) group() {
	dw := k.reg()
	if k.kind != bqPair {
		var dot []reg.VecVirtual
		if k.nibbles {
			dot = k.nibbleDots()
		} else {
			dot = k.start(0)
			k.dots(dot, 0, 8)
		}
		for _, x := range dot {
			VCVTDQ2PS(x, x)
		}
		k.load(Mem{Base: k.dw}, dw)
		k.add(dot, dw)
		k.offsets()
		return
	}
	sum := make([]reg.VecVirtual, k.rows)
	for i := range 2 {
		dot := k.start(i)
		k.dots(dot, 4*i, 4)
		sc := k.reg()
		k.load(Mem{Base: k.extra, Disp: 64 * i}, sc)
		for r, x := range dot {
			VCVTDQ2PS(x, x)
			if i == 0 {
				VMULPS(sc, x, x)
				sum[r] = x
			} else {
				VFMADD231PS(sc, x, sum[r])
			}
		}
	}
	k.load(Mem{Base: k.dw}, dw)
	k.add(sum, dw)
}

// dots adds the products of n quads.
func (k *bqTileKernel) dots(dot []reg.VecVirtual, from, n int) {
	at := func(r, t int) Mem { return Mem{Base: k.q, Disp: 32*r + 4*t} }
	quad := func(t int) reg.VecVirtual {
		w := k.reg()
		k.load(Mem{Base: k.values, Disp: 64 * t}, w)
		return w
	}
	if k.kind == bqSigned {
		for t := from; t < from+n; t++ {
			w, abs := quad(t), YMM()
			VPABSB(w, abs)
			for r, x := range dot {
				p := YMM()
				VPBROADCASTD(at(r, t), p)
				VPSIGNB(w, p, p)
				VPMADDUBSW(p, abs, p)
				VPMADDWD(k.ones, p, p)
				VPADDD(p, x, x)
			}
		}
		return
	}
	run := k.kind.unsaturated()
	for t := from; t < from+n; t += run {
		w := make([]reg.VecVirtual, run)
		for i := range w {
			w[i] = quad(t + i)
		}
		for r, x := range dot {
			sum := YMM()
			VPBROADCASTD(at(r, t), sum)
			VPMADDUBSW(sum, w[0], sum)
			for i := 1; i < run; i++ {
				p := YMM()
				VPBROADCASTD(at(r, t+i), p)
				VPMADDUBSW(p, w[i], p)
				VPADDW(p, sum, sum)
			}
			VPMADDWD(k.ones, sum, sum)
			VPADDD(sum, x, x)
		}
	}
}

// nibbleDots adds the products of all quads in 16 bits first.
func (k *bqTileKernel) nibbleDots() []reg.VecVirtual {
	sums := make([]reg.VecVirtual, k.rows)
	for t := range 8 {
		w := k.reg()
		k.load(Mem{Base: k.values, Disp: 64 * t}, w)
		for r := range sums {
			p := YMM()
			VPBROADCASTD(Mem{Base: k.q, Disp: 32*r + 4*t}, p)
			VPMADDUBSW(p, w, p)
			if t == 0 {
				sums[r] = p
			} else {
				VPADDW(p, sums[r], sums[r])
			}
		}
	}
	for _, x := range sums {
		VPMADDWD(k.ones, x, x)
	}
	if k.hasC() {
		for r, x := range k.start(0) {
			VPADDD(x, sums[r], sums[r])
		}
	}
	return sums
}

// unsaturated is how many sums of VPMADDUBSW can be added in 16 bits: codes are
// at most 31, but 63 and 45 where there are scales of halves.
func (k bqKind) unsaturated() int {
	if k == bqPlain || k == bqOffset {
		return 4
	}
	return 2
}

// add adds products to the results.
func (k *bqTileKernel) add(sum []reg.VecVirtual, dw reg.VecVirtual) {
	for r, x := range sum {
		s := k.reg()
		VBROADCASTSS(Mem{Base: k.d, Disp: 4 * r}, s)
		VMULPS(dw, s, s)
		VFMADD231PS(x, s, k.acc[r])
	}
}

// offsets subtracts minimums.
func (k *bqTileKernel) offsets() {
	if k.kind != bqOffset && k.kind != bqTwoOffsets {
		return
	}
	for i := range k.kind.perHalf(bqTwoOffsets) {
		m := k.reg()
		k.load(Mem{Base: k.extra, Disp: 64 * i}, m)
		for r, acc := range k.acc {
			s := k.reg()
			VBROADCASTSS(Mem{Base: k.s, Disp: 4 * (k.rows*i + r)}, s)
			VFMADD231PS(s, m, acc)
		}
	}
}
