package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct Depthwise of amx.
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
)

// depthwiseLoop is what the loops of a depthwise convolution work with.
type depthwiseLoop struct {
	src, dst, weights, bias, taps, count, n, step, form GPVirtual
	tap, left, at, w                                    GPVirtual
}

// amxDepthwise writes a depthwise convolution of a row of float32.
func amxDepthwise() {
	TEXT("depthwise512", NOSPLIT, "func(t *byte)")
	Doc("computes a row of windows of 16 channels; t is a *Depthwise.")
	Pragma("noescape")
	t := Load(Param("t"), GP64()).(GPVirtual)
	load := func(off int) GPVirtual {
		r := GP64()
		MOVQ(Mem{Base: t, Disp: off}, r)
		return r
	}
	d := &depthwiseLoop{src: load(depthwiseSrc), dst: load(depthwiseDst), weights: load(depthwiseWeights), bias: load(depthwiseBias),
		taps: load(depthwiseTaps), count: load(depthwiseCount), n: load(depthwiseN), step: load(depthwiseStep), form: load(depthwiseForm),
		tap: GP64(), left: GP64(), at: GP64(), w: GP64()}
	VBROADCASTSS(Mem{Base: t, Disp: depthwiseLo}, Z30)
	VBROADCASTSS(Mem{Base: t, Disp: depthwiseHi}, Z31)
	for _, step := range []int{64, 128} {
		CMPQ(d.step, U32(uint64(step)))
		JNE(LabelRef(fmt.Sprintf("not%d", step)))
		for _, windows := range []int{12, 4} {
			d.group(windows, step)
		}
		Label(fmt.Sprintf("not%d", step))
	}
	d.group(1, 0)
	VZEROUPPER()
	RET()
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
	return []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11}[i]
}

// amxWiden writes the conversion of bfloat16 to floats.
func amxWiden() {
	TEXT("widen512", NOSPLIT, "func(dst *float32, src *uint16, n int)")
	Doc("widens n numbers, a multiple of 16.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), GP64()).(GPVirtual), Load(Param("src"), GP64()).(GPVirtual), Load(Param("n"), GP64()).(GPVirtual)
	Label("loop")
	VPMOVZXWD(Mem{Base: src}, Z0)
	VPSLLD(Imm(16), Z0, Z0)
	VMOVUPS(Z0, Mem{Base: dst})
	ADDQ(Imm(32), src)
	ADDQ(Imm(64), dst)
	SUBQ(Imm(16), n)
	JGT(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
