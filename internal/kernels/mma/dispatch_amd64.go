//go:build !noasm

package mma

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . mma -out ../../internal/kernels/mma/tile_amd64.s

// For gives the kernels of a level: of tiles, of vectors where AVX-512 multiplies bfloat16,
// and else portable ones.
func For(l cpu.Target) *Kernels {
	switch {
	case l >= cpu.AMX:
		return &tiles
	case l >= cpu.AVX512 && cpu.Has().AVX512BF16:
		return &vectors
	}
	return specified.Load()
}

var tiles = Kernels{
	multiply: [2]func(*byte){bf16x16, bf16x32},
	strip:    [2][2]func(*byte){{stripx16, stripx32}, {stripGelux16, stripGelux32}},
	conv:     [2][2]func(*byte){{convx16, convx32}, {convSilux16, convSilux32}},
	round:    round512, pairs: pairs512, finish: finish512, blocks: blocks512, planes: planes512,
	halves: halves512, pixels: pixels512, pixelsSilu: pixelsSilu512, maximum: maximum512, depthwise: depthwise512, widen: widen512,
}

// vectors multiply in vector registers.
var vectors = func() Kernels {
	k := tiles
	k.multiply = [2]func(*byte){blockDots, blockDots}
	k.strip = [2][2]func(*byte){{stripDots, stripDots}, {stripGeluDots, stripGeluDots}}
	k.conv = [2][2]func(*byte){{convDots, convDots}, {convSiluDots, convSiluDots}}
	return k
}()
