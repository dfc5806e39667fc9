package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// Φ(-a) between 0 and geluMost as geluPieces polynomials, each around a multiple of
// geluPiece, which has few bits.
const (
	geluMost   = 5.6
	geluPiece  = 185. / 512
	geluPieces = 16
	geluDegree = 8
)

// geluByPieces is x·Φ(x) as max(x, 0) - |x|·Φ(-|x|), relative to itself within 3.2 units in the
// last place down to -geluMost. A piece's coefficients are looked up, which other units of a
// core do than those that multiply: that takes 0.6 of the time of an
// exponential of a².
func (v level) geluByPieces(x vec) vec {
	a := v.atMost(v.abs(x), fconst(geluMost))
	n := v.fma(a, fconst(1/geluPiece), v.load(fconst(geluMagic)))
	r := v.fnma(v.sub(n, fconst(geluMagic)), fconst(geluPiece), a)
	upper := v.reg() // in the sign, whether the piece is of the upper half
	if !v.wide {
		VPSLLD(Imm(28), n, upper)
	}
	coefficient := func(i int) vec {
		table := dwords(fmt.Sprintf("geluPower%d", i), func(piece int) int {
			return int(math.Float32bits(float32(geluPolynomial(piece)[i])))
		})
		c := v.reg()
		VPERMPS(table, n, c)
		if !v.wide {
			other := v.reg()
			VPERMPS(table.Offset(32), n, other)
			VBLENDVPS(upper, other, c, c)
		}
		return c
	}
	phi := coefficient(geluDegree)
	for i := geluDegree - 1; i >= 0; i-- {
		VFMADD213PS(coefficient(i), r, phi)
	}
	return v.fnma(a, phi, v.atLeast(x, fconst(0)))
}

// geluPolynomial is the polynomial of Φ(-a) about piece times geluPiece that meets it in the
// roots of Chebyshev's polynomial.
func geluPolynomial(piece int) (c [geluDegree + 1]float64) {
	var roots [geluDegree + 1]float64
	for i := range roots {
		roots[i] = geluPiece / 2 * math.Cos(math.Pi*float64(2*i+1)/(2*(geluDegree+1)))
	}
	interpolate(c[:], roots[:], func(x float64) float64 {
		return math.Erfc((float64(piece)*geluPiece+x)/math.Sqrt2) / 2
	})
	return c
}

// interpolate sets the coefficients of the polynomial that meets f in as many places: Newton's
// divided differences, then powers.
func interpolate(c, x []float64, f func(x float64) float64) {
	d := make([]float64, len(x))
	for i := range x {
		d[i] = f(x[i])
	}
	for j := 1; j < len(x); j++ {
		for i := len(x) - 1; i >= j; i-- {
			d[i] = (d[i] - d[i-1]) / (x[i] - x[i-j])
		}
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(x) - 1; j > 0; j-- {
			c[j] = c[j-1] - x[i]*c[j]
		}
		c[0] = d[i] - x[i]*c[0]
	}
}
