package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// bqAMXKernel multiplies tiles of rows by unpacked panels on AMX. A group of 32
// elements is half a tile in depth, since its sums are to be scaled on their own:
// they go through memory, a few groups behind, so that the tile unit and the
// vector units work at the same time.
type bqAMXKernel struct {
	kind bqKind
	rows int
	// packed says that panels are those of Q8_0 as they are packed: values and dw
	// begin at the same group, 16 float16 and 512 bytes.
	packed bool
	tile   Mem // of the current tile of rows: q, d, s
}

// Registers. The accumulators are Z0 to Z15.
var (
	bqxArgs   = RDI
	bqxQ      = RAX
	bqxQStep  = RCX // 32, from row to row of q
	bqxValues = RDX
	bqxStep   = RBX // 64, from row to row of values and sums
	bqxD      = RSI
	bqxS      = R8
	bqxDW     = R9
	bqxExtra  = R10
	bqxSpill  = R11
	bqxWrite  = R12 // where sums go
	bqxRead   = R13 // and are taken from
	bqxGroups = R14
	bqxTemp   = R15
)

const bqxPackedScales = 32 // bytes before the values of a packed group

const bqxRing = 8 << 10 // bytes of sums in memory

var bqxAcc = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15}

var bqxTmp = []VecPhysical{Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27}

// bqxAdvance are the arguments that move on from tile to tile and panel to panel.
var bqxAdvance = []int{bqValues, bqDW, bqExtra, bqAcc, bqNext, bqPanels}

func bqAMX(kind bqKind, rows int, packed bool) {
	name := kind.String()
	if packed {
		name = "Q8_0"
	}
	TEXT(fmt.Sprintf("amx%sx%d", name, rows), NOSPLIT, "func(a *byte)")
	Pragma("noescape")
	k := &bqAMXKernel{kind: kind, rows: rows, packed: packed, tile: AllocLocal(80)}
	at := func(off int) Mem { return Mem{Base: bqxArgs, Disp: off} }
	local := func(i int) Mem { m := k.tile; m.Disp += 8 * i; return m }
	Load(Param("a"), bqxArgs)
	MOVQ(at(bqConfig), RAX)
	LDTILECFG(At{Base: RAX})
	MOVQ(U32(32), bqxQStep)
	MOVQ(U32(64), bqxStep)
	MOVQ(at(bqSpill), bqxSpill)

	// What advances is kept on the stack, since the collector looks at pointers
	// among the arguments. Only next, which is none to it, goes back.
	for i, off := range bqxAdvance {
		MOVQ(at(off), bqxGroups)
		MOVQ(bqxGroups, local(4+i))
	}

	Label("panel")
	for i, off := range []int{bqQ, bqD, bqS, bqTiles} {
		MOVQ(at(off), bqxGroups)
		MOVQ(bqxGroups, local(i))
	}
	Label("tile")
	MOVQ(local(0), bqxQ)
	MOVQ(local(1), bqxD)
	MOVQ(local(2), bqxS)
	MOVQ(local(4), bqxValues)
	MOVQ(local(5), bqxDW)
	MOVQ(local(6), bqxExtra)
	for _, acc := range bqxAcc[:rows] {
		VPXORD(acc, acc, acc)
	}
	XORQ(bqxWrite, bqxWrite)
	XORQ(bqxRead, bqxRead)
	k.pipeline(at(bqUnits))
	MOVQ(local(7), bqxQ)
	for i, acc := range bqxAcc[:rows] {
		VMOVUPS(acc, Mem{Base: bqxQ, Disp: 64 * i})
	}
	ADDQ(U32(uint32(64*rows)), local(7))
	MOVQ(at(bqTile), bqxQ)
	for i := range 3 {
		ADDQ(bqxQ, local(i))
	}
	DECQ(local(3))
	JNE(LabelRef("tile"))
	MOVQ(at(bqPanel), bqxQ)
	for i := range 3 {
		ADDQ(bqxQ, local(4+i))
	}
	DECQ(local(9))
	JNE(LabelRef("panel"))
	MOVQ(local(8), bqxQ)
	MOVQ(bqxQ, at(bqNext))
	TILERELEASE()
	VZEROUPPER()
	RET()
}

// pipeline runs over the groups, or for pairs their halves. Two sets of three
// tiles (sums, q and values) alternate: while one multiplies, the sums of the
// other are stored.
func (k *bqAMXKernel) pipeline(groups Mem) {
	MOVQ(groups, bqxGroups)
	if k.kind == bqPair {
		ADDQ(bqxGroups, bqxGroups)
	}
	k.multiply(0)
	Label("step")
	for set := range Tmm(2) {
		DECQ(bqxGroups)
		JEQ(LabelRef(fmt.Sprintf("last%d", set)))
		k.multiply(1 - set)
		k.store(set)
		if set == 0 && k.kind == bqPair {
			continue
		}
		early := fmt.Sprintf("early%d", set)
		MOVQ(bqxWrite, bqxTemp)
		SUBQ(bqxRead, bqxTemp)
		ANDQ(U32(bqxRing-1), bqxTemp)
		CMPQ(bqxTemp, U32(bqxRing/2))
		JLT(LabelRef(early))
		k.scale()
		Label(early)
	}
	JMP(LabelRef("step"))
	Label("last0")
	k.store(0)
	JMP(LabelRef("drain"))
	Label("last1")
	k.store(1)
	Label("drain")
	k.scale()
	CMPQ(bqxRead, bqxWrite)
	JNE(LabelRef("drain"))
}

// multiply makes the integer sums of a group; for pairs those of the first half
// in set 0, of the second in set 1.
func (k *bqAMXKernel) multiply(set Tmm) {
	half, last := int32(0), true
	if k.kind == bqPair {
		half, last = int32(set), set == 1
	}
	values := 256 * half
	if k.packed {
		values = bqxPackedScales
	}
	TILEZERO(3 * set)
	TILELOADD(At{Base: bqxQ, Index: bqxQStep, Disp: 16 * half}, 3*set+1)
	TILELOADD(At{Base: bqxValues, Index: bqxStep, Disp: values}, 3*set+2)
	TDPBSSD(3*set+2, 3*set+1, 3*set)
	if !last {
		return
	}
	ADDQ(U32(uint32(32*k.rows)), bqxQ)
	if !k.packed {
		ADDQ(U32(512), bqxValues)
		return
	}
	for i := range 9 {
		PREFETCHT0(Mem{Base: bqxValues, Disp: 4096 + 64*i})
	}
	ADDQ(U32(512+bqxPackedScales), bqxValues)
}

// store puts a set's sums into the ring.
func (k *bqAMXKernel) store(set Tmm) {
	LEAQ(Mem{Base: bqxSpill, Index: bqxWrite, Scale: 1}, bqxTemp)
	TILESTORED(3*set, At{Base: bqxTemp, Index: bqxStep})
	ADDQ(U32(1024), bqxWrite)
	ANDQ(U32(bqxRing-1), bqxWrite)
}

// scale adds a group's contribution to the accumulators.
func (k *bqAMXKernel) scale() {
	dw, extra := Z31, []VecPhysical{Z30, Z29}
	if k.packed {
		VCVTPH2PS(Mem{Base: bqxDW}, dw)
	} else {
		VMOVUPS(Mem{Base: bqxDW}, dw)
	}
	per := 0
	switch k.kind {
	case bqOffset:
		per = 1
	case bqPair, bqTwoOffsets:
		per = 2
	}
	for i := range per {
		VMOVUPS(Mem{Base: bqxExtra, Disp: 64 * i}, extra[i])
	}
	for r, acc := range bqxAcc[:k.rows] {
		x, s := bqxTmp[3*r%12], bqxTmp[(3*r+1)%12]
		VCVTDQ2PS(Mem{Base: bqxSpill, Index: bqxRead, Scale: 1, Disp: 64 * r}, x)
		if k.kind == bqPair {
			y := bqxTmp[(3*r+2)%12]
			VCVTDQ2PS(Mem{Base: bqxSpill, Index: bqxRead, Scale: 1, Disp: 1024 + 64*r}, y)
			VMULPS(extra[0], x, x)
			VFMADD231PS(extra[1], y, x)
		}
		VMULPS_BCST(Mem{Base: bqxD, Disp: 4 * r}, dw, s)
		VFMADD231PS(x, s, acc)
		if k.kind == bqOffset || k.kind == bqTwoOffsets {
			for i := range per {
				VFMADD231PS_BCST(Mem{Base: bqxS, Disp: 4 * (k.rows*i + r)}, extra[i], acc)
			}
		}
	}
	if k.packed {
		ADDQ(U32(512+bqxPackedScales), bqxDW)
	} else {
		ADDQ(Imm(64), bqxDW)
	}
	ADDQ(U32(uint32(4*k.rows)), bqxD)
	if per > 0 {
		ADDQ(U32(uint32(64*per)), bqxExtra)
	}
	if k.kind == bqOffset || k.kind == bqTwoOffsets {
		ADDQ(U32(uint32(4*k.rows*per)), bqxS)
	}
	ADDQ(U32(uint32(1024*k.kind.perHalf(bqPair))), bqxRead)
	ANDQ(U32(bqxRing-1), bqxRead)
	if !k.packed {
		k.prefetch()
	}
}

// prefetch asks for a piece of the packed weights that are unpacked next.
func (k *bqAMXKernel) prefetch() {
	next := k.tile
	next.Disp += 8 * (4 + 4)
	MOVQ(next, bqxTemp)
	for i := range 5 {
		PREFETCHT1(Mem{Base: bqxTemp, Disp: 64 * i})
	}
	ADDQ(Mem{Base: bqxArgs, Disp: bqNextStep}, bqxTemp)
	MOVQ(bqxTemp, next)
}
