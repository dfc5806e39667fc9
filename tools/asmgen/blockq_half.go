package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct halfArgs.
const (
	bqhW     = 0
	bqhX     = 8
	bqhLDX   = 16
	bqhK     = 24
	bqhAcc   = 32
	bqhPanel = 40
	bqhLDW   = 48
)

// bqFloats are the formats of 16 bits, by the prefix of their kernels' names.
var bqFloats = []bqFloat{{"half", bqLevel.fromFloat16}, {"bfloat", bqLevel.fromBFloat16}}

// bqFloat is a format of 16 bits: widen loads numbers as float32.
type bqFloat struct {
	name  string
	widen func(v bqLevel, m Mem, dst reg.VecVirtual)
}

func (v bqLevel) fromFloat16(m Mem, dst reg.VecVirtual) { VCVTPH2PS(m, dst) }

// fromBFloat16 shifts: bfloat16 is the upper half of a float32.
func (v bqLevel) fromBFloat16(m Mem, dst reg.VecVirtual) {
	VPMOVZXWD(m, dst)
	VPSLLD(Imm(16), dst, dst)
}

// halfKernels writes the kernels of a format of 16 bits.
func (v bqLevel) halfKernels(f bqFloat) {
	v.half(f, 1, 4)
	v.half(f, 1, 1)
	v.half(f, 4, 1)
	if v.wide {
		v.half(f, 4, 2)
	}
	v.widen(f)
}

// half writes the product of some rows of float32 with some panels of 16-bit
// floats: chains of fused multiply-adds in order, enough of them not to wait.
func (v bqLevel) half(f bqFloat, rows, panels int) {
	a := bqText(fmt.Sprintf("%s%sx%dp%d", f.name, v.suffix(), rows, panels))
	x, ldx, k, out, step := a.value(bqhX), a.value(bqhLDX), a.value(bqhK), a.value(bqhAcc), a.value(bqhPanel)
	w := []reg.GPVirtual{a.value(bqhW)}
	for i := 1; i < panels; i++ {
		p := GP64()
		LEAQ(Mem{Base: w[i-1], Index: step, Scale: 1}, p)
		w = append(w, p)
	}
	far := GP64() // row 3
	LEAQ(Mem{Base: ldx, Index: ldx, Scale: 2}, far)
	acc := make([]reg.VecVirtual, panels*rows*v.halves())
	for i := range acc {
		acc[i] = v.zeroed()
	}
	Label("k")
	var xs []reg.VecVirtual
	for r := range rows {
		m := Mem{Base: x}
		switch r {
		case 1, 2:
			m.Index, m.Scale = ldx, uint8(r)
		case 3:
			m.Index, m.Scale = far, 1
		}
		b := v.reg()
		VBROADCASTSS(m, b)
		xs = append(xs, b)
	}
	ahead := 1024 // bytes of each panel that are fetched ahead
	if rows == 1 {
		ahead = 512 // which goes through four at once, so that 1024 takes an eighth longer
	}
	at := 0
	for _, p := range w {
		for h := range v.halves() {
			c := v.reg()
			f.widen(v, Mem{Base: p, Disp: 16 * h}, c)
			for r := range rows {
				VFMADD231PS(xs[r], c, acc[at+h+r*v.halves()])
			}
		}
		PREFETCHT0(Mem{Base: p, Disp: ahead})
		ADDQ(Imm(32), p)
		at += rows * v.halves()
	}
	ADDQ(Imm(4), x)
	DECQ(k)
	JNE(LabelRef("k"))
	for i, r := range acc {
		v.store(r, Mem{Base: out, Disp: 64 / v.halves() * i})
	}
	VZEROUPPER()
	RET()
}

// widen writes the conversion of a panel of 16-bit floats to float32, of which
// rows are some distance apart.
func (v bqLevel) widen(f bqFloat) {
	a := bqText(f.name + "Widen" + v.suffix())
	w, k, out, ld := a.value(bqhW), a.value(bqhK), a.value(bqhAcc), a.value(bqhLDW)
	Label("k")
	PREFETCHT0(Mem{Base: w, Disp: 1024})
	for h := range v.halves() {
		c := v.reg()
		f.widen(v, Mem{Base: w, Disp: 16 * h}, c)
		v.store(c, Mem{Base: out, Disp: 32 * h})
	}
	ADDQ(Imm(32), w)
	ADDQ(ld, out)
	DECQ(k)
	JNE(LabelRef("k"))
	VZEROUPPER()
	RET()
}
