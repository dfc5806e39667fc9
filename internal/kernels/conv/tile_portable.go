package conv

import "github.com/salver-ml/salver/internal/kernels/window"

// portableOf are the kernels in Go, with the same sums in the same order.
func portableOf(block int) *kernels {
	const mostPixels, mostBlocks = 8, 2
	s := &kernels{
		block: block, activate: portableActivate, planar: portablePlanar(block),
		winogradInput: portableWinogradInput(block), winogradOutput: portableWinogradOutput(block),
	}
	for nb := range mostBlocks + 1 {
		s.tiles = append(s.tiles, make([]window.TileFunc, mostPixels+1))
		for mr := range mostPixels + 1 {
			s.tiles[nb][mr] = func(t *byte) { portableTile(window.TileOf(t), block, nb, mr) }
		}
	}
	s.tiles[0] = nil
	for mr := range mostPixels + 1 {
		s.depthwise = append(s.depthwise, func(t *byte) { portableDepthwise(window.TileOf(t), block, mr) })
	}
	return s
}

// maxBlock bounds Block for buffers on the stack.
const maxBlock = 16

// portableTile is the kernel for mr pixels of nb blocks.
func portableTile(t *window.Tile, block, nb, mr int) {
	for line := range t.Lines {
		for j := range nb {
			for i := range mr {
				var acc [maxBlock]float32
				out := line*t.OutLine + i*t.OutPx + j*t.OutBlock
				copy(acc[:block], window.Floats(t.Bias, j*block*4, block))
				if t.Partial != 0 {
					copy(acc[:block], window.Floats(t.Out, out, block))
				}
				sumTile(t, acc[:block], line*t.InLine+i*t.InPx, j*t.WeightsOut)
				finish(t, acc[:block], out)
			}
		}
	}
}

// sumTile adds the products of one output pixel, whose input and weights begin at
// the given offsets in bytes.
func sumTile(t *window.Tile, acc []float32, in, w int) {
	for b := range t.Blocks {
		ci, skip := t.CI, 0
		if b == t.Blocks-1 && t.LastCI > 0 {
			ci, skip = t.LastCI, t.LastSkip
		}
		row := in
		for range t.KH {
			col := row
			for range t.KW {
				xs := window.Floats(t.In, col, ci)
				for c, ws := 0, window.Floats(t.Weights, w, ci*len(acc)); c < ci; c++ {
					madd(acc, xs[c], ws[c*len(acc):][:len(acc)])
				}
				w += ci*len(acc)*4 + skip
				col += t.InKW
			}
			row += t.InKH
			w += t.SkipKH
		}
		in += t.InBlock
		w += t.SkipIC
	}
}

// madd adds x·w to acc. The product is rounded: a fused one is far slower in Go.
func madd(acc []float32, x float32, w []float32) {
	for l := range acc {
		acc[l] += float32(x * w[l])
	}
}

func finish(t *window.Tile, acc []float32, at int) {
	if t.Residual != nil {
		for l, v := range window.Floats(t.Residual, at, len(acc)) {
			acc[l] += v
		}
	}
	if t.Clamp != 0 {
		for l, v := range acc {
			acc[l] = atMost(atLeast(v, t.Lo), t.Hi)
		}
	}
	copy(window.Floats(t.Out, at, len(acc)), acc)
}
