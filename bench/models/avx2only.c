// Hides AVX-512, VNNI, AMX and what came with them from a program, so that it computes as on
// a processor that ends at AVX2 and FMA:
//
//     cc -O2 -shared -fPIC -o avx2only.so avx2only.c && LD_PRELOAD=./avx2only.so PROGRAM
//
// CPUID is made to fault (Linux's ARCH_SET_CPUID, on processors that can), and is then
// answered with their bits cleared. Threads inherit the setting, and programs that are
// started may, so PROGRAM should start none without the library.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

static void on_fault(int sig, siginfo_t *info, void *context) {
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	const uint8_t *at = (const uint8_t *)r[REG_RIP];
	if (at[0] != 0x0f || at[1] != 0xa2) { // no CPUID: the fault comes again, and ends the program
		signal(SIGSEGV, SIG_DFL);
		return;
	}
	uint32_t leaf = r[REG_RAX], sub = r[REG_RCX], a, b, c, d;
	syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
	__cpuid_count(leaf, sub, a, b, c, d);
	syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
	if (leaf == 7 && sub == 0) {
		b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31); // AVX512F, DQ, IFMA, PF, ER, CD, BW, VL
		c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);                                    // VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
		d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);               // 4VNNIW, 4FMAPS, VP2INTERSECT, AMX-BF16, FP16, AMX-TILE, AMX-INT8
	}
	if (leaf == 7 && sub == 1) {
		a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);             // AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA
		d &= ~(1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19);   // AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX, AVX-VNNI-INT16, AVX10
	}
	r[REG_RAX] = a, r[REG_RBX] = b, r[REG_RCX] = c, r[REG_RDX] = d;
	r[REG_RIP] += 2;
}

__attribute__((constructor)) static void hide(void) {
	struct sigaction s = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigaction(SIGSEGV, &s, NULL);
	if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) {
		perror("avx2only: this processor or system does not let CPUID fault");
		exit(3);
	}
}
