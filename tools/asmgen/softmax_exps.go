package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exps turns rows of scores into e^(score-m) in place, with m the greatest of the row
// and of what came before. It stores m and the sum of the exponentials. A row that is
// -Inf, as what came before is, gives zeros.
func (v level) exps() {
	TEXT("exps"+v.suffix(), NOSPLIT, "func(scores *float32, stride, rows, n int, before, tops, sums *float32)")
	Pragma("noescape")
	v.relativeRows(nil, func(row reg.GPVirtual, top vec, acc []vec) {
		src := copied(row)
		v.lanesLoop(arg("n"), []reg.GPVirtual{src}, func(i, disp int, t *tail) {
			e := v.expNotPositive(v.sub(v.get(src, disp, t), top))
			v.put(e, src, disp, t)
			joinSum(v.only(e, t), acc[i], acc[i])
		})
	})
}

// relativeRows goes through rows of scores, which weigh turns into weights relative to their greatest; it adds these to lanes. A
// scale of the scores may be nil.
func (v level) relativeRows(scale vec, weigh func(row reg.GPVirtual, top vec, acc []vec)) {
	row, count, at := arg("scores"), arg("rows"), GP64()
	XORQ(at, at)
	least := bitsConst(minusInf)

	Label("row")
	acc, nan := v.accumulators(least), v.noNaN(true)
	src := copied(row)
	v.part = "top"
	v.lanesLoop(arg("n"), []reg.GPVirtual{src}, func(i, disp int, t *tail) {
		m := Mem{Base: src, Disp: disp}
		var x vec
		if t == nil {
			x = v.load(m)
		} else {
			x = v.loadTailOr(m, *t, least)
		}
		nan.see(x)
		joinMore(x, acc[i], acc[i])
	})
	top := v.reg()
	VBROADCASTSS(v.tree(acc, joinMore).AsX(), top)
	if scale != nil {
		VMULPS(scale, top, top)
	}
	old := v.broadcast(Mem{Base: arg("before"), Index: at, Scale: 4})
	nan.see(old)
	joinMore(old, top, top)
	nan.spoilAll(top)
	VMOVSS(top.AsX(), Mem{Base: arg("tops"), Index: at, Scale: 4})
	top = v.pick(v.cmp(eqOQ, top, v.load(least)), v.load(fconst(0)), top)

	acc = v.accumulators(fconst(0))
	weigh(row, top, acc)
	VMOVSS(v.tree(acc, joinSum).AsX(), Mem{Base: arg("sums"), Index: at, Scale: 4})
	ADDQ(arg("stride"), row)
	INCQ(at)
	CMPQ(at, count)
	JNE(LabelRef("row"))
	end()
}

func copied(from reg.GPVirtual) reg.GPVirtual {
	r := GP64()
	MOVQ(from, r)
	return r
}
