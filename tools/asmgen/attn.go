package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func init() { families["attn"] = attnFamily }

// attnFamily writes the kernels of internal/kernels/attn.
func attnFamily() {
	newSweep("sweep32", true).write()
	newSweep("sweep16", false).write()
	attnWeigh()
	attnSettle()
	attnPairs()
}

// Offsets in bytes into the Go struct sweep of attn.
const (
	sweepQ      = 0
	sweepK      = 8
	sweepV      = 16
	sweepBias   = 24
	sweepO      = 32
	sweepL      = 40
	sweepS      = 48
	sweepP      = 56
	sweepLDQ    = 64
	sweepLDO    = 72
	sweepSkipV  = 80
	sweepSteps  = 88
	sweepCols   = 96
	sweepTiles  = 104
	sweepRows   = 112
	sweepScale  = 120
	sweepConfig = 128
)

// Sizes in bytes of what a tile of keys has in the scratch: rows of scores and of
// weights, which lie an odd number of cache lines apart, and 32 of them.
const (
	attnKeys    = 64
	attnLDS     = 4*attnKeys + 64
	attnLDP     = 2*attnKeys + 64
	attnScores  = 32 * attnLDS
	attnWeights = 32 * attnLDP
)

// attnExp has 2^f = 1 + attnExp(f)·f for 0 ≤ f < 1, exact at both ends: 2^-13.
var attnExp = [3]float64{0.695424497127533, 0.22630727291107178, 0.07826822996139526}

// attnSweep writes the way of up to 16 queries, or up to 32, over tiles of keys. Three
// tiles are in work: the scores of one are multiplied, while those of the one before
// become weights, while those of the one before that meet the values. The sums are in
// tile registers 0 and 1, of the rows from 16 on in 2 and 3; 4 and 5 are A, 6 is B. Sums
// are stored when the next ones have begun, since a store of the latest product waits.
type attnSweep struct {
	name                             string
	tall                             bool
	t, x, lda, ldb, b, a0, a1        GPPhysical
	pend, pendFar, ldpend            GPPhysical // where sums are to be stored
	s, p, l, rows                    GPPhysical // of the next row that becomes weights, and how many there are
	at, k, v, o, steps, left, scores Mem        // on the stack
	labels                           int
}

func newSweep(name string, tall bool) *attnSweep {
	return &attnSweep{name: name, tall: tall, t: RDI, x: RAX, lda: RCX, ldb: RBX, b: RDX, a0: R8, a1: R9,
		pend: R10, pendFar: R12, ldpend: R11, s: RSI, p: R13, l: R15, rows: R14}
}

func (w *attnSweep) field(off int) Mem { return Mem{Base: w.t, Disp: off} }

// move goes by way of x.
func (w *attnSweep) move(from, to Op) {
	MOVQ(from, w.x)
	MOVQ(w.x, to)
}

// Registers of the exponentials.
var (
	attnFactors = [4]VecPhysical{Z16, Z17, Z18, Z19} // of f³ to 1
	attnScale   = Z20
	attnBias    = [4]VecPhysical{Z21, Z22, Z23, Z24}
)

func (w *attnSweep) write() {
	TEXT(w.name, NOSPLIT, "func(t *byte)")
	Doc("takes rows of queries over tiles of keys; t is a *sweep.")
	Pragma("noescape")
	Load(Param("t"), w.t)
	for _, m := range []*Mem{&w.at, &w.k, &w.v, &w.o, &w.steps, &w.left, &w.scores} {
		*m = AllocLocal(8)
	}
	MOVQ(w.field(sweepConfig), w.x)
	LDTILECFG(At{Base: w.x})
	modes := w.beginRows()
	MOVQ(U32(128), w.ldb)
	MOVQ(U32(0), w.x)
	MOVQ(w.x, w.at)
	w.move(w.field(sweepK), w.k)
	w.move(w.field(sweepV), w.v)
	// What the pair of registers holds at first goes to where scores will be.
	MOVQ(w.field(sweepS), w.pend)
	MOVQ(U32(attnLDS), w.ldpend)
	LEAQ(Mem{Base: w.pend, Disp: 16 * attnLDS}, w.pendFar)

	Label("tile")
	w.prepare()
	MOVQ(w.at, w.x)
	CMPQ(w.x, w.field(sweepTiles))
	JGE(LabelRef("scored"))
	w.score()
	Label("scored")
	CMPQ(w.at, Imm(2))
	JGE(LabelRef("gather"))
	w.storePending(1) // nothing comes that would
	JMP(LabelRef("gathered"))
	Label("gather")
	w.gather()
	Label("gathered")
	Label("row")
	TESTQ(w.rows, w.rows)
	JLE(LabelRef("weighed"))
	w.row()
	JMP(LabelRef("row"))
	Label("weighed")
	INCQ(w.at)
	MOVQ(w.field(sweepTiles), w.x)
	INCQ(w.x)
	CMPQ(w.at, w.x)
	JLE(LabelRef("tile"))

	w.storePending(1)
	TILERELEASE()
	LDMXCSR(modes)
	end()
}

// beginRows prepares the registers of rows, and gives where the modes of arithmetic are
// that are to be restored.
func (w *attnSweep) beginRows() (modes Mem) {
	modes = AllocLocal(8)
	// Denormal weights are zeros, and take no time.
	STMXCSR(modes)
	MOVL(modes, w.x.As32())
	ORL(U32(0x8040), w.x.As32())
	MOVL(w.x.As32(), modes.Offset(4))
	LDMXCSR(modes.Offset(4))
	for i, c := range []float64{attnExp[2], attnExp[1], attnExp[0], 1} {
		VBROADCASTSS(fconst(c), attnFactors[i])
	}
	VBROADCASTSS(w.field(sweepScale), attnScale)
	return modes
}

// attnWeigh writes how a tile of scores becomes weights, for products without tiles.
func attnWeigh() {
	w := newSweep("weigh512", false)
	TEXT(w.name, NOSPLIT, "func(t, bias *byte)")
	Doc("makes rows of scores weights and adds them to the sums; t is a *sweep.")
	Pragma("noescape")
	Load(Param("t"), w.t)
	modes := w.beginRows()
	bias := Load(Param("bias"), w.a0).(GPPhysical)
	for i, z := range attnBias {
		VMOVUPS(Mem{Base: bias, Disp: 64 * i}, z)
	}
	for _, f := range []struct {
		off int
		to  GPPhysical
	}{{sweepS, w.s}, {sweepP, w.p}, {sweepL, w.l}, {sweepRows, w.rows}} {
		MOVQ(w.field(f.off), f.to)
	}
	Label("row")
	w.row()
	JNE(LabelRef("row"))
	LDMXCSR(modes)
	end()
}

// buffer is where one of two buffers lies, by the lowest bit of x.
func (w *attnSweep) buffer(field, size int, dst GPPhysical) {
	ANDQ(Imm(1), w.x)
	IMUL3Q(U32(uint32(size)), w.x, dst)
	ADDQ(w.field(field), dst)
}

// prepare sets the rows that become weights in this round.
func (w *attnSweep) prepare() {
	XORQ(w.rows, w.rows)
	MOVQ(w.at, w.x)
	SUBQ(Imm(1), w.x)
	JLT(LabelRef("norows"))
	CMPQ(w.x, w.field(sweepTiles))
	JGE(LabelRef("norows"))
	MOVQ(w.x, w.l)
	SHLQ(Imm(8), w.l)
	ADDQ(w.field(sweepBias), w.l)
	for i, z := range attnBias {
		VMOVUPS(Mem{Base: w.l, Disp: 64 * i}, z)
	}
	w.buffer(sweepS, attnScores, w.s)
	MOVQ(w.at, w.x)
	DECQ(w.x)
	w.buffer(sweepP, attnWeights, w.p)
	MOVQ(w.field(sweepL), w.l)
	MOVQ(w.field(sweepRows), w.rows)
	Label("norows")
}

// score writes the products of queries and a tile of keys, 16 keys at a time.
func (w *attnSweep) score() {
	w.buffer(sweepS, attnScores, w.x)
	MOVQ(w.x, w.scores)
	w.move(U32(attnKeys/32), w.left)
	Label("keys")
	for half := range 2 {
		next := w.label("step", half)
		MOVQ(w.k, w.b)
		if half > 0 {
			ADDQ(Imm(64), w.b)
		}
		MOVQ(w.field(sweepLDQ), w.lda)
		MOVQ(w.field(sweepQ), w.a0)
		if w.tall {
			MOVQ(w.lda, w.a1)
			SHLQ(Imm(4), w.a1)
			ADDQ(w.a0, w.a1)
		}
		w.move(w.field(sweepSteps), w.steps)
		TILEZERO(Tmm(half))
		if w.tall {
			TILEZERO(Tmm(2 + half))
		}
		w.multiply(half, 0, 0)
		w.storePending(1 - half)
		MOVQ(w.scores, w.pend)
		if half > 0 {
			ADDQ(Imm(64), w.pend)
		}
		MOVQ(U32(attnLDS), w.ldpend)
		LEAQ(Mem{Base: w.pend, Disp: 16 * attnLDS}, w.pendFar)
		w.slot()
		DECQ(w.steps)
		JEQ(LabelRef(next + "done"))
		Label(next)
		ADDQ(Imm(64), w.a0)
		if w.tall {
			ADDQ(Imm(64), w.a1)
		}
		ADDQ(U32(2048), w.b)
		w.multiply(half, 0, 0)
		w.slot()
		DECQ(w.steps)
		JNE(LabelRef(next))
		Label(next + "done")
	}
	ADDQ(U32(1984), w.b) // the next panel
	MOVQ(w.b, w.k)
	MOVQ(w.scores, w.x)
	ADDQ(U32(128), w.x)
	MOVQ(w.x, w.scores)
	DECQ(w.left)
	JNE(LabelRef("keys"))
}

// gather writes the products of weights and a tile of values, 16 columns at a time.
func (w *attnSweep) gather() {
	w.move(w.field(sweepCols), w.left)
	w.move(w.field(sweepO), w.o)
	w.move(w.v, w.steps)
	Label("columns")
	for half := range 2 {
		MOVQ(w.at, w.x)
		w.buffer(sweepP, attnWeights, w.a0)
		if w.tall {
			LEAQ(Mem{Base: w.a0, Disp: 16 * attnLDP}, w.a1)
		}
		// The sums so far; x and lda are free.
		out, far := w.b, w.x
		MOVQ(w.o, out)
		MOVQ(w.field(sweepLDO), w.lda)
		TILELOADD(At{out, w.lda, int32(64 * half)}, Tmm(half))
		if w.tall {
			MOVQ(w.lda, far)
			SHLQ(Imm(4), far)
			ADDQ(out, far)
			TILELOADD(At{far, w.lda, int32(64 * half)}, Tmm(2+half))
		}
		MOVQ(U32(attnLDP), w.lda)
		MOVQ(w.steps, w.b)
		w.multiply(half, 0, int32(64*half))
		w.storePending(1 - half)
		MOVQ(w.o, w.pend)
		MOVQ(w.field(sweepLDO), w.ldpend)
		if half > 0 {
			ADDQ(Imm(64), w.pend)
		}
		if w.tall {
			MOVQ(w.ldpend, w.pendFar)
			SHLQ(Imm(4), w.pendFar)
			ADDQ(w.pend, w.pendFar)
		}
		w.slot()
		for step := 1; step < attnKeys/32; step++ {
			w.multiply(half, int32(64*step), int32(2048*step+64*half))
			w.slot()
		}
	}
	MOVQ(w.o, w.x)
	ADDQ(U32(128), w.x)
	MOVQ(w.x, w.o)
	MOVQ(w.steps, w.x)
	ADDQ(w.field(sweepSkipV), w.x)
	MOVQ(w.x, w.steps)
	DECQ(w.left)
	JNE(LabelRef("columns"))
	MOVQ(w.v, w.x)
	ADDQ(U32(2048*attnKeys/32), w.x)
	MOVQ(w.x, w.v)
}

// multiply writes the product of a step.
func (w *attnSweep) multiply(half int, a, b int32) {
	TILELOADD(At{w.a0, w.lda, a}, 4)
	TILELOADD(At{w.b, w.ldb, b}, 6)
	TDPBF16PS(6, 4, Tmm(half))
	if w.tall {
		TILELOADD(At{w.a1, w.lda, a}, 5)
		TDPBF16PS(6, 5, Tmm(2+half))
	}
}

func (w *attnSweep) storePending(half int) {
	TILESTORED(Tmm(half), At{Base: w.pend, Index: w.ldpend})
	if w.tall {
		TILESTORED(Tmm(2+half), At{Base: w.pendFar, Index: w.ldpend})
	}
}

func (w *attnSweep) label(name string, n int) string {
	return name + string(rune('a'+n))
}

// slot writes what is done beside a product: some rows of scores become weights.
func (w *attnSweep) slot() {
	w.labels++
	skip := "slot" + string(rune('a'+w.labels/26)) + string(rune('a'+w.labels%26))
	for range 2 {
		TESTQ(w.rows, w.rows)
		JLE(LabelRef(skip))
		w.row()
	}
	Label(skip)
}

// row writes how a row of scores becomes weights: 2^(scale·score + bias), whose sums
// are added to the row's.
func (w *attnSweep) row() {
	e := [4]VecPhysical{Z0, Z1, Z2, Z3}
	t := [4]VecPhysical{Z4, Z5, Z6, Z7}
	f := [4]VecPhysical{Z8, Z9, Z10, Z11}
	each := func(do func(i int)) {
		for i := range 4 {
			do(i)
		}
	}
	each(func(i int) { VMOVAPS(attnBias[i], t[i]) })
	each(func(i int) { VFMADD231PS(Mem{Base: w.s, Disp: 64 * i}, attnScale, t[i]) })
	each(func(i int) { VREDUCEPS(Imm(1), t[i], f[i]) })
	each(func(i int) { VMOVAPS(attnFactors[0], e[i]) })
	for _, c := range attnFactors[1:] {
		each(func(i int) { VFMADD213PS(c, f[i], e[i]) })
	}
	each(func(i int) { VSCALEFPS(t[i], e[i], e[i]) })
	VADDPS(e[1], e[0], t[0])
	VADDPS(e[3], e[2], t[1])
	VADDPS(t[1], t[0], t[0])
	VADDPS(Mem{Base: w.l}, t[0], t[0])
	VMOVUPS(t[0], Mem{Base: w.l})
	for i := 0; i < 4; i += 2 {
		VCVTNE2PS2BF16(e[i], e[i+1], f[i])
		VMOVDQU64(f[i], Mem{Base: w.p, Disp: 32 * i})
	}
	ADDQ(U32(attnLDS), w.s)
	ADDQ(U32(attnLDP), w.p)
	ADDQ(Imm(64), w.l)
	DECQ(w.rows)
}

// Offsets in bytes into the Go struct settle of attn.
const (
	settleO    = 0
	settleL    = 8
	settleDst  = 16
	settleSums = 24
	settleLDO  = 32
	settleLDD  = 40
	settleRows = 48
	settleN    = 56
)

// attnSettle writes the end of a row: the sums of its lanes, by which its outputs are
// divided.
func attnSettle() {
	v := avx512
	TEXT("settle512", NOSPLIT, "func(t *byte)")
	Doc("divides rows by the sums of their weights; t is a *settle.")
	Pragma("noescape")
	t := argStruct{arg("t")}
	o, l, dst, sums, ldo, ldd, left := t.value(settleO), t.value(settleL), t.value(settleDst), t.value(settleSums), t.value(settleLDO), t.value(settleLDD), t.value(settleRows)
	Label("row")
	sum := v.tree([]vec{v.load(Mem{Base: l})}, joinSum).AsX()
	VMOVSS(sum, Mem{Base: sums})
	one, inverse := XMM(), v.reg()
	VMOVSS(fconst(1), one)
	VDIVSS(sum, one, one)
	VBROADCASTSS(one, inverse)
	from, to := GP64(), GP64()
	MOVQ(o, from)
	MOVQ(dst, to)
	v.part = "divide"
	v.rowLoop(t.value(settleN), 4, []GPVirtual{from, to}, func(disp int, t *tail) {
		v.put(v.mul(v.get(from, disp, t), inverse), to, disp, t)
	})
	ADDQ(ldo, o)
	ADDQ(ldd, dst)
	ADDQ(Imm(64), l)
	ADDQ(Imm(4), sums)
	DECQ(left)
	JNE(LabelRef("row"))
	end()
}

// attnPairs writes the packing of values that are stored in bfloat16.
func attnPairs() {
	TEXT("pairs512", NOSPLIT, "func(dst, src *uint16, stride, pairs, n int)")
	Doc("interleaves pairs of rows of n numbers and fills up to 32 columns with zeros. The stride is in bytes.")
	Pragma("noescape")
	dst, src, stride, pairs, n := arg("dst"), arg("src"), arg("stride"), arg("pairs"), arg("n")
	all, _, _ := firstOf32(n)
	low, high := ZMM(), ZMM()
	VMOVDQU64(interleavedWords("pairsLow", 0), low)
	VMOVDQU64(interleavedWords("pairsHigh", 16), high)
	Label("pair")
	even, odd, r := ZMM(), ZMM(), ZMM()
	VMOVDQU16_Z(Mem{Base: src}, all, even)
	VMOVDQU16_Z(Mem{Base: src, Index: stride, Scale: 1}, all, odd)
	VMOVDQA64(even, r)
	VPERMT2W(odd, low, r)
	VPERMT2W(odd, high, even)
	VMOVDQU64(r, Mem{Base: dst})
	VMOVDQU64(even, Mem{Base: dst, Disp: 64})
	LEAQ(Mem{Base: src, Index: stride, Scale: 2}, src)
	ADDQ(U32(128), dst)
	DECQ(pairs)
	JNE(LabelRef("pair"))
	end()
}

// interleavedWords is the indices that take numbers from of two vectors in turn.
func interleavedWords(name string, from int) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 32 {
		DATA(2*i, U16(uint16(from+i/2+32*(i%2))))
	}
	return m
}
