package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// fillLines writes lines of 128 bytes that repeat 32 bytes.
func fillLines() {
	TEXT("fillLinesAVX2", NOSPLIT, "func(dst, src *byte, lines int)")
	Pragma("noescape")
	dst, src, n, r := arg("dst"), arg("src"), arg("lines"), YMM()
	VMOVUPS(Mem{Base: src}, r)
	Label("line")
	for i := range 4 {
		VMOVUPS(r, Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(U32(128), dst)
	DECQ(n)
	JNE(LabelRef("line"))
	end()
}

// copyRows copies rows of at least 32 bytes, each so many bytes after the last.
func copyRows() {
	TEXT("copyRowsAVX2", NOSPLIT, "func(dst, src *byte, rows, bytes, ds, ss int)")
	Pragma("noescape")
	dst, src, rows, size, ds, ss := arg("dst"), arg("src"), arg("rows"), arg("bytes"), arg("ds"), arg("ss")
	last := GP64() // where the last 32 bytes begin
	MOVQ(size, last)
	SUBQ(Imm(32), last)
	at, x, y := GP64(), YMM(), YMM()
	Label("row")
	VMOVUPS(Mem{Base: src, Index: last, Scale: 1}, y)
	VMOVUPS(y, Mem{Base: dst, Index: last, Scale: 1})
	XORQ(at, at)
	JMP(LabelRef("check"))
	Label("piece")
	VMOVUPS(Mem{Base: src, Index: at, Scale: 1}, x)
	VMOVUPS(x, Mem{Base: dst, Index: at, Scale: 1})
	ADDQ(Imm(32), at)
	Label("check")
	CMPQ(at, last)
	JLT(LabelRef("piece"))
	ADDQ(ss, src)
	ADDQ(ds, dst)
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}

// doubleBytes writes each element of lines of 32 bytes twice, to two places.
func doubleBytes() {
	for _, d := range []struct {
		size      int
		low, high func(b, a, r Op)
	}{
		{1, func(b, a, r Op) { VPUNPCKLBW(b, a, r) }, func(b, a, r Op) { VPUNPCKHBW(b, a, r) }},
		{2, func(b, a, r Op) { VPUNPCKLWD(b, a, r) }, func(b, a, r Op) { VPUNPCKHWD(b, a, r) }},
		{4, func(b, a, r Op) { VPUNPCKLDQ(b, a, r) }, func(b, a, r Op) { VPUNPCKHDQ(b, a, r) }},
		{8, func(b, a, r Op) { VPUNPCKLQDQ(b, a, r) }, func(b, a, r Op) { VPUNPCKHQDQ(b, a, r) }},
	} {
		TEXT(fmt.Sprintf("double%dAVX2", d.size), NOSPLIT, "func(dst, again, src *byte, lines int)")
		Pragma("noescape")
		dst, again, src, n := arg("dst"), arg("again"), arg("src"), arg("lines")
		x, low, high := YMM(), YMM(), YMM()
		Label("line")
		VPERMQ(Imm(0xd8), Mem{Base: src}, x)
		d.low(x, x, low)
		d.high(x, x, high)
		for i, y := range []Op{low, high} {
			VMOVDQU(y, Mem{Base: dst, Disp: 32 * i})
			VMOVDQU(y, Mem{Base: again, Disp: 32 * i})
		}
		ADDQ(Imm(32), src)
		ADDQ(Imm(64), dst)
		ADDQ(Imm(64), again)
		DECQ(n)
		JNE(LabelRef("line"))
		end()
	}
}
