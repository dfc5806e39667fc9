package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemmDot writes the sum of x[k]·y[k] in 64 partial sums, k mod 64, added as a
// tree: 64 to 32 (sums 0-15 with 16-31, 32-47 with 48-63), to 16, then each half
// onto the other down to one.
func gemmDot(f gemmFlavour) {
	bits := 512
	if f == gemmYMM {
		bits = 256
	}
	TEXT(fmt.Sprintf("dot%d", bits), NOSPLIT, "func(x, y *float32, n int) float32")
	Pragma("noescape")
	d := &dotKernel{
		gemmFlavour: f,
		x:           arg("x"),
		y:           arg("y"),
		n:           arg("n"),
	}
	for range 64 / f.lanes() {
		v := f.vec()
		if f == gemmZMM {
			VPXORD(v, v, v)
		} else {
			VXORPS(v, v, v)
		}
		d.sum = append(d.sum, v)
	}
	d.blocks()
	if f == gemmZMM {
		d.maskedTail()
	} else {
		d.scalarTail()
	}
	Store(d.reduce(), ReturnIndex(0))
	end()
}

type dotKernel struct {
	gemmFlavour
	x, y, n reg.GPVirtual
	sum     []reg.VecVirtual
}

// blocks does 64 elements at a time.
func (d *dotKernel) blocks() {
	SUBQ(Imm(64), d.n)
	JLT(LabelRef("tail"))
	Label("loop")
	for i, s := range d.sum {
		v := d.vec()
		VMOVUPS(Mem{Base: d.x, Disp: i * d.lanes() * 4}, v)
		VFMADD231PS(Mem{Base: d.y, Disp: i * d.lanes() * 4}, v, s)
	}
	ADDQ(U32(256), d.x)
	ADDQ(U32(256), d.y)
	SUBQ(Imm(64), d.n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(64), d.n)
}

// maskedTail adds up to 63 elements and leaves the other sums alone.
func (d *dotKernel) maskedTail() {
	for i, s := range d.sum {
		// bits: min(n, 16) ones, n -= 16
		m, k := GP64(), K()
		MOVQ(I64(-1), m)
		BZHIQ(d.n, m, m)
		KMOVW(m.As32(), k)
		v, w := d.vec(), d.vec()
		VMOVUPS_Z(Mem{Base: d.x, Disp: i * 64}, k, v)
		VMOVUPS_Z(Mem{Base: d.y, Disp: i * 64}, k, w)
		VFMADD231PS(w, v, k, s)
		if i < len(d.sum)-1 {
			SUBQ(Imm(16), d.n)
			JLE(LabelRef("reduce"))
		}
	}
	Label("reduce")
}

// scalarTail adds the rest after spilling the sums.
func (d *dotKernel) scalarTail() {
	TESTQ(d.n, d.n)
	JEQ(LabelRef("reduce"))
	spill := AllocLocal(256)
	for i, s := range d.sum {
		VMOVUPS(s, spill.Offset(i*32))
	}
	i, v, w := GP64(), XMM(), XMM()
	XORQ(i, i)
	Label("tailloop")
	at := Mem{Base: spill.Base, Disp: spill.Disp, Symbol: spill.Symbol, Index: i, Scale: 4}
	VMOVSS(at, w)
	VMOVSS(Mem{Base: d.x, Index: i, Scale: 4}, v)
	VFMADD231SS(Mem{Base: d.y, Index: i, Scale: 4}, v, w)
	VMOVSS(w, at)
	INCQ(i)
	CMPQ(i, d.n)
	JLT(LabelRef("tailloop"))
	for i, s := range d.sum {
		VMOVUPS(spill.Offset(i*32), s)
	}
	Label("reduce")
}

// reduce adds the partial sums.
func (d *dotKernel) reduce() reg.VecVirtual {
	s := d.sum
	var y reg.VecVirtual // eight sums
	if d.gemmFlavour == gemmZMM {
		VADDPS(s[1], s[0], s[0])
		VADDPS(s[3], s[2], s[2])
		VADDPS(s[2], s[0], s[0])
		hi := YMM()
		VEXTRACTF64X4(Imm(1), s[0], hi)
		y = YMM()
		VADDPS(hi, s[0].AsY(), y)
	} else {
		// s[2i] and s[2i+1] are the halves of what AVX-512 has in one register.
		for h := range 2 {
			VADDPS(s[2+h], s[0+h], s[0+h])
			VADDPS(s[6+h], s[4+h], s[4+h])
			VADDPS(s[4+h], s[0+h], s[0+h])
		}
		y = YMM()
		VADDPS(s[1], s[0], y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, t)
	VADDPS(t, y.AsX(), x)
	VMOVHLPS(x, x, t)
	VADDPS(t, x, x)
	VMOVSHDUP(x, t)
	VADDSS(t, x, x)
	return x
}

// transpose8x8 writes the transposition of 8 rows of floats, in blocks of 8
// columns.
func transpose8x8() {
	TEXT("transpose8x8", NOSPLIT, "func(dst, src *float32, dstStride, srcStride, blocks int)")
	Pragma("noescape")
	dst, src, ds, ss, n := arg("dst"), arg("src"), arg("dstStride"), arg("srcStride"), arg("blocks")
	SHLQ(Imm(2), ds)
	SHLQ(Imm(2), ss)
	ss3, ds3 := times3(ss), times3(ds)
	from := rowsByFour{[]reg.GPVirtual{src, GP64()}, ss, ss3}
	to := rowsByFour{[]reg.GPVirtual{dst, GP64()}, ds, ds3}
	TESTQ(n, n)
	JEQ(LabelRef("done"))
	Label("loop")
	from.next()
	to.next()
	for i, v := range transposedRows(from, 0) {
		VMOVUPS(v, to.row(i, 0))
	}
	ADDQ(Imm(32), src)
	LEAQ(Mem{Base: to.fourths[1], Index: ds, Scale: 4}, dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	Label("done")
	end()
}

// transposedRows loads an 8×8 block, disp bytes after its pointers, and transposes it in
// registers: pairs, then quads, then halves.
func transposedRows(src rowsByFour, disp int) [8]reg.VecVirtual {
	var r, t, u, out [8]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVUPS(src.row(i, disp), r[i])
	}
	for i := 0; i < 8; i += 2 {
		t[i], t[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < 8; i += 4 {
		for j := range 2 {
			u[i+2*j], u[i+2*j+1] = YMM(), YMM()
			VUNPCKLPD(t[i+2+j], t[i+j], u[i+2*j])
			VUNPCKHPD(t[i+2+j], t[i+j], u[i+2*j+1])
		}
	}
	for i := range 4 {
		out[i], out[i+4] = YMM(), YMM()
		VPERM2F128(Imm(0x20), u[i+4], u[i], out[i])
		VPERM2F128(Imm(0x31), u[i+4], u[i], out[i+4])
	}
	return out
}
