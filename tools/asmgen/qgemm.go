package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["qgemm"] = qgemm }

// qgemm writes the kernels of internal/kernels/qgemm, where dispatch.go says
// what each must do.
func qgemm() {
	for mr := 1; mr <= 14; mr++ {
		qgemmTile("vnni512", gemmZMM, mr)
	}
	for mr := 1; mr <= 4; mr++ {
		qgemmTile("inner256", gemmYMM, mr)
		qgemmTile("inner256", gemmYMMMasked, mr)
	}
	for mr := 1; mr <= 6; mr++ {
		qgemmTile("pairs256", gemmYMM, mr)
		qgemmTile("pairs256", gemmYMMMasked, mr)
	}
	qgemmSpill()
	qgemmNarrow(gemmZMM)
	qgemmNarrow(gemmYMM)
	widenSigned()
	qgemmInnerSum()
	tableGeluRow()
	qgemmStrips()
}

// Offsets in bytes into the Go struct tile of qgemm. Those of a, b, c, lda, ldc,
// k, mask, flags, step, panels, panel and nextStep are as in gemm.
const (
	qgemmColBias  = 56
	qgemmRowScale = 64
	qgemmColScale = 72
	qgemmColSum   = 80
	qgemmLo       = 104
	qgemmHi       = 108
	qgemmColZero  = 112
	qgemmRowZero  = 120
	qgemmRowSum   = 128
	qgemmResidual = 144
	qgemmLDR      = 152
	qgemmNext     = 184
	qgemmColInner = 200
	qgemmRowInner = 208
	qgemmSpilled  = 216
	qgemmLDS      = 224
)

// Bits of the flags of tile and strip.
const (
	qgemmDoColSum = 1 << iota
	qgemmDoColZero
	qgemmDoFloat
	qgemmDoColScale
	qgemmDoColBias
	qgemmDoClip
	qgemmDoOneZero  // strip: rowZero has one number for all rows
	qgemmDoOneScale // strip: so has rowScale
	qgemmDoBytes    // strip: C is bytes
	qgemmDoGelu     // strip: x·Φ(x) follows
	qgemmDoResidual // a residual is added before a clip
	qgemmDoEnds     // strip: the least and the most number are wanted
	qgemmDoSpilled  // start from what pairs of B were clipped by
)

// qgemmKernel shares loads, stores and masks with gemm.
type qgemmKernel struct {
	gemmKernel
	pairs bool           // multiplies bytes by VPMADDUBSW
	ones  reg.VecVirtual // words, for pairs
}

// qgemmTile writes the kernel for mr rows by two vectors of columns. A group of
// k is four numbers of A: u8 for VPDPBUSD, and for VPMADDUBSW where pairs of B do not
// let it saturate, or words less 128, of which sums with those of B are multiplied by
// VPMADDWD, see stepInner.
func qgemmTile(name string, f gemmFlavour, mr int) {
	text := fmt.Sprintf("%sx%d", name, mr)
	if f == gemmYMMMasked {
		text += "masked"
	}
	TEXT(text, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	g := &qgemmKernel{gemmKernel: gemmKernel{gemmFlavour: f, mr: mr, wide: 1, vecs: 2}, pairs: name == "pairs256"}
	g.t = Load(Param("t"), GP64()).(reg.GPVirtual)
	if f == gemmZMM {
		g.loadOpmasks()
	}
	g.firstPanel()
	g.flags = g.load(gemmFlags)
	g.acc = make([][2]reg.VecVirtual, mr)
	for i := range g.acc {
		g.acc[i] = [2]reg.VecVirtual{f.vec(), f.vec()}
	}
	if f == gemmYMMMasked {
		g.mask = [2]reg.VecVirtual{f.vec(), f.vec()}
		g.loadVectorMasks()
	}
	switch {
	case g.pairs:
		g.startPairs()
	case f == gemmZMM:
		g.each(func(_, _ int, acc reg.VecVirtual) { g.zero(acc) })
	default:
		g.startInner()
	}
	g.unless(qgemmDoColSum, "nocolsum", func() { g.outer(qgemmColSum, qgemmRowZero) })
	g.unless(qgemmDoColZero, "nocolzero", func() { g.outer(qgemmColZero, qgemmRowSum) })
	if g.walks() {
		g.unless(qgemmDoResidual, "nofetch", func() { g.fetchResidual(qgemmResidual, qgemmLDR) })
	}
	g.product()
	g.epilogue()
	g.nextPanel()
	VZEROUPPER()
	RET()
}

// startInner starts from what the numbers' products by each other add to the sums, negated.
func (g *qgemmKernel) startInner() {
	c, r, v := g.hereColumns(qgemmColInner), g.load(qgemmRowInner), g.vec()
	for j := range 2 {
		g.loadColumns(Mem{Base: c}, j, g.acc[0][j])
	}
	for i := len(g.acc) - 1; i >= 0; i-- {
		VPBROADCASTD(Mem{Base: r, Disp: 4 * i}, v)
		for j := range 2 {
			VPSUBD(v, g.acc[0][j], g.acc[i][j])
		}
	}
}

// startPairs starts from what pairs of B were clipped by, or from nothing.
func (g *qgemmKernel) startPairs() {
	g.each(func(_, _ int, acc reg.VecVirtual) { g.zero(acc) })
	g.unless(qgemmDoSpilled, "nospilled", func() {
		g.gemmKernel.columns(qgemmSpilled, qgemmLDS, func(m Mem, i, j int) { VMOVDQU(g.at(m, j), g.acc[i][j]) })
	})
}

// outer adds a row of columns times a column of rows, both int32.
func (g *qgemmKernel) outer(cols, rows int) {
	c, r := g.hereColumns(cols), g.load(rows)
	for j := range 2 {
		v := g.vec()
		g.loadColumns(Mem{Base: c}, j, v)
		for i := range g.acc {
			x := g.vec()
			VPBROADCASTD(Mem{Base: r, Disp: 4 * i}, x)
			VPMULLD(v, x, x)
			VPADDD(x, g.acc[i][j], g.acc[i][j])
		}
	}
}

// product is the loop over groups of k.
func (g *qgemmKernel) product() {
	const unroll = 4
	g.lda = g.load(gemmLDA)
	g.a = []reg.GPVirtual{g.load(gemmA)}
	for i := 3; i < g.mr; i += 3 {
		r := GP64()
		LEAQ(Mem{Base: g.a[len(g.a)-1], Index: g.lda, Scale: 2}, r)
		ADDQ(g.lda, r)
		g.a = append(g.a, r)
	}
	b, k := g.here(gemmB, gemmStep), g.load(gemmK)
	if g.gemmFlavour == gemmZMM {
		g.b = [2]reg.VecVirtual{g.vec(), g.vec()}
		g.tmp = [2]reg.VecVirtual{g.vec(), g.vec()}
	}
	if g.pairs {
		g.ones = g.vec()
		VPCMPEQW(g.ones, g.ones, g.ones)
		VPSRLW(Imm(15), g.ones, g.ones)
	}
	fetch := g.fetches()
	SUBQ(Imm(unroll), k)
	JLT(LabelRef("rest"))
	Label("loop")
	for u := range unroll {
		g.step(b, u)
	}
	fetch()
	g.advance(b, unroll)
	SUBQ(Imm(unroll), k)
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(Imm(unroll), k)
	JEQ(LabelRef("finish"))
	Label("restloop")
	g.step(b, 0)
	g.advance(b, 1)
	DECQ(k)
	JNE(LabelRef("restloop"))
	Label("finish")
}

// fetches gives what brings a cache line of the panels that come next into the
// second-level cache.
func (g *qgemmKernel) fetches() func() {
	if g.gemmFlavour != gemmZMM {
		return func() {}
	}
	next := g.here(qgemmNext, gemmNextStep)
	return func() {
		PREFETCHT1(Mem{Base: next})
		ADDQ(Imm(64), next)
	}
}

// groupBytes is what a group of k takes in a panel of B.
func (g *qgemmKernel) groupBytes() int {
	if g.gemmFlavour == gemmZMM {
		return 32 * 4
	}
	return 16 * 4
}

func (g *qgemmKernel) advance(b reg.GPVirtual, groups int) {
	number := 2 // bytes
	if g.pairs || g.gemmFlavour == gemmZMM {
		number = 1
	}
	for _, a := range g.a {
		ADDQ(Imm(uint64(4*number*groups)), a)
	}
	ADDQ(U32(uint32(groups*g.groupBytes())), b)
}

// step adds the products of group u.
func (g *qgemmKernel) step(b reg.GPVirtual, u int) {
	at := u * g.groupBytes()
	if g.gemmFlavour == gemmZMM {
		for j := range g.b {
			VMOVDQU32(Mem{Base: b, Disp: at + 64*j}, g.b[j])
			PREFETCHT0(Mem{Base: b, Disp: at + 64*j + 1024})
		}
		for i := range g.acc {
			t := g.tmp[i&1]
			VPBROADCASTD(g.row(i, 4*u), t)
			VPDPBUSD(g.b[0], t, g.acc[i][0])
			VPDPBUSD(g.b[1], t, g.acc[i][1])
		}
		return
	}
	if g.pairs {
		g.stepPairs(b, at, 4*u)
		return
	}
	var low, high [2]reg.VecVirtual
	for j := range low {
		low[j], high[j] = g.vec(), g.vec()
		VMOVDQU(Mem{Base: b, Disp: at + 32*j}, low[j])
		VPSRLW(Imm(8), low[j], high[j])
		VPAND(integer(0x00ff00ff), low[j], low[j])
	}
	PREFETCHT0(Mem{Base: b, Disp: at + 2048})
	first, second := g.vec(), g.vec()
	for i := range g.acc {
		VPBROADCASTD(g.row(i, 8*u), first)
		VPBROADCASTD(g.row(i, 8*u+4), second)
		innerProducts(first, second, low[:], high[:], g.acc[i][:])
	}
}

// stepPairs lets one half of B be an operand in memory, for want of a register.
func (g *qgemmKernel) stepPairs(b reg.GPVirtual, at, disp int) {
	w, x, p := g.vec(), g.vec(), g.vec()
	VMOVDQU(Mem{Base: b, Disp: at}, w)
	ahead := 2048 // or farther where a group takes little time
	if len(g.acc) < 3 {
		ahead *= 4
	}
	PREFETCHT0(Mem{Base: b, Disp: at + ahead})
	for i, acc := range g.acc {
		VPBROADCASTD(g.row(i, disp), x)
		VPMADDUBSW(Mem{Base: b, Disp: at + 32}, x, p)
		VPMADDUBSW(w, x, x)
		for j, v := range []reg.VecVirtual{x, p} {
			VPMADDWD(g.ones, v, v)
			VPADDD(v, acc[j], acc[j])
		}
	}
}

// epilogue converts to floating point, if asked, and stores.
func (g *qgemmKernel) epilogue() {
	if g.gemmFlavour == gemmYMMMasked {
		g.loadVectorMasks()
	}
	g.unless(qgemmDoFloat, "store", func() {
		g.each(func(_, _ int, acc reg.VecVirtual) { VCVTDQ2PS(acc, acc) })
		g.scale()
		g.unless(qgemmDoColBias, "nocolbias", func() { g.columns(qgemmColBias, VADDPS) })
		g.unless(qgemmDoResidual, "noresidual", g.residual)
		g.unless(qgemmDoClip, "noclip", g.clip)
	})
	g.gemmKernel.columns(gemmC, gemmLDC, func(m Mem, i, j int) { g.storeColumns(g.acc[i][j], m, j) })
}

func (g *qgemmKernel) residual() {
	g.gemmKernel.columns(qgemmResidual, qgemmLDR, func(m Mem, i, j int) {
		v := g.vec()
		g.loadColumns(m, j, v)
		VADDPS(v, g.acc[i][j], g.acc[i][j])
	})
}

// scale multiplies by the row's scale, or by its product with the column's.
func (g *qgemmKernel) scale() {
	rows := g.load(qgemmRowScale)
	TESTL(U32(qgemmDoColScale), g.flags.As32())
	JNE(LabelRef("colscale"))
	for i := range g.acc {
		v := g.vec()
		VBROADCASTSS(Mem{Base: rows, Disp: 4 * i}, v)
		VMULPS(v, g.acc[i][0], g.acc[i][0])
		VMULPS(v, g.acc[i][1], g.acc[i][1])
	}
	JMP(LabelRef("scaled"))
	Label("colscale")
	cols := g.hereColumns(qgemmColScale)
	for j := range 2 {
		c := g.vec()
		g.loadColumns(Mem{Base: cols}, j, c)
		for i := range g.acc {
			v := g.vec()
			VBROADCASTSS(Mem{Base: rows, Disp: 4 * i}, v)
			VMULPS(c, v, v)
			VMULPS(v, g.acc[i][j], g.acc[i][j])
		}
	}
	Label("scaled")
}

// columns applies op with a vector that has an element per column.
func (g *qgemmKernel) columns(field int, op func(...Op)) {
	p := g.hereColumns(field)
	for j := range 2 {
		v := g.vec()
		g.loadColumns(Mem{Base: p}, j, v)
		for i := range g.acc {
			op(v, g.acc[i][j], g.acc[i][j])
		}
	}
}

func (g *qgemmKernel) clip() {
	lo, hi := g.broadcast(qgemmLo), g.vec()
	g.each(func(_, _ int, acc reg.VecVirtual) { VMAXPS(acc, lo, acc) })
	VBROADCASTSS(g.field(qgemmHi), hi)
	g.each(func(_, _ int, acc reg.VecVirtual) { VMINPS(acc, hi, acc) })
}
