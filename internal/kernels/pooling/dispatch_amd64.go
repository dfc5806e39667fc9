//go:build amd64 && !noasm

package pooling

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/window"
)

//go:generate go -C ../../../tools/asmgen run . pooling -out ../../internal/kernels/pooling/pooling_amd64.s

// kernelsFor gives a level's kernels by number of pixels.
func kernelsFor(kind Kind, level cpu.Target) []window.TileFunc {
	switch {
	case level >= cpu.AVX512:
		return kernels512[kind]
	case level >= cpu.AVX2:
		return kernels256[kind]
	}
	return portableKernels(kind, conv.Block(level))
}

// rowsFor gives a level's kernels for rows in plain layout, of one plane and of several, by stride.
func rowsFor(kind Kind, level cpu.Target) ([mostRowStride]rowFunc, [mostRowStride]planesFunc) {
	switch {
	case level >= cpu.AVX512:
		return rows512[kind], planes512[kind]
	case level >= cpu.AVX2:
		return rows256[kind], planes256[kind]
	}
	return [mostRowStride]rowFunc{}, [mostRowStride]planesFunc{}
}

var rows512 = [2][mostRowStride]rowFunc{
	Max: {maxRowAVX512by1, maxRowAVX512by2}, Average: {averageRowAVX512by1, averageRowAVX512by2},
}

var rows256 = [2][mostRowStride]rowFunc{
	Max: {maxRowAVX2by1, maxRowAVX2by2}, Average: {averageRowAVX2by1, averageRowAVX2by2},
}

var planes512 = [2][mostRowStride]planesFunc{
	Max: {maxPlanesAVX512by1, maxPlanesAVX512by2}, Average: {averagePlanesAVX512by1, averagePlanesAVX512by2},
}

var planes256 = [2][mostRowStride]planesFunc{
	Max: {maxPlanesAVX2by1, maxPlanesAVX2by2}, Average: {averagePlanesAVX2by1, averagePlanesAVX2by2},
}

var kernels512 = [2][]window.TileFunc{
	Max:     {nil, max512_1, max512_2, max512_3, max512_4, max512_5, max512_6, max512_7, max512_8, max512_9, max512_10, max512_11, max512_12, max512_13, max512_14},
	Average: {nil, average512_1, average512_2, average512_3, average512_4, average512_5, average512_6, average512_7, average512_8, average512_9, average512_10, average512_11, average512_12, average512_13, average512_14},
}

var kernels256 = [2][]window.TileFunc{
	Max:     {nil, max256_1, max256_2, max256_3, max256_4, max256_5, max256_6, max256_7, max256_8, max256_9, max256_10, max256_11, max256_12},
	Average: {nil, average256_1, average256_2, average256_3, average256_4, average256_5, average256_6, average256_7, average256_8, average256_9, average256_10, average256_11, average256_12},
}
