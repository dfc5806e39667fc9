package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["conv"] = convFamily }

// convFamily writes the register tiles of the blocked convolution, and of the
// passes around it.
func convFamily() {
	for _, l := range vectorLevels {
		for nb := 1; nb < len(l.tileWidths); nb++ {
			for mr := 1; mr <= l.tileWidths[nb]; mr++ {
				l.convTile(nb, mr)
			}
		}
	}
}

// vectorLevel is an instruction-set level seen as a vector length. Field
// offsets below are those of conv's tile struct, which a test there checks.
type vectorLevel struct {
	suffix     string
	bytes      int // per vector; a channel block is one vector
	vec        func() reg.VecVirtual
	bcast      bool  // arithmetic takes a broadcast memory operand
	tileWidths []int // by number of output blocks: the most output pixels that fit the registers
}

var vectorLevels = []vectorLevel{
	{"512", 64, ZMM, true, []int{0, 14, 14, 0, 6}},
	{"256", 32, YMM, false, []int{0, 12, 6, 4}},
}

// Offsets in bytes of conv's tile struct.
const (
	tileIn      = 0
	tileWeights = 8
	tileOut     = 16
	tileRes     = 24
	tileBias    = 32
	tileBlocks  = 40
	tileKH      = 48
	tileKW      = 56
	tileCI      = 64
	tileInBlock = 72
	tileInKH    = 80
	tileInKW    = 88
	tileInPx    = 96
	tileWSkipKH = 104
	tileWSkipIC = 112
	tileWOut    = 120
	tileOutPx   = 128
	tileOutBlk  = 136
	tileLo      = 144
	tileHi      = 148
	tileClamp   = 152
)

// pixels addresses a run of equally spaced places from one or two base
// registers, without a multiplication per place.
type pixels struct {
	base, far          reg.GPVirtual // far is 7 steps on, only for runs above 7
	step, step3, step5 reg.GPVirtual
}

func newPixels(base, step reg.GPVirtual, n int) pixels {
	p := pixels{base: base, step: step}
	if n > 3 {
		p.step3 = GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 2}, p.step3)
	}
	if n > 5 {
		p.step5 = GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 4}, p.step5)
	}
	if n > 7 {
		p.far = GP64()
	}
	return p
}

// setFar recomputes the second base after the first has moved.
func (p pixels) setFar() {
	if p.far != nil {
		LEAQ(Mem{Base: p.base, Index: p.step, Scale: 8}, p.far)
		SUBQ(p.step, p.far)
	}
}

func (p pixels) advance(bytes int) {
	ADDQ(U32(uint64(bytes)), p.base)
	if p.far != nil {
		ADDQ(U32(uint64(bytes)), p.far)
	}
}

func (p pixels) at(i, disp int) Mem {
	m := Mem{Base: p.base, Disp: disp}
	if i >= 7 {
		m.Base = p.far
		i -= 7
	}
	switch i {
	case 1, 2, 4:
		m.Index, m.Scale = p.step, uint8(i)
	case 3, 6:
		m.Index, m.Scale = p.step3, uint8(i/3)
	case 5:
		m.Index, m.Scale = p.step5, 1
	}
	return m
}

// convTile computes mr output pixels of nb output blocks over all input blocks
// and the taps inside the input. It visits blocks, rows, columns and channels
// in this order for each output, whatever mr and nb are.
func (l vectorLevel) convTile(nb, mr int) {
	TEXT(fmt.Sprintf("tile%s_%dx%d", l.suffix, nb, mr), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("adds up %d output pixels of %d blocks; t is a *tile.", mr, nb))
	Pragma("noescape")
	args := Load(Param("t"), GP64())
	field := func(offset int) Mem { return Mem{Base: args, Disp: offset} }
	get := func(offset int) reg.GPVirtual {
		r := GP64()
		MOVQ(field(offset), r)
		return r
	}
	acc := l.biased(get(tileBias), nb, mr)
	in, w := get(tileIn), get(tileWeights)
	var wOut, wOut3 reg.GPVirtual
	if nb > 1 {
		wOut = get(tileWOut)
	}
	if nb > 3 {
		wOut3 = GP64()
		LEAQ(Mem{Base: wOut, Index: wOut, Scale: 2}, wOut3)
	}
	px := newPixels(GP64(), get(tileInPx), mr)
	weight := func(j, disp int) Mem {
		switch j {
		case 1, 2:
			return Mem{Base: w, Index: wOut, Scale: uint8(j), Disp: disp}
		case 3:
			return Mem{Base: w, Index: wOut3, Scale: 1, Disp: disp}
		}
		return Mem{Base: w, Disp: disp}
	}
	ws := make([]reg.VecVirtual, nb)
	for j := range ws {
		ws[j] = l.vec()
	}
	bc := []reg.VecVirtual{l.vec(), l.vec()}
	step := func(u int) {
		for j := range nb {
			VMOVUPS(weight(j, u*l.bytes), ws[j])
			PREFETCHT0(weight(j, u*l.bytes+1024))
		}
		for i := range mr {
			if nb == 1 && l.bcast {
				VFMADD231PS_BCST(px.at(i, u*4), ws[0], acc[0][i])
				continue
			}
			b := bc[i&1]
			VBROADCASTSS(px.at(i, u*4), b)
			for j := range nb {
				VFMADD231PS(b, ws[j], acc[j][i])
			}
		}
	}
	blocks := AllocLocal(8)
	n := get(tileBlocks)
	TESTQ(n, n)
	JE(LabelRef("sum"))
	MOVQ(n, blocks)
	row, col, kh, kw, ci := GP64(), GP64(), GP64(), GP64(), GP64()
	Label("block")
	MOVQ(in, row)
	MOVQ(field(tileKH), kh)
	Label("row")
	MOVQ(row, col)
	MOVQ(field(tileKW), kw)
	Label("col")
	MOVQ(col, px.base)
	px.setFar()
	MOVQ(field(tileCI), ci)
	SUBQ(Imm(4), ci)
	JL(LabelRef("tail"))
	Label("quad")
	for u := range 4 {
		step(u)
	}
	px.advance(16)
	ADDQ(U32(uint64(4*l.bytes)), w)
	SUBQ(Imm(4), ci)
	JGE(LabelRef("quad"))
	Label("tail")
	ADDQ(Imm(4), ci)
	JE(LabelRef("nextcol"))
	Label("single")
	step(0)
	px.advance(4)
	ADDQ(U32(uint64(l.bytes)), w)
	DECQ(ci)
	JNE(LabelRef("single"))
	Label("nextcol")
	ADDQ(field(tileInKW), col)
	DECQ(kw)
	JNE(LabelRef("col"))
	ADDQ(field(tileInKH), row)
	ADDQ(field(tileWSkipKH), w)
	DECQ(kh)
	JNE(LabelRef("row"))
	ADDQ(field(tileInBlock), in)
	ADDQ(field(tileWSkipIC), w)
	DECQ(blocks)
	JNE(LabelRef("block"))
	Label("sum")
	l.finish(args, acc, ws[0], bc[0])
	VZEROUPPER()
	RET()
}

// biased starts every accumulator at its block's bias.
func (l vectorLevel) biased(bias reg.GPVirtual, nb, mr int) [][]reg.VecVirtual {
	acc := make([][]reg.VecVirtual, nb)
	for j := range acc {
		acc[j] = make([]reg.VecVirtual, mr)
		for i := range acc[j] {
			acc[j][i] = l.vec()
			if i == 0 {
				VMOVUPS(Mem{Base: bias, Disp: j * l.bytes}, acc[j][0])
			} else {
				VMOVAPS(acc[j][0], acc[j][i])
			}
		}
	}
	return acc
}

// finish adds the residual, clamps and stores. t0 and t1 are free registers.
func (l vectorLevel) finish(args reg.Register, acc [][]reg.VecVirtual, t0, t1 reg.VecVirtual) {
	field := func(offset int) Mem { return Mem{Base: args, Disp: offset} }
	stepPx, stepBlock, p, q := GP64(), GP64(), GP64(), GP64()
	MOVQ(field(tileOutPx), stepPx)
	MOVQ(field(tileOutBlk), stepBlock)
	each := func(f func(m Mem, v reg.VecVirtual)) {
		for j := range acc {
			MOVQ(p, q)
			for i, v := range acc[j] {
				f(Mem{Base: q}, v)
				if i < len(acc[j])-1 {
					ADDQ(stepPx, q)
				}
			}
			if j < len(acc)-1 {
				ADDQ(stepBlock, p)
			}
		}
	}
	MOVQ(field(tileRes), p)
	TESTQ(p, p)
	JE(LabelRef("clamp"))
	each(func(m Mem, v reg.VecVirtual) { VADDPS(m, v, v) })
	Label("clamp")
	CMPQ(field(tileClamp), Imm(0))
	JE(LabelRef("store"))
	VBROADCASTSS(field(tileLo), t0)
	VBROADCASTSS(field(tileHi), t1)
	for _, row := range acc {
		for _, v := range row { // the accumulator second: NaN passes through
			VMAXPS(v, t0, v)
			VMINPS(v, t1, v)
		}
	}
	Label("store")
	MOVQ(field(tileOut), p)
	each(func(m Mem, v reg.VecVirtual) { VMOVUPS(v, m) })
}
