//go:build !noasm

package gemm

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . gemm -out ../../internal/kernels/gemm/tile_amd64.s

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
	level: cpu.AVX512, mr: 14, nr: 32, masksB: true, powers: true,
	tile: tiles512, partial: tiles512, half: halves512, wide: [3]kernel{1: wide512x1, 2: wide512x2},
	dot: dot512, transpose8: transpose8x8, sweep: sweep512, rowTransposed: rowTransposed,
}

var avx2 = kernels{
	level: cpu.AVX2, mr: 6, nr: 16, lean: 4,
	tile: tiles256, partial: masked256, wide: [3]kernel{1: wide256x1, 2: wide256x2},
	dot: dot256, transpose8: transpose8x8, sweep: sweep256, rowTransposed: rowTransposed,
}

var tiles512 = [maxRows + 1]kernel{
	1: tile512x1, 2: tile512x2, 3: tile512x3, 4: tile512x4, 5: tile512x5,
	6: tile512x6, 7: tile512x7, 8: tile512x8, 9: tile512x9, 10: tile512x10,
	11: tile512x11, 12: tile512x12, 13: tile512x13, 14: tile512x14,
}

var halves512 = [maxRows + 1]kernel{
	7: tile512x7half, 8: tile512x8half, 9: tile512x9half, 10: tile512x10half,
	11: tile512x11half, 12: tile512x12half, 13: tile512x13half, 14: tile512x14half,
}

var tiles256 = [maxRows + 1]kernel{
	1: tile256x1, 2: tile256x2, 3: tile256x3, 4: tile256x4, 5: tile256x5, 6: tile256x6,
}

var masked256 = [maxRows + 1]kernel{
	1: tile256x1masked, 2: tile256x2masked, 3: tile256x3masked,
	4: tile256x4masked, 5: tile256x5masked, 6: tile256x6masked,
}
