package elemwise

// ScaleShift computes dst[i] = src[i]·scale[i] + shift[i], each operation
// rounded, on this goroutine: normalization with a row of weights, or
// multiply-add. dst may be any of the inputs.
func ScaleShift(dst, src, scale, shift []float32) { kernels().scaleShift(dst, src, scale, shift) }

func scaleShiftRow(dst, src, scale, shift []float32) {
	src, scale, shift = src[:len(dst)], scale[:len(dst)], shift[:len(dst)]
	for i, x := range src {
		dst[i] = float32(x*scale[i]) + shift[i]
	}
}

// Row computes dst = a op b over a row of float32 on this goroutine, where sa
// and sb are 1, or 0 for one value against the row. dst may be a or b. Nil
// for operations that float32 lacks.
func Row(op Binary) func(dst, a, b []float32, sa, sb int) { return kernels().binary[op] }
