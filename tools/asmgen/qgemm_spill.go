package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// qgemmSpillRows is how many rows of A are beside each other for the kernels here.
const qgemmSpillRows = 32

// qgemmSpill writes what adds up the parts by which pairs of B were clipped.
func qgemmSpill() {
	qgemmEvens()
	for rows := 16; rows <= qgemmSpillRows; rows += 16 {
		qgemmSpillColumns(rows)
	}
	qgemmSpillRow()
	transpose8x8()
}

// qgemmSpillRow writes, for a row of bytes, the sum of each of n parts and all before it, since
// the end of such a loop is foreseen better than that of each column's parts.
func qgemmSpillRow() {
	TEXT("spillRow256", NOSPLIT, "func(dst *int32, a *byte, parts *byte, n int)")
	Pragma("noescape")
	dst, a := Load(Param("dst"), GP64()), Load(Param("a"), GP64())
	parts, n := Load(Param("parts"), GP64()), Load(Param("n"), GP64())
	LEAQ(Mem{Base: parts, Index: n, Scale: 8}, parts)
	LEAQ(Mem{Base: dst, Index: n, Scale: 4}, dst)
	NEGQ(n)
	sum := GP32()
	XORL(sum, sum)
	Label("part")
	for i := range 2 {
		x, by := GP64(), GP32()
		MOVWLZX(Mem{Base: parts, Index: n, Scale: 8, Disp: 2 * i}, x.As32())
		MOVBLZX(Mem{Base: a, Index: x, Scale: 2}, x.As32())
		MOVWLSX(Mem{Base: parts, Index: n, Scale: 8, Disp: 4 + 2*i}, by)
		IMULL(by, x.As32())
		ADDL(x.As32(), sum)
	}
	MOVL(sum, Mem{Base: dst, Index: n, Scale: 4})
	INCQ(n)
	JNE(LabelRef("part"))
	RET()
}

// qgemmEvens turns 8 rows' numbers of even k into columns of 8 words: of 32·steps numbers a row
// starting at each of 8 addresses, with some bits flipped.
func qgemmEvens() {
	TEXT("evens256", NOSPLIT, "func(dst *uint16, rows **byte, steps int, flips uint64)")
	Pragma("noescape")
	dst, rows, n := Load(Param("dst"), GP64()), Load(Param("rows"), GP64()), Load(Param("steps"), GP64())
	flips, mask, at := YMM(), YMM(), GP64()
	VMOVQ(Load(Param("flips"), GP64()), flips.AsX())
	VPBROADCASTW(flips.AsX(), flips)
	VMOVDQU(integer(0x00ff00ff), mask)
	var row [8]reg.GPVirtual
	for i := range row {
		row[i] = GP64()
		MOVQ(Mem{Base: rows, Disp: 8 * i}, row[i])
	}
	XORQ(at, at)
	Label("loop")
	r := make([]reg.VecVirtual, len(row))
	for i := range r {
		r[i] = YMM()
		VPAND(Mem{Base: row[i], Index: at, Scale: 1}, mask, r[i])
		VPXOR(flips, r[i], r[i])
	}
	// Each pass interleaves words of rows i and i+4, and three of them all eight.
	for range 3 {
		r = wordsInterleaved(r)
	}
	const column = 2 * qgemmSpillRows
	for i, v := range r {
		VMOVDQU(v.AsX(), Mem{Base: dst, Disp: column * i})
		VEXTRACTI128(Imm(1), v, Mem{Base: dst, Disp: column * (i + 8)})
	}
	ADDQ(Imm(32), at)
	ADDQ(U32(16*column), dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// wordsInterleaved interleaves words of the first half of some registers with those of the second.
func wordsInterleaved(r []reg.VecVirtual) (out []reg.VecVirtual) {
	for i, v := range r[:len(r)/2] {
		low, high := YMM(), YMM()
		VPUNPCKLWD(r[i+len(r)/2], v, low)
		VPUNPCKHWD(r[i+len(r)/2], v, high)
		out = append(out, low, high)
	}
	return out
}

// qgemmSpillColumns adds up for columns of B, and some rows of A, what they were clipped by. The
// parts of a column are pairs: where two numbers of A are, in steps of 2·qgemmSpillRows bytes,
// and what they are multiplied by.
func qgemmSpillColumns(rows int) {
	TEXT(fmt.Sprintf("spill256x%d", rows), NOSPLIT, "func(dst *float32, words *uint16, parts *byte, starts *uint32, columns int)")
	Doc(fmt.Sprintf("writes %d sums for each of some columns.", rows))
	Pragma("noescape")
	dst, words := Load(Param("dst"), GP64()), Load(Param("words"), GP64())
	parts, starts, n := Load(Param("parts"), GP64()), Load(Param("starts"), GP64()), Load(Param("columns"), GP64())
	at, end, first, second := GP64(), GP64(), GP64(), GP64()
	MOVL(Mem{Base: starts}, at.As32())
	LEAQ(Mem{Base: parts, Index: at, Scale: 8}, at)
	Label("column")
	sums := make([]reg.VecVirtual, rows/8) // each two have rows 0 to 3 and 8 to 11, and the others
	for i := range sums {
		sums[i] = YMM()
		VPXOR(sums[i], sums[i], sums[i])
	}
	MOVL(Mem{Base: starts, Disp: 4}, end.As32())
	LEAQ(Mem{Base: parts, Index: end, Scale: 8}, end)
	CMPQ(at, end)
	JEQ(LabelRef("summed"))
	Label("part")
	MOVWLZX(Mem{Base: at}, first.As32())
	MOVWLZX(Mem{Base: at, Disp: 2}, second.As32())
	SHLQ(Imm(6), first)
	SHLQ(Imm(6), second)
	by := YMM()
	VPBROADCASTD(Mem{Base: at, Disp: 4}, by)
	for i := 0; i < len(sums); i += 2 {
		x, y := YMM(), YMM()
		m := Mem{Base: words, Index: second, Scale: 1, Disp: 16 * i}
		VMOVDQU(Mem{Base: words, Index: first, Scale: 1, Disp: 16 * i}, x)
		VPUNPCKLWD(m, x, y)
		VPUNPCKHWD(m, x, x)
		VPMADDWD(by, y, y)
		VPADDD(y, sums[i], sums[i])
		VPMADDWD(by, x, x)
		VPADDD(x, sums[i+1], sums[i+1])
	}
	ADDQ(Imm(8), at)
	CMPQ(at, end)
	JNE(LabelRef("part"))
	Label("summed")
	for i := 0; i < len(sums); i += 2 {
		a, b := YMM(), YMM()
		VPERM2I128(Imm(0x20), sums[i+1], sums[i], a)
		VPERM2I128(Imm(0x31), sums[i+1], sums[i], b)
		VMOVDQU(a, Mem{Base: dst, Disp: 32 * i})
		VMOVDQU(b, Mem{Base: dst, Disp: 32*i + 32})
	}
	ADDQ(Imm(4), starts)
	ADDQ(U32(4*qgemmSpillRows), dst)
	DECQ(n)
	JNE(LabelRef("column"))
	VZEROUPPER()
	RET()
}
