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
	scale := v.param("scale")
	v.relativeRows(scale, func(row reg.GPVirtual, top vec, acc []vec) {
		src, dst := copied(row), copied(row)
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
	})
}
