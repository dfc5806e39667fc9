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
	for _, m := range []squareMode{{avx2, 6}, {avx512, 14}} {
		m.input()
		for mr := 1; mr <= m.rows; mr++ {
			m.product(mr)
		}
		m.columns()
		for mr := 1; mr <= 4; mr++ {
			m.output(mr)
		}
	}
}

// squareMode is the registers, and the most tiles of a line of a product.
type squareMode struct {
	level
	rows int
}

const squareCell = 64 // bytes of 16 columns

// vecs is the vectors of a cell.
func (m squareMode) vecs() int { return squareCell / m.bytes() }

func (m squareMode) loadWords(from Mem, to reg.VecVirtual) {
	if m.wide {
		VMOVDQU32(from, to)
	} else {
		VMOVDQU(from, to)
	}
}

func (m squareMode) storeWords(from reg.VecVirtual, to Mem) {
	if m.wide {
		VMOVDQU32(from, to)
	} else {
		VMOVDQU(from, to)
	}
}

func (m squareMode) text(name, signature string, mr ...int) {
	name = fmt.Sprintf("square%s%d", name, 8*m.bytes())
	if len(mr) > 0 {
		name += fmt.Sprintf("x%d", mr[0])
	}
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
}

// Offsets in bytes of the fields of qconv's squareTile.
const (
	sqA     = 0
	sqB     = 8
	sqC     = 16
	sqSteps = 24
	sqARow  = 32
	sqLines = 40
)

// input transforms 6×6 pixels, a vector of channels at a time, into 36 points; tmp is 36 vectors.
func (m squareMode) input() {
	m.text("Input", "func(dst, src, tmp *byte, point, px, row, vectors int)")
	bytes := m.bytes()
	dst, src, vectors, px, row := arg("dst"), arg("src"), arg("vectors"), arg("px"), arg("row")
	far := GP64() // from a row of points to the next
	MOVQ(arg("point"), far)
	LEAQ(Mem{Base: far, Index: far, Scale: 2}, far)
	ADDQ(far, far)
	address, n := GP64(), GP64()
	Label("vector")
	from := newPixels(GP64(), px, 6)
	MOVQ(src, from.base)
	Load(Param("tmp"), address)
	MOVQ(U32(6), n)
	Label("row")
	m.inputLine(func(i int) Mem { return from.at(i, 0) }, func(i int) Mem { return Mem{Base: address, Disp: bytes * i} })
	ADDQ(row, from.base)
	ADDQ(U32(uint64(6*bytes)), address)
	DECQ(n)
	JNE(LabelRef("row"))
	to, point := newPixels(GP64(), far, 6), GP64()
	MOVQ(dst, to.base)
	Load(Param("point"), point)
	Load(Param("tmp"), address)
	MOVQ(U32(6), n)
	Label("column")
	m.inputLine(func(i int) Mem { return Mem{Base: address, Disp: 6 * bytes * i} }, func(i int) Mem { return to.at(i, 0) })
	ADDQ(point, to.base)
	ADDQ(Imm(uint64(bytes)), address)
	DECQ(n)
	JNE(LabelRef("column"))
	ADDQ(Imm(uint64(bytes)), src)
	ADDQ(Imm(uint64(bytes)), dst)
	DECQ(vectors)
	JNE(LabelRef("vector"))
	end()
}

// inputLine transforms six vectors of words.
func (m squareMode) inputLine(from, to func(i int) Mem) {
	d := make([]reg.VecVirtual, 6)
	for i := range d {
		d[i] = m.reg()
		m.loadWords(from(i), d[i])
	}
	a, b, c, e, t := m.reg(), m.reg(), m.reg(), m.reg(), m.reg()
	VPSLLW(Imm(2), d[2], a)
	VPSUBW(a, d[4], a)
	VPSLLW(Imm(2), d[1], b)
	VPSUBW(b, d[3], b)
	VPADDW(b, a, t)
	m.storeWords(t, to(1))
	VPSUBW(b, a, t)
	m.storeWords(t, to(2))
	VPSUBW(d[2], d[4], c)
	VPSUBW(d[1], d[3], e)
	VPADDW(e, e, e)
	VPADDW(e, c, t)
	m.storeWords(t, to(3))
	VPSUBW(e, c, t)
	m.storeWords(t, to(4))
	VPSUBW(d[2], d[0], t)
	VPSLLW(Imm(2), t, t)
	VPADDW(c, t, t)
	m.storeWords(t, to(0))
	VPADDW(e, e, e)
	VPSUBW(d[3], d[5], t)
	VPSUBW(e, t, t)
	m.storeWords(t, to(5))
}

// product multiplies lines of mr rows of words by a panel of 16 columns.
func (m squareMode) product(mr int) {
	m.text("Product", "func(t *byte)", mr)
	t := argStruct{arg("t")}
	a, c, row, lines := t.value(sqA), t.value(sqC), t.value(sqARow), t.value(sqLines)
	next := GP64()
	IMUL3Q(Imm(uint64(mr)), row, next)
	Label("line")
	px := newPixels(GP64(), row, mr)
	MOVQ(a, px.base)
	px.setFar()
	w, n := t.value(sqB), t.value(sqSteps)
	acc := make([][]reg.VecVirtual, mr)
	for i := range acc {
		acc[i] = make([]reg.VecVirtual, m.vecs())
		for j := range acc[i] {
			acc[i][j] = m.reg()
			m.bits(VPXOR, VPXORD)(acc[i][j], acc[i][j], acc[i][j])
		}
	}
	Label("step")
	for u := range 2 {
		ws := make([]reg.VecVirtual, m.vecs())
		for j := range ws {
			ws[j] = m.reg()
			m.loadWords(Mem{Base: w, Disp: squareCell*u + m.bytes()*j}, ws[j])
		}
		x := []reg.VecVirtual{m.reg(), m.reg()}
		for i := range acc {
			m.multiply(px.at(i, 4*u), x[i%2], ws, acc[i])
		}
	}
	px.advance(8)
	ADDQ(U32(2*squareCell), w)
	SUBQ(Imm(2), n)
	JNE(LabelRef("step"))
	for i := range acc {
		for j := range acc[i] {
			m.storeWords(acc[i][j], Mem{Base: c, Disp: squareCell*i + m.bytes()*j})
		}
	}
	ADDQ(next, a)
	ADDQ(U32(uint64(squareCell*mr)), c)
	DECQ(lines)
	JNE(LabelRef("line"))
	end()
}

// multiply adds the products of two words by those of the columns.
func (m squareMode) multiply(words Mem, x reg.VecVirtual, w, acc []reg.VecVirtual) {
	VPBROADCASTD(words, x)
	if m.wide {
		VPDPWSSD(x, w[0], acc[0])
		return
	}
	p := m.reg()
	VPMADDWD(w[0], x, p)
	VPMADDWD(w[1], x, x)
	VPADDD(p, acc[0], acc[0])
	VPADDD(x, acc[1], acc[1])
}

// columns makes 4×6 cells of the 6×6 points of a tile, for 16 channels.
func (m squareMode) columns() {
	m.text("Columns", "func(dst, src *byte, point int)")
	dst, src, point := arg("dst"), arg("src"), arg("point")
	far, n := GP64(), GP64()
	LEAQ(Mem{Base: point, Index: point, Scale: 2}, far)
	ADDQ(far, far)
	from := newPixels(src, far, 6)
	MOVQ(U32(6), n)
	Label("column")
	for j := range m.vecs() {
		for i, y := range m.outputLine(func(i int) Mem { return from.at(i, m.bytes()*j) }, 4) {
			m.storeWords(y, Mem{Base: dst, Disp: 6*squareCell*i + m.bytes()*j})
		}
	}
	ADDQ(point, from.base)
	ADDQ(Imm(squareCell), dst)
	DECQ(n)
	JNE(LabelRef("column"))
	end()
}

// outputLine gives the first n of four sums of six vectors, times 24.
func (m squareMode) outputLine(from func(i int) Mem, n int) (y []reg.VecVirtual) {
	p := make([]reg.VecVirtual, 5)
	for i := range p {
		p[i] = m.reg()
		m.loadWords(from(i), p[i])
	}
	s1, s2, s3, s4 := m.reg(), m.reg(), m.reg(), m.reg()
	VPADDD(p[2], p[1], s1)
	VPSUBD(p[2], p[1], s2)
	VPADDD(p[4], p[3], s3)
	VPSUBD(p[4], p[3], s4)
	// 6·m0 + 4·s1 + s3
	y0 := m.reg()
	VPADDD(s1, p[0], y0)
	VPADDD(y0, y0, y0)
	VPADDD(p[0], y0, y0)
	VPADDD(y0, y0, y0)
	VPADDD(s3, y0, y0)
	y = append(y, y0)
	if n > 1 { // 4·s2 + 2·s4
		v := m.reg()
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
		v := m.reg()
		m.loadWords(from(5), v)
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

// output makes mr pixels of a tile's rows of the cells: 576 times the sums, of which
// 9 is taken by its inverse modulo 2³², and 64 by a shift.
func (m squareMode) output(mr int) {
	k := qconvMode{level: m.level}.open(fmt.Sprintf("squareOutput%dx%d", 8*m.bytes(), mr), m.vecs(), mr)
	cells, bias := GP64(), k.value(qcBias)
	MOVQ(k.in, cells)
	inverse := m.reg()
	m.loadWords(integer(954437177), inverse)
	k.acc = make([][]reg.VecVirtual, k.nv)
	for j := range k.acc {
		k.acc[j] = m.outputLine(func(i int) Mem { return Mem{Base: cells, Disp: squareCell*i + m.bytes()*j} }, mr)
		for _, a := range k.acc[j] {
			VPMULLD(inverse, a, a)
			VPSRAD(Imm(6), a, a)
			VPADDD(Mem{Base: bias, Disp: m.bytes() * j}, a, a)
		}
	}
	k.finish()
	k.end()
}
