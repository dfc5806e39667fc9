//go:build amd64 && !noasm

package conv

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . conv -out ../../internal/kernels/conv/conv_amd64.s

// assemblyTiles gives a level's kernels; nil below AVX2.
func assemblyTiles(level cpu.Target) *tileSet {
	switch {
	case level >= cpu.AVX512:
		return tiles512
	case level >= cpu.AVX2:
		return tiles256
	}
	return nil
}

var tiles512 = &tileSet{block: 16, depthwise: portableDepthwise(16), activate: portableActivate, tiles: [][]tileFunc{
	nil,
	{nil, tile512_1x1, tile512_1x2, tile512_1x3, tile512_1x4, tile512_1x5, tile512_1x6, tile512_1x7, tile512_1x8, tile512_1x9, tile512_1x10, tile512_1x11, tile512_1x12, tile512_1x13, tile512_1x14},
	{nil, tile512_2x1, tile512_2x2, tile512_2x3, tile512_2x4, tile512_2x5, tile512_2x6, tile512_2x7, tile512_2x8, tile512_2x9, tile512_2x10, tile512_2x11, tile512_2x12, tile512_2x13, tile512_2x14},
	nil,
	{nil, tile512_4x1, tile512_4x2, tile512_4x3, tile512_4x4, tile512_4x5, tile512_4x6},
}}

var tiles256 = &tileSet{block: 8, depthwise: portableDepthwise(8), activate: portableActivate, tiles: [][]tileFunc{
	nil,
	{nil, tile256_1x1, tile256_1x2, tile256_1x3, tile256_1x4, tile256_1x5, tile256_1x6, tile256_1x7, tile256_1x8, tile256_1x9, tile256_1x10, tile256_1x11, tile256_1x12},
	{nil, tile256_2x1, tile256_2x2, tile256_2x3, tile256_2x4, tile256_2x5, tile256_2x6},
	{nil, tile256_3x1, tile256_3x2, tile256_3x3, tile256_3x4},
}}
