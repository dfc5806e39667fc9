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
			l.reductionTile(depthwise, mr)
		}
		for _, f := range activations {
			l.activate(f.name, f.begin)
		}
		l.transpose()
		l.winograd()
		l.planar()
	}
}

// fetchFrom is what a line fetches for later calls: what is left of it, or
// nothing new.
func (a tileArgs) fetchFrom(nothing reg.GPVirtual) reg.GPVirtual {
	next := a.value(tileNext)
	CMPQ(next, a.field(tileNextEnd))
	CMOVQCC(nothing, next)
	return next
}

// fetched notes how far a line has fetched.
func (a tileArgs) fetched(next reg.GPVirtual) {
	old := a.value(tileNext)
	CMPQ(old, a.field(tileNextEnd))
	JCC(LabelRef("allfetched"))
	MOVQ(next, a.field(tileNext))
	Label("allfetched")
}

// convTile computes mr output pixels of nb output blocks over all input blocks
// and the taps inside the input. It visits blocks, rows, columns and channels
// in this order for each output, whatever mr and nb are.
func (l vectorLevel) convTile(nb, mr int) {
	TEXT(fmt.Sprintf("tile%s_%dx%d", l.suffix(), nb, mr), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("adds up %d output pixels of %d blocks; t is a *tile.", mr, nb))
	Pragma("noescape")
	args := loadTileArgs()
	blocks, inputs, skip := AllocLocal(8), AllocLocal(8), AllocLocal(8)
	args.firstLine()
	t := &convLoops{vectorLevel: l, tileArgs: args, acc: l.begin(args, nb, mr)}
	in := GP64()
	t.w = args.value(tileWeights)
	MOVQ(args.in, in)
	t.next = args.fetchFrom(t.w)
	t.strides(nb)
	t.px = newPixels(GP64(), args.value(tileInPx), mr)
	t.ws = l.regs(nb)
	t.bc = l.regs(2)
	n := args.value(tileBlocks)
	TESTQ(n, n)
	JE(LabelRef("sum"))
	MOVQ(n, blocks)
	t.row, t.kh, t.kw = GP64(), GP64(), GP64()
	col, ci := GP64(), GP64()
	if !t.wide {
		t.wholeBlocks(in, n, blocks)
	}
	Label("block")
	t.inputsOf(blocks, inputs, skip, ci)
	MOVQ(in, t.row)
	MOVQ(args.field(tileKH), t.kh)
	Label("row")
	MOVQ(t.row, col)
	MOVQ(args.field(tileKW), t.kw)
	Label("col")
	t.tap(col, inputs, ci)
	ADDQ(skip, t.w)
	ADDQ(args.field(tileInKW), col)
	DECQ(t.kw)
	JNE(LabelRef("col"))
	ADDQ(args.field(tileInKH), t.row)
	ADDQ(args.field(tileWSkipKH), t.w)
	DECQ(t.kh)
	JNE(LabelRef("row"))
	ADDQ(args.field(tileInBlock), in)
	ADDQ(args.field(tileWSkipIC), t.w)
	DECQ(blocks)
	JNE(LabelRef("block"))
	Label("summed")
	args.fetched(t.next)
	Label("sum")
	l.finish(args, t.acc, t.ws[0], t.bc[0])
	args.nextLine()
	end()
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
	row, kh, kw reg.GPVirtual    // the row of taps, and how many rows and taps of it are left
}

// wholeBlocks adds the products of n input blocks of 8 channels; a last that has fewer it leaves
// in blocks. While another program has the other half of a core, its instructions decide a loop's time, not
// the multiply-adds alone: on Zen 3 in that state 1×1 layers take 11 to 15 % less so than with the loops below, Winograd's
// products 20 %; alone 3 to 10 %.
func (t *convLoops) wholeBlocks(in, n reg.GPVirtual, blocks Mem) {
	CMPQ(t.field(tileCI), Imm(8))
	JNE(LabelRef("block"))
	MOVQ(U32(0), blocks)
	CMPQ(t.field(tileLastCI), Imm(0))
	JE(LabelRef("allwhole"))
	MOVQ(U32(1), blocks)
	DECQ(n)
	JE(LabelRef("block"))
	Label("allwhole")
	MOVQ(t.field(tileKH), t.kh)
	IMULQ(t.field(tileKW), t.kh)
	CMPQ(t.kh, Imm(1))
	JE(LabelRef("onetap"))
	t.severalTaps(in, n)
	JMP(LabelRef("last"))
	Label("onetap")
	t.singleTap(in, n)
	Label("last")
	CMPQ(blocks, Imm(0))
	JE(LabelRef("summed"))
}

// severalTaps adds the products of n blocks and their taps.
func (t *convLoops) severalTaps(in, n reg.GPVirtual) {
	Label("wholeblock")
	MOVQ(in, t.row)
	MOVQ(t.field(tileKH), t.kh)
	Label("wholerow")
	MOVQ(t.row, t.px.base)
	MOVQ(t.field(tileKW), t.kw)
	Label("wholetap")
	t.wholeTap()
	ADDQ(I32(int32(8*t.bytes())), t.w)
	ADDQ(t.field(tileInKW), t.px.base)
	DECQ(t.kw)
	JNE(LabelRef("wholetap"))
	ADDQ(t.field(tileInKH), t.row)
	ADDQ(t.field(tileWSkipKH), t.w)
	DECQ(t.kh)
	JNE(LabelRef("wholerow"))
	ADDQ(t.field(tileInBlock), in)
	ADDQ(t.field(tileWSkipIC), t.w)
	DECQ(n)
	JNE(LabelRef("wholeblock"))
}

// singleTap adds the products of n blocks, each of which has one tap.
func (t *convLoops) singleTap(in, n reg.GPVirtual) {
	step, skip := t.value(tileInBlock), t.value(tileWSkipKH)
	ADDQ(t.field(tileWSkipIC), skip)
	ADDQ(I32(int32(8*t.bytes())), skip)
	MOVQ(in, t.px.base)
	Label("singletap")
	t.wholeTap()
	ADDQ(skip, t.w)
	ADDQ(step, t.px.base)
	DECQ(n)
	JNE(LabelRef("singletap"))
	MOVQ(t.px.base, in)
}

// wholeTap adds the products of 8 input channels.
func (t *convLoops) wholeTap() {
	t.px.setFar()
	for u := range 8 {
		t.channel(u)
	}
	t.fetchLine()
}

// fetchLine fetches a line for later calls: those weights are read by some nine tiles of a 7×7 plane, so that
// one for each block of inputs is enough.
func (t *convLoops) fetchLine() {
	PREFETCHT1(Mem{Base: t.next})
	ADDQ(Imm(64), t.next)
}

// strides finds the weights of further blocks.
func (t *convLoops) strides(nb int) {
	if nb > 1 {
		t.wOut = t.value(tileWOut)
	}
	if nb > 3 {
		t.wOut3 = times3(t.wOut)
	}
}

// weight is where an output block's weights are.
func (t *convLoops) weight(block, disp int) Mem {
	return rowsByFour{[]reg.GPVirtual{t.w}, t.wOut, t.wOut3}.row(block, disp)
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
	if !t.wide {
		t.fetchLine()
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
	if t.wide {
		PREFETCHT1(Mem{Base: t.next})
		PREFETCHT1(Mem{Base: t.next, Disp: 64})
		SUBQ(I8(-128), t.next)
	}
	t.px.advance(16)
	ADDQ(U32(uint64(4*t.bytes())), t.w)
	SUBQ(Imm(4), ci)
	JGE(LabelRef("quad"))
	Label("tail")
	ADDQ(Imm(4), ci)
	JE(LabelRef("nextcol"))
	Label("single")
	t.channel(0)
	t.px.advance(4)
	ADDQ(U32(uint64(t.bytes())), t.w)
	DECQ(ci)
	JNE(LabelRef("single"))
	Label("nextcol")
}

// channel adds the products of input channel u from here.
func (t *convLoops) channel(u int) {
	if !t.wide && len(t.acc) > 3 { // registers hold the pixels, and one block's weights at a time
		xs := t.regs(len(t.acc[0]))
		for i, x := range xs {
			VBROADCASTSS(t.px.at(i, u*4), x)
		}
		for j, sums := range t.acc {
			VMOVUPS(t.weight(j, u*t.bytes()), t.ws[0])
			for i, x := range xs {
				VFMADD231PS(x, t.ws[0], sums[i])
			}
		}
		return
	}
	for j, w := range t.ws {
		VMOVUPS(t.weight(j, u*t.bytes()), w)
		if t.wide {
			PREFETCHT0(t.weight(j, u*t.bytes()+512))
		}
	}
	for i := range t.acc[0] {
		if len(t.ws) == 1 && t.wide {
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
