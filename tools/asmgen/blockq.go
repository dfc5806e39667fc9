package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["blockq"] = blockq }

// blockq writes the kernels of internal/kernels/blockq, where dispatch.go says
// what each must do, and layout.go how weights are packed.
func blockq() {
	for _, v := range []bqLevel{{avx2}, {avx512}} {
		for i := range bqFormats {
			f := &bqFormats[i]
			if !v.wide && !f.alwaysDirect() {
				v.spread(f)
			}
			for _, rows := range v.directRows() {
				v.direct(f, rows)
			}
		}
		v.finish()
		for _, f := range bqFloats {
			v.halfKernels(f)
		}
	}
	for _, k := range []bqKind{bqPlain, bqOffset, bqPair, bqTwoOffsets, bqSigned} {
		k.sweep(false)
		if k == bqOffset {
			k.sweep(true)
		}
	}
	for i := range bqFormats {
		if f := &bqFormats[i]; f.fused() {
			f.fours()
		}
	}
	bqQuantize(false)
	bqQuantizeRows()
	for _, n := range []int{1, 4, 8} {
		bqQuantizeWhole(n)
	}
}

// Offsets in bytes into the Go struct args.
const (
	bqW      = 0
	bqValues = 8
	bqDW     = 16
	bqExtra  = 24
	bqQ      = 32
	bqShift  = 40
	bqS      = 48
	bqC      = 56
	bqAcc    = 64
	bqUnits  = 72
	bqPanels = 80
	bqHeader = 88
	bqRows   = 96
	bqZero   = 104
	bqSpill  = 112
	bqTiles  = 120
	bqTile   = 128
	bqGap    = 136
	bqRing   = 144
	bqSums   = 152
	bqConfig = 160
	bqAhead  = 168
	bqFar    = 176
	bqFetch  = 184
	bqFinish = 192
	bqAt     = 200
	bqStep   = 208
	bqSlots  = 216
	bqLines  = 224
	bqShare  = 232
	bqGroup  = 240
)

// bqKind is what there is to do beside dot products.
type bqKind int

const (
	bqPlain bqKind = iota
	bqOffset
	bqPair
	bqTwoOffsets
	bqSigned // plain, where values are signed
)

// perHalf is 2 where a row has two numbers a group, one for each half of K.
func (k bqKind) perHalf(what bqKind) int {
	if k == what {
		return 2
	}
	return 1
}

func (k bqKind) String() string {
	return [...]string{"Plain", "Offset", "Pair", "TwoOffsets", "Signed"}[k]
}

// bqScales is how scales are packed.
type bqScales int

const (
	bqHalf bqScales = iota
	bqHalfMin
	bqE8M0
	bqSuper
	bqSuperI8
	bqSuperPair
	bqSuperQ2
	bqSingle
	bqSingleMin
)

// bqFormat describes a packed format as layout.go does.
type bqFormat struct {
	name      string
	low, high int
	scales    bqScales
	zero      int
	table     string // constant of 16 bytes
}

var bqFormats = []bqFormat{
	{"Q4_0", 4, 0, bqHalf, 8, ""},
	{"Q4_1", 4, 0, bqHalfMin, 0, ""},
	{"Q5_0", 4, 1, bqHalf, 16, ""},
	{"Q5_1", 4, 1, bqHalfMin, 0, ""},
	{"Q8_0", 8, 0, bqHalf, 0, ""},
	{"Q2_K", 2, 0, bqSuperQ2, 0, ""},
	{"Q3_K", 2, 1, bqSuperPair, 4, ""},
	{"Q4_K", 4, 0, bqSuper, 0, ""},
	{"Q5_K", 4, 1, bqSuper, 0, ""},
	{"Q6_K", 4, 2, bqSuperPair, 32, ""},
	{"IQ4_NL", 4, 0, bqHalf, 0, "valuesIQ4"},
	{"IQ4_XS", 4, 0, bqSuperI8, 0, "valuesIQ4"},
	{"MXFP4", 4, 0, bqE8M0, 0, "valuesE2M1"},
	{"N4", 4, 0, bqSingle, 8, ""},
	{"N4Zero", 4, 0, bqSingleMin, 0, ""},
	{"N8", 8, 0, bqSingle, 0, ""},
}

var bqTables = map[string][]int8{
	"valuesIQ4":  {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
	"valuesE2M1": {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12},
}

// nibbles: eight sums of VPMADDUBSW can be added in 16 bits, since codes are at most 15.
func (f *bqFormat) nibbles() bool {
	return f.low == 4 && f.high == 0 && !f.signed() && f.kind() <= bqOffset
}

func (f *bqFormat) kind() bqKind {
	switch f.scales {
	case bqHalfMin, bqSuper, bqSingleMin:
		return bqOffset
	case bqSuperPair:
		return bqPair
	case bqSuperQ2:
		return bqTwoOffsets
	}
	return bqPlain
}

// signed: the codes stand for signed bytes.
func (f *bqFormat) signed() bool { return f.table != "" || f.low == 8 }

func (f *bqFormat) headerBytes() int {
	switch f.scales {
	case bqSuper, bqSuperQ2:
		return 64
	case bqSuperI8, bqSuperPair:
		return 32
	}
	return 0
}

func (f *bqFormat) scaleBytes() int {
	switch f.scales {
	case bqHalfMin, bqSingle:
		return 64
	case bqSingleMin:
		return 128
	case bqE8M0, bqSuperI8:
		return 16
	}
	return 32
}

func (f *bqFormat) groupBytes() int { return f.scaleBytes() + 64*(f.low+f.high) }

// bqLevel is AVX2, which does the 16 columns of a panel in two halves, or AVX-512 with
// VNNI. Its operations are on integers, and name where their results go.
type bqLevel struct{ level }

func (v bqLevel) suffix() string {
	if v.wide {
		return "512"
	}
	return "256"
}

// directRows are the rows that direct kernels take.
func (v bqLevel) directRows() []int {
	if !v.wide {
		return []int{1, 2, 4}
	}
	return []int{1, 4, 8}
}

// halves of a panel that a register doesn't hold.
func (v bqLevel) halves() int {
	if v.wide {
		return 1
	}
	return 2
}

func (v bqLevel) zeroed() reg.VecVirtual {
	r := v.reg()
	v.clear(r)
	return r
}

func (v bqLevel) clear(r reg.VecVirtual) { v.xor(r, r, r) }

func (v bqLevel) and(b Op, a, dst reg.VecVirtual) { v.bits(VPAND, VPANDD)(b, a, dst) }
func (v bqLevel) or(b Op, a, dst reg.VecVirtual)  { v.bits(VPOR, VPORD)(b, a, dst) }
func (v bqLevel) xor(b Op, a, dst reg.VecVirtual) { v.bits(VPXOR, VPXORD)(b, a, dst) }

func (v bqLevel) load(m Mem, r reg.VecVirtual) {
	if v.wide {
		VMOVDQU32(m, r)
		return
	}
	VMOVDQU(m, r)
}

func (v bqLevel) store(r reg.VecVirtual, m Mem) {
	if v.wide {
		VMOVDQU32(r, m)
		return
	}
	VMOVDQU(r, m)
}

// constant is a word in every lane.
func (v bqLevel) constant(w uint32) reg.VecVirtual {
	r := v.reg()
	VPBROADCASTD(bitsConst(w), r)
	return r
}

// mask is a constant operand.
func (v bqLevel) mask(w uint32) Op {
	if v.wide {
		return v.constant(w)
	}
	return bitsConst(w)
}

func bytes4(b int) uint32 { return uint32(byte(b)) * 0x01010101 }

// bqText begins a kernel, which takes args.
func bqText(name string) argStruct {
	TEXT(name, NOSPLIT, "func(a *byte)")
	Pragma("noescape")
	return argStruct{arg("a")}
}
