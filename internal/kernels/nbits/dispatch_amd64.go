//go:build !noasm

package nbits

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . nbits -out ../../internal/kernels/nbits/nbits_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return &portable
}

var avx512 = kernels{
	row:      [formats]kernel{row4AVX512, row8AVX512, row4ZerosAVX512, row8ZerosAVX512},
	four:     [formats]kernel{four4AVX512, four8AVX512, four4ZerosAVX512, four8ZerosAVX512},
	fourCols: 32,
	widen:    [formats]kernel{widen4AVX512, widen8AVX512, widen4ZerosAVX512, widen8ZerosAVX512},
}

var avx2 = kernels{
	row:      [formats]kernel{row4AVX2, row8AVX2, row4ZerosAVX2, row8ZerosAVX2},
	four:     [formats]kernel{four4AVX2, four8AVX2, four4ZerosAVX2, four8ZerosAVX2},
	fourCols: 16,
	widen:    [formats]kernel{widen4AVX2, widen8AVX2, widen4ZerosAVX2, widen8ZerosAVX2},
}
