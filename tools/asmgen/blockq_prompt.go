package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct promptArgs.
const (
	bqpaW        = 0
	bqpaB        = 8
	bqpaA        = 16
	bqpaAcc      = 24
	bqpaConfig   = 32
	bqpaGroups   = 40
	bqpaTiles    = 48
	bqpaTileStep = 56
	bqpaPanelB   = 64
	bqpaPanelAcc = 72
	bqpaSums     = 80
	bqpaAhead    = 88
	bqpaLDX      = 96
	bqpaRows     = 104
)

// bqPromptKernels writes what multiplies prompts: weights become bfloat16 a few groups
// at a time, and all rows are multiplied by them.
func bqPromptKernels() {
	for i := range bqFormats {
		if bqFormats[i].scales >= bqSingle {
			continue // MatMulNBits knows no prompts
		}
		d := &bqDecode{bqReader: &bqReader{bqLevel: bqLevel{avx512}, f: &bqFormats[i], columns: []int{0}}}
		d.write()
	}
	bqPromptProduct()
	bqRoundTile()
}

// bqDecode writes the groups of a panel as bfloat16, 16 rows of pairs for each column,
// in the order that bqUnpack has. Lanes are columns: a code is shifted to the low bits,
// becomes a number, and is scaled; two quarters of a quad are rounded together.
type bqDecode struct {
	*bqReader
	out, table, pairs reg.Register
	dw, off           [2]reg.VecVirtual // of each half of the group; off may be nil
}

func (d *bqDecode) write() {
	a := bqText("decode" + d.f.name)
	d.w, d.ahead = a.value(bqpaW), a.value(bqpaAhead)
	d.out = a.value(bqpaB)
	units := a.value(bqpaGroups)
	if d.f.headerBytes() > 0 {
		SHRQ(Imm(3), units)
	}
	d.constants()
	d.units(units, "", d.group)
	VZEROUPPER()
	RET()
}

// looksUp: codes of 4 bits become numbers by permutation.
func (d *bqDecode) looksUp() bool { return d.f.low == 4 && d.f.high == 0 }

func (d *bqDecode) constants() {
	f := d.f
	numbers := make([]uint32, 16)
	for i := range numbers {
		numbers[i] = uint32(i) | uint32(16+i)<<16
	}
	pairs := ZMM()
	VMOVDQU32(words("promptPairs", numbers...), pairs)
	d.pairs = pairs
	if d.looksUp() {
		for i := range numbers {
			numbers[i] = math.Float32bits(float32(f.value(i)))
		}
		table := ZMM()
		VMOVDQU32(words("floats"+f.name, numbers...), table)
		d.table = table
	} else if f.low < 8 {
		d.lowMask = d.mask(bytes4(1<<f.low - 1))
		if f.high > 0 {
			d.highMask = d.mask(bytes4((1<<f.high - 1) << f.low))
		}
	}
}

// scale reads what numbers are multiplied by, and what is added then.
func (d *bqDecode) scale() {
	dw, extra := d.scales(0)
	d.dw, d.off = [2]reg.VecVirtual{dw, dw}, [2]reg.VecVirtual{}
	switch d.f.kind() {
	case bqOffset:
		d.off = [2]reg.VecVirtual{extra[0], extra[0]}
	case bqPair:
		for h := range 2 {
			d.dw[h] = d.times(dw, extra[h])
		}
	case bqTwoOffsets:
		for h := range 2 {
			x := ZMM()
			VPMOVZXBD(d.at(16*h, 1, 0), x)
			VPANDD_BCST(bitsConst(15), x, x)
			VCVTDQ2PS(x, x)
			d.dw[h], d.off[h] = d.times(dw, x), extra[h]
		}
	}
	if d.f.zero > 0 && !d.looksUp() {
		zero := math.Float32bits(float32(-d.f.zero))
		for h := range 2 {
			if h == 1 && d.dw[1] == d.dw[0] {
				d.off[1] = d.off[0]
				break
			}
			d.off[h] = ZMM()
			VMULPS_BCST(bitsConst(zero), d.dw[h], d.off[h])
		}
	}
}

func (d *bqDecode) group() {
	d.prefetch()
	d.scale()
	if d.looksUp() || d.f.low == 8 {
		for t := range 8 {
			x := ZMM()
			VMOVDQU32(Mem{Base: d.w, Disp: d.f.scaleBytes() + 64*(t%d.f.low)}, x)
			d.quad(t, x)
		}
	} else {
		d.codes(0, func(t int, x, y reg.VecVirtual) {
			d.quad(t, x)
			d.quad(t+1, y)
		})
	}
	d.next()
	ADDQ(U32(1024), d.out)
}

// quad stores the rows of quad t, whose codes are in the bytes of x.
func (d *bqDecode) quad(t int, x reg.VecVirtual) {
	numbers := [4]reg.VecPhysical{reg.Z28, reg.Z29, reg.Z30, reg.Z31}
	for i, y := range numbers {
		d.number(t, i, x, y)
		if off := d.off[t/4]; off != nil {
			VFMADD213PS(off, d.dw[t/4], y)
		} else {
			VMULPS(d.dw[t/4], y, y)
		}
	}
	for i, y := range numbers[:2] {
		VCVTNE2PS2BF16(y, numbers[i+2], y)
		VPERMW(y, d.pairs, y)
		VMOVDQU32(y, Mem{Base: d.out, Disp: 64 * (2*t + i)})
	}
}

// number makes y what byte i of each word stands for.
func (d *bqDecode) number(t, i int, x reg.VecVirtual, y reg.VecPhysical) {
	switch {
	case d.looksUp():
		if n := 8*i + t/4*4; n > 0 {
			VPSRLD(Imm(uint64(n)), x, y)
			VPERMPS(d.table, y, y)
		} else {
			VPERMPS(d.table, x, y)
		}
		return
	case d.f.low == 8:
		if i < 3 {
			VPSLLD(Imm(uint64(24-8*i)), x, y)
			VPSRAD(Imm(24), y, y)
		} else {
			VPSRAD(Imm(24), x, y)
		}
	case i == 0:
		VPANDD_BCST(bitsConst(255), x, y)
	default:
		VPSRLD(Imm(uint64(8*i)), x, y)
		if i < 3 {
			VPANDD_BCST(bitsConst(255), y, y)
		}
	}
	VCVTDQ2PS(y, y)
}

// bqPromptProduct writes the product of tiles of 16 rows, two at a time, with two
// panels. Tiles 0 to 3 are sums, 4 and 5 are rows, 6 and 7 weights.
func bqPromptProduct() {
	TEXT("promptProduct", NOSPLIT, "func(a *byte)")
	Pragma("noescape")
	args, stride, a, b, groups := reg.RDI, reg.RCX, reg.RAX, reg.RBX, reg.RDX
	acc, far, farRows, farB, rows, tiles := reg.RSI, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12
	Load(Param("a"), args)
	field := func(off int) Mem { return Mem{Base: args, Disp: off} }
	MOVQ(field(bqpaConfig), a)
	LDTILECFG(At{Base: a})
	MOVQ(U32(64), stride)
	MOVQ(field(bqpaA), rows)
	MOVQ(field(bqpaAcc), acc)
	MOVQ(acc, far)
	ADDQ(field(bqpaPanelAcc), far)
	MOVQ(field(bqpaTileStep), farRows)
	MOVQ(field(bqpaPanelB), farB)
	MOVQ(field(bqpaTiles), tiles)
	half := func(name string, high int) {
		sums := func(do func(t Tmm, m At)) {
			for p, base := range []reg.GPPhysical{acc, far} {
				for r := range high {
					do(Tmm(2*r+p), At{Base: base, Index: stride, Disp: int32(1024 * r)})
				}
			}
		}
		CMPQ(field(bqpaSums), Imm(0))
		JNE(LabelRef(name + "add"))
		sums(func(t Tmm, _ At) { TILEZERO(t) })
		JMP(LabelRef(name + "start"))
		Label(name + "add")
		sums(func(t Tmm, m At) { TILELOADD(m, t) })
		Label(name + "start")
		MOVQ(rows, a)
		MOVQ(field(bqpaB), b)
		MOVQ(field(bqpaGroups), groups)
		Label(name + "group")
		TILELOADD(At{Base: a, Index: stride}, 4)
		TILELOADD(At{Base: b, Index: stride}, 6)
		TDPBF16PS(6, 4, 0)
		next := reg.R13
		LEAQ(Mem{Base: b, Index: farB, Scale: 1}, next)
		TILELOADD(At{Base: next, Index: stride}, 7)
		TDPBF16PS(7, 4, 1)
		if high == 2 {
			LEAQ(Mem{Base: a, Index: farRows, Scale: 1}, next)
			TILELOADD(At{Base: next, Index: stride}, 5)
			TDPBF16PS(6, 5, 2)
			TDPBF16PS(7, 5, 3)
		}
		ADDQ(U32(1024), a)
		ADDQ(U32(1024), b)
		DECQ(groups)
		JNE(LabelRef(name + "group"))
		sums(func(t Tmm, m At) { TILESTORED(t, m) })
	}
	Label("tiles")
	SUBQ(Imm(2), tiles)
	JLT(LabelRef("rest"))
	half("two", 2)
	LEAQ(Mem{Base: rows, Index: farRows, Scale: 2}, rows)
	ADDQ(U32(2048), acc)
	ADDQ(U32(2048), far)
	JMP(LabelRef("tiles"))
	Label("rest")
	CMPQ(tiles, I8(-1))
	JNE(LabelRef("end"))
	half("one", 1)
	Label("end")
	TILERELEASE()
	RET()
}

// bqRoundTile writes the rounding of up to 16 rows to a tile for each group, in the
// order of the weights.
func bqRoundTile() {
	a := bqText("roundTile")
	x, out, groups, ldx := a.value(bqpaA), a.value(bqpaB), a.value(bqpaGroups), a.value(bqpaLDX)
	numbers := make([]uint32, 16)
	for i := range numbers {
		numbers[i] = uint32(i/2*4+i%2) | uint32(i/2*4+i%2+2)<<16
	}
	order := ZMM()
	VMOVDQU32(words("promptOrder", numbers...), order)
	Label("group")
	from, to, rows := GP64(), GP64(), a.value(bqpaRows)
	MOVQ(x, from)
	MOVQ(out, to)
	Label("row")
	low, high := reg.Z30, reg.Z31
	VMOVUPS(Mem{Base: from}, low)
	VMOVUPS(Mem{Base: from, Disp: 64}, high)
	VCVTNE2PS2BF16(low, high, low)
	VPERMW(low, order, low)
	VMOVDQU32(low, Mem{Base: to})
	ADDQ(ldx, from)
	ADDQ(Imm(64), to)
	DECQ(rows)
	JNE(LabelRef("row"))
	ADDQ(U32(128), x)
	ADDQ(U32(1024), out)
	DECQ(groups)
	JNE(LabelRef("group"))
	VZEROUPPER()
	RET()
}
