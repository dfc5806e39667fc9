package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFold(t *testing.T) {
	const plain = `// Code generated

DATA one<>+0(SB)/4, $0x00000001
GLOBL one<>(SB), RODATA|NOPTR, $4

// func f(x *float32, n int)
TEXT ·f(SB), NOSPLIT, $0-16
	MOVQ x+0(FP), AX
	MOVQ n+8(FP), CX

loop:
	// a comment
	VMOVUPS     (AX), Y0
	VMOVUPS     32(AX), Y1
	VADDPS      Y0, Y1, Y1
	VFMADD231PS one<>+0(SB), Y1, Y0
	VMOVUPS     64(AX), Y2
	VADDPS      Y2, Y0, Y0
	VMOVUPS     96(AX), Y3
	VMOVUPS     Y0, (AX)
	ADDQ        $0x20, AX
	DECQ        CX
	JNZ         loop
	RET
`
	const want = `// Code generated

DATA one<>+0(SB)/4, $0x00000001
GLOBL one<>(SB), RODATA|NOPTR, $4

// func f(x *float32, n int)
TEXT ·f(SB), NOSPLIT, $0-16
	MOVQ x+0(FP), AX
	MOVQ n+8(FP), CX

loop:
	// a comment
	VMOVUPS (AX), Y0; VMOVUPS 32(AX), Y1; VADDPS Y0, Y1, Y1; VFMADD231PS one<>+0(SB), Y1, Y0
	VMOVUPS 64(AX), Y2; VADDPS Y2, Y0, Y0; VMOVUPS 96(AX), Y3; VMOVUPS Y0, (AX)
	ADDQ $0x20, AX; DECQ CX
	JNZ         loop
	RET
`
	path := filepath.Join(t.TempDir(), "f_amd64.s")
	if err := os.WriteFile(path, []byte(plain), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := fold(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%v:\n%s\nwant\n%s", err, got, want)
	}
}
