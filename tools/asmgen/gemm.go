package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["gemm"] = gemm }

// gemm writes the kernels of internal/kernels/gemm, where dispatch.go says what
// each must do.
func gemm() {
	for mr := 1; mr <= 14; mr++ {
		gemmTile(gemmZMM, mr, 1)
	}
	for mr := 7; mr <= 14; mr++ {
		gemmHalf(mr)
	}
	for mr := 1; mr <= 6; mr++ {
		gemmTile(gemmYMM, mr, 1)
		gemmTile(gemmYMMMasked, mr, 1)
	}
	for mr := 1; mr <= 2; mr++ {
		gemmTile(gemmZMM, mr, 4/mr)
		gemmTile(gemmYMM, mr, 4/mr)
	}
	gemmDot(gemmZMM)
	gemmDot(gemmYMM)
	transpose8x8()
	gemmSweep(avx512)
	gemmSweep(avx2)
	gemmRowTransposed()
}

// Offsets in bytes into the Go struct tile; a test there holds them together.
const (
	gemmA        = 0
	gemmB        = 8
	gemmC        = 16
	gemmLDA      = 24
	gemmLDB      = 32
	gemmLDC      = 40
	gemmK        = 48
	gemmColBias  = 56
	gemmRowBias  = 64
	gemmResidual = 72
	gemmLDR      = 80
	gemmMask     = 88
	gemmFlags    = 96
	gemmAlpha    = 104
	gemmBeta     = 108
	gemmLo       = 112
	gemmHi       = 116
	gemmSlope    = 120
	gemmNext     = 128
	gemmStep     = 136
	gemmAdvance  = 144
	gemmSums     = 152
	gemmPanels   = 160
	gemmPanel    = 168
	gemmNextStep = 176
)

// Bits of tile.flags.
const (
	gemmDoLoad = 1 << iota
	gemmDoAlpha
	gemmDoColBias
	gemmDoRowBias
	gemmDoResidual
	gemmDoClip
	gemmDoLeaky
	gemmDoPowers
	gemmMaskB
	gemmLean
)

// gemmFlavour is a vector width and how columns beyond the matrix are kept
// untouched.
type gemmFlavour int

const (
	gemmZMM       gemmFlavour = iota // opmask registers, always
	gemmYMM                          // only full panels
	gemmYMMMasked                    // VMASKMOVPS, on everything but B
)

func (f gemmFlavour) lanes() int {
	if f == gemmZMM {
		return 16
	}
	return 8
}

func (f gemmFlavour) vec() reg.VecVirtual {
	if f == gemmZMM {
		return ZMM()
	}
	return YMM()
}

func (f gemmFlavour) name(mr, wide int) string {
	switch {
	case wide > 1:
		return fmt.Sprintf("wide%dx%d", f.lanes()*32, mr)
	case f == gemmZMM:
		return fmt.Sprintf("tile512x%d", mr)
	case f == gemmYMMMasked:
		return fmt.Sprintf("tile256x%dmasked", mr)
	}
	return fmt.Sprintf("tile256x%d", mr)
}

// gemmKernel is the state of one kernel while it is being written.
type gemmKernel struct {
	gemmFlavour
	mr    int
	wide  int           // panels of packed B
	vecs  int           // vectors of a panel's columns: 2, or 1 of only the first half
	t     reg.GPVirtual // a *tile
	flags reg.GPVirtual
	lda   reg.GPVirtual
	a     []reg.GPVirtual     // rows 0, 3, 6, …; the two after each are reached through lda
	acc   [][2]reg.VecVirtual // of each row, and of each panel of the row
	b     [2]reg.VecVirtual
	tmp   [2]reg.VecVirtual
	k     [2]reg.OpmaskVirtual
	mask  [2]reg.VecVirtual

	far      reg.GPVirtual // where B is fetched
	farScale uint8
	next     reg.GPVirtual // what is fetched for later calls
}

// gemmTile writes the kernel for mr rows by two vectors of columns of so many
// panels: a chain of fused multiply-adds over k in order for each element, then
// the epilogue.
func gemmTile(f gemmFlavour, mr, wide int) {
	(&gemmKernel{gemmFlavour: f, mr: mr, wide: wide, vecs: 2}).write(f.name(mr, wide))
}

// gemmHalf writes the kernel for the first half of a panel's columns.
func gemmHalf(mr int) {
	(&gemmKernel{gemmFlavour: gemmZMM, mr: mr, wide: 1, vecs: 1}).write(gemmZMM.name(mr, 1) + "half")
}

func (g *gemmKernel) write(name string) {
	TEXT(name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	g.t = arg("t")
	if g.gemmFlavour == gemmZMM {
		g.loadOpmasks()
	}
	g.firstPanel()
	g.flags = g.load(gemmFlags)
	g.acc = make([][2]reg.VecVirtual, g.mr*g.wide)
	for i := range g.acc {
		for j := range g.vecs {
			g.acc[i][j] = g.vec()
		}
	}
	if g.gemmFlavour == gemmYMMMasked {
		// The registers of b and tmp are only needed in the loop.
		g.mask = [2]reg.VecVirtual{g.vec(), g.vec()}
	}
	g.start()
	if g.wide > 1 {
		g.wideProduct()
	} else {
		g.product()
	}
	g.epilogue()
	g.nextPanel()
	end()
}

// walks says that a call computes a row of tiles, beside each other: returning to Go
// after each takes as long as twenty rows of B.
func (g *gemmKernel) walks() bool {
	return g.wide == 1 && g.vecs == 2 && g.gemmFlavour != gemmYMMMasked
}

// firstPanel begins a row of tiles, nextPanel goes back for the next of them.
func (g *gemmKernel) firstPanel() {
	if g.walks() {
		MOVQ(I32(0), g.field(gemmPanel))
		Label("panel")
	}
}

func (g *gemmKernel) nextPanel() {
	if g.walks() {
		panel := g.load(gemmPanel)
		INCQ(panel)
		MOVQ(panel, g.field(gemmPanel))
		CMPQ(panel, g.field(gemmPanels))
		JLT(LabelRef("panel"))
	}
}

// here is a pointer, moved on by the panels that are done, each of which is as far from
// the one before as the field step says.
func (g *gemmKernel) here(off, step int) reg.GPVirtual {
	p := g.load(off)
	if g.walks() {
		n := g.load(gemmPanel)
		IMULQ(g.field(step), n)
		ADDQ(n, p)
	}
	return p
}

// hereColumns is a pointer to columns, moved on by the panels that are done.
func (g *gemmKernel) hereColumns(off int) reg.GPVirtual {
	p := g.load(off)
	if g.walks() {
		n := g.load(gemmPanel)
		SHLQ(Imm(uint64(bits.TrailingZeros(uint(g.panelBytes())))), n)
		ADDQ(n, p)
	}
	return p
}

func (g *gemmKernel) field(off int) Mem { return Mem{Base: g.t, Disp: off} }

func (g *gemmKernel) load(off int) reg.GPVirtual {
	r := GP64()
	MOVQ(g.field(off), r)
	return r
}

// loadOpmasks puts the low and high 16 bits of tile.mask into opmasks.
func (g *gemmKernel) loadOpmasks() {
	m := GP32()
	MOVL(g.field(gemmMask), m)
	for j := range g.k {
		g.k[j] = K()
		KMOVW(m, g.k[j])
		if j == 0 {
			SHRL(Imm(16), m)
		}
	}
}

// loadVectorMasks expands tile.mask, a bit per column, for VMASKMOVPS.
func (g *gemmKernel) loadVectorMasks() {
	bits := words("columnBits", 1, 2, 4, 8, 16, 32, 64, 128)
	one := YMM()
	VMOVDQU(bits, one)
	for j := range g.mask {
		VPBROADCASTB(Mem{Base: g.t, Disp: gemmMask + j}, g.mask[j])
		VPAND(one, g.mask[j], g.mask[j])
		VPCMPEQD(one, g.mask[j], g.mask[j])
	}
}

// unless jumps over what emit writes where a flag is not set.
func (g *gemmKernel) unless(flag int, label string, emit func()) {
	TESTL(U32(uint32(flag)), g.flags.As32())
	JEQ(LabelRef(label))
	emit()
	Label(label)
}

// start clears the accumulators, or loads the sum of the K blocks before.
func (g *gemmKernel) start() {
	TESTL(U32(gemmDoLoad), g.flags.As32())
	JNE(LabelRef("load"))
	g.each(func(_, _ int, acc reg.VecVirtual) { g.zero(acc) })
	JMP(LabelRef("begin"))
	Label("load")
	if g.gemmFlavour == gemmYMMMasked {
		g.loadVectorMasks()
	}
	g.columns(gemmC, gemmLDC, func(m Mem, i, j int) { g.loadColumns(m, j, g.acc[i][j]) })
	Label("begin")
}

// columns emits for the halves of every accumulator with its place in C or the
// residual.
func (g *gemmKernel) columns(off, stride int, emit func(m Mem, i, j int)) {
	p, wide := g.hereColumns(off), g.wide
	var ld reg.GPVirtual
	for i := range g.acc {
		if i == wide {
			ld = g.load(stride)
		}
		if i >= wide && i%wide == 0 {
			ADDQ(ld, p)
		}
		for j := range g.vecs {
			emit(Mem{Base: p, Disp: i % wide * g.panelBytes()}, i, j)
		}
	}
}

// panelBytes is the size of a row of a panel.
func (g *gemmKernel) panelBytes() int { return 2 * g.lanes() * 4 }

func (g *gemmKernel) zero(v reg.VecVirtual) {
	if g.gemmFlavour == gemmZMM {
		VPXORD(v, v, v)
		return
	}
	VXORPS(v, v, v)
}

func (g *gemmKernel) at(m Mem, j int) Mem {
	m.Disp += j * g.lanes() * 4
	return m
}

// loadColumns reads half j of a row of columns; those masked off become zero.
func (g *gemmKernel) loadColumns(m Mem, j int, v reg.VecVirtual) {
	switch g.gemmFlavour {
	case gemmZMM:
		VMOVUPS_Z(g.at(m, j), g.k[j%2], v)
	case gemmYMM:
		VMOVUPS(g.at(m, j), v)
	case gemmYMMMasked:
		VMASKMOVPS(g.at(m, j), g.mask[j], v)
	}
}

func (g *gemmKernel) storeColumns(v reg.VecVirtual, m Mem, j int) {
	switch g.gemmFlavour {
	case gemmZMM:
		VMOVUPS(v, g.k[j], g.at(m, j))
	case gemmYMM:
		VMOVUPS(v, g.at(m, j))
	case gemmYMMMasked:
		VMASKMOVPS(v, g.mask[j], g.at(m, j))
	}
}

// product is the loop over k.
func (g *gemmKernel) product() {
	const unroll = 4
	g.lda = g.load(gemmLDA)
	g.a = newRowsByThree(g.load(gemmA), g.lda, g.mr).thirds
	if g.walks() {
		g.unless(gemmDoResidual, "nofetch", func() { g.fetchResidual(gemmResidual, gemmLDR) })
	}
	b, ldb, k := g.here(gemmB, gemmStep), g.load(gemmLDB), g.load(gemmK)
	g.b = [2]reg.VecVirtual{g.vec(), g.vec()}
	g.tmp = [2]reg.VecVirtual{g.vec(), g.vec()}
	g.ahead(ldb)
	g.later(b)
	if g.gemmFlavour == gemmZMM {
		TESTL(U32(gemmMaskB), g.flags.As32())
		JNE(LabelRef("partial"))
	}
	if g.lean() {
		g.leanLoop(b, k)
	}
	SUBQ(Imm(unroll), k)
	JLT(LabelRef("rest"))
	Label("loop")
	for u := range unroll {
		g.step(b, ldb, u, false)
		if u%2 == 1 {
			g.fetchLater()
		}
	}
	g.advance(unroll)
	SUBQ(Imm(unroll), k)
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(Imm(unroll), k)
	JEQ(LabelRef("finish"))
	Label("restloop")
	g.step(b, ldb, 0, false)
	g.advance(1)
	DECQ(k)
	JNE(LabelRef("restloop"))
	if g.gemmFlavour == gemmZMM {
		JMP(LabelRef("finish"))
		Label("partial")
		TESTQ(k, k)
		JEQ(LabelRef("finish"))
		Label("partialloop")
		g.step(b, ldb, 0, true)
		g.advance(1)
		DECQ(k)
		JNE(LabelRef("partialloop"))
	}
	Label("finish")
}

// advance moves on by so many k.
func (g *gemmKernel) advance(n int) {
	for _, a := range g.a {
		ADDQ(Imm(uint64(4*n)), a)
	}
}

// step adds the products of one k, u elements after the row pointers. Only where
// columns are missing B is read under a mask, which takes the time of a
// multiply-add.
func (g *gemmKernel) step(b, ldb reg.GPVirtual, u int, partial bool) {
	for j := range g.vecs {
		m := g.at(Mem{Base: b}, j)
		if partial {
			VMOVUPS_Z(m, g.k[j], g.b[j])
		} else {
			VMOVUPS(m, g.b[j])
		}
		if g.gemmFlavour == gemmZMM {
			PREFETCHT0(Mem{Base: b, Index: g.far, Scale: g.farScale, Disp: 64 * j})
		}
	}
	if g.gemmFlavour != gemmZMM {
		PREFETCHT0(Mem{Base: b, Index: g.far, Scale: g.farScale})
	}
	ADDQ(ldb, b)
	g.products(u)
}

// products adds those of the row of B in registers and A, u elements after the row pointers.
func (g *gemmKernel) products(u int) {
	for i := range g.acc {
		if g.vecs == 1 { // an element of A is read once, which takes no instruction of its own
			VFMADD231PS_BCST(g.row(i, 4*u), g.b[0], g.acc[i][0])
			continue
		}
		t := g.tmp[i&1]
		VBROADCASTSS(g.row(i, 4*u), t)
		for j := range g.vecs {
			VFMADD231PS(g.b[j], t, g.acc[i][j])
		}
	}
}

// row is the address of row i of A, disp bytes after its pointer.
func (g *gemmKernel) row(i, disp int) Mem {
	return (&rowsByThree{g.a, g.lda}).at(i, disp)
}

// each emits for every accumulator.
func (g *gemmKernel) each(emit func(i, j int, acc reg.VecVirtual)) {
	for i := range g.acc {
		for j := range g.vecs {
			emit(i, j, g.acc[i][j])
		}
	}
}

// epilogue finishes the elements in registers and stores them. The order is
// that of Epilogue in Go: alpha, column bias, row bias, residual, activation.
func (g *gemmKernel) epilogue() {
	if g.gemmFlavour == gemmYMMMasked {
		g.loadVectorMasks()
	}
	g.unless(^gemmDoLoad&(gemmDoPowers<<1-1), "store", func() {
		g.unless(gemmDoAlpha, "noalpha", func() {
			x := g.broadcast(gemmAlpha)
			g.each(func(_, _ int, acc reg.VecVirtual) { VMULPS(x, acc, acc) })
		})
		g.unless(gemmDoColBias, "nocolbias", g.columnBias)
		g.unless(gemmDoRowBias, "norowbias", g.rowBias)
		g.unless(gemmDoResidual, "noresidual", g.residual)
		g.unless(gemmDoLeaky, "noleaky", g.leaky)
		g.unless(gemmDoClip, "noclip", func() {
			lo, hi := g.broadcast(gemmLo), g.vec()
			// With a NaN, MAXPS and MINPS give what is here the first operand.
			g.each(func(_, _ int, acc reg.VecVirtual) { VMAXPS(acc, lo, acc) })
			VBROADCASTSS(g.field(gemmHi), hi)
			g.each(func(_, _ int, acc reg.VecVirtual) { VMINPS(acc, hi, acc) })
		})
		if g.gemmFlavour == gemmZMM && g.wide == 1 && g.vecs == 2 {
			g.unless(gemmDoPowers, "nopowers", g.powers)
		}
	})
	g.columns(gemmC, gemmLDC, func(m Mem, i, j int) { g.storeColumns(g.acc[i][j], m, j) })
}

// powers makes elements powers of two, which are added to 16 sums of their row.
func (g *gemmKernel) powers() {
	v, sums := avx512, g.load(gemmSums)
	for i, acc := range g.acc {
		for j, x := range acc {
			VMOVAPS(v.exp2(x), acc[j])
		}
		sum := v.add(acc[0], acc[1])
		v.store(v.add(sum, Mem{Base: sums, Disp: 64 * i}), Mem{Base: sums, Disp: 64 * i})
	}
}

func (g *gemmKernel) broadcast(off int) reg.VecVirtual {
	v := g.vec()
	VBROADCASTSS(g.field(off), v)
	return v
}

func (g *gemmKernel) columnBias() {
	p, wide := g.hereColumns(gemmColBias), g.wide
	for j := range g.vecs * wide {
		v := g.vec()
		g.loadColumns(Mem{Base: p}, j, v)
		for i := j / 2; i < len(g.acc); i += wide {
			VADDPS(v, g.acc[i][j%2], g.acc[i][j%2])
		}
	}
}

func (g *gemmKernel) rowBias() {
	p := g.load(gemmRowBias)
	for i := range g.acc {
		v := g.vec()
		VBROADCASTSS(Mem{Base: p, Disp: 4 * (i / g.wide)}, v)
		for j := range g.vecs {
			VADDPS(v, g.acc[i][j], g.acc[i][j])
		}
	}
}

// residual adds beta times it, rounding the product: the same as a separate
// addition where beta is one.
func (g *gemmKernel) residual() {
	beta := g.broadcast(gemmBeta)
	g.columns(gemmResidual, gemmLDR, func(m Mem, i, j int) {
		v := g.vec()
		g.loadColumns(m, j, v)
		VMULPS(beta, v, v)
		VADDPS(v, g.acc[i][j], g.acc[i][j])
	})
}

// leaky multiplies negative elements by the slope. The sign bit selects, so
// that -0 gives -0·slope, as arithmetic does.
func (g *gemmKernel) leaky() {
	slope := g.broadcast(gemmSlope)
	g.each(func(_, _ int, acc reg.VecVirtual) {
		if g.gemmFlavour == gemmZMM {
			neg := K()
			VPMOVD2M(acc, neg)
			VMULPS(slope, acc, neg, acc)
			return
		}
		v := g.vec()
		VMULPS(slope, acc, v)
		VBLENDVPS(acc, v, acc, acc)
	})
}
