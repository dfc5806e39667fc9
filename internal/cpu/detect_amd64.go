//go:build amd64 && !noasm

package cpu

import (
	"encoding/binary"

	"golang.org/x/sys/cpu"
)

// detect asks CPUID, through x/sys, which also checks that the system saves
// the wide registers. Every CPU with AVX2 and FMA has F16C, which x/sys lacks.
func detect() machine {
	x := &cpu.X86
	m := machine{features: Features{
		VNNI:       x.HasAVX512VNNI,
		AVXVNNI:    x.HasAVXVNNI,
		AVX512BF16: x.HasAVX512BF16,
		FastBF16:   x.HasAVX512BF16 && isAMD(),
		VBMI:       x.HasAVX512VBMI,
	}}
	if !x.HasAVX2 || !x.HasFMA {
		return m
	}
	m.level = AVX2
	if !x.HasAVX512F || !x.HasAVX512CD || !x.HasAVX512BW || !x.HasAVX512DQ || !x.HasAVX512VL {
		return m
	}
	m.level = AVX512
	// Every CPU with AMX has these, which kernels of that level use; a hypervisor may hide them.
	beside := x.HasAVX512VNNI && x.HasAVX512BF16 && x.HasAVX512GFNI
	if beside && hasAMX() {
		m.level = AMX
	}
	return m
}

// vendor is what CPUID's leaf 0 gives: twelve letters.
func vendor() (a, b, c uint32)

// isAMD reports whether the processor is AMD's.
func isAMD() bool {
	var name []byte
	a, b, c := vendor()
	for _, letters := range []uint32{a, b, c} {
		name = binary.LittleEndian.AppendUint32(name, letters)
	}
	return string(name) == "AuthenticAMD"
}
