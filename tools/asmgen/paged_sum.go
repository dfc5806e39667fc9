package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// multiplyAdd adds x times the number at m to each of the sums.
func (k pagedKernel) multiplyAdd(m Mem, x, sums []reg.VecVirtual) {
	if k.wide && len(x) == 1 {
		VFMADD231PS_BCST(m, x[0], sums[0])
		return
	}
	b := k.reg()
	VBROADCASTSS(m, b)
	for i, s := range sums {
		VFMADD231PS(x[i], b, s)
	}
}

// columns is how many registers of columns are summed at once.
func (k pagedKernel) columns() int {
	registers := 16
	if k.wide {
		registers = 32
	}
	for n := 4; n > 1; n /= 2 {
		if (k.rows+1)*n < registers {
			return n
		}
	}
	return 1
}

// sum multiplies d-element rows of o by factors and adds the values of n tokens, weighted.
func (k pagedKernel) sum() {
	TEXT(k.name("sum"), NOSPLIT, "func(o, factors, p *float32, list, fetch *uintptr, d, n int)")
	Pragma("noescape")
	d := arg("d")
	stride, pitch, at := GP64(), GP64(), GP64() // bytes of a row of o and of a token, and where columns are in that
	MOVQ(d, stride)
	SHLQ(Imm(2), stride)
	MOVQ(d, pitch)
	SHLQ(Imm(uint64(k.size()/2)), pitch) // times 2 or 4
	rows := newRowsByThree(arg("o"), stride, k.rows)
	XORQ(at, at)
	for parts := k.columns(); parts > 0; parts /= 2 {
		k.sumColumns(rows, d, pitch, at, parts, parts == 1)
	}
	Label("done")
	end()
}

// sumColumns takes parts registers of columns at a time while there are as many;
// the last ones may be fewer than a register holds.
func (k pagedKernel) sumColumns(rows *rowsByThree, d, pitch, at reg.GPVirtual, parts int, last bool) {
	width := parts * k.width()
	label := func(s string) string { return fmt.Sprintf("%s%d", s, parts) }
	Label(label("columns"))
	CMPQ(d, step(width))
	JLT(LabelRef(label("fewer")))
	k.sumTokens(rows, pitch, at, parts, fmt.Sprint(parts))
	ADDQ(step(width*k.size()), at)
	rows.advance(4 * width)
	SUBQ(step(width), d)
	JMP(LabelRef(label("columns")))
	Label(label("fewer"))
	if last && k.wide { // 8 columns are left, or none
		TESTQ(d, d)
		JEQ(LabelRef("done"))
		narrow := k
		narrow.level = avx2
		narrow.sumTokens(rows, pitch, at, 1, "Narrow")
	}
}

// sumTokens takes one block after the other, and has one of another list
// fetched.
func (k pagedKernel) sumTokens(rows *rowsByThree, pitch, at reg.GPVirtual, parts int, label string) {
	sums, factors := make([][]reg.VecVirtual, k.rows), arg("factors")
	for r := range sums {
		f := k.reg()
		VBROADCASTSS(Mem{Base: factors, Disp: 4 * r}, f)
		for i := range parts {
			s := k.reg()
			VMULPS(rows.at(r, 4*k.width()*i), f, s)
			sums[r] = append(sums[r], s)
		}
	}
	list, left, w := arg("list"), arg("n"), arg("p")
	v, third, bytes := GP64(), GP64(), k.width()*k.size()
	fetch := arg("fetch")
	block := func(list reg.Register) {
		MOVQ(Mem{Base: list}, v)
		ADDQ(at, v)
		LEAQ(Mem{Base: v, Index: pitch, Scale: 2}, third)
	}
	token := func(i, disp int) Mem { // of a block
		if i%2 == 0 {
			return Mem{Base: []reg.GPVirtual{v, third}[i/2], Disp: disp}
		}
		return Mem{Base: []reg.GPVirtual{v, third}[i/2], Index: pitch, Scale: 1, Disp: disp}
	}
	add := func(i int) {
		values := make([]reg.VecVirtual, parts)
		for part := range values {
			values[part] = k.load(token(i, part*bytes))
		}
		for r := range sums {
			k.multiplyAdd(Mem{Base: w, Disp: r*pagedStride + 4*i}, values, sums[r])
		}
	}
	JMP(LabelRef("more" + label))
	Label("block" + label)
	block(list)
	for i := range pagedTokens {
		add(i)
	}
	block(fetch)
	for i := range pagedTokens {
		for line := 0; line < parts*bytes; line += 64 {
			PREFETCHT1(token(i, line))
		}
	}
	ADDQ(step(8), list)
	ADDQ(step(8), fetch)
	ADDQ(step(4*pagedTokens), w)
	Label("more" + label)
	SUBQ(step(pagedTokens), left)
	JGE(LabelRef("block" + label))
	ADDQ(step(pagedTokens), left)
	JEQ(LabelRef("sums" + label))
	block(list)
	Label("token" + label) // of the last block, which is not full
	add(0)
	ADDQ(pitch, v)
	ADDQ(step(4), w)
	DECQ(left)
	JNE(LabelRef("token" + label))
	Label("sums" + label)
	for r := range sums {
		for i, s := range sums[r] {
			VMOVUPS(s, rows.at(r, 4*k.width()*i))
		}
	}
}

// pagedJoin multiplies rows of o by factors, and adds weighted rows of part.
func pagedJoin() {
	TEXT("joinAVX2", NOSPLIT, "func(o, part, factors, weights *float32, rows, d int)")
	Pragma("noescape")
	o, part, f, g := arg("o"), arg("part"), arg("factors"), arg("weights")
	rows, left, before, weight := arg("rows"), GP64(), YMM(), YMM()
	Label("row")
	VBROADCASTSS(Mem{Base: f}, before)
	VBROADCASTSS(Mem{Base: g}, weight)
	Load(Param("d"), left)
	Label("loop")
	x := YMM()
	VMULPS(Mem{Base: o}, before, x)
	VFMADD231PS(Mem{Base: part}, weight, x)
	VMOVUPS(x, Mem{Base: o})
	ADDQ(step(32), o)
	ADDQ(step(32), part)
	SUBQ(step(8), left)
	JNE(LabelRef("loop"))
	ADDQ(step(4), f)
	ADDQ(step(4), g)
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}

// pagedDivide multiplies rows of o by the reciprocals of their sums, and adds 0, which makes
// -0 a 0.
func pagedDivide() {
	TEXT("divideAVX2", NOSPLIT, "func(dst, o, sums *float32, rows, d int)")
	Pragma("noescape")
	dst, o, sums := arg("dst"), arg("o"), arg("sums")
	rows, left := arg("rows"), GP64()
	one, zero, factor := XMM(), YMM(), YMM()
	VMOVSS(fconst(1), one)
	VXORPS(zero, zero, zero)
	Label("row")
	VDIVSS(Mem{Base: sums}, one, factor.AsX())
	VBROADCASTSS(factor.AsX(), factor)
	Load(Param("d"), left)
	Label("loop")
	x := YMM()
	VMULPS(Mem{Base: o}, factor, x)
	VADDPS(zero, x, x)
	VMOVUPS(x, Mem{Base: dst})
	ADDQ(step(32), dst)
	ADDQ(step(32), o)
	SUBQ(step(8), left)
	JNE(LabelRef("loop"))
	ADDQ(step(4), sums)
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}
