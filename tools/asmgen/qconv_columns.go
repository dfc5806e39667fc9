package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// qconvColumnPixels is the most pixels of these kernels.
const qconvColumnPixels = 7

// columns computes mr pixels of a vector of channels by 3×3 taps of their own, on YMM.
// Neighbouring pixels share the input's columns. Words of the first two rows are beside
// each other, so that VPMADDWD adds their products; those of the third are alone.
func (m qconvMode) columns(stride, mr int) {
	k := m.begin(fmt.Sprintf("columns256_%d_%d", stride, mr), 1, mr)
	w := k.value(qcWeights)
	var weights [3][2]reg.VecVirtual
	for tap := range weights {
		for part := range weights[tap] {
			weights[tap][part] = m.reg()
			VMOVDQU(Mem{Base: w, Disp: (2*tap + part) * m.bytes()}, weights[tap][part])
		}
	}
	step, next := k.value(qcInKH), k.value(qcInKW)
	rows := [3]reg.GPVirtual{GP64(), GP64(), GP64()}
	MOVQ(k.in, rows[0])
	LEAQ(Mem{Base: rows[0], Index: step, Scale: 1}, rows[1])
	LEAQ(Mem{Base: rows[0], Index: step, Scale: 2}, rows[2])
	last := (mr-1)*stride + 2
	for c := range last + 1 {
		x := [2]reg.VecVirtual{m.reg(), m.reg()}
		second := XMM()
		VMOVQ(Mem{Base: rows[0]}, x[0].AsX())
		VMOVQ(Mem{Base: rows[1]}, second)
		VPUNPCKLBW(second, x[0].AsX(), x[0].AsX())
		VPMOVZXBW(x[0].AsX(), x[0])
		VPMOVZXBD(Mem{Base: rows[2]}, x[1])
		for i := range mr {
			tap := c - i*stride
			if tap < 0 || tap > 2 {
				continue
			}
			for part := range x {
				p := m.reg()
				VPMADDWD(weights[tap][part], x[part], p)
				VPADDD(p, k.acc[0][i], k.acc[0][i])
			}
		}
		if c < last {
			for _, r := range rows {
				ADDQ(next, r)
			}
		}
	}
	k.finish()
	k.end()
}
