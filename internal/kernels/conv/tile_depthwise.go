package conv

import "unsafe"

// portableDepthwise is the kernel in Go for a whole rectangle of one channel
// block: each channel has its own taps.
func portableDepthwise(block int) tileFunc {
	return func(arg *byte) {
		t := (*tile)(unsafe.Pointer(arg))
		for y := range t.lines {
			for x := range t.pixels {
				var acc [maxBlock]float32
				copy(acc[:block], floats(t.bias, 0, block))
				if t.blocks > 0 {
					t.sumDepthwise(acc[:block], y*t.inLine+x*t.inPx)
				}
				t.finish(acc[:block], y*t.outLine+x*t.outPx)
			}
		}
	}
}

func (t *tile) sumDepthwise(acc []float32, in int) {
	w := 0
	for range t.kh {
		at := in
		for range t.kw {
			xs, ws := floats(t.in, at, len(acc)), floats(t.weights, w, len(acc))
			for l := range acc {
				acc[l] += float32(xs[l] * ws[l])
			}
			at += t.inKW
			w += len(acc) * 4
		}
		in += t.inKH
		w += t.skipKH
	}
}

// portableActivate applies an activation to finished outputs.
func portableActivate(kind Kind, alpha float32, x []float32) {
	a := Activation{Kind: kind, Alpha: alpha}
	for i, v := range x {
		x[i] = a.Apply(v)
	}
}
