package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Places that lie a stride apart are reached without a multiplication for each, in one of three ways: which
// has the fewest registers depends on how many places there are, and on what else needs registers.

// pixels reaches up to 14 places with two registers, and three for the stride.
type pixels struct {
	base, far          reg.GPVirtual // far is 7 steps on, only for runs above 7
	step, step3, step5 reg.GPVirtual
}

func newPixels(base, step reg.GPVirtual, n int) pixels {
	p := pixels{base: base, step: step}
	if n > 3 {
		p.step3 = GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 2}, p.step3)
	}
	if n > 5 {
		p.step5 = GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 4}, p.step5)
	}
	if n > 7 {
		p.far = GP64()
	}
	return p
}

// setFar recomputes the second base after the first has moved.
func (p pixels) setFar() {
	if p.far != nil {
		LEAQ(Mem{Base: p.base, Index: p.step, Scale: 8}, p.far)
		SUBQ(p.step, p.far)
	}
}

func (p pixels) advance(bytes int) {
	ADDQ(U32(uint64(bytes)), p.base)
	if p.far != nil {
		ADDQ(U32(uint64(bytes)), p.far)
	}
}

func (p pixels) at(i, disp int) Mem {
	m := Mem{Base: p.base, Disp: disp}
	if i >= 7 {
		m.Base = p.far
		i -= 7
	}
	switch i {
	case 1, 2, 4:
		m.Index, m.Scale = p.step, uint8(i)
	case 3, 6:
		m.Index, m.Scale = p.step3, uint8(i/3)
	case 5:
		m.Index, m.Scale = p.step5, 1
	}
	return m
}

// rowsByThree reaches any number of rows with a register for each three, and one for the stride.
type rowsByThree struct {
	thirds []reg.GPVirtual // rows 0, 3 and 6
	stride reg.GPVirtual
}

func newRowsByThree(a, stride reg.GPVirtual, rows int) *rowsByThree {
	p := &rowsByThree{thirds: []reg.GPVirtual{a}, stride: stride}
	for r := 3; r < rows; r += 3 {
		b := GP64()
		LEAQ(Mem{Base: p.thirds[r/3-1], Index: stride, Scale: 2}, b)
		ADDQ(stride, b)
		p.thirds = append(p.thirds, b)
	}
	return p
}

// at is row i.
func (p *rowsByThree) at(i, disp int) Mem {
	m := Mem{Base: p.thirds[i/3], Disp: disp}
	if i%3 > 0 {
		m.Index, m.Scale = p.stride, uint8(i%3)
	}
	return m
}

func (p *rowsByThree) advance(bytes int) {
	for _, r := range p.thirds {
		ADDQ(step(bytes), r)
	}
}

// rowsByFour reaches any number of rows with a register for each four, and two for the stride.
type rowsByFour struct {
	fourths         []reg.GPVirtual // rows 0, 4, …
	stride, stride3 reg.GPVirtual   // the second for rows 3, 7, …
}

// row is row i.
func (a rowsByFour) row(i, disp int) Mem {
	m := Mem{Base: a.fourths[i/4], Disp: disp}
	switch i % 4 {
	case 1, 2:
		m.Index, m.Scale = a.stride, uint8(i%4)
	case 3:
		m.Index, m.Scale = a.stride3, 1
	}
	return m
}

// next sets the second register.
func (a rowsByFour) next() { LEAQ(Mem{Base: a.fourths[0], Index: a.stride, Scale: 4}, a.fourths[1]) }

// times3 is the stride of every third row.
func times3(stride reg.GPVirtual) reg.GPVirtual {
	r := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, r)
	return r
}
