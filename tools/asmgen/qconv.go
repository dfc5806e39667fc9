package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["qconv"] = qconvFamily }

// qconvFamily writes the kernels of internal/kernels/qconv, where tile.go says
// what each must do.
func qconvFamily() {
	for _, m := range []qconvMode{qconvVNNI, qconvInner, qconvPairs} {
		for nv := 1; nv <= 2; nv++ {
			for mr := 1; mr <= m.pixels; mr++ {
				m.tile(nv, mr)
			}
		}
	}
	qconvInnerSums()
	qconvSquares()
	for _, m := range []qconvMode{qconvVNNI, qconvWords} {
		for mr := 1; mr <= m.channelPixels; mr++ {
			m.depthwise(mr)
		}
	}
	for stride := 1; stride <= 2; stride++ {
		for mr := 1; mr <= qconvColumnPixels; mr++ {
			qconvWords.columns(stride, mr)
		}
	}
	qconvStripes()
	for _, side := range []int{3, 5} {
		for stride := 1; stride <= 2; stride++ {
			qconvWideDepthwise(side, stride)
		}
	}
	qconvLargest()
	widenSigned()
	qconvInterleave()
}

// Offsets in bytes of the fields of qconv's tile.
const (
	qcIn       = 0
	qcWeights  = 8
	qcOut      = 16
	qcResidual = 24
	qcBias     = 32
	qcScale    = 40
	qcKH       = 48
	qcKW       = 56
	qcGroups   = 64
	qcInKH     = 72
	qcInKW     = 80
	qcInPx     = 88
	qcInFar    = 96
	qcOutPx    = 104
	qcOutFar   = 112
	qcLines    = 120
	qcInLine   = 128
	qcOutLine  = 136
	qcMask     = 144
	qcLo       = 152
	qcHi       = 156
	qcZero     = 160
	qcMidLo    = 164
	qcMidHi    = 168
	qcMidScale = 172
	qcResZero  = 176
	qcResScale = 180
	qcYScale   = 184
	qcYInverse = 188
	qcSigned   = 192
	qcZero16   = 200
	qcFlip     = 202
	qcLo8      = 203
	qcHi8      = 204
	qcSums     = 208
	qcSumLine  = 216
)

// qconvMode is a way to multiply groups of four numbers: bytes by VPDPBUSD on ZMM; on
// YMM words as inner products with half the multiplications, or bytes as pairs that
// VPMADDUBSW adds where that can't saturate.
type qconvMode struct {
	level
	name          string
	pairs, inner  bool
	pixels        int // most pixels of a tile
	channelPixels int // and of a depthwise tile
}

var (
	qconvVNNI  = qconvMode{name: "vnni512", level: avx512, pixels: 14, channelPixels: 14}
	qconvInner = qconvMode{name: "inner256", inner: true, pixels: 4}
	qconvPairs = qconvMode{name: "pairs256", pairs: true, pixels: 5}
	qconvWords = qconvMode{name: "words256", channelPixels: 8}
)

// groupBytes is what a group of four numbers takes in the input.
func (m qconvMode) groupBytes() int {
	if m.inner {
		return 8
	}
	return 4
}

// qconvKernel is the state of one kernel while it is written.
type qconvKernel struct {
	qconvMode
	argStruct
	nv, mr   int
	acc      [][]reg.VecVirtual // [vector][pixel]
	in       Mem                // locals that move from line to line
	out, res Mem
	sums     Mem
	lines    Mem
	k        [2]reg.OpmaskVirtual
}

// begin begins a line with the sums' starts.
func (m qconvMode) begin(name string, nv, mr int) *qconvKernel {
	k := m.open(name, nv, mr)
	k.acc = m.biased(k.value(qcBias), nv, mr)
	if m.inner {
		k.subtractSums()
	}
	if m.pairs {
		k.addSpills()
	}
	return k
}

// open begins a kernel and its first line.
func (m qconvMode) open(name string, nv, mr int) *qconvKernel {
	TEXT(name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	k := &qconvKernel{qconvMode: m, nv: nv, mr: mr}
	k.argStruct = argStruct{arg("t")}
	k.in, k.out, k.res, k.lines = AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	for _, c := range []struct {
		off   int
		local Mem
	}{{qcIn, k.in}, {qcOut, k.out}, {qcResidual, k.res}, {qcLines, k.lines}} {
		MOVQ(k.value(c.off), c.local)
	}
	if m.wide && nv > 0 {
		r := k.value(qcMask)
		for j := range nv {
			k.k[j] = K()
			KMOVW(r.As32(), k.k[j])
			if j < nv-1 {
				SHRQ(Imm(16), r)
			}
		}
	}
	if m.inner || m.pairs {
		k.sums = AllocLocal(8)
		MOVQ(k.value(qcSums), k.sums)
	}
	Label("line")
	return k
}

// end goes to the next line.
func (k *qconvKernel) end() {
	d := k.value(qcInLine)
	ADDQ(d, k.in)
	if k.inner || k.pairs {
		MOVQ(k.field(qcSumLine), d)
		ADDQ(d, k.sums)
	}
	MOVQ(k.field(qcOutLine), d)
	ADDQ(d, k.out)
	ADDQ(d, k.res) // means nothing where there is no residual
	DECQ(k.lines)
	JNE(LabelRef("line"))
	end()
}

// taps loops over the rows and columns of taps; body gets the pixels' address.
func (k *qconvKernel) taps(body func(px pixels)) {
	far := k.value(qcInFar)
	px := newPixels(GP64(), k.value(qcInPx), k.mr)
	row, kh := GP64(), GP64()
	MOVQ(k.in, row)
	MOVQ(k.field(qcKH), kh)
	Label("row")
	col, kw := GP64(), GP64()
	MOVQ(row, col)
	MOVQ(k.field(qcKW), kw)
	Label("col")
	MOVQ(col, px.base)
	if px.far != nil {
		LEAQ(Mem{Base: px.base, Index: far, Scale: 1}, px.far)
	}
	body(px)
	ADDQ(k.field(qcInKW), col)
	DECQ(kw)
	JNE(LabelRef("col"))
	ADDQ(k.field(qcInKH), row)
	DECQ(kh)
	JNE(LabelRef("row"))
}

// tile computes mr pixels of nv vectors of output channels.
func (m qconvMode) tile(nv, mr int) {
	k := m.begin(fmt.Sprintf("%s_%dx%d", m.name, nv, mr), nv, mr)
	w := k.value(qcWeights)
	step := k.stepVNNI
	switch {
	case m.pairs:
		step = k.stepPairs()
	case m.inner:
		step = k.stepInner
	}
	k.taps(func(px pixels) {
		g := k.value(qcGroups)
		bytes := nv * m.bytes()
		SUBQ(Imm(4), g)
		JL(LabelRef("rest"))
		Label("quad")
		for u := range 4 {
			step(w, u*bytes, px, 4*u)
		}
		px.advance(4 * m.groupBytes())
		ADDQ(U32(uint64(4*bytes)), w)
		SUBQ(Imm(4), g)
		JGE(LabelRef("quad"))
		Label("rest")
		ADDQ(Imm(4), g)
		JE(LabelRef("done"))
		Label("single")
		step(w, 0, px, 0)
		px.advance(m.groupBytes())
		ADDQ(U32(uint64(bytes)), w)
		DECQ(g)
		JNE(LabelRef("single"))
		Label("done")
	})
	k.finish()
	k.end()
}

func (k *qconvKernel) stepVNNI(w reg.GPVirtual, at int, px pixels, disp int) {
	ws := make([]reg.VecVirtual, k.nv)
	for j := range ws {
		ws[j] = k.reg()
		VMOVDQU32(Mem{Base: w, Disp: at + 64*j}, ws[j])
		PREFETCHT0(Mem{Base: w, Disp: at + 64*j + 1024})
	}
	bc := []reg.VecVirtual{k.reg(), k.reg()}
	for i := range k.mr {
		b := bc[i&1]
		VPBROADCASTD(px.at(i, disp), b)
		for j := range ws {
			VPDPBUSD(ws[j], b, k.acc[j][i])
		}
	}
}

func (k *qconvKernel) stepPairs() func(w reg.GPVirtual, at int, px pixels, disp int) {
	ones := k.reg()
	VPCMPEQW(ones, ones, ones)
	VPSRLW(Imm(15), ones, ones)
	return func(w reg.GPVirtual, at int, px pixels, disp int) {
		ws := make([]reg.VecVirtual, k.nv)
		for j := range ws {
			ws[j] = k.reg()
			VMOVDQU(Mem{Base: w, Disp: at + 32*j}, ws[j])
		}
		b, p := k.reg(), k.reg()
		for i := range k.mr {
			VPBROADCASTD(px.at(i, disp), b)
			for j := range ws {
				VPMADDUBSW(ws[j], b, p)
				VPMADDWD(ones, p, p)
				VPADDD(p, k.acc[j][i], k.acc[j][i])
			}
		}
	}
}

// addSpills adds what pairs of weights were clipped by, if they were.
func (k *qconvKernel) addSpills() {
	sums := GP64()
	MOVQ(k.sums, sums)
	TESTQ(sums, sums)
	JEQ(LabelRef("started"))
	for j := range k.acc {
		for i, a := range k.acc[j] {
			VPADDD(Mem{Base: sums, Disp: 4*16*i + 32*j}, a, a)
		}
	}
	Label("started")
}

// depthwise computes mr pixels of a vector of channels, each with its own taps.
// Weights are widened to double words, the inputs here.
func (m qconvMode) depthwise(mr int) {
	k := m.begin(fmt.Sprintf("%sdepthwise_%d", m.name, mr), 1, mr)
	w := k.value(qcWeights)
	k.taps(func(px pixels) {
		v := m.reg()
		VMOVUPS(Mem{Base: w}, v)
		x := []reg.VecVirtual{m.reg(), m.reg()}
		for i := range mr {
			b := x[i&1]
			if m.wide {
				VPMOVZXBD_Z(px.at(i, 0), k.k[0], b)
				VPDPWSSD(v, b, k.acc[0][i])
				continue
			}
			VPMOVZXBD(px.at(i, 0), b)
			VPMADDWD(v, b, b)
			VPADDD(b, k.acc[0][i], k.acc[0][i])
		}
		ADDQ(Imm(uint64(m.bytes())), w)
	})
	k.finish()
	k.end()
}

// qconvLargest writes dst = max(dst, src) over n bytes, a multiple of 32.
func qconvLargest() {
	for _, signed := range []bool{false, true} {
		name, op := "maxU8", VPMAXUB
		if signed {
			name, op = "maxS8", VPMAXSB
		}
		TEXT(name+"x256", NOSPLIT, "func(dst, src *byte, n int)")
		Pragma("noescape")
		dst, src, n := arg("dst"), arg("src"), arg("n")
		Label("loop")
		v := YMM()
		VMOVDQU(Mem{Base: dst}, v)
		op(Mem{Base: src}, v, v)
		VMOVDQU(v, Mem{Base: dst})
		ADDQ(Imm(32), dst)
		ADDQ(Imm(32), src)
		SUBQ(Imm(32), n)
		JG(LabelRef("loop"))
		end()
	}
}
