package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// winograd writes the transforms of F(4×4, 3×3) with the interpolation points
// 0, ±1, ±2 (Lavin and Gray, arXiv 1509.09308): of 6×6 inputs, and of 6×6
// products to 4×4 outputs. A point is a vector of channels.
func (l vectorLevel) winograd() {
	l.winogradInput()
	l.winogradOutput()
}

func (l vectorLevel) at(base reg.Register, i int) Mem { return Mem{Base: base, Disp: i * l.bytes()} }

func (l vectorLevel) winogradInput() {
	TEXT("winogradInput"+l.suffix(), NOSPLIT, "func(dst, src, tmp *byte, dstStride, srcRow, n int)")
	Doc("transforms n tiles that follow each other in a row; tmp holds 36 vectors.")
	Pragma("noescape")
	dst, src, tmp, n := arg("dst"), arg("src"), arg("tmp"), arg("n")
	dstStride, srcRow := arg("dstStride"), arg("srcRow")
	c := l.inputConstants()
	p := GP64()
	Label("loop")
	for j := range 6 {
		d := l.regs(6)
		MOVQ(src, p)
		for i := range d {
			VMOVUPS(l.at(p, j), d[i])
			if i < 5 {
				ADDQ(srcRow, p)
			}
		}
		l.turnInput(d, c, func(i int, v reg.VecVirtual) { VMOVUPS(v, l.at(tmp, 6*i+j)) })
	}
	MOVQ(dst, p)
	places := newPixels(p, dstStride, 6)
	for i := range 6 {
		d := l.regs(6)
		for j := range d {
			VMOVUPS(l.at(tmp, 6*i+j), d[j])
		}
		l.turnInput(d, c, func(j int, v reg.VecVirtual) { VMOVUPS(v, places.at(j, 0)) })
		LEAQ(Mem{Base: p, Index: places.step3, Scale: 2}, p)
	}
	ADDQ(U32(uint64(4*l.bytes())), src)
	ADDQ(U32(uint64(l.bytes())), dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}

// inputConstants are the factors of the inputs' transform.
type inputConstants struct{ four, five, two reg.VecVirtual }

func (l vectorLevel) inputConstants() inputConstants {
	c := inputConstants{l.reg(), l.reg(), l.reg()}
	VMOVUPS(constant(4), c.four)
	VMOVUPS(constant(5), c.five)
	VMOVUPS(constant(2), c.two)
	return c
}

// turnInput transforms six inputs d, which it overwrites, and gives each result to store as soon as it is there:
// 4·d0 - 5·d2 + d4, a ± b where a = d4 - 4·d2 and b = d3 - 4·d1, (d4 - d2) ± 2·(d3 - d1), and 4·d1 - 5·d3 + d5.
func (l vectorLevel) turnInput(d []reg.VecVirtual, c inputConstants, store func(i int, v reg.VecVirtual)) {
	a, b := l.reg(), l.reg()
	VMOVAPS(d[4], a)
	VFNMADD231PS(d[2], c.four, a)
	VMOVAPS(d[3], b)
	VFNMADD231PS(d[1], c.four, b)
	VFMADD213PS(d[4], c.four, d[0])
	VFNMADD231PS(d[2], c.five, d[0])
	store(0, d[0])
	VFMADD231PS(d[1], c.four, d[5])
	VFNMADD231PS(d[3], c.five, d[5])
	store(5, d[5])
	VSUBPS(d[2], d[4], d[4])
	VSUBPS(d[1], d[3], d[3])
	v := d[0]
	VADDPS(b, a, v)
	store(1, v)
	VSUBPS(b, a, a)
	store(2, a)
	v = d[1]
	VMOVAPS(d[4], v)
	VFMADD231PS(d[3], c.two, v)
	store(3, v)
	VFNMADD231PS(d[3], c.two, d[4])
	store(4, d[4])
}

func (l vectorLevel) winogradOutput() {
	TEXT("winogradOutput"+l.suffix(), NOSPLIT, "func(dst, residual, src, bias, tmp *byte, srcStride, dstRow, n int, lo, hi float32, clamp int)")
	Doc("transforms n tiles that follow each other in a row, adds bias and residual (or nil)", "and clamps; tmp holds 24 vectors.")
	Pragma("noescape")
	dst, res, src, tmp, n := arg("dst"), arg("residual"), arg("src"), arg("tmp"), arg("n")
	srcStride, dstRow, clamp := arg("srcStride"), arg("dstRow"), arg("clamp")
	bias, lo, hi := l.load(Mem{Base: arg("bias")}), l.param("lo"), l.param("hi")
	p, q := GP64(), GP64()
	finish := winogradFinish{res, q, dstRow, clamp, lo, hi}
	Label("loop")
	row6 := GP64()
	LEAQ(Mem{Base: srcStride, Index: srcStride, Scale: 2}, row6)
	ADDQ(row6, row6)
	MOVQ(src, p)
	for j := range 6 {
		m := l.regs(6)
		MOVQ(p, q)
		for i := range m {
			VMOVUPS(Mem{Base: q}, m[i])
			if i < 5 {
				ADDQ(row6, q)
			}
		}
		if j < 5 {
			ADDQ(srcStride, p)
		}
		l.turnOutput(m, func(i int, v reg.VecVirtual) { VMOVUPS(v, l.at(tmp, 6*i+j)) })
	}
	MOVQ(dst, p)
	MOVQ(res, q)
	for i := range 4 {
		m := l.regs(6)
		for j := range m {
			VMOVUPS(l.at(tmp, 6*i+j), m[j])
		}
		row := make([]reg.VecVirtual, 4)
		l.turnOutput(m, func(j int, v reg.VecVirtual) {
			VADDPS(bias, v, v)
			row[j] = v
		})
		l.finishRow(fmt.Sprint(i), row, finish)
		for j, v := range row {
			VMOVUPS(v, l.at(p, j))
		}
		ADDQ(dstRow, p)
	}
	ADDQ(U32(uint64(4*l.bytes())), dst)
	TESTQ(res, res)
	JE(LabelRef("next"))
	ADDQ(U32(uint64(4*l.bytes())), res)
	Label("next")
	ADDQ(U32(uint64(l.bytes())), src)
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}

// turnOutput transforms six products m, which it overwrites, to four outputs: m0 + s1 + s3, s2 + 2·s4, s1 + 4·s3 and
// s2 + 8·s4 + m5, where s1 and s2 are m1 ± m2, s3 and s4 m3 ± m4.
func (l vectorLevel) turnOutput(m []reg.VecVirtual, store func(i int, v reg.VecVirtual)) {
	s2, s4 := l.reg(), l.reg()
	VSUBPS(m[2], m[1], s2)
	VSUBPS(m[4], m[3], s4)
	VADDPS(m[2], m[1], m[1]) // s1
	VADDPS(m[4], m[3], m[3]) // s3
	VADDPS(m[1], m[0], m[0])
	VADDPS(m[3], m[0], m[0])
	VFMADD231PS(constant(4), m[3], m[1])
	VADDPS(s2, m[5], m[5])
	VFMADD231PS(constant(8), s4, m[5])
	VFMADD231PS(constant(2), s4, s2)
	for i, v := range []reg.VecVirtual{m[0], s2, m[1], m[5]} {
		store(i, v)
	}
}

// winogradFinish is what follows the sums of a row of outputs.
type winogradFinish struct {
	residual, at reg.GPVirtual // nil without one; its next row
	row          reg.GPVirtual // from there to the one after
	clamp        reg.GPVirtual
	lo, hi       reg.VecVirtual
}

// finishRow adds the residual and clamps; label makes the row's labels unlike others'.
func (l vectorLevel) finishRow(label string, row []reg.VecVirtual, f winogradFinish) {
	TESTQ(f.residual, f.residual)
	JE(LabelRef("clamp" + label))
	for j, v := range row {
		VADDPS(l.at(f.at, j), v, v)
	}
	ADDQ(f.row, f.at)
	Label("clamp" + label)
	TESTQ(f.clamp, f.clamp)
	JE(LabelRef("store" + label))
	for _, v := range row {
		VMAXPS(v, f.lo, v)
		VMINPS(v, f.hi, v)
	}
	Label("store" + label)
}
