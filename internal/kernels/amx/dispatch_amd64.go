//go:build !noasm

package amx

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . amx -out ../../internal/kernels/amx/tile_amd64.s

// For gives the kernels of a level: portable ones below AMX.
func For(l cpu.Target) *Kernels {
	if l >= cpu.AMX {
		return &tiles
	}
	return &portable
}

var tiles = Kernels{
	multiply: [kinds][2]func(*byte){{bf16x16, bf16x32}, {u8s8x16, u8s8x32}, {s8s8x16, s8s8x32}},
	strip:    [2][2]func(*byte){{stripx16, stripx32}, {stripGelux16, stripGelux32}},
	conv:     [2][2]func(*byte){{convx16, convx32}, {convSilux16, convSilux32}},
	round:    round512, pairs: pairs512, finish: finish512, blocks: blocks512, planes: planes512,
	halves: halves512, pixels: pixels512, pixelsSilu: pixelsSilu512, maximum: maximum512, depthwise: depthwise512, widen: widen512,
}
