package conv

import "unsafe"

// portableTiles are the kernels in Go, with the same sums in the same order.
func portableTiles(block int) *tileSet {
	s := &tileSet{block: block, tiles: make([][]tileFunc, 3), depthwise: portableDepthwise(block), activate: portableActivate}
	for nb := 1; nb < len(s.tiles); nb++ {
		s.tiles[nb] = make([]tileFunc, 9)
		for mr := 1; mr < len(s.tiles[nb]); mr++ {
			s.tiles[nb][mr] = func(t *byte) { (*tile)(unsafe.Pointer(t)).compute(block, nb, mr) }
		}
	}
	return s
}

// maxBlock bounds Block for buffers on the stack.
const maxBlock = 16

// compute is the portable kernel for mr pixels of nb blocks.
func (t *tile) compute(block, nb, mr int) {
	for j := range nb {
		for i := range mr {
			var acc [maxBlock]float32
			copy(acc[:block], floats(t.bias, j*block*4, block))
			t.sum(acc[:block], i*t.inPx, j*t.weightsOut)
			t.finish(acc[:block], i*t.outPx+j*t.outBlk)
		}
	}
}

// sum adds the products of one output pixel, whose input and weights begin at
// the given offsets in bytes.
func (t *tile) sum(acc []float32, in, w int) {
	for range t.blocks {
		row := in
		for range t.kh {
			col := row
			for range t.kw {
				xs := floats(t.in, col, t.ci)
				for c, ws := 0, floats(t.weights, w, t.ci*len(acc)); c < t.ci; c++ {
					madd(acc, xs[c], ws[c*len(acc):][:len(acc)])
				}
				w += t.ci * len(acc) * 4
				col += t.inKW
			}
			row += t.inKH
			w += t.skipKH
		}
		in += t.inBlock
		w += t.skipIC
	}
}

// madd adds x·w to acc. The product is rounded: a fused one is far slower in Go.
func madd(acc []float32, x float32, w []float32) {
	for l := range acc {
		acc[l] += float32(x * w[l])
	}
}

func (t *tile) finish(acc []float32, at int) {
	if t.residual != nil {
		for l, v := range floats(t.residual, at, len(acc)) {
			acc[l] += v
		}
	}
	if t.clamp != 0 {
		for l, v := range acc {
			acc[l] = atMost(atLeast(v, t.lo), t.hi)
		}
	}
	copy(floats(t.out, at, len(acc)), acc)
}

// floats views n floats that begin offset bytes after p.
func floats(p unsafe.Pointer, offset, n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Add(p, offset)), n)
}
