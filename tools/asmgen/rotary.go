package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["rotary"] = rotaryFamily }

// rotaryPairs is how many pairs are turned at once.
const rotaryPairs = 8

func rotaryFamily() {
	first, second := words("first", 0, 0, 1, 1, 2, 2, 3, 3), words("second", 4, 4, 5, 5, 6, 6, 7, 7)
	rotaryKernel("turnNeighboursAVX2", func(cos, sin reg.VecVirtual, n reg.GPVirtual) func(x, y reg.GPVirtual) {
		var c, s [2]reg.VecVirtual
		for i, index := range []Mem{first, second} {
			at := YMM()
			VMOVDQU(index, at)
			c[i], s[i] = YMM(), YMM()
			VPERMPS(cos, at, c[i])
			VPERMPS(sin, at, s[i])
		}
		return func(x, y reg.GPVirtual) {
			for i := range c {
				v, swapped, r := YMM(), YMM(), YMM()
				VMOVUPS(Mem{Base: x, Disp: 32 * i}, v)
				VPERMILPS(Imm(0xb1), v, swapped)
				VMULPS(s[i], swapped, swapped)
				VMULPS(c[i], v, v)
				VADDSUBPS(swapped, v, r)
				VMOVUPS(r, Mem{Base: y, Disp: 32 * i})
			}
		}
	}, 2)
	rotaryKernel("turnHalvesAVX2", func(cos, sin reg.VecVirtual, n reg.GPVirtual) func(x, y reg.GPVirtual) {
		return func(x, y reg.GPVirtual) {
			half := func(p reg.GPVirtual) Mem { return Mem{Base: p, Index: n, Scale: 4} }
			a, b, left, right, t := YMM(), YMM(), YMM(), YMM(), YMM()
			VMOVUPS(Mem{Base: x}, a)
			VMOVUPS(half(x), b)
			VMULPS(cos, a, left)
			VMULPS(sin, b, t)
			VSUBPS(t, left, left)
			VMULPS(cos, b, right)
			VMULPS(sin, a, t)
			VADDPS(t, right, right)
			VMOVUPS(left, Mem{Base: y})
			VMOVUPS(right, half(y))
		}
	}, 1)
}

// rotaryKernel turns n pairs, a multiple of rotaryPairs, of each head. prepare takes the
// cosines and sines of some and gives what turns them; they lie in so many registers
// next to each other.
func rotaryKernel(name string, prepare func(cos, sin reg.VecVirtual, n reg.GPVirtual) func(x, y reg.GPVirtual), registers int) {
	TEXT(name, NOSPLIT, "func(y, x, cos, sin *float32, n, heads, width int)")
	Pragma("noescape")
	y, x, cos, sin, n, width := arg("y"), arg("x"), arg("cos"), arg("sin"), arg("n"), arg("width")
	SHLQ(Imm(2), width)
	left := GP64()
	MOVQ(n, left)
	Label("pairs")
	c, s := YMM(), YMM()
	VMOVUPS(Mem{Base: cos}, c)
	VMOVUPS(Mem{Base: sin}, s)
	turn := prepare(c, s, n)
	from, to, heads := GP64(), GP64(), arg("heads")
	MOVQ(x, from)
	MOVQ(y, to)
	Label("head")
	turn(from, to)
	ADDQ(width, from)
	ADDQ(width, to)
	DECQ(heads)
	JNE(LabelRef("head"))
	for _, p := range []reg.Register{cos, sin} {
		ADDQ(step(4*rotaryPairs), p)
	}
	for _, p := range []reg.Register{x, y} {
		ADDQ(step(32*registers), p)
	}
	SUBQ(step(rotaryPairs), left)
	JNE(LabelRef("pairs"))
	end()
}
