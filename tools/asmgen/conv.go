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
	field, get := args.field, args.get
	blocks, inputs, skip := AllocLocal(8), AllocLocal(8), AllocLocal(8)
	args.firstLine()
	acc := l.biased(get(tileBias), nb, mr)
	l.resume(args, acc)
	in, w := GP64(), get(tileWeights)
	MOVQ(args.in, in)
	next := args.fetchFrom(w)
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
	ws := l.vectors(nb)
	bc := []reg.VecVirtual{l.vec(), l.vec()}
	step := func(u int) {
		if l.bytes == 32 && nb > 3 { // registers hold the pixels, and one block's weights at a time
			xs := l.vectors(mr)
			for i, x := range xs {
				VBROADCASTSS(px.at(i, u*4), x)
			}
			for j := range nb {
				VMOVUPS(weight(j, u*l.bytes), ws[0])
				for i, x := range xs {
					VFMADD231PS(x, ws[0], acc[j][i])
				}
			}
			return
		}
		for j := range nb {
			VMOVUPS(weight(j, u*l.bytes), ws[j])
			if l.bytes == 64 {
				PREFETCHT0(weight(j, u*l.bytes+512))
			}
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
	n := get(tileBlocks)
	TESTQ(n, n)
	JE(LabelRef("sum"))
	MOVQ(n, blocks)
	row, col, kh, kw, ci := GP64(), GP64(), GP64(), GP64(), GP64()
	Label("block")
	MOVQ(field(tileCI), ci)
	MOVQ(ci, inputs)
	MOVQ(U32(0), skip)
	CMPQ(blocks, Imm(1))
	JNE(LabelRef("whole"))
	MOVQ(field(tileLastCI), ci)
	TESTQ(ci, ci)
	JE(LabelRef("whole"))
	MOVQ(ci, inputs)
	MOVQ(field(tileLastSkip), ci)
	MOVQ(ci, skip)
	Label("whole")
	MOVQ(in, row)
	MOVQ(field(tileKH), kh)
	Label("row")
	MOVQ(row, col)
	MOVQ(field(tileKW), kw)
	Label("col")
	if l.bytes == 32 { // weights are read by some nine tiles of a 7×7 plane: a line for each block is enough
		PREFETCHT1(Mem{Base: next})
		ADDQ(Imm(64), next)
	}
	MOVQ(col, px.base)
	px.setFar()
	MOVQ(inputs, ci)
	SUBQ(Imm(4), ci)
	JL(LabelRef("tail"))
	Label("quad")
	for u := range 4 {
		step(u)
	}
	if l.bytes == 64 {
		PREFETCHT1(Mem{Base: next})
		PREFETCHT1(Mem{Base: next, Disp: 64})
		SUBQ(I8(-128), next)
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
	ADDQ(skip, w)
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
	args.fetched(next)
	Label("sum")
	l.finish(args, acc, ws[0], bc[0])
	args.nextLine()
	VZEROUPPER()
	RET()
}
