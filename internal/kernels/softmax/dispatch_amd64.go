//go:build !noasm

package softmax

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . softmax -out ../../internal/kernels/softmax/softmax_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AVX512 && cpu.Has().AVX512BF16:
		return &avx512BF16
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return &portable
}

// avx512BF16 has what goes between products of bfloat16 too.
var avx512BF16 = kernels{expSum: expSumAVX512, row: softmaxRowAVX512, shift: shiftAVX512, exps: expsAVX512, powers: powersAVX512, weights: weightsBF16}

var avx512 = kernels{expSum: expSumAVX512, row: softmaxRowAVX512, shift: shiftAVX512, exps: expsAVX512, powers: powersAVX512}

var avx2 = kernels{expSum: expSumAVX2, row: softmaxRowAVX2, shift: shiftAVX2, exps: expsAVX2, powers: powersAVX2}
