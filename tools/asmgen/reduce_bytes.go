package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// leastBytes writes the least of x^flip of each row of bytes, and flips it back: with the bits to flip
// it is the least or greatest of unsigned or signed numbers. Rows have 16 bytes at least; some of their
// ends are taken twice.
func leastBytes() {
	TEXT("leastBytesAVX2", NOSPLIT, "func(dst, src *byte, rows, n int, flip uint8)")
	Pragma("noescape")
	dst, src, rows, n := arg("dst"), arg("src"), arg("rows"), arg("n")
	flip, bits := GP32(), YMM()
	Load(Param("flip"), flip.As8())
	VMOVD(flip, bits.AsX())
	VPBROADCASTB(bits.AsX(), bits)
	at, last, y, x := GP64(), GP64(), YMM(), YMM()
	Label("row")
	CMPQ(n, Imm(32))
	JLT(LabelRef("short"))
	VPXOR(Mem{Base: src}, bits, y)
	MOVQ(n, last)
	SUBQ(Imm(32), last)
	MOVQ(U32(32), at)
	JMP(LabelRef("check"))
	Label("piece")
	VPXOR(Mem{Base: src, Index: at, Scale: 1}, bits, x)
	VPMINUB(x, y, y)
	ADDQ(Imm(32), at)
	Label("check")
	CMPQ(at, last)
	JLT(LabelRef("piece"))
	VPXOR(Mem{Base: src, Index: last, Scale: 1}, bits, x)
	VPMINUB(x, y, y)
	VEXTRACTI128(Imm(1), y, x.AsX())
	JMP(LabelRef("join"))
	Label("short")
	VPXOR(Mem{Base: src}, bits.AsX(), y.AsX())
	VPXOR(Mem{Base: src, Index: n, Scale: 1, Disp: -16}, bits.AsX(), x.AsX())
	Label("join")
	VPMINUB(x.AsX(), y.AsX(), y.AsX())
	VPSRLW(Imm(8), y.AsX(), x.AsX())
	VPMINUB(x.AsX(), y.AsX(), y.AsX()) // of each pair, in 16 bits
	VPHMINPOSUW(y.AsX(), y.AsX())
	least := GP32()
	VMOVD(y.AsX(), least)
	XORL(flip, least)
	MOVB(least.As8(), Mem{Base: dst})
	ADDQ(n, src)
	INCQ(dst)
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}
