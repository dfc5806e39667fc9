//go:build !noasm

package attn

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/amx"
)

//go:generate go -C ../../../tools/asmgen run . attn -out ../../internal/kernels/attn/attn_amd64.s

func kernelsOf(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AMX:
		return &tiles
	case l >= cpu.AVX512:
		return &avx512
	}
	return &portable
}

var avx512 = kernels{portableSweep, tiles.settle, portablePairs}

var tiles = kernels{sweepTiles, func(a *settleArgs) { settle512((*byte)(unsafe.Pointer(a))) }, pairs512}

var configs = amx.NewConfigs(amx.StepBytes)

func sweepTiles(a *sweepArgs) {
	a.config = unsafe.Pointer(&configs[a.rows])
	if a.rows > 16 {
		sweep32((*byte)(unsafe.Pointer(a)))
	} else {
		sweep16((*byte)(unsafe.Pointer(a)))
	}
}
