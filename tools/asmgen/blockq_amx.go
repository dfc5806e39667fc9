package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// bqAMX is what the kernels of AMX have in common. They multiply 8-bit integers, with
// sums of 32 bits, or where values have more bits bfloat16, in which 8-bit integers are
// exact, with float32 sums, in which those of 32 products are. The sums go through memory,
// three groups behind, so that the tile unit and the vector units work at the same time.
//
// While tiles are in use, one of two ports does no floating-point arithmetic: integers,
// which have to be converted, cost a third more of it. But half of the bytes are unpacked
// and loaded, rows stay in the first-level cache, and the multiplications take less power.
type bqAMX struct {
	kind   bqKind
	double bool // a group has two tiles of values, which are added
	rows   int
}

// bytes: values are integers of 8 bits.
func (k *bqAMX) bytes() bool { return k.kind <= bqOffset && !k.double }

// rowBytes is what a group of a row of q takes.
func (k *bqAMX) rowBytes() int {
	if k.bytes() {
		return 32
	}
	return 64
}

func init() { families["blockq_amx"] = blockqAMX }

// blockqAMX writes the kernels of internal/kernels/blockq that only AMX has: those of
// products, with what makes their rows of 8-bit integers, and those of prompts.
func blockqAMX() {
	bqProducts()
	bqPromptKernels()
	bqQuantize(true)
	bqQuantizeTile("quantize512x16", false)
	bqQuantizeTile("quantizePairs512x16", true)
}

// bqProducts writes those that unpack each format, and those for what they leave.
func bqProducts() {
	for _, rows := range []int{8, 16} {
		for i := range bqFormats {
			f := &bqFormats[i]
			k := &bqFirst{bqAMX: bqAMX{f.kind(), f.double(), rows}, unpacks: bqUnpackOf(f)}
			k.write()
		}
		for _, kind := range []bqKind{bqPlain, bqOffset, bqTwoOffsets} {
			k := &bqMore{bqAMX: bqAMX{kind, false, rows}}
			k.write(kind.String())
		}
		k := &bqMore{bqAMX: bqAMX{bqPlain, true, rows}}
		k.write("Double")
	}
}

// Registers of both kinds of kernels. The accumulators are Z0 to Z15.
var (
	bqxArgs   = RDI
	bqxStride = RCX // 32, half of what is from row to row of all tiles but those of q
	bqxQ      = RAX // q of the groups that come next
	bqxValues = RDX // and their values
	bqxShift  = RSI // of the groups whose sums are taken
	bqxS      = R8
	bqxScales = R9 // at their values
	bqxSpill  = R10
	bqxTemp   = R13
)

// Tile registers. The processor renames them: the next product needs no others. Those
// from bqxRows on have as many rows as q, bqxB 16.
const (
	bqxSums Tmm = iota
	bqxB
	bqxRows
)

const bqxRing = 4 // sums in memory, of groups

var bqxAcc = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15}

func (k *bqAMX) arg(off int) Mem { return Mem{Base: bqxArgs, Disp: off} }

// extras is how many vectors a group has beside values and dw.
func (k *bqAMX) extras() int {
	switch k.kind {
	case bqOffset:
		return 1
	case bqTwoOffsets:
		return 2
	}
	return 0
}

func (k *bqAMX) valueBytes() int {
	switch {
	case k.double:
		return 2048
	case k.bytes():
		return 512
	}
	return 1024
}

// slotBytes is what an unpacked group takes.
func (k *bqAMX) slotBytes() int { return k.valueBytes() + 64 + 64*k.extras() }

// text begins a kernel.
func (k *bqAMX) text(name string) {
	TEXT(fmt.Sprintf("%sx%d", name, k.rows), NOSPLIT, "func(a *byte)")
	Pragma("noescape")
}

// begin configures tiles, and sets the registers of both kinds.
func (k *bqAMX) begin() {
	Load(Param("a"), bqxArgs)
	MOVQ(k.arg(bqConfig), RAX)
	LDTILECFG(At{Base: RAX})
	MOVQ(U32(32), bqxStride)
	MOVQ(k.arg(bqQ), bqxQ)
	MOVQ(k.arg(bqShift), bqxShift)
	MOVQ(k.arg(bqS), bqxS)
	MOVQ(k.arg(bqValues), bqxValues)
	MOVQ(bqxValues, bqxScales)
	MOVQ(k.arg(bqSpill), bqxSpill)
}

func (k *bqAMX) end() {
	TILERELEASE()
	VZEROUPPER()
	RET()
}

func (k *bqAMX) load(base GPPhysical, disp int, t Tmm) {
	TILELOADDx2(At{Base: base, Index: bqxStride, Disp: int32(disp)}, t)
}

// loadRows loads q of group i.
func (k *bqAMX) loadRows(i int, t Tmm) {
	at := At{Base: bqxQ, Index: bqxStride, Disp: int32(k.rowBytes() * k.rows * i)}
	if k.bytes() {
		TILELOADD(at, t)
	} else {
		TILELOADDx2(at, t)
	}
}

// store stores sums.
func (k *bqAMX) store(base GPPhysical, disp int) {
	TILESTOREDx2(bqxSums, At{Base: base, Index: bqxStride, Disp: int32(disp)})
}

// product multiplies q by the values of group i in bqxB, and by their second tile.
func (k *bqAMX) product(q Tmm, i int) {
	TILEZERO(bqxSums)
	if k.bytes() {
		TDPBSSD(bqxB, q, bqxSums)
		return
	}
	TDPBF16PS(bqxB, q, bqxSums)
	if k.double {
		k.load(bqxValues, i*k.slotBytes()+1024, bqxB)
		TDPBF16PS(bqxB, q, bqxSums)
	}
}

// take adds the contribution of a group, the i-th from where the registers are, to
// the accumulators.
func (k *bqAMX) take(i int, sums func(row int) Mem) {
	dw, extra, scaled, floats := Z31, []VecPhysical{Z30, Z29}, []VecPhysical{Z25, Z26, Z27}, []VecPhysical{Z28, Z29, Z24}
	at := Mem{Base: bqxScales, Disp: i*k.slotBytes() + k.valueBytes()}
	VMOVUPS(at, dw)
	for e := range k.extras() {
		VMOVUPS(at.Offset(64+64*e), extra[e])
	}
	for r, acc := range bqxAcc[:k.rows] {
		s, x := scaled[r%3], floats[r%3]
		shift := Mem{Base: bqxShift, Disp: 4 * (k.rows*i + r)}
		if k.bytes() {
			VMOVDQU32(sums(r), x)
			VPSLLVD_BCST(shift, x, x)
			VCVTDQ2PS(x, x)
			VFMADD231PS(x, dw, acc)
		} else { // a power of two; the scale is so far from the ends of float32 that it may take it
			VMULPS_BCST(shift, dw, s)
			VFMADD231PS(sums(r), s, acc)
		}
		for e := range k.extras() {
			VFMADD231PS_BCST(Mem{Base: bqxS, Disp: 4 * (k.rows*(k.extras()*i+e) + r)}, extra[e], acc)
		}
	}
}

// startResults loads what the groups before have summed up, or zeros.
func (k *bqAMX) startResults(acc GPPhysical, label string) {
	CMPQ(k.arg(bqSums), Imm(0))
	JNE(LabelRef(label + "sums"))
	for _, acc := range bqxAcc[:k.rows] {
		VPXORD(acc, acc, acc)
	}
	JMP(LabelRef(label + "started"))
	Label(label + "sums")
	for i, z := range bqxAcc[:k.rows] {
		VMOVUPS(Mem{Base: acc, Disp: 64 * i}, z)
	}
	Label(label + "started")
}

// storeResults stores the results of a panel.
func (k *bqAMX) storeResults(acc GPPhysical) {
	for i, z := range bqxAcc[:k.rows] {
		VMOVUPS(z, Mem{Base: acc, Disp: 64 * i})
	}
}
