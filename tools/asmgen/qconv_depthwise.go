package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// qconvChannels is a depthwise convolution of 64 channels by VPDPBUSD. Four rows
// of a column are interleaved byte by byte, so that a group of four bytes holds a
// channel's taps; neighbouring pixels share the columns.
//
// Interleaving works within quarters of the registers: sum j of a pixel has
// channels 16·l + 4·j + e at element 4·l + e, and narrowing puts them in order
// again.
type qconvChannels struct {
	*qconvKernel
	side, stride int
	mask         reg.OpmaskVirtual
}

// qconvWideDepthwise writes the kernels of one size, for 1 to 4 pixels.
func qconvWideDepthwise(side, stride int) {
	for mr := 1; mr <= 4; mr++ {
		m := qconvMode{level: avx512}
		k := &qconvChannels{side: side, stride: stride}
		k.qconvKernel = m.beginWide(fmt.Sprintf("vnni512channels_%dx%d_%d", side, stride, mr), mr)
		k.mask = K()
		KMOVQ(k.field(qcMask), k.mask)
		k.sum()
		k.store()
		k.end()
	}
}

// beginWide starts the loop over lines with four sums of sixteen channels for each
// pixel.
func (m qconvMode) beginWide(name string, mr int) *qconvKernel {
	k := m.begin(name, 0, mr)
	bias := k.value(qcBias)
	k.acc = make([][]reg.VecVirtual, 4)
	for j := range k.acc {
		k.acc[j] = make([]reg.VecVirtual, mr)
		for i := range k.acc[j] {
			k.acc[j][i] = ZMM()
			if i == 0 {
				VMOVDQU32(Mem{Base: bias, Disp: 64 * j}, k.acc[j][0])
			} else {
				VMOVDQA32(k.acc[j][0], k.acc[j][i])
			}
		}
	}
	return k
}

// sum adds up all taps, four rows at a time.
func (k *qconvChannels) sum() {
	w, step, row := k.value(qcWeights), k.value(qcInKH), GP64()
	MOVQ(k.in, row)
	zero := ZMM()
	VPXORD(zero, zero, zero)
	columns := (k.mr-1)*k.stride + k.side
	for first := 0; first < k.side; first += 4 {
		n := min(4, k.side-first)
		rows := make([]reg.GPVirtual, n)
		for r := range rows {
			rows[r] = GP64()
			MOVQ(row, rows[r])
			ADDQ(step, row)
		}
		next := k.value(qcInKW)
		for c := range columns {
			x := k.column(rows, zero)
			for i := range k.mr {
				tap := c - i*k.stride
				if tap < 0 || tap >= k.side {
					continue
				}
				for j := range x {
					VPDPBUSD(Mem{Base: w, Disp: (((first/4)*k.side+tap)*4 + j) * 64}, x[j], k.acc[j][i])
				}
			}
			if c < columns-1 {
				for _, r := range rows {
					ADDQ(next, r)
				}
			}
		}
	}
}

// column interleaves the rows of a column; the missing ones are zeros.
func (k *qconvChannels) column(rows []reg.GPVirtual, zero reg.VecVirtual) (x [4]reg.VecVirtual) {
	v := [4]reg.VecVirtual{zero, zero, zero, zero}
	for r, p := range rows {
		v[r] = ZMM()
		VMOVDQU8_Z(Mem{Base: p}, k.mask, v[r])
	}
	lo01, hi01 := ZMM(), ZMM()
	VPUNPCKLBW(v[1], v[0], lo01)
	VPUNPCKHBW(v[1], v[0], hi01)
	lo23, hi23 := zero, zero
	if len(rows) > 2 {
		lo23, hi23 = ZMM(), ZMM()
		VPUNPCKLBW(v[3], v[2], lo23)
		VPUNPCKHBW(v[3], v[2], hi23)
	}
	for j := range x {
		x[j] = ZMM()
	}
	VPUNPCKLWD(lo23, lo01, x[0])
	VPUNPCKHWD(lo23, lo01, x[1])
	VPUNPCKLWD(hi23, hi01, x[2])
	VPUNPCKHWD(hi23, hi01, x[3])
	return x
}

// store rounds, narrows with saturation, limits and stores.
func (k *qconvChannels) store() {
	scale, most := k.value(qcScale), ZMM()
	VMOVUPS(constant(65536), most) // what is too large for an integer would become the least
	for j, row := range k.acc {
		s := ZMM()
		VMOVUPS(Mem{Base: scale, Disp: 64 * j}, s)
		for _, a := range row {
			VCVTDQ2PS(a, a)
			VMULPS(s, a, a)
			VMINPS(a, most, a) // a NaN stays, and becomes the least
			VCVTPS2DQ(a, a)
		}
	}
	zero, flip, lo, hi := ZMM(), ZMM(), ZMM(), ZMM()
	VPBROADCASTW(k.field(qcZero16), zero)
	VPBROADCASTB(k.field(qcFlip), flip)
	VPBROADCASTB(k.field(qcLo8), lo)
	VPBROADCASTB(k.field(qcHi8), hi)
	out, step := GP64(), k.value(qcOutPx)
	MOVQ(k.out, out)
	for i := range k.mr {
		a, b := k.acc[0][i], k.acc[2][i]
		VPACKSSDW(k.acc[1][i], a, a)
		VPACKSSDW(k.acc[3][i], b, b)
		VPADDSW(zero, a, a)
		VPADDSW(zero, b, b)
		VPACKUSWB(b, a, a)
		VPMAXUB(lo, a, a)
		VPMINUB(hi, a, a)
		VPXORD(flip, a, a)
		VMOVDQU8(a, k.mask, Mem{Base: out})
		if i < k.mr-1 {
			ADDQ(step, out)
		}
	}
}

// qconvInterleave writes three planes of bytes as one of triples, sixteen at a
// time.
func qconvInterleave() {
	TEXT("interleave3x128", NOSPLIT, "func(dst, a, b, c *byte, n int)")
	Doc("writes a[i], b[i], c[i] to dst[3i:], for n i, a multiple of 16.")
	Pragma("noescape")
	dst := arg("dst")
	var src [3]reg.GPVirtual
	for i, name := range []string{"a", "b", "c"} {
		src[i] = arg(name)
	}
	n := arg("n")
	var masks [3][3]reg.VecVirtual // [output][plane]
	for o := range masks {
		for p := range masks[o] {
			m := GLOBL(fmt.Sprintf("interleave_%d%d", o, p), RODATA|NOPTR)
			for i := range 16 {
				at, v := o*16+i, uint8(0x80)
				if at%3 == p {
					v = uint8(at / 3)
				}
				DATA(i, U8(v))
			}
			masks[o][p] = XMM()
			VMOVDQU(m, masks[o][p])
		}
	}
	Label("loop")
	var v [3]reg.VecVirtual
	for p := range v {
		v[p] = XMM()
		VMOVDQU(Mem{Base: src[p]}, v[p])
		ADDQ(Imm(16), src[p])
	}
	for o := range masks {
		y, t := XMM(), XMM()
		VPSHUFB(masks[o][0], v[0], y)
		for p := 1; p < 3; p++ {
			VPSHUFB(masks[o][p], v[p], t)
			VPOR(t, y, y)
		}
		VMOVDQU(y, Mem{Base: dst, Disp: 16 * o})
	}
	ADDQ(Imm(48), dst)
	SUBQ(Imm(16), n)
	JG(LabelRef("loop"))
	RET()
}
