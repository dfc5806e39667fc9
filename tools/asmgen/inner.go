package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// stepInner adds products of sums: of numbers x of the input and weights w it is
//
//	(x0 + w2)·(x2 + w0) + (x1 + w3)·(x3 + w1)
//
// that is x0·w0 + x1·w1 + x2·w2 + x3·w3, and x0·x2 + x1·x3, which subtractSums takes away,
// and w0·w2 + w1·w3, which the bias does without. VPMADDWD is half the multiplications that
// words would take otherwise, and additions have twice as many units. Weights have 128
// added and the input has it subtracted; the bytes of a channel's group are w0, w2, w1, w3.
func (k *qconvKernel) stepInner(w reg.GPVirtual, at int, px pixels, disp int) {
	low, high := make([]reg.VecVirtual, k.nv), make([]reg.VecVirtual, k.nv)
	for j := range low {
		low[j], high[j] = k.reg(), k.reg()
		VMOVDQU(Mem{Base: w, Disp: at + 32*j}, low[j])
		VPSRLW(Imm(8), low[j], high[j])
		VPAND(integer(0x00ff00ff), low[j], low[j])
	}
	first, second := k.reg(), k.reg()
	for i := range k.mr {
		VPBROADCASTD(px.at(i, 2*disp), first)
		VPBROADCASTD(px.at(i, 2*disp+4), second)
		acc := make([]reg.VecVirtual, k.nv)
		for j := range acc {
			acc[j] = k.acc[j][i]
		}
		innerProducts(first, second, low, high, acc)
	}
}

// innerProducts adds the products of a group's sums, for vectors of columns. The first and
// second words are not kept.
func innerProducts(first, second reg.VecVirtual, low, high, acc []reg.VecVirtual) {
	for j := range acc {
		a, b := first, second
		if j < len(acc)-1 {
			a, b = YMM(), YMM()
		}
		VPADDW(high[j], first, a)
		VPADDW(low[j], second, b)
		VPMADDWD(a, b, b)
		VPADDD(b, acc[j], acc[j])
	}
}

// subtractSums takes from the sums what the products of the input's numbers by each
// other add to them.
func (k *qconvKernel) subtractSums() {
	sums, v := GP64(), k.reg()
	MOVQ(k.sums, sums)
	for i := range k.mr {
		VPBROADCASTD(Mem{Base: sums, Disp: 4 * i}, v)
		for j := range k.acc {
			VPSUBD(v, k.acc[j][i], k.acc[j][i])
		}
	}
}

// qconvInnerSums writes what adds up these products of the input's numbers for a row of
// pixels: as many as a tile has lines.
func qconvInnerSums() {
	TEXT("innerSums256", NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	k := &qconvKernel{qconvMode: qconvInner, mr: 1}
	k.argStruct = argStruct{arg("t")}
	k.in = AllocLocal(8)
	MOVQ(k.value(qcIn), k.in)
	sums, n, shift := k.value(qcSums), k.value(qcLines), YMM()
	VMOVDQU(integer(0x00800080), shift)
	Label("line")
	acc := YMM()
	VPXOR(acc, acc, acc)
	k.taps(func(px pixels) { addInner(px.base, k.value(qcGroups), shift, acc) })
	VMOVD(foldInner(acc), Mem{Base: sums})
	ADDQ(Imm(4), sums)
	next := k.value(qcInPx)
	ADDQ(next, k.in)
	DECQ(n)
	JNE(LabelRef("line"))
	end()
}

// addInner adds for groups of four words, with shift added to each, the products of the first
// two by the last two.
func addInner(words, groups reg.GPVirtual, shift, acc reg.VecVirtual) {
	step := func(v, products reg.VecVirtual) {
		VPSHUFD(Imm(0xb1), v, products)
		VPMADDWD(v, products, products)
		VPADDD(products.AsY(), acc, acc)
	}
	SUBQ(Imm(4), groups)
	JL(LabelRef("few"))
	v, products := YMM(), YMM()
	Label("four")
	VPADDW(Mem{Base: words}, shift, v)
	step(v, products)
	ADDQ(Imm(32), words)
	SUBQ(Imm(4), groups)
	JGE(LabelRef("four"))
	Label("few")
	ADDQ(Imm(4), groups)
	JE(LabelRef("done"))
	one, x, few := XMM(), XMM(), XMM()
	VMOVQ(shift.AsX(), one)
	Label("single")
	VMOVQ(Mem{Base: words}, x)
	VPADDW(one, x, x)
	step(x, few)
	ADDQ(Imm(8), words)
	DECQ(groups)
	JNE(LabelRef("single"))
	Label("done")
}

// foldInner adds up the groups; each one's sum is in two double words.
func foldInner(acc reg.VecVirtual) reg.Register {
	low, high := acc.AsX(), XMM()
	VEXTRACTI128(Imm(1), acc, high)
	VPADDD(high, low, low)
	VPSHUFD(Imm(0xee), low, high)
	VPADDD(high, low, low)
	return low
}

// qgemmInnerSum is qconvInnerSums for a row of words.
func qgemmInnerSum() {
	TEXT("innerSum256", NOSPLIT, "func(words *byte, groups int) int32")
	Pragma("noescape")
	words, groups := arg("words"), arg("groups")
	shift, acc, sum := YMM(), YMM(), GP32()
	VMOVDQU(integer(0x00800080), shift)
	VPXOR(acc, acc, acc)
	addInner(words, groups, shift, acc)
	VMOVD(foldInner(acc), sum)
	Store(sum, ReturnIndex(0))
	end()
}

// widenSigned writes n bytes, a multiple of 16, with some bits flipped, as signed words.
func widenSigned() {
	TEXT("widen256", NOSPLIT, "func(dst, src *byte, n int, flips uint64)")
	Pragma("noescape")
	dst, src, n := arg("dst"), arg("src"), arg("n")
	flips, v := XMM(), YMM()
	VMOVQ(arg("flips"), flips)
	VPBROADCASTB(flips, flips)
	Label("loop")
	VPXOR(Mem{Base: src}, flips, v.AsX())
	VPMOVSXBW(v.AsX(), v)
	VMOVDQU(v, Mem{Base: dst})
	ADDQ(Imm(32), dst)
	ADDQ(Imm(16), src)
	SUBQ(Imm(16), n)
	JG(LabelRef("loop"))
	end()
}
