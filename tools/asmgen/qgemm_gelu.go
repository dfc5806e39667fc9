package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tableGelu is x·Φ(x) = |x|·g(|x|) + x/2 with g = Φ - ½ from a table of cubic polynomials,
// within 3e-7 of itself or of 1, so as precise as ½·x·(1 + erf(x/√2)) in float32. That takes
// a quarter of the instructions of a function that is precise relative to itself where x is
// negative. The table stays in registers.
type tableGelu struct{ c [4][2]vec }

// The polynomials are around multiples of geluStep, which has few bits.
const (
	geluStep  = 11. / 64
	geluParts = 32
	geluMagic = 3 << 22 // adding it rounds to an integer
)

func loadTableGelu() *tableGelu {
	g := &tableGelu{}
	for i := range g.c {
		for half := range g.c[i] {
			g.c[i][half] = ZMM()
			VMOVUPS(dwords(string(rune('a'+i))+"OfGelu"+string(rune('0'+half)), func(part int) int {
				return int(math.Float32bits(float32(geluCubic(16*half + part)[i])))
			}), g.c[i][half])
		}
	}
	return g
}

// geluCubic is the polynomial of Φ - ½ about part times geluStep that meets it in the four
// roots of Chebyshev's polynomial.
func geluCubic(part int) (c [4]float64) {
	at := float64(part) * geluStep
	if part == geluParts-1 { // it ends with ½, which holds for all beyond: 1 - Φ is 5e-8 there
		return [4]float64{0.5, math.Erfc((at-geluStep/2)/math.Sqrt2) / geluStep}
	}
	var x [4]float64
	for i := range x {
		x[i] = geluStep / 2 * math.Cos(math.Pi*(2*float64(i)+1)/8)
	}
	interpolate(c[:], x[:], func(x float64) float64 { return math.Erf((at+x)/math.Sqrt2) / 2 })
	return c
}

// of applies it in place; a NaN stays.
func (g *tableGelu) of(x ...vec) {
	v := avx512
	for i := range x {
		a := v.abs(x[i])
		near := v.atMost(a, fconst(geluStep*(geluParts-1)))
		n := v.load(fconst(geluMagic))
		VFMADD231PS_BCST(fconst(1/geluStep), near, n)
		r := v.fnma(v.sub(n, fconst(geluMagic)), fconst(geluStep), near)
		var c [4]vec
		for j := range c {
			c[j] = v.copy(n)
			VPERMI2PS(g.c[j][1], g.c[j][0], c[j])
		}
		for j := 2; j >= 0; j-- {
			VFMADD213PS(c[j], r, c[j+1])
			c[j] = c[j+1]
		}
		VMULPS_BCST(fconst(0.5), x[i], x[i])
		VFMADD231PS(c[0], a, x[i])
	}
}

// tableGeluRow writes the function for numbers in memory.
func tableGeluRow() {
	TEXT("gelu512", NOSPLIT, "func(x *float32, n int)")
	Doc("applies x·Φ(x), within 3e-7 of itself or of 1, to n numbers in place.")
	Pragma("noescape")
	x, n := Load(Param("x"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
	g := loadTableGelu()
	SUBQ(Imm(32), n)
	JLT(LabelRef("rest"))
	Label("loop")
	v := [2]vec{ZMM(), ZMM()}
	for i := range v {
		VMOVUPS(Mem{Base: x, Disp: 64 * i}, v[i])
	}
	g.of(v[:]...)
	for i := range v {
		VMOVUPS(v[i], Mem{Base: x, Disp: 64 * i})
	}
	ADDQ(Imm(128), x)
	SUBQ(Imm(32), n)
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(Imm(32), n)
	JEQ(LabelRef("done"))
	mask, k := GP64(), [2]reg.OpmaskVirtual{K(), K()}
	MOVQ(I64(-1), mask)
	BZHIQ(n, mask, mask)
	for i := range v {
		v[i] = ZMM()
		KMOVW(mask.As32(), k[i])
		SHRQ(Imm(16), mask)
		VMOVUPS_Z(Mem{Base: x, Disp: 64 * i}, k[i], v[i])
	}
	g.of(v[:]...)
	for i := range v {
		VMOVUPS(v[i], k[i], Mem{Base: x, Disp: 64 * i})
	}
	Label("done")
	VZEROUPPER()
	RET()
}
