package main

import (
	"strconv"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vectorLevel is a level whose registers are blocks of channels. Field
// offsets below are those of window.Tile, which a test there checks.
type vectorLevel struct {
	level
	tileWidths []int // by number of output blocks: the most output pixels that fit the registers
}

var vectorLevels = []vectorLevel{
	{avx512, []int{0, 14, 14, 0, 6}},
	{avx2, []int{0, 12, 6, 4, 3}},
}

// suffix is the bits of a register.
func (l vectorLevel) suffix() string { return strconv.Itoa(8 * l.bytes()) }

// Offsets in bytes of window.Tile.
const (
	tileIn       = 0
	tileWeights  = 8
	tileOut      = 16
	tileRes      = 24
	tileBias     = 32
	tileBlocks   = 40
	tileKH       = 48
	tileKW       = 56
	tileCI       = 64
	tileInBlock  = 72
	tileInKH     = 80
	tileInKW     = 88
	tileInPx     = 96
	tileWSkipKH  = 104
	tileWSkipIC  = 112
	tileWOut     = 120
	tileOutPx    = 128
	tileOutBlk   = 136
	tileLo       = 144
	tileHi       = 148
	tileClamp    = 152
	tileLines    = 160
	tileChannels = 168
	tileInLine   = 176
	tileOutLine  = 184
	tileDivisor  = 192
	tilePartial  = 200
	tileLastCI   = 208
	tileLastSkip = 216
	tileNext     = 224
	tileNextEnd  = 232
)

// tileArgs is the argument of a kernel with the places that move from line to
// line, which live in the frame.
type tileArgs struct {
	argStruct
	in, out, res, lines Mem
}

func loadTileArgs() tileArgs {
	a := tileArgs{argStruct: argStruct{arg("t")}}
	a.in, a.out, a.res, a.lines = AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	return a
}

// keep copies a field into the frame.
func (a tileArgs) keep(offset int, local Mem) { MOVQ(a.value(offset), local) }

// firstLine starts the loop over lines.
func (a tileArgs) firstLine() {
	a.keep(tileIn, a.in)
	a.keep(tileOut, a.out)
	a.keep(tileRes, a.res)
	a.keep(tileLines, a.lines)
	Label("line")
}

// nextLine ends the loop over lines.
func (a tileArgs) nextLine() {
	d := a.value(tileInLine)
	ADDQ(d, a.in)
	MOVQ(a.field(tileOutLine), d)
	ADDQ(d, a.out)
	ADDQ(d, a.res) // means nothing where there is no residual
	DECQ(a.lines)
	JNE(LabelRef("line"))
}

// biased starts every accumulator at its block's bias.
func (v level) biased(bias reg.GPVirtual, nb, mr int) [][]reg.VecVirtual {
	acc := make([][]reg.VecVirtual, nb)
	for j := range acc {
		acc[j] = v.regs(mr)
		VMOVUPS(Mem{Base: bias, Disp: j * v.bytes()}, acc[j][0])
		for _, a := range acc[j][1:] {
			VMOVAPS(acc[j][0], a)
		}
	}
	return acc
}

// eachOutput visits the places of a tile's outputs in a buffer, the first of
// which is where start says.
func (a tileArgs) eachOutput(start Mem, acc [][]reg.VecVirtual, f func(m Mem, v reg.VecVirtual)) {
	px, stepBlock := newPixels(GP64(), a.value(tileOutPx), len(acc[0])), a.value(tileOutBlk)
	MOVQ(start, px.base)
	for j := range acc {
		px.setFar()
		for i, v := range acc[j] {
			f(px.at(i, 0), v)
		}
		if j < len(acc)-1 {
			ADDQ(stepBlock, px.base)
		}
	}
}

// begin starts the accumulators at their blocks' biases, or where an earlier call over other
// input blocks left them in the output.
func (l vectorLevel) begin(args tileArgs, nb, mr int) [][]reg.VecVirtual {
	CMPQ(args.field(tilePartial), Imm(0))
	JNE(LabelRef("resume"))
	acc := l.biased(args.value(tileBias), nb, mr)
	JMP(LabelRef("begin"))
	Label("resume")
	args.eachOutput(args.out, acc, func(m Mem, v reg.VecVirtual) { VMOVUPS(m, v) })
	Label("begin")
	return acc
}

// finish adds the residual, clamps and stores. t0 and t1 are free registers.
func (l vectorLevel) finish(args tileArgs, acc [][]reg.VecVirtual, t0, t1 reg.VecVirtual) {
	CMPQ(args.field(tileRes), Imm(0))
	JE(LabelRef("clamp"))
	args.eachOutput(args.res, acc, func(m Mem, v reg.VecVirtual) { VADDPS(m, v, v) })
	Label("clamp")
	CMPQ(args.field(tileClamp), Imm(0))
	JE(LabelRef("store"))
	VBROADCASTSS(args.field(tileLo), t0)
	VBROADCASTSS(args.field(tileHi), t1)
	for _, row := range acc {
		for _, v := range row { // the accumulator second: NaN passes through
			VMAXPS(v, t0, v)
			VMINPS(v, t1, v)
		}
	}
	Label("store")
	args.eachOutput(args.out, acc, func(m Mem, v reg.VecVirtual) { VMOVUPS(v, m) })
}
