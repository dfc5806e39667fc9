package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["softmax"] = softmaxFamily }

func softmaxFamily() {
	for _, v := range rowLevels {
		v.expSumBlock()
		v.softmaxRow()
		v.shift()
		v.exps()
		v.powers()
	}
	avx512.weights()
}

// expSumBlock computes dst = e^(src-m) and its sum, for m the greatest or NaN.
func (v level) expSumBlock() {
	TEXT("expSum"+v.suffix(), NOSPLIT, "func(dst, src []float32, m float32) float32")
	Pragma("noescape")
	dst, src, n, m := base("dst"), base("src"), length("dst"), v.param("m")
	acc := v.accumulators(fconst(0))
	v.lanesLoop(n, []reg.GPVirtual{dst, src}, func(i, disp int, t *tail) {
		e := v.expNotPositive(v.sub(v.get(src, disp, t), m))
		v.put(e, dst, disp, t)
		joinSum(v.only(e, t), acc[i], acc[i])
	})
	result(v.tree(acc, joinSum), ReturnIndex(0))
	end()
}

// softmaxRow computes the softmax of a row of at most 4096 elements, and returns
// its greatest; a row without one, all -Inf or NaN, is left as it is.
func (v level) softmaxRow() {
	TEXT("softmaxRow"+v.suffix(), NOSPLIT, "func(dst, src []float32) float32")
	Pragma("noescape")
	p, n := base("src"), length("src")
	least := bitsConst(minusInf)
	acc := v.accumulators(least)
	v.part = "max"
	v.lanesLoop(n, []reg.GPVirtual{p}, func(i, disp int, t *tail) {
		m := Mem{Base: p, Disp: disp}
		if t == nil {
			joinMore(v.load(m), acc[i], acc[i])
		} else {
			joinMore(v.loadTailOr(m, *t, least), acc[i], acc[i])
		}
	})
	top := v.tree(acc, joinMore)
	result(top, ReturnIndex(0))
	VUCOMISS(least, top.AsX())
	JEQ(LabelRef("return"))

	m := v.reg()
	VBROADCASTSS(top.AsX(), m)
	dst, src, n := base("dst"), base("src"), length("dst")
	acc = v.accumulators(fconst(0))
	v.part = "exp"
	v.lanesLoop(n, []reg.GPVirtual{dst, src}, func(i, disp int, t *tail) {
		e := v.expNotPositive(v.sub(v.get(src, disp, t), m))
		v.put(e, dst, disp, t)
		joinSum(v.only(e, t), acc[i], acc[i])
	})
	one, inverse := XMM(), v.reg()
	VMOVSS(fconst(1), one)
	VDIVSS(v.tree(acc, joinSum).AsX(), one, one)
	VBROADCASTSS(one, inverse)

	dst, n = base("dst"), length("dst")
	v.part = "scale"
	v.rowLoop(n, 2, []reg.GPVirtual{dst}, func(disp int, t *tail) {
		v.put(v.mul(v.get(dst, disp, t), inverse), dst, disp, t)
	})
	Label("return")
	end()
}

// shift computes dst = src - first - second.
func (v level) shift() {
	TEXT("shift"+v.suffix(), NOSPLIT, "func(dst, src []float32, first, second float32)")
	Pragma("noescape")
	dst, src, n, first, second := base("dst"), base("src"), length("dst"), v.param("first"), v.param("second")
	v.rowLoop(n, 2, []reg.GPVirtual{dst, src}, func(disp int, t *tail) {
		v.put(v.sub(v.sub(v.get(src, disp, t), first), second), dst, disp, t)
	})
	end()
}
