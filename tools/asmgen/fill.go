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
