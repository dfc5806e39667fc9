package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pagedPanel is the keys of a panel of an AMX product.
const pagedPanel = 32

// wideRegisters hold numbers that instructions of bfloat16 take.
var wideRegisters = [8]reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7}

// packKeys writes a panel of keys, rounded to bfloat16: of each pair of elements a row
// with those of all keys, side by side.
func (k pagedKernel) packKeys() {
	TEXT("packKeys"+k.stored()+"AMX", NOSPLIT, "func(dst *uint16, list *uintptr, d int)")
	Pragma("noescape")
	order := GLOBL("packKeysOrder"+k.stored(), attr.RODATA|attr.NOPTR) // pairs of a lane's two rows of four
	for i := range 32 {
		DATA(i, U8(i%4/2*8+i%16/4*2+i%2))
	}
	list, dst := arg("list"), arg("dst")
	blocks := make([]reg.GPVirtual, pagedPanel/pagedTokens)
	for i := range blocks {
		blocks[i] = GP64()
		MOVQ(Mem{Base: list, Disp: 8 * i}, blocks[i])
	}
	pairs, at, left := reg.Y8, GP64(), arg("d")
	VMOVDQU(order, pairs)
	XORQ(at, at)
	const row = 4 * pagedPanel // bytes
	Label("loop")
	for i, b := range blocks {
		x, half := wideRegisters[i], wideRegisters[i].AsY().(reg.VecPhysical)
		k.loadTo(Mem{Base: b, Index: at, Scale: 1}, x)
		VCVTNEPS2BF16(x, half)
		VPSHUFB(pairs, half, half)
		VMOVDQU(half.AsX(), Mem{Base: dst, Disp: 16 * i})
		VEXTRACTI128(Imm(1), half, Mem{Base: dst, Disp: row + 16*i})
	}
	ADDQ(step(4*pagedTokens*k.size()), at)
	ADDQ(step(2*row), dst)
	SUBQ(step(4), left)
	JNE(LabelRef("loop"))
	end()
}

// packValues writes blocks of values, rounded to bfloat16, to panels of 32 columns, which
// lie so many bytes apart: of each pair of tokens a row with those of all columns, side
// by side.
func (k pagedKernel) packValues() {
	TEXT("packValues"+k.stored()+"AMX", NOSPLIT, "func(dst *uint16, list *uintptr, panel, d, blocks int)")
	Pragma("noescape")
	order := GLOBL("packValuesOrder"+k.stored(), attr.RODATA|attr.NOPTR)
	for i := range 32 {
		DATA(2*i, U16(i%2*16+i/2))
	}
	pairs := reg.Z8
	VMOVDQU64(order, pairs)
	list, dst := arg("list"), arg("dst")
	panel, pitch, left := arg("panel"), GP64(), arg("blocks")
	Load(Param("d"), pitch)
	SHLQ(Imm(uint64(k.size()/2)), pitch) // bytes of a token: times 2 or 4
	const row = 4 * pagedPanel           // bytes
	Label("block")
	v, third, to, columns := GP64(), GP64(), GP64(), arg("d")
	MOVQ(Mem{Base: list}, v)
	LEAQ(Mem{Base: v, Index: pitch, Scale: 2}, third)
	MOVQ(dst, to)
	Label("columns")
	for pair, from := range []reg.GPVirtual{v, third} {
		for half := range 2 {
			first, both := wideRegisters[4*pair+2*half], wideRegisters[4*pair+2*half+1]
			k.loadTo(Mem{Base: from, Disp: 16 * k.size() * half}, first)
			k.loadTo(Mem{Base: from, Index: pitch, Scale: 1, Disp: 16 * k.size() * half}, both)
			VCVTNE2PS2BF16(first, both, both)
			VPERMW(both, pairs, both)
			VMOVDQU64(both, Mem{Base: to, Disp: row*pair + 64*half})
		}
	}
	for _, p := range []reg.GPVirtual{v, third} {
		ADDQ(step(32*k.size()), p)
	}
	ADDQ(panel, to)
	SUBQ(step(32), columns)
	JNE(LabelRef("columns"))
	ADDQ(step(8), list)
	ADDQ(step(2*row), dst)
	DECQ(left)
	JNE(LabelRef("block"))
	end()
}
