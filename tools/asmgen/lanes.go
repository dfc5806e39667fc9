package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lanes32 is the number of partial results of a row: element i goes to lane i mod 32.
const lanes32 = 32

func (v level) accumulators(initial Mem) []vec {
	acc := make([]vec, lanes32/v.width())
	for i := range acc {
		acc[i] = v.load(initial)
	}
	return acc
}

// lanesLoop walks n elements, 32 at a time; emit takes one register's worth
// into accumulator i.
func (v level) lanesLoop(n reg.GPVirtual, pointers []reg.GPVirtual, emit func(i, disp int, t *tail)) {
	w := v.width()
	SUBQ(step(lanes32), n)
	JLT(LabelRef(v.part + "rest"))
	Label(v.part + "each")
	for i := range lanes32 / w {
		emit(i, 4*w*i, nil)
	}
	for _, p := range pointers {
		ADDQ(step(4*lanes32), p)
	}
	SUBQ(step(lanes32), n)
	JGE(LabelRef(v.part + "each"))
	Label(v.part + "rest")
	ADDQ(step(lanes32), n)
	JEQ(LabelRef(v.part + "done"))
	for i := range lanes32 / w {
		t := v.tail(between(n, i*w, w))
		emit(i, 4*w*i, &t)
	}
	Label(v.part + "done")
}

// between is n-from, limited to 0 … most.
func between(n reg.GPVirtual, from, most int) reg.GPVirtual {
	left, limit := GP64(), GP64()
	MOVQ(n, left)
	XORQ(limit, limit)
	SUBQ(step(from), left)
	CMOVQLT(limit, left)
	MOVQ(step(most), limit)
	CMPQ(left, limit)
	CMOVQGT(limit, left)
	return left
}

// tree joins lane j with j+h for h = 16, 8, 4, 2, 1.
func (v level) tree(acc []vec, join func(b, a, r Op)) vec {
	for h := len(acc) / 2; h > 0; h /= 2 {
		for j := range h {
			join(acc[j+h], acc[j], acc[j])
		}
	}
	return v.foldRegister(acc[0], join)
}

// foldRegister joins lane j with lane j+h for each half h down to 1. join
// computes r from the upper lanes b and the lower lanes a.
func (v level) foldRegister(x vec, join func(b, a, r Op)) vec {
	low := Op(x.AsX())
	if v.wide {
		up, y := YMM(), YMM()
		VEXTRACTF32X8(Imm(1), x, up)
		join(up, x.AsY(), y)
		x, low = y, y.AsX()
	}
	up, r := XMM(), XMM()
	VEXTRACTF128(Imm(1), x, up)
	join(up, low, r)
	VPERMILPS(Imm(0x0e), r, up)
	join(up, r, r)
	VPERMILPS(Imm(0x01), r, up)
	join(up, r, r)
	return r
}

// only zeroes what is beyond the tail.
func (v level) only(x vec, t *tail) vec {
	if t == nil {
		return x
	}
	if v.wide {
		r := v.reg()
		VMOVAPS_Z(x, t.k, r)
		return r
	}
	return v.and(x, t.y)
}

func joinSum(b, a, r Op)  { VADDPS(b, a, r) }
func joinMul(b, a, r Op)  { VMULPS(b, a, r) }
func joinMore(b, a, r Op) { VMAXPS(a, b, r) } // b > a ? b : a
func joinLess(b, a, r Op) { VMINPS(a, b, r) }
