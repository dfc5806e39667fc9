package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// activations of a finished piece of output, by the name of their kernel.
var activations = []string{"LeakyRelu", "HardSwish", "Sigmoid", "Silu"}

// activate writes y = f(x) in place over n floats, a multiple of the vector.
func (l vectorLevel) activate(name string) {
	TEXT(fmt.Sprintf("activate%s%s", name, l.suffix()), NOSPLIT, "func(x *byte, n int, alpha float32)")
	Doc("applies " + name + " to n floats, a multiple of the vector's, in place.")
	Pragma("noescape")
	p, n := arg("x"), arg("n")
	alpha := l.param("alpha")
	zero := l.zero()
	Label("loop")
	x := l.reg()
	VMOVUPS(Mem{Base: p}, x)
	var y reg.VecVirtual
	switch name {
	case "LeakyRelu":
		y = l.leakyRelu(x, zero, alpha)
	case "HardSwish":
		y = l.hardSwish(x, zero)
	case "Sigmoid":
		y = l.quickSigmoid(x)
	case "Silu":
		y = l.quickSigmoid(x)
		VMULPS(x, y, y)
	}
	VMOVUPS(y, Mem{Base: p})
	ADDQ(U32(uint64(l.bytes())), p)
	SUBQ(U32(uint64(l.bytes()/4)), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// leakyRelu is x where x isn't below 0, x·alpha elsewhere.
func (l vectorLevel) leakyRelu(x, zero, alpha reg.VecVirtual) reg.VecVirtual {
	const lessThan = 1
	y := l.reg()
	VMULPS(alpha, x, y)
	if l.wide {
		k := K()
		VCMPPS(Imm(lessThan), zero, x, k)
		VBLENDMPS(y, x, k, y)
		return y
	}
	m := l.reg()
	VCMPPS(Imm(lessThan), zero, x, m)
	VBLENDVPS(m, y, x, y)
	return y
}

// hardSwish is x · clip(x/6 + 1/2, 0, 1). The second of the operands of VMAXPS
// and VMINPS lets NaN through.
func (l vectorLevel) hardSwish(x, zero reg.VecVirtual) reg.VecVirtual {
	y, t := l.reg(), l.reg()
	VMULPS(constant(1.0/6), x, y)
	VADDPS(constant(0.5), y, y)
	VMAXPS(y, zero, y)
	VMOVUPS(constant(1), t)
	VMINPS(y, t, y)
	VMULPS(x, y, y)
	return y
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
