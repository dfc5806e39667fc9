//go:build !noasm

package qgemm

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
)

//go:generate go -C ../../../tools/asmgen run . qgemm -out ../../internal/kernels/qgemm/tile_amd64.s

// forLevel: AVX-512 without VNNI is not worth kernels of its own.
func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AMX && cpu.Has().VNNI:
		return &tiles
	case l >= cpu.AVX512 && cpu.Has().VNNI:
		return &vnni
	case l >= cpu.AVX2:
		return &avx2
	}
	return &portable
}

// tiles add up in AMX.
var tiles = kernels{
	level: cpu.AMX, mr: mma.Rows, nr: mma.Cols, group: 4, align: mma.StepInt8, fetches: true,
	strip: [2][2]kernel{{u8strip16, u8strip32}, {s8strip16, s8strip32}},
}

var vnni = kernels{
	level: cpu.AVX512, mr: 14, nr: 32, group: 4, align: 4, fetches: true,
	tile: tiles512, partial: tiles512, narrow: narrow512, gelu: geluRow,
}

var avx2 = kernels{
	level: cpu.AVX2, mr: 4, nr: 16, group: 4, align: 4, wide: true, innerSum: innerSum256,
	tile: tiles256, partial: masked256, narrow: avx2Narrow, widen: widen256,
	clips: true, pairs: &avx2Pairs,
}

var avx2Pairs = kernels{
	level: cpu.AVX2, mr: 6, nr: clipCols, group: 4, align: 4,
	tile: pairs256, partial: maskedPairs256, narrow: avx2Narrow,
	clips: true, evens: evens256, spillRow: spillRow256, spill: [2]func(*float32, *uint16, *byte, *uint32, int){spill256x16, spill256x32}, transpose: transpose8x8,
}

func geluRow(row []float32) {
	if len(row) > 0 {
		gelu512(&row[0], len(row))
	}
}

var tiles512 = [tileRows + 1]kernel{
	1: vnni512x1, 2: vnni512x2, 3: vnni512x3, 4: vnni512x4, 5: vnni512x5,
	6: vnni512x6, 7: vnni512x7, 8: vnni512x8, 9: vnni512x9, 10: vnni512x10,
	11: vnni512x11, 12: vnni512x12, 13: vnni512x13, 14: vnni512x14,
}

var tiles256 = [tileRows + 1]kernel{
	1: inner256x1, 2: inner256x2, 3: inner256x3, 4: inner256x4,
}

var pairs256 = [tileRows + 1]kernel{
	1: pairs256x1, 2: pairs256x2, 3: pairs256x3, 4: pairs256x4, 5: pairs256x5, 6: pairs256x6,
}

var maskedPairs256 = [tileRows + 1]kernel{
	1: pairs256x1masked, 2: pairs256x2masked, 3: pairs256x3masked, 4: pairs256x4masked, 5: pairs256x5masked, 6: pairs256x6masked,
}

var masked256 = [tileRows + 1]kernel{
	1: inner256x1masked, 2: inner256x2masked, 3: inner256x3masked, 4: inner256x4masked,
}

// avx2Narrow: the assembly has no masks.
func avx2Narrow(dst *byte, stride int, src *float32, rows int, mask uint64, lo, hi float32, zero int32) {
	if mask == 1<<16-1 {
		narrow256(dst, stride, src, rows, mask, lo, hi, zero)
		return
	}
	portableNarrow(dst, stride, src, rows, mask, lo, hi, zero)
}
