package main

import (
	"encoding/binary"
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Neither avo nor Go's assembler knows AMX, products and conversions of bfloat16.
// These write them as bytes. Registers are physical, since they are part of the
// encoding, and reach avo as inputs and outputs, so that it allocates around
// them. Operands are in Go's order: the destination is last.
//
// A function that loads a configuration also releases it, and calls nothing in
// between: tile state must not meet Go's scheduler.

// Tmm is a tile register, 0 to 7: up to 16 rows of up to 64 bytes.
type Tmm uint8

// At is memory at Base + Index + Disp. Tiles are loaded and stored with the
// distance of rows in Index; without one the rows are the same.
type At struct {
	Base, Index reg.GPPhysical
	Disp        int32
}

// Values of VEX.pp and EVEX.pp.
const (
	noPrefix = iota
	prefix66
	prefixF3
	prefixF2
)

// LDTILECFG loads the configuration of 64 bytes at m.
func LDTILECFG(m At) { vexMemory("LDTILECFG", noPrefix, 0x49, m, 0) }

// TILERELEASE gives up the tile state.
func TILERELEASE() { bytesOf("TILERELEASE", vex(noPrefix, 0x49, 0, 0, 0), nil, nil) }

// TILEZERO clears a tile.
func TILEZERO(t Tmm) {
	bytesOf(fmt.Sprintf("TILEZERO tmm%d", t), vex(prefixF2, 0x49, t, 0, 0), nil, nil)
}

// TILELOADD loads a tile.
func TILELOADD(m At, t Tmm) { vexMemory("TILELOADD", prefixF2, 0x4b, m, t) }

// TILELOADDx2 and TILESTOREDx2 load and store a tile whose rows are twice the distance apart.
func TILELOADDx2(m At, t Tmm)  { vexScaled("TILELOADD", prefixF2, 0x4b, m, 2, t) }
func TILESTOREDx2(t Tmm, m At) { vexScaled("TILESTORED", prefixF3, 0x4b, m, 2, t) }

// TILESTORED stores a tile.
func TILESTORED(t Tmm, m At) { vexMemory("TILESTORED", prefixF3, 0x4b, m, t) }

// TDPBF16PS adds to c the products of pairs of bfloat16 of a's rows and b's.
func TDPBF16PS(b, a, c Tmm) { product("TDPBF16PS", prefixF3, 0x5c, b, a, c) }

// TDPBSSD adds to c the products of groups of four bytes, signed in a and in b.
func TDPBSSD(b, a, c Tmm) { product("TDPBSSD", prefixF2, 0x5e, b, a, c) }

// TDPBUSD is TDPBSSD with unsigned a.
func TDPBUSD(b, a, c Tmm) { product("TDPBUSD", prefix66, 0x5e, b, a, c) }

// PREFETCHW fetches the cache line at base + disp to write to it.
func PREFETCHW(base reg.GPPhysical, disp int32) {
	code, low := []byte{}, number(base)&7
	if number(base) > 7 {
		code = append(code, 0x41)
	}
	if low == 4 {
		panic("amx: this base needs a SIB byte")
	}
	code = binary.LittleEndian.AppendUint32(append(code, 0x0f, 0x0d, 0x80|1<<3|low), uint32(disp))
	bytesOf(fmt.Sprintf("PREFETCHW %d(%s)", disp, base.Asm()), code, []Op{base}, nil)
}

// VCVTNEPS2BF16 rounds 16 floats to the nearest bfloat16, ties to even.
func VCVTNEPS2BF16(src, dst reg.VecPhysical) {
	bytesOf(fmt.Sprintf("VCVTNEPS2BF16 %s, %s", src.Asm(), dst.Asm()), evex(prefixF3, 0x72, number(dst), 0, number(src)), []Op{src}, []Op{dst})
}

// VCVTNE2PS2BF16 rounds 32 floats, those of lo to the lower half of dst.
func VCVTNE2PS2BF16(lo, hi, dst reg.VecPhysical) {
	bytesOf(fmt.Sprintf("VCVTNE2PS2BF16 %s, %s, %s", lo.Asm(), hi.Asm(), dst.Asm()),
		evex(prefixF2, 0x72, number(dst), number(hi), number(lo)), []Op{lo, hi}, []Op{dst})
}

// VDPBF16PS adds to each of c's 16 floats the products of a pair of bfloat16 of a and of b.
func VDPBF16PS(b, a, c reg.VecPhysical) {
	bytesOf(fmt.Sprintf("VDPBF16PS %s, %s, %s", b.Asm(), a.Asm(), c.Asm()), evex(prefixF3, 0x52, number(c), number(a), number(b)), []Op{a, b, c}, []Op{c})
}

func product(name string, pp byte, opcode byte, b, a, c Tmm) {
	bytesOf(fmt.Sprintf("%s tmm%d, tmm%d, tmm%d", name, b, a, c), vex(pp, opcode, c, b, a), nil, nil)
}

// vex encodes an instruction of map 0F38 on tiles: reg is ModRM's register, rm
// its other one.
func vex(pp, opcode byte, reg, vvvv, rm Tmm) []byte {
	v := byte(^vvvv&15) << 3
	return []byte{0xc4, 0xe2, v | pp, opcode, 0xc0 | byte(reg)<<3 | byte(rm)}
}

// vexMemory encodes an instruction with a SIB byte, which tile memory needs.
func vexMemory(name string, pp, opcode byte, m At, t Tmm) { vexScaled(name, pp, opcode, m, 1, t) }

// vexScaled is vexMemory with an index that counts scale times: once or twice.
func vexScaled(name string, pp, opcode byte, m At, scale byte, t Tmm) {
	base, index, rows := number(m.Base), byte(noIndex), "0"
	in := []Op{m.Base}
	if m.Index != nil {
		if index = number(m.Index); index == noIndex {
			panic("amx: SP is no index")
		}
		in, rows = append(in, m.Index), m.Index.Asm()
	}
	code := []byte{0xc4, 0x80 | ^index>>3&1<<6 | ^base>>3&1<<5 | 2, 0x78 | pp, opcode}
	sib := scale>>1<<6 | index&7<<3 | base&7
	switch {
	case m.Disp == 0 && base&7 != 5:
		code = append(code, byte(t)<<3|4, sib)
	case m.Disp == int32(int8(m.Disp)):
		code = append(code, 0x40|byte(t)<<3|4, sib, byte(m.Disp))
	default:
		code = append(code, 0x80|byte(t)<<3|4, sib)
		code = binary.LittleEndian.AppendUint32(code, uint32(m.Disp))
	}
	if scale == 2 {
		rows = "2·" + rows
	}
	bytesOf(fmt.Sprintf("%s tmm%d, %d(%s), distance %s", name, t, m.Disp, m.Base.Asm(), rows), code, in, nil)
}

// noIndex stands in a SIB byte for none.
const noIndex = 4

// number is a register's number in encodings.
func number(r reg.Physical) byte { return byte(r.PhysicalIndex()) }

// evex encodes an instruction of map 0F38 on whole ZMM registers.
func evex(pp, opcode, r, v, m byte) []byte {
	p0 := ^r>>3&1<<7 | ^m>>4&1<<6 | ^m>>3&1<<5 | ^r>>4&1<<4 | 2
	p1 := ^v&15<<3 | 4 | pp
	p2 := 0x40 | ^v>>4&1<<3
	return []byte{0x62, p0, p1, p2, opcode, 0xc0 | r&7<<3 | m&7}
}

// bytesOf writes an instruction, with its usual name as a comment.
func bytesOf(name string, code []byte, in, out []Op) {
	Comment(name)
	for i, b := range code {
		x := &ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}}
		if i == 0 {
			x.Inputs, x.Outputs = in, out
		}
		emit(x)
	}
}

// emit is a variable for the test, which avo doesn't let look at a function.
var emit = Instruction
