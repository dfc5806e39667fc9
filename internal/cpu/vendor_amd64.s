//go:build amd64 && !noasm

#include "textflag.h"

// func vendor() (a, b, c uint32)
TEXT ·vendor(SB), NOSPLIT, $0-12
	XORL AX, AX
	XORL CX, CX
	CPUID
	MOVL BX, a+0(FP)
	MOVL DX, b+4(FP)
	MOVL CX, c+8(FP)
	RET
