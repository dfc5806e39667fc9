package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct Pixels of mma.
const (
	pixelsSrc      = 0
	pixelsDst      = 8
	pixelsResidual = 16
	pixelsBias     = 24
	pixelsLDC      = 32
	pixelsLDR      = 40
	pixelsHalfC    = 48
	pixelsHalfR    = 56
	pixelsRows     = 64
	pixelsMask     = 72
	pixelsForm     = 80
	pixelsLo       = 88
	pixelsHi       = 92
	pixelsLDS      = 96
)

// pixelForm is what a loop of mmaPixels does, in the bits of Pixels.form.
type pixelForm int

const (
	formBias pixelForm = 1 << iota
	formResidual
	formHalfResidual // the residual is of bfloat16
	formHalf         // the result is
	formEnd
)

// mmaPixels writes what brings sums to their pixels, with a loop for each form. With
// silu the activation comes before the residual, and results are of bfloat16.
func mmaPixels(silu bool) {
	name, doc := "pixels512", "brings the sums of a panel to pixels; t is a *Pixels."
	if silu {
		name, doc = "pixelsSilu512", "brings the sums of a panel to pixels by way of SiLU; t is a *Pixels."
	}
	TEXT(name, NOSPLIT, "func(t *byte)")
	Doc(doc)
	Pragma("noescape")
	t := argStruct{arg("t")}
	p := &pixelLoop{src: t.value(pixelsSrc), dst: t.value(pixelsDst), res: t.value(pixelsResidual), rows: t.value(pixelsRows),
		silu: silu, lds: t.value(pixelsLDS), ldc: t.value(pixelsLDC), ldr: t.value(pixelsLDR), halfC: t.value(pixelsHalfC), halfR: t.value(pixelsHalfR)}
	bias, form, m := t.value(pixelsBias), t.value(pixelsForm), GP32()
	MOVL(t.field(pixelsMask), m)
	for j := range p.k {
		p.k[j] = K()
		KMOVW(m, p.k[j])
		SHRL(Imm(16), m)
	}
	if silu {
		loadSilu()
	} else {
		VBROADCASTSS(t.field(pixelsLo), Z30)
		VBROADCASTSS(t.field(pixelsHi), Z31)
	}
	TESTQ(bias, bias)
	JEQ(LabelRef("nobias"))
	for j, b := range pixelBias {
		VMOVUPS_Z(Mem{Base: bias, Disp: 64 * j}, p.k[j], b)
	}
	Label("nobias")
	for f := range formEnd {
		if f&formHalfResidual != 0 && f&formResidual == 0 || silu && (f&formBias == 0 || f&formHalf == 0) {
			continue
		}
		next := fmt.Sprintf("form%d", f+1)
		CMPQ(form, Imm(uint64(f)))
		JNE(LabelRef(next))
		p.write(f)
		Label(next)
	}
	RET()
}

// Registers of mmaPixels, physical for the encodings that avo doesn't know.
var (
	pixelBias = [2]VecPhysical{Z28, Z29}
	pixelSums = [2]VecPhysical{Z0, Z1}
	pixelRes  = [2]VecPhysical{Z2, Z3}
)

type pixelLoop struct {
	silu                                             bool
	src, dst, res, rows, lds, ldc, ldr, halfC, halfR GPVirtual
	k                                                [2]OpmaskVirtual
}

// write writes the loop of a form, to its return.
// Sums that do not exist are not read: they could be slow subnormal numbers.
func (p *pixelLoop) write(f pixelForm) {
	label := fmt.Sprintf("row%d", f)
	at := func(base, half GPVirtual, j int) Mem {
		if j == 0 {
			return Mem{Base: base}
		}
		return Mem{Base: base, Index: half, Scale: 1}
	}
	Label(label)
	for j, v := range pixelSums {
		if f&formBias != 0 {
			VADDPS_Z(Mem{Base: p.src, Disp: 64 * j}, pixelBias[j], p.k[j], v)
		} else {
			VMOVUPS_Z(Mem{Base: p.src, Disp: 64 * j}, p.k[j], v)
		}
		if p.silu {
			siluOf(v, pixelSilu[j])
		}
		if f&formResidual != 0 {
			r := pixelRes[j]
			if f&formHalfResidual != 0 {
				VPMOVZXWD_Z(at(p.res, p.halfR, j), p.k[j], r)
				VPSLLD(Imm(16), r, r)
			} else {
				VMOVUPS_Z(at(p.res, p.halfR, j), p.k[j], r)
			}
			VADDPS(r, v, v)
		}
		if !p.silu {
			VMAXPS(v, Z30, v) // a NaN stays
			VMINPS(v, Z31, v)
		}
		if f&formHalf != 0 {
			y := v.AsY().(VecPhysical)
			VCVTNEPS2BF16(v, y)
			VMOVDQU16(y, p.k[j], at(p.dst, p.halfC, j))
		} else {
			VMOVUPS(v, p.k[j], at(p.dst, p.halfC, j))
		}
	}
	if f&formResidual != 0 {
		ADDQ(p.ldr, p.res)
	}
	ADDQ(p.lds, p.src)
	ADDQ(p.ldc, p.dst)
	DECQ(p.rows)
	JNE(LabelRef(label))
	end()
}

// pixelSilu are registers for SiLU.
var pixelSilu = [2][2]VecPhysical{{Z4, Z5}, {Z6, Z7}}

// Constants of SiLU. Within half a unit 2^f is c₀ + c₁f + c₂f² + c₃f³ to 8e-5.
var siluConstants = []struct {
	v VecPhysical
	x float32
}{
	{Z16, 87}, {Z17, -math.Log2E}, {Z18, 0.055171654}, {Z19, 0.24261111}, {Z20, 0.69326099}, {Z21, 0.99992807}, {Z22, 1},
}

func loadSilu() {
	for _, c := range siluConstants {
		VMOVUPS(constant(c.x), c.v)
	}
}

// siluOf makes x·1/(1+exp(-x)) of x, to 2e-4: that is a tenth of what the rounding to
// bfloat16 does.
func siluOf(x VecPhysical, tmp [2]VecPhysical) {
	t, n := tmp[0], tmp[1]
	VMINPS(x, Z16, t) // a NaN stays
	VMULPS(Z17, t, t)
	VRNDSCALEPS(Imm(0), t, n)
	VSUBPS(n, t, t)
	p := pixelRes[0]
	VMOVAPS(Z18, p)
	VFMADD213PS(Z19, t, p)
	VFMADD213PS(Z20, t, p)
	VFMADD213PS(Z21, t, p)
	VSCALEFPS(n, p, p)
	VADDPS(Z22, p, p)
	VRCP14PS(p, p)
	VMULPS(p, x, x)
}

// mmaHalves writes the joining of two blocks of 16 channels in bfloat16.
func mmaHalves() {
	TEXT("halves512", NOSPLIT, "func(dst, lo, hi *uint16, n, step int)")
	Doc("joins n pixels, step bytes apart, of two blocks of 16 channels; hi may be nil, which stands for zeros.")
	Pragma("noescape")
	dst, lo, hi, n, step := arg("dst"), arg("lo"), arg("hi"), arg("n"), arg("step")
	TESTQ(hi, hi)
	JEQ(LabelRef("single"))
	for _, both := range []bool{true, false} {
		loop := "single"
		if both {
			loop = "both"
		}
		Label(loop)
		VMOVDQU(Mem{Base: lo}, Y0) // clears the upper half
		if both {
			VINSERTI64X4(Imm(1), Mem{Base: hi}, Z0, Z0)
			ADDQ(step, hi)
		}
		VMOVDQU64(Z0, Mem{Base: dst})
		ADDQ(step, lo)
		ADDQ(Imm(64), dst)
		DECQ(n)
		JNE(LabelRef(loop))
		end()
	}
}

// mmaMaximum writes the maximum over the taps of windows of pixels in bfloat16.
// Widened to float32 they keep their order.
func mmaMaximum() {
	TEXT("maximum512", NOSPLIT, "func(dst, src *uint16, taps *int, count, n, step int)")
	Doc("gives the largest of so many taps, bytes from src, of n windows of 16 channels, step bytes apart.")
	Pragma("noescape")
	dst, src, first, count, n, step := arg("dst"), arg("src"), arg("taps"), arg("count"), arg("n"), arg("step")
	taps, left, tap := GP64(), GP64(), GP64()
	read := func(z VecPhysical) {
		MOVQ(Mem{Base: taps}, tap)
		VPMOVZXWD(Mem{Base: src, Index: tap, Scale: 1}, z)
		VPSLLD(Imm(16), z, z)
		ADDQ(Imm(8), taps)
	}
	Label("window")
	MOVQ(first, taps)
	MOVQ(count, left)
	read(Z0)
	DECQ(left)
	JEQ(LabelRef("done"))
	Label("tap")
	read(Z1)
	VMAXPS(Z1, Z0, Z0)
	DECQ(left)
	JNE(LabelRef("tap"))
	Label("done")
	VPSRLD(Imm(16), Z0, Z0)
	VPMOVDW(Z0, Mem{Base: dst})
	ADDQ(Imm(32), dst)
	ADDQ(step, src)
	DECQ(n)
	JNE(LabelRef("window"))
	end()
}
