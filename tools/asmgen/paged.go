package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["paged"] = pagedFamily }

// pagedKernel is attention over blocks of pagedTokens tokens for so many rows.
type pagedKernel struct {
	level
	half bool // the cache is float16
	rows int
}

const (
	pagedTokens = 4
	pagedStride = 4 * 128 // bytes from one row of scores to the next
)

func pagedFamily() {
	pagedSpread()
	pagedJoin()
	pagedDivide()
	for _, v := range rowLevels {
		most := 6
		if v.wide {
			most = 8
		}
		for _, half := range []bool{false, true} {
			for rows := 1; rows <= most; rows++ {
				k := pagedKernel{v, half, rows}
				k.score()
				k.sum()
			}
		}
		v.pagedWeigh()
	}
	for _, half := range []bool{false, true} {
		k := pagedKernel{level: avx512, half: half}
		k.packKeys()
		k.packValues()
	}
}

// pagedWeigh turns rows of n scores, a multiple of 32, into their exponentials relative
// to the largest so far. It brings that up to date, gives the factors by which sums
// relative to the one before are too large, and adds to those of the weights.
func (v level) pagedWeigh() {
	TEXT("weigh"+v.suffix(), NOSPLIT, "func(p, largest, sums, factors *float32, rows, n int)")
	Pragma("noescape")
	row, largest, sums, factors := arg("p"), arg("largest"), arg("sums"), arg("factors")
	rows, n := arg("rows"), arg("n")
	at, left := GP64(), GP64()
	each := func(label string, emit func(i int, x Mem)) {
		MOVQ(row, at)
		MOVQ(n, left)
		Label(label)
		for i := range lanes32 / v.width() {
			emit(i, Mem{Base: at, Disp: 4 * v.width() * i})
		}
		ADDQ(step(4*lanes32), at)
		SUBQ(step(lanes32), left)
		JNE(LabelRef(label))
	}
	Label("row")
	old := v.broadcast(Mem{Base: largest})
	acc := make([]vec, lanes32/v.width())
	for i := range acc {
		acc[i] = v.copy(old)
	}
	each("max", func(i int, x Mem) { joinMore(v.load(x), acc[i], acc[i]) })
	top, m := v.tree(acc, joinMore), v.reg()
	VMOVSS(top.AsX(), Mem{Base: largest})
	VBROADCASTSS(top.AsX(), m)
	acc = v.accumulators(fconst(0))
	each("exp", func(i int, x Mem) {
		e := v.expNotPositive(v.sub(v.load(x), m))
		v.store(e, x)
		joinSum(e, acc[i], acc[i])
	})
	factor := v.expNotPositive(v.sub(old, m))
	VMOVSS(factor.AsX(), Mem{Base: factors})
	total := v.mul(factor, v.broadcast(Mem{Base: sums}))
	joinSum(v.tree(acc, joinSum).AsX(), total.AsX(), total.AsX())
	VMOVSS(total.AsX(), Mem{Base: sums})
	ADDQ(step(pagedStride), row)
	for _, p := range []reg.GPVirtual{largest, sums, factors} {
		ADDQ(step(4), p)
	}
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}

func (k pagedKernel) name(what string) string {
	return fmt.Sprintf("%s%sx%d%s", what, k.stored(), k.rows, k.suffix())
}

// size is the bytes of a number of the cache.
func (k pagedKernel) size() int {
	if k.half {
		return 2
	}
	return 4
}

// stored says what a number of the cache is.
func (k pagedKernel) stored() string {
	if k.half {
		return "16"
	}
	return "32"
}

// load reads numbers of the cache.
func (k pagedKernel) load(m Mem) reg.VecVirtual {
	v := k.reg()
	k.loadTo(m, v)
	return v
}

func (k pagedKernel) loadTo(m Mem, v reg.Register) {
	if k.half {
		VCVTPH2PS(m, v)
	} else {
		VMOVUPS(m, v)
	}
}
