package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// powers turns rows of n scores, a multiple of 16, into powers of two in place, and adds
// them to 16 sums of their row: of each 32 the first 16 and the others, then to the sums.
func (v level) powers() {
	TEXT("powers"+v.suffix(), NOSPLIT, "func(scores *float32, stride, rows, n int, sums *float32)")
	Pragma("noescape")
	row, stride, count, sums := arg("scores"), arg("stride"), arg("rows"), arg("sums")
	lanes := 16 / v.width()
	half := func(p reg.GPVirtual, from int) []vec {
		e := make([]vec, lanes)
		for i := range e {
			at := Mem{Base: p, Disp: 4 * (from + i*v.width())}
			e[i] = v.exp2(v.load(at))
			v.store(e[i], at)
		}
		return e
	}
	Label("row")
	p, n := GP64(), arg("n")
	MOVQ(row, p)
	l := make([]vec, lanes)
	for i := range l {
		l[i] = v.load(Mem{Base: sums, Disp: 4 * i * v.width()})
	}
	SUBQ(Imm(32), n)
	JLT(LabelRef("rest"))
	Label("each")
	low, high := half(p, 0), half(p, 16)
	for i := range l {
		joinSum(v.add(low[i], high[i]), l[i], l[i])
	}
	ADDQ(step(128), p)
	SUBQ(Imm(32), n)
	JGE(LabelRef("each"))
	Label("rest")
	ADDQ(Imm(32), n)
	JEQ(LabelRef("done"))
	for i, e := range half(p, 0) {
		joinSum(e, l[i], l[i])
	}
	Label("done")
	for i := range l {
		v.store(l[i], Mem{Base: sums, Disp: 4 * i * v.width()})
	}
	ADDQ(stride, row)
	ADDQ(Imm(64), sums)
	DECQ(count)
	JNE(LabelRef("row"))
	end()
}
