package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func init() { families["amx"] = amxFamily }

// amxFamily writes the kernels of internal/kernels/amx.
func amxFamily() {
	for _, tall := range []bool{false, true} {
		amxProduct("bf16", tall, TDPBF16PS)
		amxProduct("u8s8", tall, TDPBUSD)
		amxProduct("s8s8", tall, TDPBSSD)
	}
	amxRound()
	amxRoundPairs()
	amxFinish()
	amxBlocks()
	amxPlanes()
	amxPixels()
	amxHalves()
	amxMaximum()
}

// Offsets in bytes into the Go struct Block of amx.
const (
	amxA        = 0
	amxB        = 8
	amxC        = 16
	amxOffsets  = 24
	amxSteps    = 32
	amxLDA      = 40
	amxLDC      = 48
	amxPanels   = 56
	amxPanelB   = 64
	amxPanelC   = 72
	amxAdd      = 80
	amxNext     = 88
	amxConfig   = 96
	amxTiles    = 104
	amxTileA    = 112
	amxTileC    = 120
	amxNextRuns = 128
)

// amxNextLines is the cache lines of a run of what comes next.
const amxNextLines = 8

// amxProduct writes a product of up to 16 rows, or of 17 to 32 where tall, with
// panels of 32 columns. Tiles 0 to 3 are C, 4 and 5 are A, 6 and 7 are B.
func amxProduct(name string, tall bool, multiply func(b, a, c Tmm)) {
	rows := 16
	if tall {
		rows = 32
	}
	TEXT(fmt.Sprintf("%sx%d", name, rows), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("multiplies up to %d rows; t is a *Block.", rows))
	Pragma("noescape")
	t, a, lda, b, ldb, c, ldc := RDI, RAX, RCX, RDX, RBX, RSI, R8
	offsets, steps, panels, far, farC, next := R9, R10, R11, R12, R13, R15
	Load(Param("t"), t)
	field := func(off int) Mem { return Mem{Base: t, Disp: off} }
	MOVQ(field(amxConfig), a)
	LDTILECFG(At{Base: a})
	MOVQ(field(amxLDA), lda)
	MOVQ(field(amxLDC), ldc)
	MOVQ(U32(128), ldb)
	MOVQ(field(amxNext), next)
	MOVQ(field(amxPanels), panels)
	MOVQ(lda, far)
	SHLQ(Imm(4), far)
	// Of the panel: its B and C, the row tile's A, row tiles to do.
	panelB, panelC, tileA, tiles := AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	move := func(from, to Op) {
		MOVQ(from, a)
		MOVQ(a, to)
	}
	move(field(amxB), panelB)
	move(field(amxC), panelC)

	Label("panel")
	move(field(amxA), tileA)
	move(field(amxTiles), tiles)
	MOVQ(panelC, c)
	Label("tile")
	MOVQ(panelB, b)
	MOVQ(ldc, farC)
	SHLQ(Imm(4), farC)
	ADDQ(c, farC)
	CMPQ(field(amxAdd), Imm(0))
	JNE(LabelRef("add"))
	for i := range Tmm(rows / 8) {
		TILEZERO(i)
	}
	JMP(LabelRef("start"))
	Label("add")
	eachC(tall, func(i Tmm, base GPPhysical, disp int32) { TILELOADD(At{base, ldc, disp}, i) }, c, farC)
	Label("start")
	MOVQ(field(amxOffsets), offsets)
	MOVQ(field(amxSteps), steps)
	Label("step")
	MOVQ(Mem{Base: offsets}, a)
	ADDQ(tileA, a)
	TILELOADD(At{Base: a, Index: lda}, 4)
	TILELOADD(At{Base: b, Index: ldb}, 6)
	multiply(6, 4, 0)
	TILELOADD(At{b, ldb, 64}, 7)
	multiply(7, 4, 1)
	if tall {
		ADDQ(far, a)
		TILELOADD(At{Base: a, Index: lda}, 5)
		multiply(6, 5, 2)
		multiply(7, 5, 3)
	}
	TESTQ(next, next)
	JEQ(LabelRef("fetched"))
	MOVQ(field(amxNextRuns), a)
	Label("fetch")
	for i := range amxNextLines {
		PREFETCHT1(Mem{Base: next, Disp: 64 * i})
	}
	ADDQ(U32(64*amxNextLines), next)
	DECQ(a)
	JNE(LabelRef("fetch"))
	Label("fetched")
	ADDQ(Imm(8), offsets)
	ADDQ(U32(2048), b)
	DECQ(steps)
	JNE(LabelRef("step"))
	eachC(tall, func(i Tmm, base GPPhysical, disp int32) { TILESTORED(i, At{base, ldc, disp}) }, c, farC)
	MOVQ(field(amxTileA), a)
	ADDQ(a, tileA)
	ADDQ(field(amxTileC), c)
	DECQ(tiles)
	JNE(LabelRef("tile"))
	ADDQ(field(amxPanelB), b)
	MOVQ(b, panelB)
	MOVQ(field(amxPanelC), a)
	ADDQ(a, panelC)
	DECQ(panels)
	JNE(LabelRef("panel"))
	TILERELEASE()
	RET()
}

// eachC does something with each tile of C.
func eachC(tall bool, do func(i Tmm, base GPPhysical, disp int32), c, far GPPhysical) {
	do(0, c, 0)
	do(1, c, 64)
	if tall {
		do(2, far, 0)
		do(3, far, 64)
	}
}

// amxRound writes the conversion of floats to bfloat16, 32 at a time.
func amxRound() {
	TEXT("round512", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Doc("rounds n floats to bfloat16.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), GP64()).(GPVirtual), Load(Param("src"), GP64()).(GPVirtual), Load(Param("n"), GP64()).(GPVirtual)
	SUBQ(Imm(32), n)
	JLT(LabelRef("tail"))
	Label("loop")
	VMOVUPS(Mem{Base: src}, Z0)
	VMOVUPS(Mem{Base: src, Disp: 64}, Z1)
	VCVTNE2PS2BF16(Z0, Z1, Z2)
	VMOVDQU64(Z2, Mem{Base: dst})
	ADDQ(U32(128), src)
	ADDQ(Imm(64), dst)
	SUBQ(Imm(32), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(32), n)
	JEQ(LabelRef("done"))
	all, low, high := firstOf32(n)
	VMOVUPS_Z(Mem{Base: src}, low, Z0)
	VMOVUPS_Z(Mem{Base: src, Disp: 64}, high, Z1)
	VCVTNE2PS2BF16(Z0, Z1, Z2)
	VMOVDQU16(Z2, all, Mem{Base: dst})
	Label("done")
	VZEROUPPER()
	RET()
}

// firstOf32 has bits for the first n of 32 elements, and for those of each half.
func firstOf32(n GPVirtual) (all, low, high OpmaskVirtual) {
	all, low, high = K(), K(), K()
	m := GP32()
	MOVL(U32(1<<32-1), m)
	BZHIL(n.As32(), m, m)
	KMOVD(m, all)
	KMOVW(m, low)
	SHRL(Imm(16), m)
	KMOVW(m, high)
	return all, low, high
}

// amxRoundPairs writes the conversion of pairs of rows of up to 32 floats to the
// rows of a panel of B.
func amxRoundPairs() {
	TEXT("pairs512", NOSPLIT, "func(dst *uint16, src *float32, stride, pairs, n int)")
	Doc("interleaves pairs of rows of n floats, rounded to bfloat16, and fills up to 32 columns with zeros. The stride is in bytes.")
	Pragma("noescape")
	dst, src, stride := Load(Param("dst"), GP64()).(GPVirtual), Load(Param("src"), GP64()).(GPVirtual), Load(Param("stride"), GP64()).(GPVirtual)
	pairs, n := Load(Param("pairs"), GP64()).(GPVirtual), Load(Param("n"), GP64()).(GPVirtual)
	_, low, high := firstOf32(n)
	Label("pair")
	for half, k := range []OpmaskVirtual{low, high} {
		VMOVUPS_Z(Mem{Base: src, Disp: 64 * half}, k, Z0)
		VMOVUPS_Z(Mem{Base: src, Index: stride, Scale: 1, Disp: 64 * half}, k, Z1)
		VCVTNEPS2BF16(Z0, Y0)
		VCVTNEPS2BF16(Z1, Y1)
		VPMOVZXWD(Y0, Z0)
		VPMOVZXWD(Y1, Z1)
		VPSLLD(Imm(16), Z1, Z1)
		VPORD(Z0, Z1, Z0)
		VMOVDQU64(Z0, Mem{Base: dst, Disp: 64 * half})
	}
	LEAQ(Mem{Base: src, Index: stride, Scale: 2}, src)
	ADDQ(U32(128), dst)
	DECQ(pairs)
	JNE(LabelRef("pair"))
	VZEROUPPER()
	RET()
}
