package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["paged"] = pagedFamily }

// pagedKernel is attention over one block of 16 tokens for so many rows.
type pagedKernel struct {
	wide bool // AVX-512, else AVX2
	half bool // the cache is float16
	rows int
}

const (
	pagedTokens = 16
	pagedStride = 4 * 128 // bytes from one row of scores to the next
)

func pagedFamily() {
	for _, wide := range []bool{false, true} {
		for _, half := range []bool{false, true} {
			for _, rows := range []int{1, 2, 4, 8} {
				if rows > 4 && !wide {
					continue
				}
				k := pagedKernel{wide, half, rows}
				k.score()
				if rows <= 2 {
					k.scoreMany()
				}
				k.sum()
			}
		}
	}
}

func (k pagedKernel) name(what string) string {
	n := what + "32"
	if k.half {
		n = what + "16"
	}
	level := "AVX2"
	if k.wide {
		level = "AVX512"
	}
	return fmt.Sprintf("%sx%d%s", n, k.rows, level)
}

func (k pagedKernel) lanes() int {
	if k.wide {
		return 16
	}
	return 8
}

func (k pagedKernel) vec() reg.VecVirtual {
	if k.wide {
		return ZMM()
	}
	return YMM()
}

// size is the bytes of a number of the cache.
func (k pagedKernel) size() int {
	if k.half {
		return 2
	}
	return 4
}

// load reads numbers of the cache.
func (k pagedKernel) load(m Mem, v reg.VecVirtual) {
	if k.half {
		VCVTPH2PS(m, v)
	} else {
		VMOVUPS(m, v)
	}
}

func (k pagedKernel) zero(v reg.VecVirtual) {
	if k.wide {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// multiplyAdd adds x times the number at m to each of the sums.
func (k pagedKernel) multiplyAdd(m Mem, x, sums []reg.VecVirtual) {
	if k.wide {
		for i, s := range sums {
			VFMADD231PS_BCST(m, x[i], s)
		}
		return
	}
	b := YMM()
	VBROADCASTSS(m, b)
	for i, s := range sums {
		VFMADD231PS(x[i], b, s)
	}
}

// rowPointers reach up to 8 rows that lie stride apart.
type rowPointers struct {
	a, b, c, stride reg.GPVirtual // rows 0, 3 and 6
	rows            int
}

func newRowPointers(a, stride reg.GPVirtual, rows int) *rowPointers {
	p := &rowPointers{a: a, stride: stride, rows: rows}
	if rows > 3 {
		p.b = GP64()
		LEAQ(Mem{Base: a, Index: stride, Scale: 2}, p.b)
		ADDQ(stride, p.b)
	}
	if rows > 6 {
		p.c = GP64()
		LEAQ(Mem{Base: p.b, Index: stride, Scale: 2}, p.c)
		ADDQ(stride, p.c)
	}
	return p
}

// at is row i.
func (p *rowPointers) at(i, disp int) Mem {
	switch i {
	case 0:
		return Mem{Base: p.a, Disp: disp}
	case 1, 2, 4:
		return Mem{Base: p.a, Index: p.stride, Scale: uint8(i), Disp: disp}
	case 3:
		return Mem{Base: p.b, Disp: disp}
	case 5, 7:
		return Mem{Base: p.b, Index: p.stride, Scale: uint8(i - 3), Disp: disp}
	}
	return Mem{Base: p.c, Disp: disp}
}

func (p *rowPointers) advance(bytes int) {
	for i, r := range []reg.GPVirtual{p.a, p.b, p.c} {
		if p.rows > 3*i {
			ADDQ(step(bytes), r)
		}
	}
}

// score writes the products of d-element rows of q with the block's keys.
func (k pagedKernel) score() {
	TEXT(k.name("score"), NOSPLIT, "func(dst, q *float32, block *byte, d int, scale float32)")
	Pragma("noescape")
	dst, q := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("q"), GP64()).(reg.GPVirtual)
	block, d := Load(Param("block"), GP64()).(reg.GPVirtual), Load(Param("d"), GP64()).(reg.GPVirtual)
	stride := GP64()
	MOVQ(d, stride)
	SHLQ(Imm(2), stride)
	rows := newRowPointers(q, stride, k.rows)
	parts := pagedTokens / k.lanes()
	sums := make([][]reg.VecVirtual, k.rows)
	for r := range sums {
		for range parts {
			s := k.vec()
			k.zero(s)
			sums[r] = append(sums[r], s)
		}
	}
	Label("loop")
	keys := make([]reg.VecVirtual, parts)
	for i := range keys {
		keys[i] = k.vec()
		k.load(Mem{Base: block, Disp: i * k.lanes() * k.size()}, keys[i])
	}
	for r := range sums {
		k.multiplyAdd(rows.at(r, 0), keys, sums[r])
	}
	ADDQ(step(pagedTokens*k.size()), block)
	rows.advance(4)
	DECQ(d)
	JNE(LabelRef("loop"))
	scale := k.vec()
	x := Load(Param("scale"), XMM())
	VBROADCASTSS(x, scale)
	for r := range sums {
		for i, s := range sums[r] {
			VMULPS(scale, s, s)
			VMOVUPS(s, Mem{Base: dst, Disp: r*pagedStride + 4*k.lanes()*i})
		}
	}
	end()
}

// scoreMany is score for as many blocks as registers hold four vectors of, so that
// the sums of few rows don't wait for each other.
func (k pagedKernel) scoreMany() {
	TEXT(k.name("scoreMany"), NOSPLIT, "func(dst, q *float32, blocks *uintptr, d int, scale float32)")
	Pragma("noescape")
	dst, q := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("q"), GP64()).(reg.GPVirtual)
	list, d := Load(Param("blocks"), GP64()), Load(Param("d"), GP64()).(reg.GPVirtual)
	stride, at := GP64(), GP64()
	MOVQ(d, stride)
	SHLQ(Imm(2), stride)
	rows := newRowPointers(q, stride, k.rows)
	parts := pagedTokens / k.lanes()
	blocks := make([]reg.GPVirtual, 4/parts)
	for i := range blocks {
		blocks[i] = GP64()
		MOVQ(Mem{Base: list, Disp: 8 * i}, blocks[i])
	}
	sums := make([][]reg.VecVirtual, k.rows)
	for r := range sums {
		for range 4 {
			s := k.vec()
			k.zero(s)
			sums[r] = append(sums[r], s)
		}
	}
	XORQ(at, at)
	Label("loop")
	keys := make([]reg.VecVirtual, 4)
	for i := range keys {
		keys[i] = k.vec()
		k.load(Mem{Base: blocks[i/parts], Index: at, Scale: 1, Disp: i % parts * k.lanes() * k.size()}, keys[i])
	}
	for r := range sums {
		k.multiplyAdd(rows.at(r, 0), keys, sums[r])
	}
	ADDQ(step(pagedTokens*k.size()), at)
	rows.advance(4)
	DECQ(d)
	JNE(LabelRef("loop"))
	scale := k.vec()
	x := Load(Param("scale"), XMM())
	VBROADCASTSS(x, scale)
	for r := range sums {
		for i, s := range sums[r] {
			VMULPS(scale, s, s)
			VMOVUPS(s, Mem{Base: dst, Disp: r*pagedStride + 4*k.lanes()*i})
		}
	}
	end()
}

// sum adds n of the block's values, weighted, to d-element rows of o.
func (k pagedKernel) sum() {
	TEXT(k.name("sum"), NOSPLIT, "func(o, p *float32, block *byte, d, n int)")
	Pragma("noescape")
	o, p := Load(Param("o"), GP64()).(reg.GPVirtual), Load(Param("p"), GP64()).(reg.GPVirtual)
	block := Load(Param("block"), GP64()).(reg.GPVirtual)
	d, n := Load(Param("d"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
	stride, pitch := GP64(), GP64() // bytes of a row of o and of the block
	MOVQ(d, stride)
	SHLQ(Imm(2), stride)
	MOVQ(d, pitch)
	SHLQ(Imm(uint64(k.size()/2)), pitch) // times 2 or 4
	rows := newRowPointers(o, stride, k.rows)
	wideParts := map[int]int{1: 4, 2: 4, 4: 2, 8: 1}[k.rows]
	for parts := wideParts; parts > 0; parts /= 2 {
		k.sumColumns(rows, p, block, d, n, pitch, parts, parts == 1)
	}
	Label("done")
	end()
}

// sumColumns takes parts registers of columns at a time while there are as many;
// the last ones may be fewer than a register holds.
func (k pagedKernel) sumColumns(rows *rowPointers, p, block, d, n, pitch reg.GPVirtual, parts int, last bool) {
	width := parts * k.lanes()
	label := func(s string) string { return fmt.Sprintf("%s%d", s, parts) }
	Label(label("columns"))
	CMPQ(d, step(width))
	JLT(LabelRef(label("fewer")))
	k.sumTokens(rows, p, block, n, pitch, parts, label("token"))
	ADDQ(step(width*k.size()), block)
	rows.advance(4 * width)
	SUBQ(step(width), d)
	JMP(LabelRef(label("columns")))
	Label(label("fewer"))
	if last && k.wide { // 8 columns are left, or none
		TESTQ(d, d)
		JEQ(LabelRef("done"))
		narrow := k
		narrow.wide = false
		narrow.sumTokens(rows, p, block, n, pitch, 1, "tokenNarrow")
	}
}

func (k pagedKernel) sumTokens(rows *rowPointers, p, block, n, pitch reg.GPVirtual, parts int, label string) {
	sums := make([][]reg.VecVirtual, k.rows)
	for r := range sums {
		for i := range parts {
			s := k.vec()
			VMOVUPS(rows.at(r, 4*k.lanes()*i), s)
			sums[r] = append(sums[r], s)
		}
	}
	v, w, left := GP64(), GP64(), GP64()
	MOVQ(block, v)
	MOVQ(p, w)
	MOVQ(n, left)
	Label(label)
	values := make([]reg.VecVirtual, parts)
	for i := range values {
		values[i] = k.vec()
		k.load(Mem{Base: v, Disp: i * k.lanes() * k.size()}, values[i])
	}
	for r := range sums {
		k.multiplyAdd(Mem{Base: w, Disp: r * pagedStride}, values, sums[r])
	}
	ADDQ(pitch, v)
	ADDQ(step(4), w)
	DECQ(left)
	JNE(LabelRef(label))
	for r := range sums {
		for i, s := range sums[r] {
			VMOVUPS(s, rows.at(r, 4*k.lanes()*i))
		}
	}
}
