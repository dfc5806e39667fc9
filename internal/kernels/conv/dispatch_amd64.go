//go:build !noasm

package conv

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
)

//go:generate go -C ../../../tools/asmgen run . conv -out ../../internal/kernels/conv/conv_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return portableOf(Block(l))
}

var avx512 = kernels{
	block: 16,
	tiles: [][]window.TileFunc{
		nil,
		{nil, tile512_1x1, tile512_1x2, tile512_1x3, tile512_1x4, tile512_1x5, tile512_1x6, tile512_1x7, tile512_1x8, tile512_1x9, tile512_1x10, tile512_1x11, tile512_1x12, tile512_1x13, tile512_1x14},
		{nil, tile512_2x1, tile512_2x2, tile512_2x3, tile512_2x4, tile512_2x5, tile512_2x6, tile512_2x7, tile512_2x8, tile512_2x9, tile512_2x10, tile512_2x11, tile512_2x12, tile512_2x13, tile512_2x14},
		nil,
		{nil, tile512_4x1, tile512_4x2, tile512_4x3, tile512_4x4, tile512_4x5, tile512_4x6},
	},
	depthwise: []window.TileFunc{nil, depthwise512_1, depthwise512_2, depthwise512_3, depthwise512_4, depthwise512_5, depthwise512_6, depthwise512_7, depthwise512_8, depthwise512_9, depthwise512_10, depthwise512_11, depthwise512_12, depthwise512_13, depthwise512_14},
	activate:  activate512,
	transpose: transpose512,

	planeSwitch: 40,

	planar: []planarKernel{{8, 3, planar512_8x3, planar512_8x1}, {4, 6, planar512_4x6, planar512_4x1}, {3, 7, planar512_3x7, planar512_3x1}, {2, 8, planar512_2x8, planar512_2x1}, {1, 8, planar512_1x8, planar512_1x1}},

	winogradInput:  winogradInput512,
	winogradOutput: winogradOutput512,
}

var avx2 = kernels{
	block: 8,
	tiles: [][]window.TileFunc{
		nil,
		{nil, tile256_1x1, tile256_1x2, tile256_1x3, tile256_1x4, tile256_1x5, tile256_1x6, tile256_1x7, tile256_1x8, tile256_1x9, tile256_1x10, tile256_1x11, tile256_1x12},
		{nil, tile256_2x1, tile256_2x2, tile256_2x3, tile256_2x4, tile256_2x5, tile256_2x6},
		{nil, tile256_3x1, tile256_3x2, tile256_3x3, tile256_3x4},
		{nil, tile256_4x1, tile256_4x2, tile256_4x3},
	},
	depthwise: []window.TileFunc{nil, depthwise256_1, depthwise256_2, depthwise256_3, depthwise256_4, depthwise256_5, depthwise256_6, depthwise256_7, depthwise256_8, depthwise256_9, depthwise256_10, depthwise256_11, depthwise256_12},
	activate:  activate256,
	transpose: transpose256,

	planar: []planarKernel{{4, 3, planar256_4x3, planar256_4x1}, {3, 3, planar256_3x3, planar256_3x1}, {2, 5, planar256_2x5, planar256_2x1}, {1, 8, planar256_1x8, planar256_1x1}},

	winogradInput:  winogradInput256,
	winogradOutput: winogradOutput256,
}

func activate512(kind Kind, alpha float32, x []float32) {
	activate([...]activateFunc{activateLeakyRelu512, activateHardSwish512, activateSigmoid512, activateSilu512}, kind, alpha, x)
}

func activate256(kind Kind, alpha float32, x []float32) {
	activate([...]activateFunc{activateLeakyRelu256, activateHardSwish256, activateSigmoid256, activateSilu256}, kind, alpha, x)
}

type activateFunc func(x *byte, n int, alpha float32)

// activate applies the kernel of a kind, the first of which is LeakyRelu, in
// calls that stay short.
func activate(kernels [4]activateFunc, kind Kind, alpha float32, x []float32) {
	const most = 32 << 10
	for len(x) > 0 {
		n := min(len(x), most)
		kernels[kind-LeakyRelu]((*byte)(window.At(x, 0)), n, alpha)
		x = x[n:]
	}
}
