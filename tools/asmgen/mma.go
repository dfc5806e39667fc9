package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func init() { families["mma"] = mmaFamily }

// mmaFamily writes the kernels of internal/kernels/mma.
func mmaFamily() {
	for _, tall := range []bool{false, true} {
		mmaProduct(tall)
	}
	for _, tall := range []bool{false, true} {
		mmaStrip(tall, false)
		mmaStrip(tall, true)
	}
	for _, tall := range []bool{false, true} {
		mmaConv(tall, false)
		mmaConv(tall, true)
	}
	mmaDots(32)
	mmaDots(16)
	for _, gelu := range []bool{false, true} {
		mmaStripFinish(gelu)
	}
	for _, silu := range []bool{false, true} {
		mmaConvFinish(silu)
	}
	mmaRound()
	mmaRoundPairs()
	mmaFinish()
	mmaBlocks()
	mmaPlanes()
	mmaPixels(false)
	mmaPixels(true)
	mmaHalves()
	mmaMaximum()
	mmaDepthwise()
	mmaWiden()
}

// Offsets in bytes into the Go struct Block of mma.
const (
	blockA         = 0
	blockB         = 8
	blockC         = 16
	blockOffsets   = 24
	blockSteps     = 32
	blockLDA       = 40
	blockLDC       = 48
	blockPanels    = 56
	blockPanelB    = 64
	blockPanelC    = 72
	blockAdd       = 80
	blockNext      = 88
	blockConfig    = 96
	blockTiles     = 104
	blockTileA     = 112
	blockTileC     = 120
	blockNextRuns  = 128
	blockNarrow    = 136
	blockAheadRuns = 144
	blockAhead     = 152 // four of a place and a distance
)

// mmaNextLines is the cache lines of a run of what comes next.
const mmaNextLines = 8

// mmaProduct writes a product of up to 16 rows, or of 17 to 32 where tall, with
// panels of 32 columns. Tiles 0 to 3 are C, 4 and 5 are A, 6 and 7 are B.
func mmaProduct(tall bool) {
	rows := 16
	if tall {
		rows = 32
	}
	TEXT(fmt.Sprintf("bf16x%d", rows), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("multiplies up to %d rows; t is a *Block.", rows))
	Pragma("noescape")
	t, a, lda, b, ldb, c, ldc := RDI, RAX, RCX, RDX, RBX, RSI, R8
	offsets, steps, panels, far, farC, next := R9, R10, R11, R12, R13, R15
	Load(Param("t"), t)
	field := func(off int) Mem { return Mem{Base: t, Disp: off} }
	MOVQ(field(blockConfig), a)
	LDTILECFG(At{Base: a})
	MOVQ(field(blockLDA), lda)
	MOVQ(field(blockLDC), ldc)
	MOVQ(U32(128), ldb)
	MOVQ(field(blockNext), next)
	MOVQ(field(blockPanels), panels)
	MOVQ(lda, far)
	SHLQ(Imm(4), far)
	// Of the panel: its B and C, the row tile's A, row tiles to do.
	panelB, panelC, tileA, tiles := AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	move := func(from, to Op) {
		MOVQ(from, a)
		MOVQ(a, to)
	}
	move(field(blockB), panelB)
	move(field(blockC), panelC)

	p := &productLoop{field: field, tall: tall, t: t, a: a, lda: lda, b: b, ldb: ldb, c: c, ldc: ldc,
		offsets: offsets, steps: steps, panels: panels, far: far, farC: farC, next: next, panelB: panelB, panelC: panelC, tileA: tileA, tiles: tiles}
	for i := range p.ahead {
		p.ahead[i] = AllocLocal(8)
		move(field(blockAhead+16*i), p.ahead[i])
	}
	Label("panel")
	CMPQ(panels, field(blockNarrow)) // the last, where that is 1
	JEQ(LabelRef("narrow"))
	p.panel("", 32)
	DECQ(panels)
	JNE(LabelRef("panel"))
	JMP(LabelRef("end"))
	Label("narrow")
	p.panel("narrow", 16)
	Label("end")
	TILERELEASE()
	RET()
}

// productLoop is what the loops of a product work with.
type productLoop struct {
	field                                                              func(off int) Mem
	tall                                                               bool
	t, a, lda, b, ldb, c, ldc, offsets, steps, panels, far, farC, next GPPhysical
	panelB, panelC, tileA, tiles                                       Mem
	ahead                                                              [4]Mem
}

// panel writes the product with one panel, of which so many columns count, and the
// way to the next.
func (p *productLoop) panel(name string, columns int) {
	label := func(s string) string { return name + s }
	move := func(from, to Op) {
		MOVQ(from, p.a)
		MOVQ(p.a, to)
	}
	move(p.field(blockA), p.tileA)
	move(p.field(blockTiles), p.tiles)
	MOVQ(p.panelC, p.c)
	Label(label("tile"))
	p.fetchAhead(label)
	MOVQ(p.panelB, p.b)
	MOVQ(p.ldc, p.farC)
	SHLQ(Imm(4), p.farC)
	ADDQ(p.c, p.farC)
	CMPQ(p.field(blockAdd), Imm(0))
	JNE(LabelRef(label("add")))
	p.eachC(columns, func(i Tmm, _ GPPhysical, _ int32) { TILEZERO(i) })
	JMP(LabelRef(label("start")))
	Label(label("add"))
	p.eachC(columns, func(i Tmm, base GPPhysical, disp int32) { TILELOADD(At{base, p.ldc, disp}, i) })
	Label(label("start"))
	MOVQ(p.field(blockOffsets), p.offsets)
	MOVQ(p.field(blockSteps), p.steps)
	Label(label("step"))
	p.step(columns)
	p.fetchNext(label)
	ADDQ(Imm(8), p.offsets)
	ADDQ(U32(2048), p.b)
	DECQ(p.steps)
	JNE(LabelRef(label("step")))
	p.eachC(columns, func(i Tmm, base GPPhysical, disp int32) { TILESTORED(i, At{base, p.ldc, disp}) })
	MOVQ(p.field(blockTileA), p.a)
	ADDQ(p.a, p.tileA)
	ADDQ(p.field(blockTileC), p.c)
	DECQ(p.tiles)
	JNE(LabelRef(label("tile")))
	ADDQ(p.field(blockPanelB), p.b)
	MOVQ(p.b, p.panelB)
	MOVQ(p.field(blockPanelC), p.a)
	ADDQ(p.a, p.panelC)
	for i := range p.ahead {
		MOVQ(p.field(blockAhead+16*i+8), p.a)
		ADDQ(p.a, p.ahead[i])
	}
}

// step writes the product of a step.
func (p *productLoop) step(columns int) {
	MOVQ(Mem{Base: p.offsets}, p.a)
	ADDQ(p.tileA, p.a)
	TILELOADD(At{Base: p.a, Index: p.lda}, 4)
	TILELOADD(At{Base: p.b, Index: p.ldb}, 6)
	TDPBF16PS(6, 4, 0)
	if columns > 16 {
		TILELOADD(At{p.b, p.ldb, 64}, 7)
		TDPBF16PS(7, 4, 1)
	}
	if p.tall {
		ADDQ(p.far, p.a)
		TILELOADD(At{Base: p.a, Index: p.lda}, 5)
		TDPBF16PS(6, 5, 2)
		if columns > 16 {
			TDPBF16PS(7, 5, 3)
		}
	}
}

// fetchNext writes the fetching of what comes after the call.
func (p *productLoop) fetchNext(label func(string) string) {
	TESTQ(p.next, p.next)
	JEQ(LabelRef(label("fetched")))
	MOVQ(p.field(blockNextRuns), p.a)
	Label(label("fetch"))
	for i := range mmaNextLines {
		PREFETCHT1(Mem{Base: p.next, Disp: 64 * i})
	}
	ADDQ(U32(64*mmaNextLines), p.next)
	DECQ(p.a)
	JNE(LabelRef(label("fetch")))
	Label(label("fetched"))
}

// fetchAhead writes the fetching of what the row tile's sums will meet. Steps and
// offsets are free then.
func (p *productLoop) fetchAhead(label func(string) string) {
	CMPQ(p.field(blockAheadRuns), Imm(0))
	JEQ(LabelRef(label("noahead")))
	for i, at := range p.ahead {
		done, line := label(fmt.Sprintf("ahead%d", i)), label(fmt.Sprintf("line%d", i))
		MOVQ(at, p.offsets)
		CMPQ(p.field(blockAhead+16*i), Imm(0))
		JEQ(LabelRef(done))
		MOVQ(p.field(blockAheadRuns), p.steps)
		Label(line)
		for l := range mmaNextLines {
			if i < 2 {
				PREFETCHW(p.offsets, int32(64*l))
			} else {
				PREFETCHT0(Mem{Base: p.offsets, Disp: 64 * l})
			}
		}
		ADDQ(U32(64*mmaNextLines), p.offsets)
		DECQ(p.steps)
		JNE(LabelRef(line))
		MOVQ(p.offsets, at)
		Label(done)
	}
	Label(label("noahead"))
}

// eachC does something with each tile of C.
func (p *productLoop) eachC(columns int, do func(i Tmm, base GPPhysical, disp int32)) {
	for half := range columns / 16 {
		do(Tmm(half), p.c, int32(64*half))
		if p.tall {
			do(Tmm(2+half), p.farC, int32(64*half))
		}
	}
}

// mmaRound writes the conversion of floats to bfloat16, 32 at a time.
func mmaRound() {
	TEXT("round512", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Doc("rounds n floats to bfloat16.")
	Pragma("noescape")
	dst, src, n := arg("dst"), arg("src"), arg("n")
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
	end()
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

// mmaRoundPairs writes the conversion of pairs of rows of up to 32 floats to the
// rows of a panel of B.
func mmaRoundPairs() {
	TEXT("pairs512", NOSPLIT, "func(dst *uint16, src *float32, stride, pairs, n int)")
	Doc("interleaves pairs of rows of n floats, rounded to bfloat16, and fills up to 32 columns with zeros. The stride is in bytes.")
	Pragma("noescape")
	dst, src, stride, pairs, n := arg("dst"), arg("src"), arg("stride"), arg("pairs"), arg("n")
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
	end()
}
