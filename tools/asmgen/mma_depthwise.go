package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct Depthwise of mma.
const (
	depthwiseSrc     = 0
	depthwiseDst     = 8
	depthwiseWeights = 16
	depthwiseBias    = 24
	depthwiseTaps    = 32
	depthwiseCount   = 40
	depthwiseN       = 48
	depthwiseStep    = 56
	depthwiseForm    = 64
	depthwiseLo      = 72
	depthwiseHi      = 76
	depthwiseRows    = 80
	depthwiseRowStep = 88
	depthwiseRowGap  = 96
)

// depthwiseLoop is what the loops of a depthwise convolution work with.
type depthwiseLoop struct {
	src, dst, weights, bias, taps, count, n, step, form GPVirtual
	tap, left, at, w                                    GPVirtual
}

// mmaDepthwise writes a depthwise convolution of rows of float32.
func mmaDepthwise() {
	TEXT("depthwise512", NOSPLIT, "func(t *byte)")
	Doc("computes rows of windows of 16 channels; t is a *Depthwise.")
	Pragma("noescape")
	t := argStruct{arg("t")}
	d := &depthwiseLoop{src: t.value(depthwiseSrc), dst: t.value(depthwiseDst), weights: t.value(depthwiseWeights), bias: t.value(depthwiseBias),
		taps: t.value(depthwiseTaps), count: t.value(depthwiseCount), n: GP64(), step: t.value(depthwiseStep), form: t.value(depthwiseForm),
		tap: GP64(), left: GP64(), at: GP64(), w: GP64()}
	VBROADCASTSS(t.field(depthwiseLo), Z30)
	VBROADCASTSS(t.field(depthwiseHi), Z31)
	rows, rowSrc := AllocLocal(8), AllocLocal(8)
	MOVQ(t.field(depthwiseRows), d.at)
	MOVQ(d.at, rows)
	Label("row")
	MOVQ(d.src, rowSrc)
	MOVQ(t.field(depthwiseN), d.n)
	for _, step := range []int{64, 128} {
		CMPQ(d.step, U32(uint64(step)))
		JNE(LabelRef(fmt.Sprintf("not%d", step)))
		for _, windows := range []int{14, 7, 4} {
			d.group(windows, step)
			d.again(t, windows, step)
		}
		Label(fmt.Sprintf("not%d", step))
	}
	d.group(1, 0)
	MOVQ(rowSrc, d.src)
	ADDQ(t.field(depthwiseRowStep), d.src)
	ADDQ(t.field(depthwiseRowGap), d.dst)
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}

// again goes back where a row of at least so many windows has a few left, so that the
// last ones are computed with some before them once more: sums of few windows wait for
// each other.
func (d *depthwiseLoop) again(t argStruct, windows, step int) {
	if windows == 14 {
		return
	}
	done := fmt.Sprintf("done%dby%d", windows, step)
	TESTQ(d.n, d.n)
	JEQ(LabelRef(done))
	CMPQ(t.field(depthwiseN), Imm(uint64(windows)))
	JLT(LabelRef(done))
	MOVQ(U32(uint64(windows)), d.at)
	SUBQ(d.n, d.at) // windows to go back
	MOVQ(U32(uint64(windows)), d.n)
	MOVQ(d.at, d.left)
	IMULQ(d.step, d.left)
	SUBQ(d.left, d.src)
	SHLQ(Imm(5), d.at)
	SUBQ(d.at, d.dst)
	TESTQ(d.form, d.form)
	JNE(LabelRef(fmt.Sprintf("group%dby%d", windows, step)))
	SUBQ(d.at, d.dst)
	JMP(LabelRef(fmt.Sprintf("group%dby%d", windows, step)))
	Label(done)
}

// group writes the loop over so many windows at once, as long as there are enough. A
// step of 0 is one for each.
func (d *depthwiseLoop) group(windows, step int) {
	name := fmt.Sprintf("%dby%d", windows, step)
	end := "end" + name
	Label("group" + name)
	CMPQ(d.n, Imm(uint64(windows)))
	JLT(LabelRef(end))
	VMOVUPS(Mem{Base: d.bias}, Z0)
	for i := 1; i < windows; i++ {
		VMOVAPS(Z0, depthwiseSum(i))
	}
	MOVQ(d.taps, d.tap)
	MOVQ(d.weights, d.w)
	MOVQ(d.count, d.left)
	Label("tap" + name)
	VMOVUPS(Mem{Base: d.w}, Z29)
	MOVQ(Mem{Base: d.tap}, d.at)
	ADDQ(d.src, d.at)
	for i := range windows {
		VFMADD231PS(Mem{Base: d.at, Disp: i * step}, Z29, depthwiseSum(i))
	}
	ADDQ(Imm(64), d.w)
	ADDQ(Imm(8), d.tap)
	DECQ(d.left)
	JNE(LabelRef("tap" + name))
	for i := range windows {
		z := depthwiseSum(i)
		VMAXPS(z, Z30, z) // a NaN stays
		VMINPS(z, Z31, z)
	}
	TESTQ(d.form, d.form)
	JEQ(LabelRef("float" + name))
	for i := range windows {
		y := depthwiseSum(i).AsY().(VecPhysical)
		VCVTNEPS2BF16(depthwiseSum(i), y)
		VMOVDQU(y, Mem{Base: d.dst, Disp: 32 * i})
	}
	ADDQ(U32(uint64(32*windows)), d.dst)
	JMP(LabelRef("next" + name))
	Label("float" + name)
	for i := range windows {
		VMOVUPS(depthwiseSum(i), Mem{Base: d.dst, Disp: 64 * i})
	}
	ADDQ(U32(uint64(64*windows)), d.dst)
	Label("next" + name)
	if step == 0 {
		ADDQ(d.step, d.src)
	} else {
		ADDQ(U32(uint64(step*windows)), d.src)
	}
	SUBQ(Imm(uint64(windows)), d.n)
	JMP(LabelRef("group" + name))
	Label(end)
}

// depthwiseSum is the register of a window's sum. VMOVDQU reaches the first 16 only.
func depthwiseSum(i int) VecPhysical {
	return []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13}[i]
}

// mmaWiden writes the conversion of rows of pixels in bfloat16 to floats with borders.
func mmaWiden() {
	TEXT("widen512", NOSPLIT, "func(dst *float32, src *uint16, left, n, right, rows, step int)")
	Doc("widens rows of n pixels of 16 channels, step bytes apart, between so many pixels of zeros.")
	Pragma("noescape")
	dst, src, rows, step := arg("dst"), arg("src"), arg("rows"), arg("step")
	at, count := GP64(), GP64()
	zeros := func(side string) {
		Load(Param(side), count)
		TESTQ(count, count)
		JEQ(LabelRef("no" + side))
		Label(side)
		VMOVUPS(Z31, Mem{Base: dst})
		ADDQ(Imm(64), dst)
		DECQ(count)
		JNE(LabelRef(side))
		Label("no" + side)
	}
	pixels := func(n int) {
		loop, end := fmt.Sprintf("by%d", n), fmt.Sprintf("end%d", n)
		Label(loop)
		CMPQ(count, Imm(uint64(n)))
		JLT(LabelRef(end))
		for i := range n {
			z := depthwiseSum(i)
			VPMOVZXWD(Mem{Base: at, Disp: 32 * i}, z)
			VPSLLD(Imm(16), z, z)
			VMOVUPS(z, Mem{Base: dst, Disp: 64 * i})
		}
		ADDQ(U32(uint64(32*n)), at)
		ADDQ(U32(uint64(64*n)), dst)
		SUBQ(Imm(uint64(n)), count)
		JMP(LabelRef(loop))
		Label(end)
	}
	VPXORD(Z31, Z31, Z31)
	Label("row")
	zeros("left")
	Load(Param("n"), count)
	MOVQ(src, at)
	pixels(8)
	pixels(1)
	zeros("right")
	ADDQ(step, src)
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}
