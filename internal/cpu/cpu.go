// Package cpu says what this machine and this process may use: the
// instruction-set level of the kernels, the number of compute threads, and the
// sizes of the caches.
package cpu

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// A Target is an instruction-set level that kernels are written for. Each one
// includes all those below it.
type Target uint8

const (
	Generic Target = iota // portable Go
	AVX2                  // AVX2, FMA and F16C
	AVX512                // AVX-512 F, CD, BW, DQ and VL
	AMX                   // AVX-512 with VNNI, BF16 and GFNI, and AMX tiles, int8 and bf16
)

var targetNames = [...]string{"generic", "avx2", "avx512", "amx"}

// String is the name that SALVER_ISA takes and JSON reports.
func (t Target) String() string {
	if int(t) < len(targetNames) {
		return targetNames[t]
	}
	return fmt.Sprintf("cpu.Target(%d)", uint8(t))
}

// Features are extensions beyond the level that some kernels can use. Those of
// a level above the forced one are off.
type Features struct {
	VNNI       bool // AVX-512 VNNI: VPDPBUSD on ZMM
	AVXVNNI    bool // AVX-VNNI: VPDPBUSD on YMM without AVX-512
	AVX512BF16 bool // VDPBF16PS
	FastBF16   bool // its products of bfloat16 come at twice the rate of float32's: on AMD, not on Intel
	VBMI       bool // AVX-512 VBMI: VPERMI2B
}

var (
	chosenOnce sync.Once
	chosen     atomic.Uint32
)

// Level is the level that kernels use: the highest that the machine has, or
// what SALVER_ISA asks for. A kernel family reads it when an operator is
// prepared, not once per process, so that tests can Force each level.
func Level() Target {
	chosenOnce.Do(func() {
		chosen.Store(uint32(choose(os.Getenv("SALVER_ISA"), detected().level, os.Stderr)))
	})
	return Target(chosen.Load())
}

// ISA is the name of Level, for reports.
func ISA() string { return Level().String() }

// Has reports the extensions that are usable at the current level.
func Has() Features {
	f := detected().features
	level := Level()
	f.VNNI = f.VNNI && level >= AVX512
	f.AVX512BF16 = f.AVX512BF16 && level >= AVX512
	f.FastBF16 = f.FastBF16 && level >= AVX512
	f.VBMI = f.VBMI && level >= AVX512
	f.AVXVNNI = f.AVXVNNI && level >= AVX2
	return f
}

// Levels lists the levels that this machine can run, lowest first.
func Levels() []Target {
	var out []Target
	for t := Generic; t <= detected().level; t++ {
		out = append(out, t)
	}
	return out
}

// Force sets the level until restore is called; for tests, which run every
// one of Levels. A level that the machine lacks is an error in the test itself.
func Force(t Target) (restore func()) {
	if t > detected().level {
		panic(fmt.Sprintf("cpu: Force(%v) on a machine that has up to %v", t, detected().level))
	}
	old := Level()
	chosen.Store(uint32(t))
	return func() { chosen.Store(uint32(old)) }
}

// choose reads the value of SALVER_ISA against the machine's highest level,
// and writes a line to warn where it can't be had.
func choose(asked string, highest Target, warn io.Writer) Target {
	if asked == "" {
		return highest
	}
	for t, name := range targetNames {
		if name != asked {
			continue
		}
		if Target(t) <= highest {
			return Target(t)
		}
		fmt.Fprintf(warn, "salver: SALVER_ISA=%s is not available here, using %v\n", asked, highest)
		return highest
	}
	fmt.Fprintf(warn, "salver: SALVER_ISA=%q is not one of %s, using %v\n", asked, strings.Join(targetNames[:], ", "), highest)
	return highest
}

type machine struct {
	level    Target
	features Features
}

var detected = sync.OnceValue(detect)
