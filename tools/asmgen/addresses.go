package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Addresses of places that lie a stride apart, without a multiplication for each: pixels are up to 14 with
// five registers, rowPointers any number with one for each three and the stride, rowAddress eight with four.

// pixels addresses a run of equally spaced places from one or two base
// registers, without a multiplication per place.
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

// rowAddress finds eight rows from one register and multiples of a stride.
type rowAddress struct{ base, base4, stride, stride3 reg.Register }

func (a rowAddress) row(i int) Mem { return strided(i, a.base, a.base4, a.stride, a.stride3) }

// strided is the address of row i out of 8.
func strided(i int, base, base4, stride, stride3 reg.Register) Mem {
	if i >= 4 {
		base = base4
	}
	switch i % 4 {
	case 1:
		return Mem{Base: base, Index: stride, Scale: 1}
	case 2:
		return Mem{Base: base, Index: stride, Scale: 2}
	case 3:
		return Mem{Base: base, Index: stride3, Scale: 1}
	}
	return Mem{Base: base}
}

func times3(stride reg.Register) reg.Register {
	r := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, r)
	return r
}
