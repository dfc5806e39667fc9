package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wideProduct is the loop over k for one or two rows of A and several panels of
// packed B, which it reads as so many streams. A fused multiply-add takes four
// cycles and two begin in each, so it takes eight chains to be bound by reading B
// instead; a row of one panel has two.
func (g *gemmKernel) wideProduct() {
	const unroll = 4
	row := g.panelBytes()
	a, b, k := g.load(gemmA), g.streams(), g.load(gemmK)
	if g.mr > 1 {
		g.lda = g.load(gemmLDA)
	}
	g.a, g.tmp = []reg.GPVirtual{a}, [2]reg.VecVirtual{g.vec(), g.vec()}
	SUBQ(Imm(unroll), k)
	JLT(LabelRef("rest"))
	Label("loop")
	for u := range unroll {
		g.wideStep(b, u)
	}
	for _, p := range b {
		ADDQ(U32(uint32(unroll*row)), p)
	}
	ADDQ(Imm(4*unroll), a)
	SUBQ(Imm(unroll), k)
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(Imm(unroll), k)
	JEQ(LabelRef("finish"))
	Label("restloop")
	g.wideStep(b, 0)
	for _, p := range b {
		ADDQ(U32(uint32(row)), p)
	}
	ADDQ(Imm(4), a)
	DECQ(k)
	JNE(LabelRef("restloop"))
	Label("finish")
}

// streams is where each panel of B begins.
func (g *gemmKernel) streams() []reg.GPVirtual {
	b, step := []reg.GPVirtual{g.load(gemmB)}, g.load(gemmStep)
	for i := 1; i < g.wide; i++ {
		r := GP64()
		LEAQ(Mem{Base: b[i-1], Index: step, Scale: 1}, r)
		b = append(b, r)
	}
	return b
}

// wideStep adds the products of one k, u rows after the pointers. B is fetched 1
// KiB ahead.
func (g *gemmKernel) wideStep(b []reg.GPVirtual, u int) {
	const ahead = 1024
	for i := range g.mr {
		VBROADCASTSS(g.row(i, 4*u), g.tmp[i])
	}
	for p, base := range b {
		for j := range 2 {
			m := g.at(Mem{Base: base, Disp: u * g.panelBytes()}, j)
			if m.Disp%64 == 0 {
				PREFETCHT0(Mem{Base: base, Disp: m.Disp + ahead})
			}
			if g.mr == 1 {
				VFMADD231PS(m, g.tmp[0], g.acc[p][j])
				continue
			}
			v := g.vec()
			VMOVUPS(m, v)
			for i := range g.mr {
				VFMADD231PS(v, g.tmp[i], g.acc[i*g.wide+p][j])
			}
		}
	}
}
