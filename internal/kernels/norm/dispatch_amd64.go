//go:build !noasm

package norm

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . norm -out ../../internal/kernels/norm/norm_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return &portable
}

var avx512 = kernels{row: normRowAVX512, rowGamma: normRowGammaAVX512, channel: normChannelAVX512, blocked: blockedBy(blocked8AVX2, blocked16AVX512)}

var avx2 = kernels{row: normRowAVX2, rowGamma: normRowGammaAVX2, channel: normChannelAVX2, blocked: blockedBy(blocked8AVX2, blocked16AVX2)}

// blockedBy chooses by the block's length; others are portable.
func blockedBy(by8, by16 func(dst, src, scale, shift []float32)) func(dst, src, scale, shift []float32) {
	return func(dst, src, scale, shift []float32) {
		src, shift = src[:len(dst)], shift[:len(scale)]
		switch len(scale) {
		case 8:
			by8(dst, src, scale, shift)
		case 16:
			by16(dst, src, scale, shift)
		default:
			blockedRow(dst, src, scale, shift)
		}
	}
}
