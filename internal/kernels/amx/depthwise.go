package amx

import "unsafe"

// A Depthwise computes windows of 16 channels along a row, each by itself: a chain of
// fused multiply-adds that begins at the bias and visits the taps in order, and the
// limits. No bounds are checked. The assembly knows the offsets of the fields.
type Depthwise struct {
	Src, Dst unsafe.Pointer // float32; results of float32 or bfloat16, one after the other
	Weights  unsafe.Pointer // 16 floats for each tap
	Bias     unsafe.Pointer // 16 floats
	Taps     unsafe.Pointer // bytes from a window's place in Src, as int
	Count    int            // of taps, at least 1
	N        int            // windows
	Step     int            // bytes from one window's place to the next
	form     uint64
	Lo, Hi   float32 // infinities where there are no limits
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
	for i := range d.N {
		for c, sum := range bias {
			for t, off := range taps {
				x := *(*float32)(unsafe.Add(d.Src, i*d.Step+off+4*c))
				sum = float32(odd(float64(x)*float64(weights[16*t+c]), float64(sum)))
			}
			if sum < d.Lo {
				sum = d.Lo
			}
			if sum > d.Hi {
				sum = d.Hi
			}
			if d.form != 0 {
				view[uint16](d.Dst, 16*d.N)[16*i+c] = Round(sum)
			} else {
				view[float32](d.Dst, 16*d.N)[16*i+c] = sum
			}
		}
	}
}

// Widen converts src, a multiple of 16 numbers, to floats; dst is as long.
func (k *Kernels) Widen(dst []float32, src []uint16) {
	if len(src) > 0 {
		k.widen(&dst[:len(src)][0], &src[0], len(src))
	}
}

func portableWiden(dst *float32, src *uint16, n int) {
	to := unsafe.Slice(dst, n)
	for i, x := range unsafe.Slice(src, n) {
		to[i] = Widen(x)
	}
}
