package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose writes the kernel that turns squares of floats, as wide as a
// vector: row i of a square becomes column i. It does n squares, each step
// bytes after the last.
func (l vectorLevel) transpose() {
	TEXT("transpose"+l.suffix(), NOSPLIT, "func(dst, src *byte, dstStride, srcStride, dstStep, srcStep, n int)")
	Doc(fmt.Sprintf("transposes n squares of %d×%d floats; strides and steps in bytes.", l.bytes()/4, l.bytes()/4))
	Pragma("noescape")
	dst, src, dstStride, srcStride := arg("dst"), arg("src"), arg("dstStride"), arg("srcStride")
	dstStep, srcStep, n := arg("dstStep"), arg("srcStep"), arg("n")
	p := GP64()
	Label("loop")
	rows := make([]reg.VecVirtual, l.bytes()/4)
	MOVQ(src, p)
	for i := range rows {
		rows[i] = l.reg()
		VMOVUPS(Mem{Base: p}, rows[i])
		ADDQ(srcStride, p)
	}
	if l.wide {
		rows = l.turn16(rows)
	} else {
		rows = l.turn8(rows)
	}
	MOVQ(dst, p)
	for _, r := range rows {
		VMOVUPS(r, Mem{Base: p})
		ADDQ(dstStride, p)
	}
	ADDQ(srcStep, src)
	ADDQ(dstStep, dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}

// quads turns every 4×4 square within 4 rows: output j of four holds, in each
// 128-bit lane, column j of that lane's square.
func (l vectorLevel) quads(r []reg.VecVirtual) []reg.VecVirtual {
	t := []reg.VecVirtual{l.reg(), l.reg(), l.reg(), l.reg()}
	VUNPCKLPS(r[1], r[0], t[0])
	VUNPCKHPS(r[1], r[0], t[1])
	VUNPCKLPS(r[3], r[2], t[2])
	VUNPCKHPS(r[3], r[2], t[3])
	VUNPCKLPD(t[2], t[0], r[0])
	VUNPCKHPD(t[2], t[0], r[1])
	VUNPCKLPD(t[3], t[1], r[2])
	VUNPCKHPD(t[3], t[1], r[3])
	return r
}

func (l vectorLevel) turn8(r []reg.VecVirtual) []reg.VecVirtual {
	a, b := l.quads(r[:4]), l.quads(r[4:])
	out := make([]reg.VecVirtual, 8)
	for j := range 4 {
		out[j], out[j+4] = l.reg(), b[j]
		VPERM2F128(Imm(0x20), b[j], a[j], out[j])
		VPERM2F128(Imm(0x31), b[j], a[j], out[j+4])
	}
	return out
}

func (l vectorLevel) turn16(r []reg.VecVirtual) []reg.VecVirtual {
	var q [4][]reg.VecVirtual
	for i := range q {
		q[i] = l.quads(r[4*i : 4*i+4])
	}
	out := make([]reg.VecVirtual, 16)
	for j := range 4 {
		// Lanes 0 and 2, 1 and 3 of two groups of rows, then of all four.
		even, odd := l.reg(), q[0][j]
		VSHUFF32X4(Imm(0x88), q[1][j], q[0][j], even)
		VSHUFF32X4(Imm(0xdd), q[1][j], q[0][j], odd)
		even2, odd2 := l.reg(), q[2][j]
		VSHUFF32X4(Imm(0x88), q[3][j], q[2][j], even2)
		VSHUFF32X4(Imm(0xdd), q[3][j], q[2][j], odd2)
		for k, pair := range [][2]reg.VecVirtual{{even, even2}, {odd, odd2}} {
			low := l.reg()
			VSHUFF32X4(Imm(0x88), pair[1], pair[0], low)
			VSHUFF32X4(Imm(0xdd), pair[1], pair[0], pair[0])
			out[4*k+j], out[4*(k+2)+j] = low, pair[0]
		}
	}
	return out
}
