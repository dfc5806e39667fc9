package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqDirect is the state of a direct kernel.
type bqDirect struct {
	*bqReader
	kind       bqKind
	q, d, s, c reg.GPVirtual
	group      reg.GPVirtual // 4 times its number
	flip       reg.VecVirtual
	acc        []reg.VecVirtual // of each half of the columns
}

// direct writes the product of one row with packed panels.
func (v bqLevel) direct(f *bqFormat) {
	a := bqText(fmt.Sprintf("direct%s%s", v.suffix(), f.name))
	k := &bqDirect{bqReader: v.reader(f, a.load(bqW)), kind: f.kind()}
	k.d, k.s, k.c = a.load(bqD), a.load(bqS), a.load(bqC)
	out, panels := a.load(bqAcc), a.load(bqPanels)
	switch {
	case v.wide && k.table != nil:
		v.xor(v.constant(0x80808080), k.table, k.table)
	case v.wide && f.signed():
		k.flip = v.constant(0x80808080)
	}
	k.group, k.q = GP64(), GP64()
	for range v.halves() {
		k.acc = append(k.acc, v.reg())
	}
	units := GP64()
	Label("panel")
	MOVQ(a.field(bqQ), k.q)
	MOVQ(a.field(bqUnits), units)
	XORQ(k.group, k.group)
	for _, acc := range k.acc {
		v.clear(acc)
	}
	k.units(units, func() {
		k.prefetch()
		for h := range v.halves() {
			k.half(h)
		}
		k.next()
		ADDQ(Imm(32), k.q)
		ADDQ(Imm(4), k.group)
	})
	for h, acc := range k.acc {
		v.store(acc, Mem{Base: out, Disp: 32 * h})
	}
	ADDQ(Imm(64), out)
	DECQ(panels)
	JNE(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// of is a number of the group in an array that has per of them for each.
func (k *bqDirect) of(base reg.GPVirtual, per, i int) Mem {
	return Mem{Base: base, Index: k.group, Scale: uint8(per), Disp: 4 * i}
}

// half adds the products of a group with half h of the columns.
func (k *bqDirect) half(h int) {
	dot := k.start()
	factors := k.factors(h)
	k.codes(h, func(t int, x, y reg.VecVirtual) {
		for i, c := range []reg.VecVirtual{x, y} {
			if k.flip != nil {
				k.xor(k.flip, c, c)
			}
			if factors != nil {
				VPMULLW(factors[(t+i)/4], c, c)
			}
		}
		to := dot
		if k.kind == bqPair {
			to = []reg.VecVirtual{dot[t/4], dot[t/4]}
		}
		k.pair(t, x, y, to)
	})
	dw, extra := k.scales(h)
	k.add(h, dot, dw, extra)
}

// start gives two sums: of the halves of K for pairs, else of whichever.
func (k *bqDirect) start() []reg.VecVirtual {
	dot := []reg.VecVirtual{k.reg(), k.reg()}
	per := 1
	if k.kind == bqPair {
		per = 2
	}
	for i, x := range dot {
		switch {
		case i >= per || k.f.zero == 0 && !(k.wide && k.f.signed()):
			k.clear(x)
		default:
			VPBROADCASTD(k.of(k.c, per, i), x)
			if k.f.zero != 0 {
				VPSRAD(Imm(uint64(7-bits.TrailingZeros(uint(k.f.zero)))), x, x)
			}
		}
	}
	return dot
}

// pair adds the products of quads t and t+1.
func (k *bqDirect) pair(t int, x, y reg.VecVirtual, dot []reg.VecVirtual) {
	at := func(i int) Mem { return Mem{Base: k.q, Disp: 4 * (t + i)} }
	if k.wide {
		VPDPBUSD_BCST(at(0), x, dot[0])
		VPDPBUSD_BCST(at(1), y, dot[1])
		return
	}
	p := [2]reg.VecVirtual{YMM(), YMM()}
	for i, c := range []reg.VecVirtual{x, y} {
		VPBROADCASTD(at(i), p[i])
		bqBytes(k.f.signed(), c, p[i])
	}
	if !k.f.signed() { // sums of two stay within 16 bits
		VPADDW(p[1], p[0], p[0])
		VPMADDWD(bitsConst(0x00010001), p[0], p[0])
		VPADDD(p[0], dot[0], dot[0])
		return
	}
	for i := range p {
		VPMADDWD(bitsConst(0x00010001), p[i], p[i])
		VPADDD(p[i], dot[i], dot[i])
	}
}

// bqBytes makes of x the sums of pairs of products with w. Those of signed bytes
// are products of magnitudes, 128 at most, with x under w's sign.
func bqBytes(signed bool, w, x reg.VecVirtual) {
	if signed {
		VPSIGNB(w, x, x)
		VPABSB(w, w)
	}
	VPMADDUBSW(x, w, x)
}

// add adds to the results.
func (k *bqDirect) add(h int, dot []reg.VecVirtual, dw reg.VecVirtual, extra []reg.VecVirtual) {
	if k.kind == bqPair {
		for _, x := range dot {
			VCVTDQ2PS(x, x)
		}
		VMULPS(extra[0], dot[0], dot[0])
		VFMADD231PS(extra[1], dot[1], dot[0])
	} else {
		VPADDD(dot[1], dot[0], dot[0])
		VCVTDQ2PS(dot[0], dot[0])
	}
	scale := k.reg()
	VBROADCASTSS(k.of(k.d, 1, 0), scale)
	VMULPS(dw, scale, scale)
	VFMADD231PS(dot[0], scale, k.acc[h])
	if k.kind != bqOffset && k.kind != bqTwoOffsets {
		return
	}
	for i, x := range extra {
		s := k.reg()
		VBROADCASTSS(k.of(k.s, len(extra), i), s)
		VFMADD231PS(s, x, k.acc[h])
	}
}
