package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// weights turns rows of scores into bfloat16 weights relative to the largest, in
// place: with m the greatest of scale·score and of what came before, e^(scale·score-m),
// and zeros up to a multiple of 32. It stores m and the sum of the weights, which is
// taken before they are rounded. A row that is -Inf, as what came before is, gives zeros.
func (v level) weights() {
	TEXT("weightsBF16", NOSPLIT, "func(scores *float32, stride, rows, n int, scale float32, before, tops, sums *float32)")
	Pragma("noescape")
	copied := func(from reg.GPVirtual) reg.GPVirtual {
		r := GP64()
		MOVQ(from, r)
		return r
	}
	row, count, at := arg("scores"), arg("rows"), GP64()
	XORQ(at, at)
	scale, least := v.param("scale"), bitsConst(0xff800000)

	Label("row")
	acc, nan := v.accumulators(least), v.noNaN(true)
	src := copied(row)
	v.part = "top"
	v.lanesLoop(arg("n"), []reg.GPVirtual{src}, func(i, disp int, t *tail) {
		m := Mem{Base: src, Disp: disp}
		x := v.load(least)
		if t == nil {
			VMOVUPS(m, x)
		} else {
			VMOVUPS(m, t.k, x)
		}
		nan.see(x)
		joinMore(x, acc[i], acc[i])
	})
	top := v.reg()
	VBROADCASTSS(v.tree(acc, joinMore).AsX(), top)
	VMULPS(scale, top, top)
	old := v.broadcast(Mem{Base: arg("before"), Index: at, Scale: 4})
	nan.see(old)
	joinMore(old, top, top)
	KORTESTW(nan.k, nan.k)
	JEQ(LabelRef("numbers"))
	VBROADCASTSS(bitsConst(0x7fc00000), top)
	Label("numbers")
	VMOVSS(top.AsX(), Mem{Base: arg("tops"), Index: at, Scale: 4})
	top = v.pick(v.cmp(eqOQ, top, least), fconst(0), top)

	acc = v.accumulators(fconst(0))
	src, dst := copied(row), copied(row)
	v.part = "weight"
	pair := [2]reg.VecPhysical{reg.Z30, reg.Z31}
	v.lanesLoop(arg("n"), []reg.GPVirtual{src}, func(i, disp int, t *tail) {
		e := v.only(v.expNotPositive(v.sub(v.mul(v.get(src, disp, t), scale), top)), t)
		joinSum(e, acc[i], acc[i])
		VMOVAPS(e, pair[i])
		if i == 1 {
			VCVTNE2PS2BF16(pair[0], pair[1], pair[0])
			VMOVUPS(pair[0], Mem{Base: dst})
			ADDQ(step(64), dst)
		}
	})
	VMOVSS(v.tree(acc, joinSum).AsX(), Mem{Base: arg("sums"), Index: at, Scale: 4})
	ADDQ(arg("stride"), row)
	INCQ(at)
	CMPQ(at, count)
	JNE(LabelRef("row"))
	end()
}
