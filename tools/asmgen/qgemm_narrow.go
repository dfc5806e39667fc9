package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// qgemmNarrow writes the conversion of a tile of floats to bytes: saturate,
// round to even, add the zero point. The YMM form writes all 16 columns.
func qgemmNarrow(f gemmFlavour) {
	name := "narrow256"
	if f == gemmZMM {
		name = "narrow512"
	}
	TEXT(name, NOSPLIT, "func(dst *byte, stride int, src *float32, rows int, mask uint64, lo, hi float32, zero int32)")
	Pragma("noescape")
	n := &narrowKernel{gemmKernel: gemmKernel{gemmFlavour: f, wide: 1, vecs: 2}}
	dst, stride := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("stride"), GP64())
	src, rows := Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("rows"), GP64())
	if f == gemmZMM {
		m := Load(Param("mask"), GP64()).(reg.GPVirtual)
		for j := range n.k {
			n.k[j] = K()
			KMOVW(m.As32(), n.k[j])
			SHRQ(Imm(16), m)
		}
	}
	n.lo, n.hi, n.bias = n.param("lo"), n.param("hi"), n.param("zero")
	Label("loop")
	for j := range 2 {
		n.round(n.at(Mem{Base: src}, j), j)
	}
	n.store(dst)
	ADDQ(U32(uint32(2*f.lanes()*4)), src)
	ADDQ(stride, dst)
	DECQ(rows)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

type narrowKernel struct {
	gemmKernel
	lo, hi, bias reg.VecVirtual
	v            [2]reg.VecVirtual
}

func (n *narrowKernel) param(name string) reg.VecVirtual {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	v := n.vec()
	VBROADCASTSS(p.Addr, v)
	return v
}

// round makes int32 of half j of a row. A NaN becomes the lowest number.
func (n *narrowKernel) round(m Mem, j int) {
	v := n.vec()
	VMOVUPS(m, v)
	VMAXPS(n.lo, v, v)
	VMINPS(n.hi, v, v)
	VCVTPS2DQ(v, v)
	VPADDD(n.bias, v, v)
	n.v[j] = v
}

func (n *narrowKernel) store(dst reg.GPVirtual) {
	if n.gemmFlavour == gemmZMM {
		for j, v := range n.v {
			VPMOVDB(v, n.k[j], Mem{Base: dst, Disp: 16 * j})
		}
		return
	}
	// Packing saturates and interleaves halves: keep the low bytes only, which
	// it leaves alone, and put the quarters in order at the end.
	mask := words("lowBytes", 255, 255, 255, 255, 255, 255, 255, 255)
	for _, v := range n.v {
		VPAND(mask, v, v)
	}
	w := YMM()
	VPACKUSDW(n.v[1], n.v[0], w) // 0-3 8-11 4-7 12-15
	VPERMQ(Imm(0xd8), w, w)      // 0-3 4-7 8-11 12-15
	hi := XMM()
	VEXTRACTI128(Imm(1), w, hi)
	VPACKUSWB(hi, w.AsX(), hi)
	VMOVDQU(hi, Mem{Base: dst})
}
