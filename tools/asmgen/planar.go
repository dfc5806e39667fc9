package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// planarWidths are the vectors of pixels that fit the registers, by number of output
// channels.
func (l vectorLevel) planarWidths() map[int]int {
	if l.wide {
		return map[int]int{1: 8, 2: 8, 3: 7, 4: 6, 8: 3}
	}
	return map[int]int{1: 8, 2: 5, 3: 3, 4: 3}
}

// Offsets in bytes of conv's planarTile, which a test there checks.
const (
	planarIn         = 0
	planarWeights    = 8
	planarBias       = 16
	planarOut        = 24
	planarInChannel  = 32
	planarInRow      = 40
	planarInCol      = 48
	planarChannels   = 56
	planarKH         = 64
	planarKW         = 72
	planarOutChannel = 80
	planarSteps      = 88
	planarLo         = 96
	planarHi         = 100
)

// planar writes the kernels that compute some vectors of pixels of some channels of plain
// output, and as many steps of these one after the other.
func (l vectorLevel) planar() {
	for _, mr := range []int{1, 2, 3, 4, 8} {
		if nv := l.planarWidths()[mr]; nv > 0 {
			l.planarTile(mr, nv)
			l.planarTile(mr, 1)
		}
	}
}

func (l vectorLevel) planarTile(mr, nv int) {
	TEXT(fmt.Sprintf("planar%s_%dx%d", l.suffix(), mr, nv), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("adds up %d vectors of pixels of %d channels; t is a *planarTile.", nv, mr))
	Pragma("noescape")
	t := argStruct{arg("t")}
	in, out, steps := t.value(planarIn), t.value(planarOut), AllocLocal(8)
	MOVQ(t.value(planarSteps), steps)
	stepRow, stepCol := t.value(planarInRow), t.value(planarInCol)
	Label("step")
	acc := l.regs(mr * nv)
	p := t.value(planarBias)
	for i := range mr {
		VBROADCASTSS(Mem{Base: p, Disp: 4 * i}, acc[i*nv])
		for j := 1; j < nv; j++ {
			VMOVAPS(acc[i*nv], acc[i*nv+j])
		}
	}
	channel, row, col, c, kh, kw, w := GP64(), GP64(), GP64(), GP64(), GP64(), GP64(), t.value(planarWeights)
	MOVQ(in, channel)
	MOVQ(t.field(planarChannels), c)
	b := l.reg()
	var xs []reg.VecVirtual
	if mr > 1 {
		xs = l.regs(nv)
	}
	Label("channel")
	MOVQ(channel, row)
	MOVQ(t.field(planarKH), kh)
	Label("row")
	MOVQ(row, col)
	MOVQ(t.field(planarKW), kw)
	Label("col")
	for j, x := range xs {
		VMOVUPS(l.at(col, j), x)
	}
	for i := range mr {
		VBROADCASTSS(Mem{Base: w, Disp: 4 * i}, b)
		for j := range nv {
			if mr > 1 {
				VFMADD231PS(xs[j], b, acc[i*nv+j])
			} else {
				VFMADD231PS(l.at(col, j), b, acc[j])
			}
		}
	}
	ADDQ(Imm(uint64(4*mr)), w)
	ADDQ(stepCol, col)
	DECQ(kw)
	JNE(LabelRef("col"))
	ADDQ(stepRow, row)
	DECQ(kh)
	JNE(LabelRef("row"))
	ADDQ(t.field(planarInChannel), channel)
	DECQ(c)
	JNE(LabelRef("channel"))
	l.planarFinish(t, acc, mr, nv, b, out)
	ADDQ(U32(uint64(nv*l.bytes())), in)
	ADDQ(U32(uint64(nv*l.bytes())), out)
	DECQ(steps)
	JNE(LabelRef("step"))
	end()
}

// planarFinish clamps and stores.
func (l vectorLevel) planarFinish(t argStruct, acc []reg.VecVirtual, mr, nv int, limit reg.VecVirtual, out reg.GPVirtual) {
	VBROADCASTSS(t.field(planarLo), limit)
	for _, v := range acc { // the accumulator second: NaN passes through
		VMAXPS(v, limit, v)
	}
	VBROADCASTSS(t.field(planarHi), limit)
	for _, v := range acc {
		VMINPS(v, limit, v)
	}
	p := GP64()
	MOVQ(out, p)
	for i := range mr {
		for j := range nv {
			VMOVUPS(acc[i*nv+j], l.at(p, j))
		}
		if i < mr-1 {
			ADDQ(t.field(planarOutChannel), p)
		}
	}
}
