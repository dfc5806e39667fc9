package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// activations of a finished piece of output, each with what it loads before the loop.
var activations = []struct {
	name  string
	begin func(l vectorLevel) func(x vec) vec
}{
	{"LeakyRelu", func(l vectorLevel) func(x vec) vec {
		alpha, zero := l.param("alpha"), l.zero()
		return func(x vec) vec { return l.leakyRelu(x, alpha, zero) }
	}},
	{"HardSwish", func(l vectorLevel) func(x vec) vec {
		zero, one := l.zero(), l.load(fconst(1))
		return func(x vec) vec { return l.hardSwish(x, zero, one) }
	}},
	{"Sigmoid", func(l vectorLevel) func(x vec) vec { return l.quickSigmoid }},
	{"Silu", func(l vectorLevel) func(x vec) vec { return func(x vec) vec { return l.mul(l.quickSigmoid(x), x) } }},
}

// activate writes y = f(x) in place over n floats, a multiple of the vector.
func (l vectorLevel) activate(name string, begin func(l vectorLevel) func(x vec) vec) {
	TEXT(fmt.Sprintf("activate%s%s", name, l.suffix()), NOSPLIT, "func(x *byte, n int, alpha float32)")
	Doc("applies " + name + " to n floats, a multiple of the vector's, in place.")
	Pragma("noescape")
	p, n := arg("x"), arg("n")
	f := begin(l)
	Label("loop")
	l.store(f(l.load(Mem{Base: p})), Mem{Base: p})
	ADDQ(step(l.bytes()), p)
	SUBQ(step(l.width()), n)
	JG(LabelRef("loop"))
	end()
}

// quickSigmoid is 1/(1+exp(-x)), within 4 units in the last place where it is normal; sigmoid,
// which elemwise has, is within 2.4.
func (l vectorLevel) quickSigmoid(x reg.VecVirtual) reg.VecVirtual {
	// exp(-x) = 2^n · exp(-r), -x = n·ln 2 - r; 2^n is normal, or infinite from
	// x = -88.4 down.
	r, n, p := l.reg(), l.reg(), l.reg()
	VMOVUPS(constant(-88.8), p)
	VMAXPS(x, p, r)
	VMOVUPS(constant(87), p)
	VMINPS(r, p, r)
	VMULPS(constant(-math.Log2E), r, n)
	if l.wide {
		VRNDSCALEPS(Imm(0), n, n)
	} else {
		VROUNDPS(Imm(0), n, n)
	}
	VFMADD231PS(constant(0.693359375), n, r)
	VFMADD231PS(constant(-2.12194440e-4), n, r)
	VMOVUPS(constant(1.9875691500e-4), p)
	for _, c := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1} {
		VFNMADD213PS(constant(c), r, p)
	}
	one := l.reg()
	VMOVUPS(constant(1), one)
	if l.wide {
		VSCALEFPS(n, p, p)
		VADDPS(one, p, p)
		return l.inverse(p)
	}
	VCVTPS2DQ(n, n)
	VPADDD(integer(127), n, n)
	VPSLLD(Imm(23), n, n)
	VMULPS(n, p, p)
	VADDPS(one, p, p)
	VDIVPS(p, one, p)
	return p
}

// inverse is 1/y for y from 1 to infinity: half the time of a division of 16.
func (l vectorLevel) inverse(y reg.VecVirtual) reg.VecVirtual {
	const notEqual = 4 // or unordered
	finite, r, e := K(), l.reg(), l.reg()
	VCMPPS(Imm(notEqual), constant(float32(math.Inf(1))), y, finite)
	VRCP14PS(y, r)
	VMOVUPS(constant(2), e)
	VFNMADD231PS(r, y, e)
	VMULPS_Z(e, r, finite, r)
	return r
}
