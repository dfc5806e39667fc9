//go:build amd64 && !noasm

package norm

//go:generate go -C ../../../tools/asmgen run . norm -out ../../internal/kernels/norm/norm_amd64.s

func init() {
	tables = append(tables,
		&table{normRowAVX2, normRowGammaAVX2, normChannelAVX2, blockedBy(blocked8AVX2, blocked16AVX2)},
		&table{normRowAVX512, normRowGammaAVX512, normChannelAVX512, blockedBy(blocked8AVX2, blocked16AVX512)})
}

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
