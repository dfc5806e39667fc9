package pooling

import "github.com/salver-ml/salver/internal/kernels/window"

// maxBlock bounds a channel block for buffers on the stack.
const maxBlock = 16

// portableOf are the kernels in Go. Rows in plain layout are pooled without any.
func portableOf(block int) *kernels {
	const mostPixels = 8
	var k kernels
	for kind := range k {
		k[kind].blocked = make([]window.TileFunc, mostPixels+1)
		for mr := range k[kind].blocked {
			k[kind].blocked[mr] = func(t *byte) { portableTile(window.TileOf(t), Kind(kind), block, mr) }
		}
	}
	return &k
}

// portableTile computes mr pixels of each channel block.
func portableTile(t *window.Tile, kind Kind, block, mr int) {
	for c := range t.Channels {
		for line := range t.Lines {
			for i := range mr {
				var acc [maxBlock]float32
				if kind == Max {
					for l := range acc {
						acc[l] = t.Lo
					}
				}
				if t.Blocks > 0 {
					gather(t, kind, acc[:block], c*t.InBlock+line*t.InLine+i*t.InPx)
				}
				for l := range acc[:block] {
					if kind == Average {
						acc[l] /= t.Divisor
					}
				}
				copy(window.Floats(t.Out, c*t.OutBlock+line*t.OutLine+i*t.OutPx, block), acc[:block])
			}
		}
	}
}

// gather takes the taps of one pixel, which begin at byte in.
func gather(t *window.Tile, kind Kind, acc []float32, in int) {
	for range t.KH {
		at := in
		for range t.KW {
			xs := window.Floats(t.In, at, len(acc))
			for l, x := range xs {
				if kind == Average {
					acc[l] += x
				} else if x > acc[l] {
					acc[l] = x
				}
			}
			at += t.InKW
		}
		in += t.InKH
	}
}
