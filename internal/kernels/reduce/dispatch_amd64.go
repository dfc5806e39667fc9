//go:build !noasm

package reduce

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . reduce -out ../../internal/kernels/reduce/reduce_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return &portable
}

var avx512 = kernels{
	engine: engine[float32]{
		block:   [numFolds]func([]float32) float32{sumBlockAVX512, absBlockAVX512, squareBlockAVX512, maxBlockAVX512, minBlockAVX512, prodBlockAVX512},
		rows:    [numFolds]func(dst, x []float32, n int){sumRowsAVX512, absRowsAVX512, squareRowsAVX512, maxRowsAVX512, minRowsAVX512, prodRowsAVX512},
		step:    [numFolds]func(acc, x []float32){sumStepAVX512, absStepAVX512, squareStepAVX512, maxStepAVX512, minStepAVX512, prodStepAVX512},
		columns: [numFolds]columnsFunc[float32]{sumColumnsAVX512, absColumnsAVX512, squareColumnsAVX512, maxColumnsAVX512, minColumnsAVX512, prodColumnsAVX512},
	},
	doubles:     [numFolds]columnsFunc[float64]{foldSum: sumFloat64AVX512, foldMax: maxFloat64AVX512, foldMin: minFloat64AVX512},
	ints:        [numFolds]columnsFunc[int32]{foldSum: sumInt32AVX512, foldMax: maxInt32AVX512, foldMin: minInt32AVX512},
	longs:       [numFolds]columnsFunc[int64]{foldSum: sumInt64AVX512, foldMax: maxInt64AVX512, foldMin: minInt64AVX512},
	squareDiff:  squareDiffAVX512,
	runningSums: []sumTile{{64, runningSums8AVX512}, {8, runningSums1AVX512}},
	least:       leastBytesAVX2,
	places:      placesAVX2,
}

var avx2 = kernels{
	engine: engine[float32]{
		block:   [numFolds]func([]float32) float32{sumBlockAVX2, absBlockAVX2, squareBlockAVX2, maxBlockAVX2, minBlockAVX2, prodBlockAVX2},
		rows:    [numFolds]func(dst, x []float32, n int){sumRowsAVX2, absRowsAVX2, squareRowsAVX2, maxRowsAVX2, minRowsAVX2, prodRowsAVX2},
		step:    [numFolds]func(acc, x []float32){sumStepAVX2, absStepAVX2, squareStepAVX2, maxStepAVX2, minStepAVX2, prodStepAVX2},
		columns: [numFolds]columnsFunc[float32]{sumColumnsAVX2, absColumnsAVX2, squareColumnsAVX2, maxColumnsAVX2, minColumnsAVX2, prodColumnsAVX2},
	},
	doubles:     [numFolds]columnsFunc[float64]{foldSum: sumFloat64AVX2, foldMax: maxFloat64AVX2, foldMin: minFloat64AVX2},
	ints:        [numFolds]columnsFunc[int32]{foldSum: sumInt32AVX2, foldMax: maxInt32AVX2, foldMin: minInt32AVX2},
	longs:       [numFolds]columnsFunc[int64]{foldSum: sumInt64AVX2, foldMax: maxInt64AVX2, foldMin: minInt64AVX2},
	squareDiff:  squareDiffAVX2,
	runningSums: []sumTile{{32, runningSums8AVX2}, {4, runningSums1AVX2}},
	least:       leastBytesAVX2,
	places:      placesAVX2,
}

var placesAVX2 = [2][mostPlaces / 8]placesFunc{
	{mostPlaces1AVX2, mostPlaces2AVX2, mostPlaces3AVX2, mostPlaces4AVX2},
	{leastPlaces1AVX2, leastPlaces2AVX2, leastPlaces3AVX2, leastPlaces4AVX2},
}
