package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct finishArgs.
const (
	bqfAcc      = 0
	bqfY        = 8
	bqfBias     = 16
	bqfResidual = 24
	bqfLDY      = 32
	bqfLDR      = 40
	bqfRows     = 48
	bqfMask     = 56
	bqfAhead    = 64
	bqfScales   = 72
)

// finish writes the storing of results: plus the bias, plus the residual.
func (v bqLevel) finish() {
	a := bqText("finish" + v.suffix())
	s := &bqStore{bqLevel: v, acc: a.value(bqfAcc), y: a.value(bqfY), residual: a.value(bqfResidual), rows: a.value(bqfRows)}
	bias := a.value(bqfBias)
	s.bias = bias
	s.ahead = a.value(bqfAhead)
	s.scales = a.value(bqfScales)
	s.ldy, s.ldr = a.value(bqfLDY), a.value(bqfLDR)
	m := v.columnMasks(a.field(bqfMask))
	for range v.halves() {
		s.biases, s.sums, s.added = append(s.biases, v.zeroed()), append(s.sums, v.reg()), append(s.added, v.reg())
	}
	TESTQ(bias, bias)
	JEQ(LabelRef("biased"))
	for h, b := range s.biases {
		m.load(Mem{Base: bias, Disp: 32 * h}, h, b)
	}
	Label("biased")
	if !v.wide { // a store with a mask is slow on some processors
		CMPQ(a.field(bqfMask), U32(0xffff))
		JNE(LabelRef("row"))
		s.loop("whole", func(_ int, r reg.VecVirtual, at Mem) { v.load(at, r) }, func(_ int, r reg.VecVirtual, at Mem) { v.store(r, at) })
		VZEROUPPER()
		RET()
	}
	s.loop("row", func(h int, r reg.VecVirtual, at Mem) { m.load(at, h, r) }, func(h int, r reg.VecVirtual, at Mem) { m.store(r, at, h) })
	VZEROUPPER()
	RET()
}

// bqStore is the state of code that stores results.
type bqStore struct {
	bqLevel
	acc, y, residual, rows reg.GPVirtual
	scales                 reg.GPVirtual // of the rows, or nil
	bias, ldy, ldr         Op
	ahead                  reg.Register     // bytes to what is prefetched, or nil
	biases, sums, added    []reg.VecVirtual // of each half of the columns
}

// loop stores rows at acc, times their scales, plus the bias, plus the residual: each unless it is nil.
func (s *bqStore) loop(kind string, load, store func(h int, r reg.VecVirtual, m Mem)) {
	Label(kind)
	if s.ahead != nil { // lines that other processors may have written
		LEAQ(Mem{Base: s.y, Index: s.ahead, Scale: 1}, reg.R9)
		PREFETCHW(reg.R9, 0)
	}
	x := s.sums
	for h := range x {
		s.load(Mem{Base: s.acc, Disp: 32 * h}, x[h])
	}
	TESTQ(s.scales, s.scales)
	JEQ(LabelRef(kind + "scaled"))
	VBROADCASTSS(Mem{Base: s.scales}, s.added[0])
	for h := range x {
		VMULPS(s.added[0], x[h], x[h])
	}
	ADDQ(Imm(4), s.scales)
	Label(kind + "scaled")
	CMPQ(s.bias, Imm(0))
	JEQ(LabelRef(kind + "nobias"))
	for h := range x {
		VADDPS(s.biases[h], x[h], x[h])
	}
	Label(kind + "nobias")
	TESTQ(s.residual, s.residual)
	JEQ(LabelRef(kind + "store"))
	if s.ahead != nil {
		PREFETCHT0(Mem{Base: s.residual, Index: s.ahead, Scale: 1})
	}
	for h := range x {
		load(h, s.added[h], Mem{Base: s.residual, Disp: 32 * h})
		VADDPS(s.added[h], x[h], x[h])
	}
	ADDQ(s.ldr, s.residual)
	Label(kind + "store")
	for h := range x {
		store(h, x[h], Mem{Base: s.y, Disp: 32 * h})
	}
	ADDQ(Imm(64), s.acc)
	ADDQ(s.ldy, s.y)
	DECQ(s.rows)
	JNE(LabelRef(kind))
}

// bqMasks are the columns that exist.
type bqMasks struct {
	k reg.OpmaskVirtual
	y []reg.VecVirtual
}

func (v bqLevel) columnMasks(bits Mem) bqMasks {
	if v.wide {
		k, b := K(), GP32()
		MOVL(bits, b)
		KMOVW(b, k)
		return bqMasks{k: k}
	}
	one := YMM()
	VMOVDQU(words("columnBits", 1, 2, 4, 8, 16, 32, 64, 128), one)
	var m bqMasks
	for h := range 2 {
		y := YMM()
		at := bits
		at.Disp += h
		VPBROADCASTB(at, y)
		VPAND(one, y, y)
		VPCMPEQD(one, y, y)
		m.y = append(m.y, y)
	}
	return m
}

func (m bqMasks) load(at Mem, h int, r reg.VecVirtual) {
	if m.y == nil {
		VMOVUPS_Z(at, m.k, r)
		return
	}
	VMASKMOVPS(at, m.y[h], r)
}

func (m bqMasks) store(r reg.VecVirtual, at Mem, h int) {
	if m.y == nil {
		VMOVUPS(r, m.k, at)
		return
	}
	VMASKMOVPS(r, m.y[h], at)
}

// Offsets in bytes into the Go struct quantizeArgs.
const (
	bqqX      = 0
	bqqQ      = 8
	bqqShift  = 16
	bqqS      = 24
	bqqC      = 32
	bqqSHalf  = 40
	bqqCHalf  = 48
	bqqGroups = 56
	bqqRows   = 64
	bqqLDX    = 72
	bqqScale  = 80
)

// What is common to kernels that quantize, as in portable.go.
const (
	bqTiny      = 0x0d800000 // 2^-100: a row below counts as zero
	bqBelow     = 0x42feffff // the largest number below 127.5
	bqMostShift = 12
	bqScaleDown = 0x39800000 // 2^-12
)

// bqQuantize writes the quantization of a row: to 8-bit integers, for AVX2 and all
// above, or to bfloat16 as tiles of AMX have it.
func bqQuantize(tiles bool) {
	v := bqLevel{avx2}
	name, bytes := "quantize256", uint64(5)
	if tiles {
		name, bytes = "quantize512", 6
	}
	a := bqText(name)
	x, q, groups, rows := a.value(bqqX), a.value(bqqQ), a.value(bqqGroups), a.value(bqqRows)
	m, s, c, sHalf, cHalf := a.value(bqqShift), a.value(bqqS), a.value(bqqC), a.value(bqqSHalf), a.value(bqqCHalf)
	step, qStep := GP64(), GP64()
	MOVQ(rows, step)
	SHLQ(Imm(2), step)
	MOVQ(rows, qStep)
	SHLQ(Imm(bytes), qStep)
	order := YMM()
	VMOVDQU(words("quadOrder", 0, 4, 1, 5, 2, 6, 3, 7), order)
	inverse, good := bqRowScale(a, x, groups)
	Label("group")
	var e [4]reg.VecVirtual
	for i := range e {
		e[i] = YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, e[i])
	}
	finer, shift, by := bqLargest(e), XMM(), YMM()
	VMULPS(inverse, finer, finer)
	v.finer(finer)
	VMOVDQU(bitsConst(bqMostShift), shift)
	VPSUBD(finer.AsX(), shift, shift)
	VPSLLD(Imm(23), finer, by)
	VPADDD(inverse, by, by)
	for i := range e {
		VMULPS(by, e[i], e[i])
		VCVTPS2DQ(e[i], e[i])
		VPAND(good, e[i], e[i])
	}
	VPACKSSDW(e[1], e[0], e[0])
	VPACKSSDW(e[3], e[2], e[2])
	VPACKSSWB(e[2], e[0], e[0])
	VPERMD(e[0], order, e[0])
	if tiles {
		bqStoreTileRow(e[0], q)
	} else {
		VMOVDQU(e[0], Mem{Base: q})
	}
	// Sums of the halves: of eight bytes plus 128, and again.
	hi, sums, none := XMM(), XMM(), YMM()
	VPXOR(bitsConst(0x80808080), e[0], e[0])
	VPXOR(none, none, none)
	VPSADBW(none, e[0], e[0])
	VEXTRACTI128(Imm(1), e[0], hi)
	VPUNPCKLQDQ(hi, e[0].AsX(), sums)
	VPUNPCKHQDQ(hi, e[0].AsX(), hi)
	VPADDD(hi, sums, sums)
	VPSHUFD(Imm(0x88), sums, sums) // S0 S1 S0 S1
	VPSUBD(bitsConst(16*128), sums, sums)
	bqStoreSums(sums, shift, s, c, sHalf, cHalf, step)
	if tiles { // as a power of two
		VPADDD(bitsConst(127), shift, shift)
		VPSLLD(Imm(23), shift, shift)
	}
	VMOVD(shift, Mem{Base: m})
	bqNextGroup(groups, x, q, qStep, step, [...]reg.GPVirtual{m, s, c}, [...]reg.GPVirtual{sHalf, cHalf})
	VZEROUPPER()
	RET()
}

// bqRowScale stores a row's scale. It gives 127 over the largest magnitude, and a mask: both
// are zero where the row counts as zero or has something that is not finite.
func bqRowScale(a argStruct, x, groups reg.GPVirtual) (inverse, good reg.VecVirtual) {
	v := bqLevel{avx2}
	at, left := GP64(), GP64()
	MOVQ(x, at)
	MOVQ(groups, left)
	var e [4]reg.VecVirtual
	for i := range e {
		e[i] = v.zeroed()
	}
	magnitude := v.constant(0x7fffffff)
	Label("largest")
	for i, most := range e {
		m := YMM()
		VPAND(Mem{Base: at, Disp: 32 * i}, magnitude, m)
		VPMAXUD(m, most, most)
	}
	ADDQ(U32(128), at)
	DECQ(left)
	JNE(LabelRef("largest"))
	most, finite := bqLargest(e), YMM()
	inverse, good = YMM(), YMM()
	VPCMPGTD(most, v.constant(0x7f800000), finite)
	VPCMPGTD(most, v.constant(bqTiny), good) // below it
	VPANDN(finite, good, good)
	// a/127 and 127/a in one division.
	full, scale, quotients := XMM(), XMM(), XMM()
	VBROADCASTSS(bitsConst(0x42fe0000), full) // 127
	VUNPCKLPS(full, most.AsX(), quotients)
	VUNPCKLPS(most.AsX(), full, scale)
	VDIVPS(scale, quotients, quotients)
	VPAND(good.AsX(), quotients, quotients)
	VMULPS(bitsConst(bqScaleDown), quotients, scale)
	nan := XMM()
	VPANDN(bitsConst(0x7fc00000), finite.AsX(), nan)
	VPOR(nan, scale, scale)
	VMOVSS(scale, Mem{Base: a.value(bqqScale)})
	VMOVSHDUP(quotients, quotients)
	VBROADCASTSS(quotients, inverse)
	return inverse, good
}

// finer makes x, the largest numbers of blocks in units of their rows, the powers of two by
// which they can be multiplied and still become 127 at most.
func (v bqLevel) finer(x reg.VecVirtual) {
	if v.wide {
		below := v.constant(bqBelow)
		VPSUBD(x, below, x)
		VPSRLD(Imm(23), x, x)
		VPMINUD(v.constant(bqMostShift), x, x)
		return
	}
	below := YMM()
	VMOVDQU(bitsConst(bqBelow), below)
	VPSUBD(x, below, x)
	VPSRLD(Imm(23), x, x)
	VPMINUD(bitsConst(bqMostShift), x, x)
}

// bqStoreTileRow stores 32 integers as bfloat16, in the order in which tiles pair them.
func bqStoreTileRow(x reg.VecVirtual, q reg.GPVirtual) {
	halves := []Op{x.AsX(), XMM()}
	VEXTRACTI128(Imm(1), x, halves[1])
	for i, h := range halves {
		z := ZMM()
		VPMOVSXBD(h, z)
		VPSHUFD(Imm(bqPairOrder), z, z)
		VCVTDQ2PS(z, z)
		VPSRLD(Imm(16), z, z)
		VPMOVDW(z, Mem{Base: q, Disp: 32 * i})
	}
}

// bqLargest is the largest magnitude in every lane, as bits: those of numbers
// that are not finite are the largest.
func bqLargest(e [4]reg.VecVirtual) reg.VecVirtual {
	v := bqLevel{avx2}
	mask, most := v.constant(0x7fffffff), YMM()
	VPAND(mask, e[0], most)
	for _, x := range e[1:] {
		m := YMM()
		VPAND(mask, x, m)
		VPMAXUD(m, most, most)
	}
	x := XMM()
	VEXTRACTI128(Imm(1), most, x)
	VPMAXUD(most.AsX(), x, x)
	for _, shuffle := range []uint64{0x4e, 0xb1} {
		y := XMM()
		VPSHUFD(Imm(shuffle), x, y)
		VPMAXUD(y, x, x)
	}
	VPBROADCASTD(x, most)
	return most
}

// bqStoreSums writes for the sum of the group and for those of its halves what they are when
// shifted, and -128 times them.
func bqStoreSums(sums, shift reg.VecVirtual, s, c, sHalf, cHalf, step reg.GPVirtual) {
	total, v := XMM(), XMM()
	VPSHUFD(Imm(0xb1), sums, total)
	VPADDD(sums, total, total)
	VPUNPCKLQDQ(total, sums, sums) // halves, total, total
	VPXOR(v, v, v)
	shifted := XMM()
	VPSLLD(Imm(7), sums, shifted)
	VPSUBD(shifted, v, v)
	f := XMM()
	VPSLLVD(shift, sums, f)
	VCVTDQ2PS(f, f)
	for _, out := range []struct {
		x           reg.VecVirtual
		group, half reg.GPVirtual
	}{{f, s, sHalf}, {v, c, cHalf}} {
		VPEXTRD(Imm(2), out.x, Mem{Base: out.group})
		VPEXTRD(Imm(0), out.x, Mem{Base: out.half})
		VPEXTRD(Imm(1), out.x, Mem{Base: out.half, Index: step, Scale: 1})
	}
}

// bqNextGroup ends the loop over groups of 32 elements of rows: x and q go on, shifts,
// sums and corrections by step, those of halves by two of them.
func bqNextGroup(groups, x, q, qStep, step reg.GPVirtual, whole [3]reg.GPVirtual, halves [2]reg.GPVirtual) {
	ADDQ(U32(128), x)
	ADDQ(qStep, q)
	for _, p := range whole {
		ADDQ(step, p)
	}
	for _, p := range halves {
		LEAQ(Mem{Base: p, Index: step, Scale: 2}, p)
	}
	DECQ(groups)
	JNE(LabelRef("group"))
}
