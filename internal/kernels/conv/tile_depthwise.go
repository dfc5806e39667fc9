package conv

import "github.com/salver-ml/salver/internal/kernels/window"

// portableDepthwise is the kernel for mr pixels: each channel has its own taps.
func portableDepthwise(t *window.Tile, block, mr int) {
	for c := range t.Channels {
		for line := range t.Lines {
			for i := range mr {
				var acc [maxBlock]float32
				copy(acc[:block], window.Floats(t.Bias, c*block*4, block))
				if t.Blocks > 0 {
					sumDepthwise(t, acc[:block], c*t.InBlock+line*t.InLine+i*t.InPx, c*t.WeightsOut)
				}
				finish(t, acc[:block], c*t.OutBlock+line*t.OutLine+i*t.OutPx)
			}
		}
	}
}

func sumDepthwise(t *window.Tile, acc []float32, in, w int) {
	for range t.KH {
		at := in
		for range t.KW {
			xs, ws := window.Floats(t.In, at, len(acc)), window.Floats(t.Weights, w, len(acc))
			for l := range acc {
				acc[l] += float32(xs[l] * ws[l])
			}
			at += t.InKW
			w += len(acc) * 4
		}
		in += t.InKH
		w += t.SkipKH
	}
}

// portableActivate applies an activation to finished outputs.
func portableActivate(kind Kind, alpha float32, x []float32) {
	a := Activation{Kind: kind, Alpha: alpha}
	for i, v := range x {
		x[i] = a.Apply(v)
	}
}
