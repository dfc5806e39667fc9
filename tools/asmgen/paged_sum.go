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
	b := k.vec()
	VBROADCASTSS(m, b)
	for i, s := range sums {
		VFMADD231PS(x[i], b, s)
	}
}

// rowPointers reach rows that lie stride apart.
type rowPointers struct {
	thirds []reg.GPVirtual // rows 0, 3 and 6
	stride reg.GPVirtual
}

func newRowPointers(a, stride reg.GPVirtual, rows int) *rowPointers {
	p := &rowPointers{thirds: []reg.GPVirtual{a}, stride: stride}
	for r := 3; r < rows; r += 3 {
		b := GP64()
		LEAQ(Mem{Base: p.thirds[r/3-1], Index: stride, Scale: 2}, b)
		ADDQ(stride, b)
		p.thirds = append(p.thirds, b)
	}
	return p
}

// at is row i.
func (p *rowPointers) at(i, disp int) Mem {
	m := Mem{Base: p.thirds[i/3], Disp: disp}
	if i%3 > 0 {
		m.Index, m.Scale = p.stride, uint8(i%3)
	}
	return m
}

func (p *rowPointers) advance(bytes int) {
	for _, r := range p.thirds {
		ADDQ(step(bytes), r)
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
	TEXT(k.name("sum"), NOSPLIT, "func(o, factors, p *float32, list *uintptr, d, n int)")
	Pragma("noescape")
	d := Load(Param("d"), GP64()).(reg.GPVirtual)
	stride, pitch, at := GP64(), GP64(), GP64() // bytes of a row of o and of a token, and where columns are in that
	MOVQ(d, stride)
	SHLQ(Imm(2), stride)
	MOVQ(d, pitch)
	SHLQ(Imm(uint64(k.size()/2)), pitch) // times 2 or 4
	rows := newRowPointers(Load(Param("o"), GP64()).(reg.GPVirtual), stride, k.rows)
	XORQ(at, at)
	for parts := k.columns(); parts > 0; parts /= 2 {
		k.sumColumns(rows, d, pitch, at, parts, parts == 1)
	}
	Label("done")
	end()
}

// sumColumns takes parts registers of columns at a time while there are as many;
// the last ones may be fewer than a register holds.
func (k pagedKernel) sumColumns(rows *rowPointers, d, pitch, at reg.GPVirtual, parts int, last bool) {
	width := parts * k.lanes()
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
		narrow.wide = false
		narrow.sumTokens(rows, pitch, at, 1, "Narrow")
	}
}

// sumTokens takes one block after the other, and has the one fetched that comes
// pagedAhead later in the list.
func (k pagedKernel) sumTokens(rows *rowPointers, pitch, at reg.GPVirtual, parts int, label string) {
	sums, factors := make([][]reg.VecVirtual, k.rows), Load(Param("factors"), GP64())
	for r := range sums {
		f := k.vec()
		VBROADCASTSS(Mem{Base: factors, Disp: 4 * r}, f)
		for i := range parts {
			s := k.vec()
			VMULPS(rows.at(r, 4*k.lanes()*i), f, s)
			sums[r] = append(sums[r], s)
		}
	}
	list, left, w := Load(Param("list"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual), Load(Param("p"), GP64()).(reg.GPVirtual)
	v, next, tokens := GP64(), GP64(), GP64()
	Label("block" + label)
	MOVQ(Mem{Base: list}, v)
	ADDQ(at, v)
	MOVQ(Mem{Base: list, Disp: 8 * pagedAhead}, next)
	ADDQ(at, next)
	ADDQ(step(8), list)
	MOVQ(step(pagedTokens), tokens)
	CMPQ(left, tokens)
	CMOVQLT(left, tokens)
	SUBQ(tokens, left)
	Label("token" + label)
	values, bytes := make([]reg.VecVirtual, parts), k.lanes()*k.size()
	for i := range values {
		values[i] = k.load(Mem{Base: v, Disp: i * bytes})
	}
	for line := 0; line < parts*bytes; line += 64 {
		PREFETCHT0(Mem{Base: next, Disp: line})
	}
	for r := range sums {
		k.multiplyAdd(Mem{Base: w, Disp: r * pagedStride}, values, sums[r])
	}
	ADDQ(pitch, v)
	ADDQ(pitch, next)
	ADDQ(step(4), w)
	DECQ(tokens)
	JNE(LabelRef("token" + label))
	TESTQ(left, left)
	JNE(LabelRef("block" + label))
	for r := range sums {
		for i, s := range sums[r] {
			VMOVUPS(s, rows.at(r, 4*k.lanes()*i))
		}
	}
}
