//go:build !noasm

package pooling

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/window"
)

//go:generate go -C ../../../tools/asmgen run . pooling -out ../../internal/kernels/pooling/pooling_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return portableOf(conv.Block(l))
}

var avx512 = kernels{
	Max: {
		blocked: []window.TileFunc{nil, max512_1, max512_2, max512_3, max512_4, max512_5, max512_6, max512_7, max512_8, max512_9, max512_10, max512_11, max512_12, max512_13, max512_14},
		rows:    [mostRowStride]rowFunc{maxRowAVX512by1, maxRowAVX512by2},
		planes:  [mostRowStride]planesFunc{maxPlanesAVX512by1, maxPlanesAVX512by2},
	},
	Average: {
		blocked: []window.TileFunc{nil, average512_1, average512_2, average512_3, average512_4, average512_5, average512_6, average512_7, average512_8, average512_9, average512_10, average512_11, average512_12, average512_13, average512_14},
		rows:    [mostRowStride]rowFunc{averageRowAVX512by1, averageRowAVX512by2},
		planes:  [mostRowStride]planesFunc{averagePlanesAVX2by1, averagePlanesAVX2by2},
	},
}

var avx2 = kernels{
	Max: {
		blocked: []window.TileFunc{nil, max256_1, max256_2, max256_3, max256_4, max256_5, max256_6, max256_7, max256_8, max256_9, max256_10, max256_11, max256_12},
		rows:    [mostRowStride]rowFunc{maxRowAVX2by1, maxRowAVX2by2},
		planes:  [mostRowStride]planesFunc{maxPlanesAVX2by1, maxPlanesAVX2by2},
	},
	Average: {
		blocked: []window.TileFunc{nil, average256_1, average256_2, average256_3, average256_4, average256_5, average256_6, average256_7, average256_8, average256_9, average256_10, average256_11, average256_12},
		rows:    [mostRowStride]rowFunc{averageRowAVX2by1, averageRowAVX2by2},
		planes:  [mostRowStride]planesFunc{averagePlanesAVX2by1, averagePlanesAVX2by2},
	},
}
