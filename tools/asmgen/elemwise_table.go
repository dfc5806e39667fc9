package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["elemwise_table"] = tables }

// tables writes the functions of bytes of internal/kernels/elemwise.
func tables() {
	tableVBMI()
	tableAVX2()
}

// tableVBMI: VPERMI2B looks up 128 entries by seven bits of an index, and the
// eighth says which half of the table counts.
func tableVBMI() {
	TEXT("tableVBMI", NOSPLIT, "func(dst, src *byte, n int, table *byte)")
	Doc("writes dst[i] = table[src[i]] for n i.")
	Pragma("noescape")
	dst, src, n, from := arg("dst"), arg("src"), arg("n"), arg("table")
	var t [4]reg.VecVirtual
	for i := range t {
		t[i] = ZMM()
		VMOVDQU8(Mem{Base: from, Disp: 64 * i}, t[i])
	}
	upper, all := K(), K()
	look := func(x reg.VecVirtual) reg.VecVirtual {
		y := ZMM()
		VMOVDQA64(x, y)
		VPMOVB2M(x, upper)
		VPERMI2B(t[1], t[0], x)
		VPERMI2B(t[3], t[2], y)
		VMOVDQU8(y, upper, x)
		return x
	}
	SUBQ(Imm(64), n)
	JLT(LabelRef("rest"))
	Label("loop")
	x := ZMM()
	VMOVDQU8(Mem{Base: src}, x)
	VMOVDQU8(look(x), Mem{Base: dst})
	ADDQ(Imm(64), src)
	ADDQ(Imm(64), dst)
	SUBQ(Imm(64), n)
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(Imm(64), n)
	JEQ(LabelRef("done"))
	mask := GP64()
	MOVQ(I64(-1), mask)
	BZHIQ(n, mask, mask)
	KMOVQ(mask, all)
	last := ZMM()
	VMOVDQU8_Z(Mem{Base: src}, all, last)
	VMOVDQU8(look(last), all, Mem{Base: dst})
	Label("done")
	end()
}

// tableAVX2 adds up, by exclusive or, what changes from one piece of 16 entries to the
// next, up to the piece of the index: VPSHUFB gives 0 for an index below 0, which
// the index is, less 16 for each piece, from there on.
func tableAVX2() {
	TEXT("tableAVX2", NOSPLIT, "func(dst, src *byte, n int, changes *byte)")
	Doc("writes dst[i] = table[src[i]] for n i, a multiple of 64. Byte j of each 16 of changes",
		"is entry j of that piece of the table, from the second one of each half on combined with entry j of the piece before.")
	Pragma("noescape")
	dst, src, n, changes := arg("dst"), arg("src"), arg("n"), arg("changes")
	sixteen, top := YMM(), YMM()
	VMOVDQU(integer(0x10101010), sixteen)
	VMOVDQU(integer(0x80808080), top)
	Label("loop")
	var x, y [2]reg.VecVirtual
	for i := range x {
		x[i], y[i] = YMM(), YMM()
		VMOVDQU(Mem{Base: src, Disp: 32 * i}, x[i])
	}
	t, r := YMM(), YMM()
	for piece := range 16 {
		VBROADCASTI128(Mem{Base: changes, Disp: 16 * piece}, t)
		for i := range x {
			switch piece {
			case 0:
				VPSHUFB(x[i], t, y[i])
				continue
			case 8:
				VMOVDQU(Mem{Base: src, Disp: 32 * i}, x[i])
				VPXOR(top, x[i], x[i])
			default:
				VPSUBSB(sixteen, x[i], x[i])
			}
			VPSHUFB(x[i], t, r)
			VPXOR(r, y[i], y[i])
		}
	}
	for i := range y {
		VMOVDQU(y[i], Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(Imm(64), src)
	ADDQ(Imm(64), dst)
	SUBQ(Imm(64), n)
	JG(LabelRef("loop"))
	end()
}
