package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lean says that a kernel has a second loop over k, for B in panels and where little is fetched for
// later calls. Of the 24.5 instructions a step that 12 multiply-adds of 6 rows take in the first it
// keeps 21, which is what a step waits for while another program has the other thread of the core:
// products of 128 rows take 5 % less time then. Fewer rows wait for B.
func (g *gemmKernel) lean() bool { return g.gemmFlavour != gemmZMM && g.mr > 3 }

// leanLoop goes through whole eights of k, in each of which it fetches a line for later calls. Rows
// of a panel follow each other: the processor fetches them.
func (g *gemmKernel) leanLoop(b, k reg.GPVirtual) {
	const unroll = 8
	TESTL(U32(gemmLean), g.flags.As32())
	JEQ(LabelRef("dense"))
	SUBQ(Imm(unroll), k)
	JLT(LabelRef("leanrest"))
	Label("lean")
	PREFETCHT1(Mem{Base: g.next})
	ADDQ(g.field(gemmAdvance), g.next)
	for u := range unroll {
		for j := range g.vecs {
			VMOVUPS(g.at(Mem{Base: b, Disp: u * g.panelBytes()}, j), g.b[j])
		}
		g.products(u)
	}
	ADDQ(U32(uint32(unroll*g.panelBytes())), b)
	g.advance(unroll)
	SUBQ(Imm(unroll), k)
	JGE(LabelRef("lean"))
	Label("leanrest")
	ADDQ(Imm(unroll), k)
	JEQ(LabelRef("finish"))
	Label("dense")
}
