package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type vec = reg.VecVirtual

// level is AVX2 or AVX-512, as the bodies of kernels see it: they are the same but for
// register width, masks and a few instructions, so both levels round alike.
type level struct {
	wide bool   // AVX-512
	part string // begins the labels, where a kernel has several loops
}

var (
	avx2      = level{}
	avx512    = level{wide: true}
	rowLevels = []level{avx2, avx512}
)

func (v level) suffix() string {
	if v.wide {
		return "AVX512"
	}
	return "AVX2"
}

// bytes is the size of a register.
func (v level) bytes() int {
	if v.wide {
		return 64
	}
	return 32
}

// width is the number of float32 in a register.
func (v level) width() int { return v.bytes() / 4 }

func (v level) reg() reg.VecVirtual {
	if v.wide {
		return ZMM()
	}
	return YMM()
}

func (v level) regs(n int) []reg.VecVirtual {
	r := make([]reg.VecVirtual, n)
	for i := range r {
		r[i] = v.reg()
	}
	return r
}

func (v level) zero() reg.VecVirtual {
	r := v.reg()
	v.clear(r)
	return r
}

func (v level) clear(r reg.VecVirtual) {
	if v.wide {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

func (v level) load(m Op) reg.VecVirtual {
	r := v.reg()
	if v.repeats(m) {
		VBROADCASTSS(m, r)
	} else {
		VMOVUPS(m, r)
	}
	return r
}

func (v level) store(r reg.VecVirtual, m Mem) { VMOVUPS(r, m) }

// broadcast copies one float32 of memory to all elements.
func (v level) broadcast(m Mem) reg.VecVirtual {
	r := v.reg()
	VBROADCASTSS(m, r)
	return r
}

// param broadcasts a 32-bit parameter. It does not go through Load, whose
// MOVSS is no AVX instruction: one after a wide register has been written costs 150 ns.
func (v level) param(name string) reg.VecVirtual {
	return v.broadcast(memory(name))
}

// bits is an operation on bits at both levels.
func (v level) bits(narrow func(b, a, r Op), wide func(ops ...Op)) func(b Op, a, r reg.VecVirtual) {
	if v.wide {
		return vectorOp(wide)
	}
	return func(b Op, a, r reg.VecVirtual) { narrow(b, a, r) }
}

func vectorOp(f func(ops ...Op)) func(b Op, a, r reg.VecVirtual) {
	return func(b Op, a, r reg.VecVirtual) { f(b, a, r) }
}

// either is an instruction and its form with a broadcast operand.
func (v level) either(b Op, a, r reg.VecVirtual, whole, broadcast func(ops ...Op)) reg.VecVirtual {
	if v.repeats(b) {
		whole = broadcast
	}
	whole(b, a, r)
	return r
}

// Arithmetic. An operand b may be memory.

func (v level) add(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VADDPS, VADDPS_BCST)
}

func (v level) sub(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VSUBPS, VSUBPS_BCST)
}

func (v level) mul(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VMULPS, VMULPS_BCST)
}

func (v level) div(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VDIVPS, VDIVPS_BCST)
}

// max is a > b ? a : b, so b where they are equal or one is NaN; min likewise.
func (v level) max(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VMAXPS, VMAXPS_BCST)
}

func (v level) min(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VMINPS, VMINPS_BCST)
}

// atLeast and atMost limit x by a constant and keep NaN.
func (v level) atLeast(x reg.VecVirtual, c Mem) reg.VecVirtual { return v.max(v.load(c), x) }
func (v level) atMost(x reg.VecVirtual, c Mem) reg.VecVirtual  { return v.min(v.load(c), x) }

// fma is a·b + c; fms a·b - c; fnma c - a·b.
func (v level) fma(a reg.VecVirtual, b Op, c reg.VecVirtual) reg.VecVirtual {
	return v.either(b, a, v.copy(c), VFMADD231PS, VFMADD231PS_BCST)
}

func (v level) fms(a reg.VecVirtual, b Op, c reg.VecVirtual) reg.VecVirtual {
	return v.either(b, a, v.copy(c), VFMSUB231PS, VFMSUB231PS_BCST)
}

func (v level) fnma(a reg.VecVirtual, b Op, c reg.VecVirtual) reg.VecVirtual {
	return v.either(b, a, v.copy(c), VFNMADD231PS, VFNMADD231PS_BCST)
}

// fmac is a·b + c with c in memory.
func (v level) fmac(a, b reg.VecVirtual, c Mem) reg.VecVirtual {
	return v.either(c, b, v.copy(a), VFMADD213PS, VFMADD213PS_BCST)
}

func (v level) copy(a reg.VecVirtual) reg.VecVirtual {
	r := v.reg()
	VMOVAPS(a, r)
	return r
}

// poly is c[0] + c[1]·x + …
func (v level) poly(x reg.VecVirtual, c ...float64) reg.VecVirtual {
	r := v.load(fconst(c[len(c)-1]))
	for i := len(c) - 2; i >= 0; i-- {
		v.either(fconst(c[i]), x, r, VFMADD213PS, VFMADD213PS_BCST)
	}
	return r
}

// Bits of float32.
const (
	signBit      = 1 << 31
	butSign      = signBit - 1
	plusInf      = 0x7f800000
	minusInf     = signBit | plusInf
	largest      = plusInf - 1
	minusLargest = minusInf - 1
	quietNaN     = 0x7fc00000
	leastNormal  = 0x00800000
)

func (v level) and(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VANDPS, VANDPS_BCST)
}

func (v level) or(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VORPS, VORPS_BCST)
}

func (v level) xor(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VXORPS, VXORPS_BCST)
}

// addInt adds 32-bit integers.
func (v level) addInt(a reg.VecVirtual, b Op) reg.VecVirtual {
	return v.either(b, a, v.reg(), VPADDD, VPADDD_BCST)
}

func (v level) abs(a reg.VecVirtual) reg.VecVirtual { return v.and(a, bitsConst(butSign)) }
func (v level) neg(a reg.VecVirtual) reg.VecVirtual { return v.xor(a, bitsConst(signBit)) }

// withSign gives a, which is positive or NaN, the sign of x.
func (v level) withSign(a, x reg.VecVirtual) reg.VecVirtual {
	return v.or(a, v.and(x, bitsConst(signBit)))
}

// merge has a's bits where mask is set, and b's where it is not.
func (v level) merge(a, b reg.VecVirtual, mask uint32) reg.VecVirtual {
	if !v.wide {
		return v.or(v.and(a, bitsConst(mask)), v.and(b, bitsConst(^mask)))
	}
	r := v.load(bitsConst(mask))
	VPTERNLOGD(U8(0xca), b, a, r) // r ? a : b
	return r
}

// Rounding modes of round.
const (
	toEven = 8 + iota
	toFloor
	toCeil
	toZero
)

func (v level) round(a reg.VecVirtual, mode int) reg.VecVirtual {
	r := v.reg()
	if v.wide {
		VRNDSCALEPS(U8(uint64(mode)), a, r)
	} else {
		VROUNDPS(U8(uint64(mode)), a, r)
	}
	return r
}

// Comparison predicates.
const (
	eqOQ  = 0x00
	ltOQ  = 0x11
	leOQ  = 0x12
	unord = 0x03
	neqUQ = 0x04
	nltUQ = 0x15
	nleUQ = 0x16
	gtOQ  = 0x1e
	geOQ  = 0x1d
)

// chosen is a condition per element.
type chosen struct {
	k reg.OpmaskVirtual
	y reg.VecVirtual
}

func (v level) cmp(predicate int, a reg.VecVirtual, b Op) chosen {
	if v.wide {
		c := chosen{k: K()}
		if v.repeats(b) {
			VCMPPS_BCST(U8(uint64(predicate)), b, a, c.k)
		} else {
			VCMPPS(U8(uint64(predicate)), b, a, c.k)
		}
		return c
	}
	c := chosen{y: YMM()}
	VCMPPS(U8(uint64(predicate)), b, a, c.y)
	return c
}

// unlessAny jumps where no element is chosen.
func (v level) unlessAny(c chosen, label string) {
	if v.wide {
		KTESTW(c.k, c.k)
	} else {
		VTESTPS(c.y, c.y)
	}
	JEQ(LabelRef(label))
}

var labels int

// newLabel is a name that nothing else has.
func newLabel(name string) string {
	labels++
	return fmt.Sprintf("%s%d", name, labels)
}

// negative is where the sign bit is set.
func (v level) negative(a reg.VecVirtual) chosen {
	if v.wide {
		c := chosen{k: K()}
		VPMOVD2M(a, c.k)
		return c
	}
	return chosen{y: a}
}

// pick is c ? a : b; a may be memory.
func (v level) pick(c chosen, a Op, b reg.VecVirtual) reg.VecVirtual {
	r := v.reg()
	if v.wide {
		if v.repeats(a) {
			VBLENDMPS_BCST(a, b, c.k, r)
		} else {
			VBLENDMPS(a, b, c.k, r)
		}
	} else {
		VBLENDVPS(c.y, a, b, r)
	}
	return r
}

// end leaves the upper halves clean, as Go's own code expects.
func end() {
	VZEROUPPER()
	RET()
}

// step is an immediate operand of 32 bits, whatever its size.
func step(n int) Op { return U32(uint32(n)) }

// result stores a float32, again without MOVSS.
func result(r reg.VecVirtual, to gotypes.Component) {
	at, err := to.Resolve()
	if err != nil {
		panic(err)
	}
	VMOVSS(r.AsX(), at.Addr)
}
