package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	families["blockq_pack"] = func() {
		zipQuads()
		zipNibbles()
		packPanels()
	}
}

// zipQuads writes the kernel that brings 16 bytes of each of 16 rows into four vectors:
// quad v of row j becomes quad j of vector v.
func zipQuads() {
	TEXT("zipQuadsAVX2", NOSPLIT, "func(dst, src *byte, stride int)")
	Doc("brings 16 bytes of each of 16 rows, which lie stride bytes apart, into four vectors of a panel.")
	Pragma("noescape")
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	rows := newRowReader(src)
	for half := range 2 {
		storeQuads(dst, 32*half, []reg.VecVirtual{rows.pair(0, 0), rows.pair(1, 0), rows.pair(2, 0), rows.pair(3, 0)})
		rows.skip()
	}
	VZEROUPPER()
	RET()
}

// zipNibbles writes the kernel that does so with the low and the high halves of 32 bytes:
// of each, those of the last 16 go above the first.
func zipNibbles() {
	TEXT("zipNibblesAVX2", NOSPLIT, "func(dst, src *byte, stride, apart int)")
	Doc("brings 4 bits of each of 32 bytes of 16 rows, which lie stride bytes apart, into four vectors of a panel, and the other 4 bits into those apart bytes on.")
	Pragma("noescape")
	dst, src, high := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("apart"), GP64())
	ADDQ(dst, high)
	mask := lowHalves()
	rows := newRowReader(src)
	for half := range 2 {
		low, up := make([]reg.VecVirtual, 4), make([]reg.VecVirtual, 4)
		for i := range low {
			first, last := rows.pair(i, 0), rows.pair(i, 16)
			low[i], up[i] = YMM(), YMM()
			VPSRLW(Imm(4), first, up[i])
			VPAND(mask, up[i], up[i])
			VPAND(mask, first, low[i])
			VPANDN(last, mask, first)
			VPOR(first, up[i], up[i])
			VPAND(mask, last, last)
			VPSLLW(Imm(4), last, last)
			VPOR(last, low[i], low[i])
		}
		storeQuads(dst, 32*half, low)
		storeQuads(high, 32*half, up)
		rows.skip()
	}
	VZEROUPPER()
	RET()
}

// rowReader addresses 8 rows by two pointers.
type rowReader struct{ p, q, stride, three reg.GPVirtual }

func newRowReader(src reg.Register) *rowReader {
	r := &rowReader{p: GP64(), q: GP64(), stride: GP64(), three: GP64()}
	Load(Param("stride"), r.stride)
	MOVQ(src, r.p)
	LEAQ(Mem{Base: r.p, Index: r.stride, Scale: 4}, r.q)
	LEAQ(Mem{Base: r.stride, Index: r.stride, Scale: 2}, r.three)
	return r
}

// skip goes on by 8 rows.
func (r *rowReader) skip() {
	LEAQ(Mem{Base: r.p, Index: r.stride, Scale: 8}, r.p)
	LEAQ(Mem{Base: r.q, Index: r.stride, Scale: 8}, r.q)
}

// at is where 16 bytes of row i of four from a pointer on are.
func (r *rowReader) at(base reg.GPVirtual, i, disp int) Mem {
	switch i {
	case 0:
		return Mem{Base: base, Disp: disp}
	case 3:
		return Mem{Base: base, Index: r.three, Scale: 1, Disp: disp}
	}
	return Mem{Base: base, Index: r.stride, Scale: uint8(i), Disp: disp}
}

// pair reads 16 bytes of rows i and i+4 into the lanes of a vector.
func (r *rowReader) pair(i, disp int) reg.VecVirtual {
	v := YMM()
	VBROADCASTI128(r.at(r.p, i, disp), v) // a load of the lower lane alone would leave the other open
	VINSERTI128(Imm(1), r.at(r.q, i, disp), v, v)
	return v
}

// storeQuads turns squares of quads and stores eight columns of four vectors.
func storeQuads(dst reg.Register, disp int, v []reg.VecVirtual) {
	for i, x := range vectorLevels[1].quads(v) {
		VMOVUPS(x, Mem{Base: dst, Disp: 64*i + disp})
	}
}
