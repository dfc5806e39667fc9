package main

import (
	"bytes"
	"testing"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// TestEncodings compares with what LLVM's assembler writes. LDTILECFG has a SIB
// byte more, which LLVM's disassembler reads as the same.
func TestEncodings(t *testing.T) {
	tests := []struct {
		name  string
		write func()
		want  []byte
	}{
		{"ldtilecfg (%rbx)", func() { LDTILECFG(At{Base: RBX}) }, []byte{0xc4, 0xe2, 0x78, 0x49, 0x04, 0x23}},
		{"ldtilecfg 256(%r13)", func() { LDTILECFG(At{Base: R13, Disp: 256}) }, []byte{0xc4, 0xc2, 0x78, 0x49, 0x84, 0x25, 0, 1, 0, 0}},
		{"tilerelease", TILERELEASE, []byte{0xc4, 0xe2, 0x78, 0x49, 0xc0}},
		{"tilezero %tmm0", func() { TILEZERO(0) }, []byte{0xc4, 0xe2, 0x7b, 0x49, 0xc0}},
		{"tilezero %tmm7", func() { TILEZERO(7) }, []byte{0xc4, 0xe2, 0x7b, 0x49, 0xf8}},
		{"tileloadd (%rax,%rcx), %tmm3", func() { TILELOADD(At{Base: RAX, Index: RCX}, 3) }, []byte{0xc4, 0xe2, 0x7b, 0x4b, 0x1c, 0x08}},
		{"tileloadd 4096(%r12,%r9), %tmm6", func() { TILELOADD(At{R12, R9, 4096}, 6) }, []byte{0xc4, 0x82, 0x7b, 0x4b, 0xb4, 0x0c, 0, 0x10, 0, 0}},
		{"tileloadd 64(%rdi), %tmm1", func() { TILELOADD(At{Base: RDI, Disp: 64}, 1) }, []byte{0xc4, 0xe2, 0x7b, 0x4b, 0x4c, 0x27, 0x40}},
		{"tilestored %tmm5, (%rsi,%rdx)", func() { TILESTORED(5, At{Base: RSI, Index: RDX}) }, []byte{0xc4, 0xe2, 0x7a, 0x4b, 0x2c, 0x16}},
		{"tilestored %tmm5, (%rbp,%rdx)", func() { TILESTORED(5, At{Base: RBP, Index: RDX}) }, []byte{0xc4, 0xe2, 0x7a, 0x4b, 0x6c, 0x15, 0}},
		{"tdpbf16ps %tmm6, %tmm4, %tmm0", func() { TDPBF16PS(6, 4, 0) }, []byte{0xc4, 0xe2, 0x4a, 0x5c, 0xc4}},
		{"tdpbssd %tmm7, %tmm5, %tmm3", func() { TDPBSSD(7, 5, 3) }, []byte{0xc4, 0xe2, 0x43, 0x5e, 0xdd}},
		{"tdpbusd %tmm7, %tmm5, %tmm3", func() { TDPBUSD(7, 5, 3) }, []byte{0xc4, 0xe2, 0x41, 0x5e, 0xdd}},
		{"prefetchw 256(%rax)", func() { PREFETCHW(RAX, 256) }, []byte{0x0f, 0x0d, 0x88, 0, 1, 0, 0}},
		{"prefetchw -64(%r9)", func() { PREFETCHW(R9, -64) }, []byte{0x41, 0x0f, 0x0d, 0x89, 0xc0, 0xff, 0xff, 0xff}},
		{"vcvtneps2bf16 %zmm3, %ymm5", func() { VCVTNEPS2BF16(Z3, Y5) }, []byte{0x62, 0xf2, 0x7e, 0x48, 0x72, 0xeb}},
		{"vcvtneps2bf16 %zmm29, %ymm26", func() { VCVTNEPS2BF16(Z29, Y26) }, []byte{0x62, 0x02, 0x7e, 0x48, 0x72, 0xd5}},
		{"vcvtne2ps2bf16 %zmm1, %zmm2, %zmm3", func() { VCVTNE2PS2BF16(Z1, Z2, Z3) }, []byte{0x62, 0xf2, 0x6f, 0x48, 0x72, 0xd9}},
		{"vcvtne2ps2bf16 %zmm31, %zmm17, %zmm8", func() { VCVTNE2PS2BF16(Z31, Z17, Z8) }, []byte{0x62, 0x12, 0x77, 0x40, 0x72, 0xc7}},
		{"vdpbf16ps %zmm1, %zmm2, %zmm3", func() { VDPBF16PS(Z1, Z2, Z3) }, []byte{0x62, 0xf2, 0x6e, 0x48, 0x52, 0xd9}},
		{"vdpbf16ps %zmm25, %zmm29, %zmm23", func() { VDPBF16PS(Z25, Z29, Z23) }, []byte{0x62, 0x82, 0x16, 0x40, 0x52, 0xf9}},
	}
	build.TEXT("comments", 0, "func()")
	defer func() { emit = build.Instruction }()
	for _, tt := range tests {
		var got []byte
		emit = func(x *ir.Instruction) { got = append(got, byte(x.Operands[0].(operand.U8))) }
		tt.write()
		if !bytes.Equal(got, tt.want) {
			t.Errorf("%s is % x, want % x", tt.name, got, tt.want)
		}
	}
}
