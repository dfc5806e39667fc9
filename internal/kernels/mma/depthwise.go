package mma

import "unsafe"

// A Depthwise computes windows of 16 channels along rows, each by itself: a chain of
// fused multiply-adds that begins at the bias and visits the taps in order, and the
// limits. No bounds are checked. The assembly knows the offsets of the fields.
type Depthwise struct {
	Src, Dst unsafe.Pointer // float32; results of float32 or bfloat16, those of a row one after the other
	Weights  unsafe.Pointer // 16 floats for each tap
	Bias     unsafe.Pointer // 16 floats
	Taps     unsafe.Pointer // bytes from a window's place in Src, as int
	Count    int            // of taps, at least 1
	N        int            // windows of a row, at least 1
	Step     int            // bytes from one window's place to the next
	form     uint64
	Lo, Hi   float32 // infinities where there are no limits
	Rows     int     // at least 1
	RowStep  int     // bytes from the place of a row's first window to that of the next row's
	RowGap   int     // bytes between a row of results and the next one
	BF16     bool    // of Dst
}

// Depthwise does it.
func (k *Kernels) Depthwise(d *Depthwise) {
	d.form = bit(d.BF16, 1)
	k.depthwise((*byte)(unsafe.Pointer(d)))
}

func portableDepthwise(t *byte) {
	d := (*Depthwise)(unsafe.Pointer(t))
	taps, weights, bias := view[int](d.Taps, d.Count), view[float32](d.Weights, 16*d.Count), view[float32](d.Bias, 16)
	for i := range d.Rows * d.N {
		src, dst := unsafe.Add(d.Src, i/d.N*d.RowStep+i%d.N*d.Step), unsafe.Add(d.Dst, i/d.N*d.RowGap)
		for c, sum := range bias {
			for t, off := range taps {
				x := *(*float32)(unsafe.Add(src, off+4*c))
				sum = float32(odd(float64(x)*float64(weights[16*t+c]), float64(sum)))
			}
			if sum < d.Lo {
				sum = d.Lo
			}
			if sum > d.Hi {
				sum = d.Hi
			}
			if d.form != 0 {
				*(*uint16)(unsafe.Add(dst, 32*i+2*c)) = Round(sum)
			} else {
				*(*float32)(unsafe.Add(dst, 64*i+4*c)) = sum
			}
		}
	}
}

// Widen converts rows of n pixels of 16 channels to floats, each between left and right
// pixels of zeros. In src a row is step numbers after the one before, in dst they follow
// each other.
func (k *Kernels) Widen(dst []float32, src []uint16, left, n, right, rows, step int) {
	if cols := left + n + right; rows > 0 && cols > 0 {
		_ = dst[16*rows*cols-1]
		var first *uint16
		if n > 0 {
			_ = src[(rows-1)*step+16*n-1]
			first = &src[0]
		}
		k.widen(&dst[0], first, left, n, right, rows, 2*step)
	}
}

func portableWiden(dst *float32, src *uint16, left, n, right, rows, step int) {
	cols := left + n + right
	to := unsafe.Slice(dst, 16*rows*cols)
	clear(to)
	for r := range rows {
		for i, x := range view[uint16](unsafe.Add(unsafe.Pointer(src), r*step), 16*n) {
			to[16*(r*cols+left)+i] = Widen(x)
		}
	}
}
