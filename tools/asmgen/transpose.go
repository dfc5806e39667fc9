package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["transpose"] = transposeFamily }

// transposeFamily writes transpositions of tiles whose sides are multiples of
// a block that fits registers: 8×8 elements of 1, 2 and 4 bytes, 4×4 of 8.
func transposeFamily() {
	transposeTile("tile1", 1, 8, block1)
	transposeTile("tile2", 2, 8, block2)
	transposeTile("tile4", 4, 8, func(src, dst rowsByFour) {
		for i, r := range transposedRows(src, 0) {
			VMOVUPS(r, dst.row(i, 0))
		}
	})
	transposeTile("tile8", 8, 4, block8)
	copyLines()
	fillLines()
	copyRows()
	doubleBytes()
	colours()
}

// copyLines copies lines of 128 bytes. Go's own copy of more than two KiB is an instruction
// on processors of AMD that leaves what it writes out of the caches.
func copyLines() {
	TEXT("copyLinesAVX2", NOSPLIT, "func(dst, src *byte, lines int)")
	Pragma("noescape")
	dst, src, n := arg("dst"), arg("src"), arg("lines")
	Label("line")
	var r [4]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVUPS(Mem{Base: src, Disp: 32 * i}, r[i])
	}
	for i := range r {
		VMOVUPS(r[i], Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(U32(128), src)
	ADDQ(U32(128), dst)
	DECQ(n)
	JNE(LabelRef("line"))
	end()
}

// transposeTile walks h rows of w elements block by block: dst[j·ds+i] = src[i·ss+j].
func transposeTile(name string, size, side int, block func(src, dst rowsByFour)) {
	TEXT(name+"AVX2", NOSPLIT, "func(dst, src *byte, ds, ss, h, w int)")
	Pragma("noescape")
	dst, src, ds, ss, h, w := arg("dst"), arg("src"), arg("ds"), arg("ss"), arg("h"), arg("w")
	for _, s := range []reg.Register{ds, ss} {
		IMUL3Q(step(size), s, s)
	}
	from := rowsByFour{[]reg.GPVirtual{GP64(), GP64()}, ss, times3(ss)}
	to := rowsByFour{[]reg.GPVirtual{GP64(), GP64()}, ds, times3(ds)}
	left := GP64()
	Label("rows")
	MOVQ(src, from.fourths[0])
	MOVQ(dst, to.fourths[0])
	MOVQ(w, left)
	Label("columns")
	from.next()
	to.next()
	block(from, to)
	ADDQ(step(side*size), from.fourths[0])
	for range side / 4 {
		LEAQ(Mem{Base: to.fourths[0], Index: ds, Scale: 4}, to.fourths[0])
	}
	SUBQ(step(side), left)
	JNE(LabelRef("columns"))
	for range side / 4 {
		LEAQ(Mem{Base: src, Index: ss, Scale: 4}, src)
	}
	ADDQ(step(side*size), dst)
	SUBQ(step(side), h)
	JNE(LabelRef("rows"))
	end()
}

func loadRows(n int, r func() reg.VecVirtual, load func(m, r Op), src rowsByFour) []reg.VecVirtual {
	out := make([]reg.VecVirtual, n)
	for i := range out {
		out[i] = r()
		load(src.row(i, 0), out[i])
	}
	return out
}

// interleave makes a pair's low and high halves alternate.
func interleave(x []reg.VecVirtual, low, high func(b, a, r Op)) []reg.VecVirtual {
	var out []reg.VecVirtual
	for i := 0; i < len(x); i += 2 {
		lo := XMM()
		low(x[i+1], x[i], lo)
		out = append(out, lo)
		if high != nil {
			hi := XMM()
			high(x[i+1], x[i], hi)
			out = append(out, hi)
		}
	}
	return out
}

// block1 interleaves bytes, then pairs, then quads; a register ends up with two rows.
func block1(src, dst rowsByFour) {
	r := loadRows(8, XMM, func(m, r Op) { VMOVQ(m, r) }, src)
	p := interleave(r, func(b, a, r Op) { VPUNPCKLBW(b, a, r) }, nil) // p[k]: rows 2k, 2k+1
	q := interleave(p, func(b, a, r Op) { VPUNPCKLWD(b, a, r) }, func(b, a, r Op) { VPUNPCKHWD(b, a, r) })
	// q[0], q[1]: columns 0-3, 4-7 of rows 0-3; q[2], q[3]: of rows 4-7
	q = []reg.VecVirtual{q[0], q[2], q[1], q[3]}
	o := interleave(q, func(b, a, r Op) { VPUNPCKLDQ(b, a, r) }, func(b, a, r Op) { VPUNPCKHDQ(b, a, r) })
	for i, x := range o {
		VMOVQ(x, dst.row(2*i, 0))
		VMOVHPS(x, dst.row(2*i+1, 0))
	}
}

// block2 interleaves words, then pairs, then quads.
func block2(src, dst rowsByFour) {
	r := loadRows(8, XMM, func(m, r Op) { VMOVDQU(m, r) }, src)
	p := interleave(r, func(b, a, r Op) { VPUNPCKLWD(b, a, r) }, func(b, a, r Op) { VPUNPCKHWD(b, a, r) })
	q := interleave([]reg.VecVirtual{p[0], p[2], p[1], p[3], p[4], p[6], p[5], p[7]},
		func(b, a, r Op) { VPUNPCKLDQ(b, a, r) }, func(b, a, r Op) { VPUNPCKHDQ(b, a, r) })
	// q[k] has columns 2k, 2k+1 of rows 0-3, q[4+k] of rows 4-7
	o := interleave([]reg.VecVirtual{q[0], q[4], q[1], q[5], q[2], q[6], q[3], q[7]},
		func(b, a, r Op) { VPUNPCKLQDQ(b, a, r) }, func(b, a, r Op) { VPUNPCKHQDQ(b, a, r) })
	for i, x := range o {
		VMOVDQU(x, dst.row(i, 0))
	}
}

// block8 swaps pairs, then halves.
func block8(src, dst rowsByFour) {
	r := loadRows(4, YMM, func(m, r Op) { VMOVUPD(m, r) }, src)
	var t [4]reg.VecVirtual
	for i := range t {
		t[i] = YMM()
	}
	VUNPCKLPD(r[1], r[0], t[0])
	VUNPCKHPD(r[1], r[0], t[1])
	VUNPCKLPD(r[3], r[2], t[2])
	VUNPCKHPD(r[3], r[2], t[3])
	for i := range 4 {
		out := YMM()
		half := uint64(0x20)
		if i >= 2 {
			half = 0x31
		}
		VPERM2F128(Imm(half), t[i%2+2], t[i%2], out)
		VMOVUPD(out, dst.row(i, 0))
	}
}
