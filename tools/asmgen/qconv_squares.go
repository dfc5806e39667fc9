package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// qconvSquares writes what internal/kernels/qconv/squares.go runs: Winograd's F(4×4, 3×3) in
// integers. What is transformed fits words; sums are exact modulo 2³².
func qconvSquares() {
	squareInput()
	for mr := 1; mr <= squareRows; mr++ {
		squareProduct(mr)
	}
	squareColumns()
	for mr := 1; mr <= 4; mr++ {
		squareOutput(mr)
	}
}

const (
	squareRows = 6 // most tiles of a product
	squareCell = 64
)

// Offsets in bytes of the fields of qconv's squareTile.
const (
	sqA     = 0
	sqB     = 8
	sqC     = 16
	sqSteps = 24
	sqARow  = 32
	sqLines = 40
)

// squareInput transforms 6×6 pixels, 16 channels at a time, into 36 points; tmp is 36 vectors.
func squareInput() {
	TEXT("squareInput256", NOSPLIT, "func(dst, src, tmp *byte, point, px, row, vectors int)")
	Pragma("noescape")
	get := func(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }
	dst, src, vectors := get("dst"), get("src"), get("vectors")
	px, row := get("px"), get("row")
	far := GP64() // from a row of points to the next
	MOVQ(get("point"), far)
	LEAQ(Mem{Base: far, Index: far, Scale: 2}, far)
	ADDQ(far, far)
	address, n := GP64(), GP64()
	Label("vector")
	from := newPixels(GP64(), px, 6)
	MOVQ(src, from.base)
	Load(Param("tmp"), address)
	MOVQ(U32(6), n)
	Label("row")
	squareInputLine(func(i int) Mem { return from.at(i, 0) }, func(i int) Mem { return Mem{Base: address, Disp: 32 * i} })
	ADDQ(row, from.base)
	ADDQ(Imm(6*32), address)
	DECQ(n)
	JNE(LabelRef("row"))
	to, point := newPixels(GP64(), far, 6), GP64()
	MOVQ(dst, to.base)
	Load(Param("point"), point)
	Load(Param("tmp"), address)
	MOVQ(U32(6), n)
	Label("column")
	squareInputLine(func(i int) Mem { return Mem{Base: address, Disp: 6 * 32 * i} }, func(i int) Mem { return to.at(i, 0) })
	ADDQ(point, to.base)
	ADDQ(Imm(32), address)
	DECQ(n)
	JNE(LabelRef("column"))
	ADDQ(Imm(32), src)
	ADDQ(Imm(32), dst)
	DECQ(vectors)
	JNE(LabelRef("vector"))
	VZEROUPPER()
	RET()
}

// squareInputLine transforms six vectors of words.
func squareInputLine(from, to func(i int) Mem) {
	d := make([]reg.VecVirtual, 6)
	for i := range d {
		d[i] = YMM()
		VMOVDQU(from(i), d[i])
	}
	a, b, c, e, t := YMM(), YMM(), YMM(), YMM(), YMM()
	VPSLLW(Imm(2), d[2], a)
	VPSUBW(a, d[4], a)
	VPSLLW(Imm(2), d[1], b)
	VPSUBW(b, d[3], b)
	VPADDW(b, a, t)
	VMOVDQU(t, to(1))
	VPSUBW(b, a, t)
	VMOVDQU(t, to(2))
	VPSUBW(d[2], d[4], c)
	VPSUBW(d[1], d[3], e)
	VPADDW(e, e, e)
	VPADDW(e, c, t)
	VMOVDQU(t, to(3))
	VPSUBW(e, c, t)
	VMOVDQU(t, to(4))
	VPSUBW(d[2], d[0], t)
	VPSLLW(Imm(2), t, t)
	VPADDW(c, t, t)
	VMOVDQU(t, to(0))
	VPADDW(e, e, e)
	VPSUBW(d[3], d[5], t)
	VPSUBW(e, t, t)
	VMOVDQU(t, to(5))
}

// squareProduct multiplies lines of mr rows of words by a panel of 16 columns.
func squareProduct(mr int) {
	TEXT(fmt.Sprintf("squareProduct256x%d", mr), NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	t := Load(Param("t"), GP64()).(reg.GPVirtual)
	get := func(off int) reg.GPVirtual {
		r := GP64()
		MOVQ(Mem{Base: t, Disp: off}, r)
		return r
	}
	a, c, row, lines := get(sqA), get(sqC), get(sqARow), get(sqLines)
	next := GP64()
	IMUL3Q(Imm(uint64(mr)), row, next)
	Label("line")
	px := newPixels(GP64(), row, mr)
	MOVQ(a, px.base)
	w, n := get(sqB), get(sqSteps)
	acc := make([][2]reg.VecVirtual, mr)
	for i := range acc {
		for j := range acc[i] {
			acc[i][j] = YMM()
			VPXOR(acc[i][j], acc[i][j], acc[i][j])
		}
	}
	Label("step")
	for u := range 2 {
		low, high := YMM(), YMM()
		VMOVDQU(Mem{Base: w, Disp: squareCell * u}, low)
		VMOVDQU(Mem{Base: w, Disp: squareCell*u + 32}, high)
		x, p := YMM(), YMM()
		for i := range acc {
			VPBROADCASTD(px.at(i, 4*u), x)
			VPMADDWD(low, x, p)
			VPMADDWD(high, x, x)
			VPADDD(p, acc[i][0], acc[i][0])
			VPADDD(x, acc[i][1], acc[i][1])
		}
	}
	px.advance(8)
	ADDQ(U32(2*squareCell), w)
	SUBQ(Imm(2), n)
	JNE(LabelRef("step"))
	for i := range acc {
		for j := range acc[i] {
			VMOVDQU(acc[i][j], Mem{Base: c, Disp: squareCell*i + 32*j})
		}
	}
	ADDQ(next, a)
	ADDQ(U32(uint64(squareCell*mr)), c)
	DECQ(lines)
	JNE(LabelRef("line"))
	VZEROUPPER()
	RET()
}

// squareColumns makes 4×6 cells of the 6×6 points of a tile, for 16 channels.
func squareColumns() {
	TEXT("squareColumns256", NOSPLIT, "func(dst, src *byte, point int)")
	Pragma("noescape")
	dst, src, point := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("point"), GP64()).(reg.GPVirtual)
	far, n := GP64(), GP64()
	LEAQ(Mem{Base: point, Index: point, Scale: 2}, far)
	ADDQ(far, far)
	from := newPixels(src, far, 6)
	MOVQ(U32(6), n)
	Label("column")
	for j := range 2 {
		for i, y := range squareOutputLine(func(i int) Mem { return from.at(i, 32*j) }, 4) {
			VMOVDQU(y, Mem{Base: dst, Disp: 6*squareCell*i + 32*j})
		}
	}
	ADDQ(point, from.base)
	ADDQ(Imm(squareCell), dst)
	DECQ(n)
	JNE(LabelRef("column"))
	VZEROUPPER()
	RET()
}

// squareOutputLine gives the first n of four sums of six vectors, times 24.
func squareOutputLine(from func(i int) Mem, n int) (y []reg.VecVirtual) {
	m := make([]reg.VecVirtual, 5)
	for i := range m {
		m[i] = YMM()
		VMOVDQU(from(i), m[i])
	}
	s1, s2, s3, s4 := YMM(), YMM(), YMM(), YMM()
	VPADDD(m[2], m[1], s1)
	VPSUBD(m[2], m[1], s2)
	VPADDD(m[4], m[3], s3)
	VPSUBD(m[4], m[3], s4)
	// 6·m0 + 4·s1 + s3
	y0 := YMM()
	VPADDD(s1, m[0], y0)
	VPADDD(y0, y0, y0)
	VPADDD(m[0], y0, y0)
	VPADDD(y0, y0, y0)
	VPADDD(s3, y0, y0)
	y = append(y, y0)
	if n > 1 { // 4·s2 + 2·s4
		v := YMM()
		VPADDD(s2, s2, v)
		VPADDD(s4, v, v)
		VPADDD(v, v, v)
		y = append(y, v)
	}
	if n > 2 { // 4·s1 + 4·s3
		VPADDD(s3, s1, s1)
		VPSLLD(Imm(2), s1, s1)
		y = append(y, s1)
	}
	if n > 3 { // 4·s2 + 8·s4 + 24·m5
		v := YMM()
		VMOVDQU(from(5), v)
		VPADDD(v, s4, s4)
		VPADDD(v, v, v)
		VPADDD(v, s4, s4)
		VPADDD(s4, s4, s4)
		VPADDD(s4, s2, s2)
		VPSLLD(Imm(2), s2, s2)
		y = append(y, s2)
	}
	return y
}

// squareOutput makes mr pixels of a tile's rows of the cells: 576 times the sums, of which
// 9 is taken by its inverse modulo 2³², and 64 by a shift.
func squareOutput(mr int) {
	k := qconvMode{name: "squareOutput256"}.open(fmt.Sprintf("squareOutput256x%d", mr), 2, mr)
	cells, bias := GP64(), k.get(qcBias)
	MOVQ(k.in, cells)
	k.acc = make([][]reg.VecVirtual, k.nv)
	for j := range k.acc {
		k.acc[j] = squareOutputLine(func(i int) Mem { return Mem{Base: cells, Disp: squareCell*i + 32*j} }, mr)
		for _, a := range k.acc[j] {
			VPMULLD(integer(954437177), a, a)
			VPSRAD(Imm(6), a, a)
			VPADDD(Mem{Base: bias, Disp: 32 * j}, a, a)
		}
	}
	k.finish()
	k.end()
}
