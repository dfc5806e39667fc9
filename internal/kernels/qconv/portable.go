package qconv

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

func makePortable() kernels {
	k := kernels{level: cpu.Generic, lanes: 8, tilePixels: 4, depthwisePixels: 4, masked: true,
		largest: [2]func(dst, src *byte, n int){largestOf[uint8], largestOf[int8]}, widen: portableWiden, interleave3: portableInterleave3}
	for mr := 1; mr <= k.tilePixels; mr++ {
		for nv := 1; nv <= 2; nv++ {
			k.tile[nv][mr] = func(t *byte) { (*tile)(unsafe.Pointer(t)).eachPixel(nv, mr, false) }
		}
		k.depthwise[mr] = func(t *byte) { (*tile)(unsafe.Pointer(t)).eachPixel(1, mr, true) }
	}
	return k
}

// eachPixel computes mr pixels of nv vectors of 8 channels.
func (t *tile) eachPixel(nv, mr int, depthwise bool) {
	n := bits.Len64(t.mask)
	for line := range t.lines {
		for i := range mr {
			in, out := i*t.inPx, i*t.outPx
			if i >= 7 {
				in, out = t.inFar+(i-7)*t.inPx, t.outFar+(i-7)*t.outPx
			}
			var acc [16]int32
			copy(acc[:], view[int32](t.bias, 8*nv))
			if depthwise {
				t.sumDepthwise(acc[:8], line*t.inLine+in)
			} else {
				t.sum(acc[:8*nv], line*t.inLine+in, nv)
			}
			t.finish(acc[:n], line*t.outLine+out)
		}
	}
}

// sum adds the products of a pixel, whose input begins in bytes into t.in.
func (t *tile) sum(acc []int32, in, vectors int) {
	w := 0
	for range t.kh {
		tap := in
		for range t.kw {
			xs := view[[4]uint8](unsafe.Add(t.in, tap), t.groups)
			for _, x := range xs {
				ws := view[[4]int8](unsafe.Add(t.weights, w), len(acc))
				for c := range acc {
					acc[c] += int32(x[0])*int32(ws[c][0]) + int32(x[1])*int32(ws[c][1]) + int32(x[2])*int32(ws[c][2]) + int32(x[3])*int32(ws[c][3])
				}
				w += 32 * vectors
			}
			tap += t.inKW
		}
		in += t.inKH
	}
}

func (t *tile) sumDepthwise(acc []int32, in int) {
	n := bits.Len64(t.mask)
	w := 0
	for range t.kh {
		tap := in
		for range t.kw {
			ws := view[int32](unsafe.Add(t.weights, w), n)
			for c, x := range view[uint8](unsafe.Add(t.in, tap), n) {
				acc[c] += int32(x) * ws[c]
			}
			w += 32
			tap += t.inKW
		}
		in += t.inKH
	}
}

// finish makes bytes of sums and stores them.
func (t *tile) finish(acc []int32, at int) {
	scale := view[float32](t.scale, len(acc))
	out := view[uint8](unsafe.Add(t.out, at), len(acc))
	for c, a := range acc {
		v := float32(float32(a) * scale[c])
		if t.residual != nil {
			v = t.added(v, view[uint8](unsafe.Add(t.residual, at), len(acc))[c])
		}
		out[c] = uint8(int32(math.RoundToEven(float64(clamp(v, t.lo, t.hi)))) + t.zero)
	}
}

// added is the sum of the convolution v and a byte of the residual, in units of
// the output's scale.
func (t *tile) added(v float32, z uint8) float32 {
	r := float32(z)
	if t.signed != 0 {
		r = float32(int8(z))
	}
	mid := float32(math.RoundToEven(float64(clamp(v, t.midLo, t.midHi))))
	return (float32(mid*t.midScale) + float32((r-t.resZero)*t.resScale)) / t.yScale
}

// clamp limits v; a NaN becomes the least, as in vectors.
func clamp(v, lo, hi float32) float32 {
	if !(v >= lo) {
		return lo
	}
	return min(v, hi)
}

func largestOf[T uint8 | int8](dst, src *byte, n int) {
	d, s := view[T](unsafe.Pointer(dst), n), view[T](unsafe.Pointer(src), n)
	for i, x := range s {
		d[i] = max(d[i], x)
	}
}

func portableInterleave3(dst, a, b, c []byte) {
	for i, x := range a {
		dst[3*i], dst[3*i+1], dst[3*i+2] = x, b[i], c[i]
	}
}
