package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// fillLines writes lines of 128 bytes that repeat 32 bytes.
func fillLines() {
	TEXT("fillLinesAVX2", NOSPLIT, "func(dst, src *byte, lines int)")
	Pragma("noescape")
	dst, src, n, r := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("lines"), GP64()), YMM()
	VMOVUPS(Mem{Base: src}, r)
	Label("line")
	for i := range 4 {
		VMOVUPS(r, Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(U32(128), dst)
	DECQ(n)
	JNE(LabelRef("line"))
	VZEROUPPER()
	RET()
}

// copyRows copies rows of at least 32 bytes, each so many bytes after the last.
func copyRows() {
	TEXT("copyRowsAVX2", NOSPLIT, "func(dst, src *byte, rows, bytes, ds, ss int)")
	Pragma("noescape")
	dst, src, rows := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("rows"), GP64())
	size, ds, ss := Load(Param("bytes"), GP64()), Load(Param("ds"), GP64()), Load(Param("ss"), GP64())
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
	VZEROUPPER()
	RET()
}
