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
		for mr := 1; mr <= l.tileWidths[1]; mr++ {
			l.reduce(depthwise, mr)
		}
		for _, name := range activations {
			l.activate(name)
		}
		l.transpose()
		l.winograd()
		l.planar()
	}
}

// fetchFrom is what a line fetches for later calls: what is left of it, or
// nothing new.
func (a tileArgs) fetchFrom(nothing reg.GPVirtual) reg.GPVirtual {
	next := a.get(tileNext)
	CMPQ(next, a.field(tileNextEnd))
	CMOVQCC(nothing, next)
	return next
}

// fetched notes how far a line has fetched.
func (a tileArgs) fetched(next reg.GPVirtual) {
	old := a.get(tileNext)
	CMPQ(old, a.field(tileNextEnd))
	JCC(LabelRef("allfetched"))
	MOVQ(next, a.field(tileNext))
	Label("allfetched")
}

// convTile computes mr output pixels of nb output blocks over all input blocks
// and the taps inside the input. It visits blocks, rows, columns and channels
// in this order for each output, whatever mr and nb are.
func (l vectorLevel) convTile(nb, mr int) {
	TEXT(fmt.Sprintf("tile%s_%dx%d", l.suffix, nb, mr), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("adds up %d output pixels of %d blocks; t is a *tile.", mr, nb))
	Pragma("noescape")
	args := loadTileArgs()
	blocks, inputs, skip := AllocLocal(8), AllocLocal(8), AllocLocal(8)
	args.firstLine()
	t := &convLoops{vectorLevel: l, tileArgs: args, acc: l.biased(args.get(tileBias), nb, mr)}
	l.resume(args, t.acc)
	in := GP64()
	t.w = args.get(tileWeights)
	MOVQ(args.in, in)
	t.next = args.fetchFrom(t.w)
	t.strides(nb)
	t.px = newPixels(GP64(), args.get(tileInPx), mr)
	t.ws = l.vectors(nb)
	t.bc = l.vectors(2)
	n := args.get(tileBlocks)
	TESTQ(n, n)
	JE(LabelRef("sum"))
	MOVQ(n, blocks)
	row, col, kh, kw, ci := GP64(), GP64(), GP64(), GP64(), GP64()
	Label("block")
	t.inputsOf(blocks, inputs, skip, ci)
	MOVQ(in, row)
	MOVQ(args.field(tileKH), kh)
	Label("row")
	MOVQ(row, col)
	MOVQ(args.field(tileKW), kw)
	Label("col")
	t.tap(col, inputs, ci)
	ADDQ(skip, t.w)
	ADDQ(args.field(tileInKW), col)
	DECQ(kw)
	JNE(LabelRef("col"))
	ADDQ(args.field(tileInKH), row)
	ADDQ(args.field(tileWSkipKH), t.w)
	DECQ(kh)
	JNE(LabelRef("row"))
	ADDQ(args.field(tileInBlock), in)
	ADDQ(args.field(tileWSkipIC), t.w)
	DECQ(blocks)
	JNE(LabelRef("block"))
	args.fetched(t.next)
	Label("sum")
	l.finish(args, t.acc, t.ws[0], t.bc[0])
	args.nextLine()
	VZEROUPPER()
	RET()
}

// convLoops is what the loops of a tile have in registers.
type convLoops struct {
	vectorLevel
	tileArgs
	acc         [][]reg.VecVirtual // of output blocks and pixels
	px          pixels
	ws, bc      []reg.VecVirtual // weights of blocks, and pixels in all lanes
	w           reg.GPVirtual    // the first block's weights
	wOut, wOut3 reg.GPVirtual    // from there to the second's and the fourth's
	next        reg.GPVirtual    // what is fetched for later calls
}

// strides finds the weights of further blocks.
func (t *convLoops) strides(nb int) {
	if nb > 1 {
		t.wOut = t.get(tileWOut)
	}
	if nb > 3 {
		t.wOut3 = GP64()
		LEAQ(Mem{Base: t.wOut, Index: t.wOut, Scale: 2}, t.wOut3)
	}
}

// weight is where an output block's weights are.
func (t *convLoops) weight(block, disp int) Mem {
	switch block {
	case 1, 2:
		return Mem{Base: t.w, Index: t.wOut, Scale: uint8(block), Disp: disp}
	case 3:
		return Mem{Base: t.w, Index: t.wOut3, Scale: 1, Disp: disp}
	}
	return Mem{Base: t.w, Disp: disp}
}

// inputsOf sets how many input channels a block has, and what weights to skip
// behind them: the last may have fewer.
func (t *convLoops) inputsOf(blocks, inputs, skip Mem, ci reg.GPVirtual) {
	MOVQ(t.field(tileCI), ci)
	MOVQ(ci, inputs)
	MOVQ(U32(0), skip)
	CMPQ(blocks, Imm(1))
	JNE(LabelRef("whole"))
	MOVQ(t.field(tileLastCI), ci)
	TESTQ(ci, ci)
	JE(LabelRef("whole"))
	MOVQ(ci, inputs)
	MOVQ(t.field(tileLastSkip), ci)
	MOVQ(ci, skip)
	Label("whole")
}

// tap adds the products of a tap's input channels, four at a time.
func (t *convLoops) tap(col reg.GPVirtual, inputs Mem, ci reg.GPVirtual) {
	if t.bytes == 32 { // weights are read by some nine tiles of a 7×7 plane: a line for each block is enough
		PREFETCHT1(Mem{Base: t.next})
		ADDQ(Imm(64), t.next)
	}
	MOVQ(col, t.px.base)
	t.px.setFar()
	MOVQ(inputs, ci)
	SUBQ(Imm(4), ci)
	JL(LabelRef("tail"))
	Label("quad")
	for u := range 4 {
		t.channel(u)
	}
	if t.bytes == 64 {
		PREFETCHT1(Mem{Base: t.next})
		PREFETCHT1(Mem{Base: t.next, Disp: 64})
		SUBQ(I8(-128), t.next)
	}
	t.px.advance(16)
	ADDQ(U32(uint64(4*t.bytes)), t.w)
	SUBQ(Imm(4), ci)
	JGE(LabelRef("quad"))
	Label("tail")
	ADDQ(Imm(4), ci)
	JE(LabelRef("nextcol"))
	Label("single")
	t.channel(0)
	t.px.advance(4)
	ADDQ(U32(uint64(t.bytes)), t.w)
	DECQ(ci)
	JNE(LabelRef("single"))
	Label("nextcol")
}

// channel adds the products of input channel u from here.
func (t *convLoops) channel(u int) {
	if t.bytes == 32 && len(t.acc) > 3 { // registers hold the pixels, and one block's weights at a time
		xs := t.vectors(len(t.acc[0]))
		for i, x := range xs {
			VBROADCASTSS(t.px.at(i, u*4), x)
		}
		for j, sums := range t.acc {
			VMOVUPS(t.weight(j, u*t.bytes), t.ws[0])
			for i, x := range xs {
				VFMADD231PS(x, t.ws[0], sums[i])
			}
		}
		return
	}
	for j, w := range t.ws {
		VMOVUPS(t.weight(j, u*t.bytes), w)
		if t.bytes == 64 {
			PREFETCHT0(t.weight(j, u*t.bytes+512))
		}
	}
	for i := range t.acc[0] {
		if len(t.ws) == 1 && t.bcast {
			VFMADD231PS_BCST(t.px.at(i, u*4), t.ws[0], t.acc[0][i])
			continue
		}
		b := t.bc[i&1]
		VBROADCASTSS(t.px.at(i, u*4), b)
		for j, w := range t.ws {
			VFMADD231PS(b, w, t.acc[j][i])
		}
	}
}
