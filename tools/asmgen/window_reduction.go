package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// reduction is how a kernel without a sum over channels combines its taps.
type reduction string

const (
	depthwise reduction = "depthwise" // bias, each tap with its weights, epilogue
	maximum   reduction = "max"
	average   reduction = "average"
)

// reductionTile computes mr output pixels of one channel block after the other; inputs
// are vectors, like the weights of a depthwise convolution.
func (l vectorLevel) reductionTile(kind reduction, mr int) {
	TEXT(fmt.Sprintf("%s%s_%d", kind, l.suffix(), mr), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("computes %d output pixels of each channel block; t is a *window.Tile.", mr))
	Pragma("noescape")
	args := loadTileArgs()
	channels, bias, weights := AllocLocal(8), AllocLocal(8), AllocLocal(8)
	args.keep(tileChannels, channels)
	args.keep(tileBias, bias)
	args.keep(tileWeights, weights)
	blockIn, blockOut, blockRes := AllocLocal(8), AllocLocal(8), AllocLocal(8)
	args.keep(tileIn, blockIn)
	args.keep(tileOut, blockOut)
	args.keep(tileRes, blockRes)
	move := func(from, to Mem) {
		r := GP64()
		MOVQ(from, r)
		MOVQ(r, to)
	}
	Label("channel")
	move(blockIn, args.in)
	move(blockOut, args.out)
	move(blockRes, args.res)
	args.keep(tileLines, args.lines)
	Label("line")
	acc := l.startReduction(kind, args, bias, mr)
	CMPQ(args.field(tileBlocks), Imm(0))
	JE(LabelRef("sum"))
	v := l.reductionTaps(kind, args, acc, weights)
	Label("sum")
	l.finishReduction(kind, args, acc, v)
	args.nextLine()
	d := args.value(tileInBlock)
	ADDQ(d, blockIn)
	MOVQ(args.field(tileOutBlk), d)
	ADDQ(d, blockOut)
	ADDQ(d, blockRes)
	MOVQ(args.field(tileWOut), d)
	ADDQ(d, weights)
	ADDQ(U32(uint64(l.bytes())), bias)
	DECQ(channels)
	JNE(LabelRef("channel"))
	end()
}

// reductionTaps takes the taps into the accumulators, and gives a register that is free then.
func (l vectorLevel) reductionTaps(kind reduction, args tileArgs, acc []reg.VecVirtual, weights Mem) reg.VecVirtual {
	row, w, kw, kh := GP64(), GP64(), GP64(), args.value(tileKH)
	stepKW := args.value(tileInKW)
	px := newPixels(GP64(), args.value(tileInPx), len(acc))
	MOVQ(args.in, row)
	MOVQ(weights, w)
	v := l.reg()
	Label("row")
	MOVQ(row, px.base)
	px.setFar()
	MOVQ(args.field(tileKW), kw)
	Label("col")
	if kind == depthwise {
		VMOVUPS(Mem{Base: w}, v)
	}
	for i, a := range acc {
		switch kind {
		case depthwise:
			VFMADD231PS(px.at(i, 0), v, a)
		case average:
			VADDPS(px.at(i, 0), a, a)
		case maximum: // the accumulator second: NaN is left out
			VMOVUPS(px.at(i, 0), v)
			VMAXPS(a, v, a)
		}
	}
	ADDQ(stepKW, px.base)
	if px.far != nil {
		ADDQ(stepKW, px.far)
	}
	ADDQ(U32(uint64(l.bytes())), w)
	DECQ(kw)
	JNE(LabelRef("col"))
	ADDQ(args.field(tileInKH), row)
	ADDQ(args.field(tileWSkipKH), w)
	DECQ(kh)
	JNE(LabelRef("row"))
	return v
}

// startReduction gives the accumulators their first values.
func (l vectorLevel) startReduction(kind reduction, args tileArgs, bias Mem, mr int) []reg.VecVirtual {
	if kind == depthwise {
		b := GP64()
		MOVQ(bias, b)
		return l.biased(b, 1, mr)[0]
	}
	acc := l.regs(mr)
	if kind == maximum {
		VBROADCASTSS(args.field(tileLo), acc[0])
	} else {
		l.clear(acc[0])
	}
	for _, a := range acc[1:] {
		VMOVAPS(acc[0], a)
	}
	return acc
}

// finishReduction stores the results; t is a free register.
func (l vectorLevel) finishReduction(kind reduction, args tileArgs, acc []reg.VecVirtual, t reg.VecVirtual) {
	if kind == depthwise {
		l.finish(args, [][]reg.VecVirtual{acc}, t, l.reg())
		return
	}
	if kind == average {
		VBROADCASTSS(args.field(tileDivisor), t)
		for _, a := range acc {
			VDIVPS(t, a, a)
		}
	}
	p, step := GP64(), args.value(tileOutPx)
	MOVQ(args.out, p)
	for _, a := range acc {
		VMOVUPS(a, Mem{Base: p})
		ADDQ(step, p)
	}
}
