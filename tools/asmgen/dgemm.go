package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["dgemm"] = dgemm }

// dgemm writes the tiles of internal/kernels/dgemm.
func dgemm() {
	for _, v := range rowLevels {
		for rows := 1; rows <= 4; rows++ {
			v.doubleTile(rows)
		}
	}
}

// doubleTile sets c to the sums of some rows of a and three registers of columns of b: chains of fused multiply-adds
// over k in order. Strides are in elements.
func (v level) doubleTile(rows int) {
	const columns = 3
	name, size := fmt.Sprintf("tile%dx%d", 32*v.width(), rows), 4*v.width()
	TEXT(name, NOSPLIT, "func(c, a, b *float64, ldc, lda, ldb, k int)")
	Pragma("noescape")
	c, a, b, ldc, lda, ldb, k := arg("c"), arg("a"), arg("b"), arg("ldc"), arg("lda"), arg("ldb"), arg("k")
	var acc [4][columns]vec
	for i := range rows {
		for j := range columns {
			acc[i][j] = v.reg()
			v.bits(VPXOR, VPXORD)(acc[i][j], acc[i][j], acc[i][j])
		}
	}
	SHLQ(Imm(3), lda)
	SHLQ(Imm(3), ldb)
	SHLQ(Imm(3), ldc)
	from := rowsByFour{[]reg.GPVirtual{a}, lda, times3(lda)}
	Label("each")
	var right [columns]vec
	for j := range columns {
		right[j] = v.reg()
		VMOVUPD(Mem{Base: b, Disp: j * size}, right[j])
	}
	for i := range rows {
		x := v.reg()
		VBROADCASTSD(from.row(i, 0), x)
		for j := range columns {
			VFMADD231PD(right[j], x, acc[i][j])
		}
	}
	ADDQ(Imm(8), a)
	ADDQ(ldb, b)
	DECQ(k)
	JNZ(LabelRef("each"))
	for i := range rows {
		for j := range columns {
			VMOVUPD(acc[i][j], Mem{Base: c, Disp: j * size})
		}
		ADDQ(ldc, c)
	}
	end()
}
