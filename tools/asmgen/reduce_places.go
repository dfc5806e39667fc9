package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// mostPlaces is the number of registers of a row of 32 elements.
const mostPlaces = 4

// placesOfExtrema writes functions for rows of up to 32 float32, by how many registers these fill. Of each row they
// give the places of its extremum as bits, of NaN where there is one.
func placesOfExtrema() {
	for _, f := range []struct {
		name string
		join func(b, a, r Op)
		fill uint32
	}{{"most", joinMore, minusInf}, {"least", joinLess, plusInf}} {
		for registers := 1; registers <= mostPlaces; registers++ {
			placesOf(fmt.Sprintf("%sPlaces%d", f.name, registers), registers, f.join, bitsConst(f.fill))
		}
	}
}

func placesOf(name string, registers int, join func(b, a, r Op), fill Mem) {
	v := avx2
	TEXT(name+v.suffix(), NOSPLIT, "func(dst *int64, x *float32, rows, k int)")
	Pragma("noescape")
	dst, p, n, k := arg("dst"), arg("x"), arg("rows"), arg("k")
	rest := GP64()
	MOVQ(k, rest)
	SUBQ(step(8*(registers-1)), rest)
	t := v.tail(rest)
	SHLQ(Imm(2), k)

	Label("row")
	x := make([]vec, registers)
	for i := range x {
		if m := (Mem{Base: p, Disp: 32 * i}); i < registers-1 {
			x[i] = v.load(m)
		} else {
			x[i] = v.loadTailOr(m, t, fill)
		}
	}
	none := YMM() // NaN
	VCMPPS(U8(unord), x[0], x[registers-1], none)
	for i := 1; i < registers-1; i++ {
		more := YMM()
		VCMPPS(U8(unord), x[i], x[i], more)
		VORPS(more, none, none)
	}
	some, bits := GP32(), GP32()
	VMOVMSKPS(none, some)

	best := v.reg()
	VMOVAPS(x[0], best)
	for _, x := range x[1:] {
		join(x, best, best)
	}
	low, high := best.AsX(), XMM()
	VEXTRACTF128(Imm(1), best, high)
	join(high, low, low)
	for _, turn := range []uint8{0x4e, 0xb1} {
		VPERMILPS(U8(turn), low, high)
		join(high, low, low)
	}
	VBROADCASTSS(low, best)
	gather := func(compare func(x, to vec)) {
		for i, x := range x {
			at, part := YMM(), bits
			compare(x, at)
			if i == registers-1 {
				VANDPS(t.y, at, at)
			}
			if i > 0 {
				part = GP32()
			}
			if VMOVMSKPS(at, part); i > 0 {
				SHLL(U8(uint8(8*i)), part)
				ORL(part, bits)
			}
		}
	}
	TESTL(some, some)
	JNE(LabelRef("none"))
	gather(func(x, to vec) { VCMPPS(U8(eqOQ), best, x, to) })
	Label("store")
	MOVQ(bits.As64(), Mem{Base: dst})
	ADDQ(Imm(8), dst)
	ADDQ(k, p)
	DECQ(n)
	JNE(LabelRef("row"))
	end()

	Label("none")
	gather(func(x, to vec) { VCMPPS(U8(unord), x, x, to) })
	JMP(LabelRef("store"))
}
