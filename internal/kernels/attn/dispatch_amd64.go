//go:build !noasm

package attn

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
)

//go:generate go -C ../../../tools/asmgen run . attn -out ../../internal/kernels/attn/attn_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AMX:
		return &tiles
	case l >= cpu.AVX512 && cpu.Has().AVX512BF16:
		return &vectors
	case l >= cpu.AVX512:
		return &avx512
	}
	return &portable
}

// tiles add up in AMX.
var tiles = kernels{sweep: sweepTiles, settle: settleRows, pairs: pairs512}

// vectors add up in vector registers.
var vectors = kernels{sweep: sweepVectors, settle: settleRows, pairs: pairs512}

var avx512 = kernels{sweep: portableSweep, settle: settleRows, pairs: portablePairs}

func sweepVectors(a *sweepArgs) { a.take(currentAMX(), weighRows) }

func weighRows(a *sweepArgs, bias unsafe.Pointer) {
	weigh512((*byte)(unsafe.Pointer(a)), (*byte)(bias))
}

func settleRows(a *settleArgs) { settle512((*byte)(unsafe.Pointer(a))) }

var configs = mma.NewConfigs(mma.StepBytes)

func sweepTiles(a *sweepArgs) {
	a.config = unsafe.Pointer(&configs[a.rows])
	if a.rows > 16 {
		sweep32((*byte)(unsafe.Pointer(a)))
	} else {
		sweep16((*byte)(unsafe.Pointer(a)))
	}
}
