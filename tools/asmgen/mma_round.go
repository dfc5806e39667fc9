package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// mmaBlocks writes the conversion of two blocks of 16 channels to one of 32.
func mmaBlocks() {
	TEXT("blocks512", NOSPLIT, "func(dst *uint16, lo, hi *float32, n, step int)")
	Doc("rounds n pixels, step bytes apart, of two blocks of 16 channels; hi may be nil, which stands for zeros.")
	Pragma("noescape")
	dst, lo, hi, n, step := arg("dst"), arg("lo"), arg("hi"), arg("n"), arg("step")
	VPXORD(Z1, Z1, Z1)
	TESTQ(hi, hi)
	JEQ(LabelRef("single"))
	Label("both")
	VMOVUPS(Mem{Base: lo}, Z0)
	VMOVUPS(Mem{Base: hi}, Z1)
	VCVTNE2PS2BF16(Z0, Z1, Z2)
	VMOVDQU64(Z2, Mem{Base: dst})
	ADDQ(step, lo)
	ADDQ(step, hi)
	ADDQ(Imm(64), dst)
	DECQ(n)
	JNE(LabelRef("both"))
	end()
	Label("single")
	VMOVUPS(Mem{Base: lo}, Z0)
	VCVTNE2PS2BF16(Z0, Z1, Z2)
	VMOVDQU64(Z2, Mem{Base: dst})
	ADDQ(step, lo)
	ADDQ(Imm(64), dst)
	DECQ(n)
	JNE(LabelRef("single"))
	end()
}

// mmaPlanes writes the conversion of up to four planes to pixels of four channels.
func mmaPlanes() {
	TEXT("planes512", NOSPLIT, "func(dst *uint16, p0, p1, p2, p3 *float32, n int)")
	Doc("rounds n pixels of four planes; a plane that is nil stands for zeros.")
	Pragma("noescape")
	dst, n := arg("dst"), arg("n")
	var planes [4]GPVirtual
	for i, name := range []string{"p0", "p1", "p2", "p3"} {
		planes[i] = arg(name)
	}
	lowHalf, highHalf := Z8, Z9
	VMOVDQU32(dwords("planesLow", func(i int) int { return i/2 + 16*(i%2) }), lowHalf)
	VMOVDQU32(dwords("planesHigh", func(i int) int { return 8 + i/2 + 16*(i%2) }), highHalf)
	m, pixels, low, high := GP32(), K(), K(), K()
	Label("loop")
	MOVL(U32(1<<32-1), m)
	count := GP64()
	MOVQ(U32(16), count)
	CMPQ(n, count)
	CMOVQLT(n, count)
	BZHIL(count.As32(), m, m)
	KMOVW(m, pixels)
	ADDQ(count, count)
	MOVL(U32(1<<32-1), m)
	BZHIL(count.As32(), m, m)
	KMOVW(m, low)
	SHRL(Imm(16), m)
	KMOVW(m, high)
	for i, z := range []VecPhysical{Z0, Z1, Z2, Z3} {
		VPXORD(z, z, z)
		TESTQ(planes[i], planes[i])
		skip := []string{"no0", "no1", "no2", "no3"}[i]
		JEQ(LabelRef(skip))
		VMOVUPS_Z(Mem{Base: planes[i]}, pixels, z)
		ADDQ(U32(64), planes[i])
		Label(skip)
	}
	for _, pair := range [][2]VecPhysical{{Z0, Z1}, {Z2, Z3}} {
		for _, z := range pair {
			VCVTNEPS2BF16(z, z.AsY().(VecPhysical))
			VPMOVZXWD(z.AsY(), z)
		}
		VPSLLD(Imm(16), pair[1], pair[1])
		VPORD(pair[0], pair[1], pair[0])
	}
	VMOVDQA64(Z0, Z4)
	VPERMT2D(Z2, lowHalf, Z4)
	VPERMT2D(Z2, highHalf, Z0)
	VMOVDQU32(Z4, low, Mem{Base: dst})
	VMOVDQU32(Z0, high, Mem{Base: dst, Disp: 64})
	ADDQ(U32(128), dst)
	SUBQ(Imm(16), n)
	JGT(LabelRef("loop"))
	end()
}
