//go:build !noasm

package blockq

import (
	"slices"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype/block"
)

//go:generate go -C ../../../tools/asmgen run . blockq -out ../../internal/kernels/blockq/tile_amd64.s
//go:generate go -C ../../../tools/asmgen run . blockq_amx -out ../../internal/kernels/blockq/amx_amd64.s

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

// Bytes that are prefetched before they are read. On the Intel processors that have
// AMX two threads read Q4_0 at 26.5 GB/s with 1 KiB, 29 with 2.5, 28 with 3 and 26 with 4 and
// more: what is that far off has its place in the same sets of the first-level cache. With
// 10 KiB into the second-level one before it is 31, and 31 instead of 27 for Q6_K; a loop that
// only reads gets 29 to 32. On AMD's Zen 4 a core reads 28 GB/s with 4 KiB, 31 with 8 and 30
// with 12; nothing is known there of going farther.
const (
	aheadWithAMX   = 5 << 9
	farWithAMX     = 10 << 10
	aheadElsewhere = 8 << 10
)

// ahead is for kernels of AVX2: where to prefetch depends on the processor, not on what it
// is told to use.
func ahead() int {
	if slices.Contains(cpu.Levels(), cpu.AMX) {
		return aheadWithAMX
	}
	return aheadElsewhere
}

// avx2 has codes as unsigned bytes where they are few enough for VPMADDUBSW not
// to saturate, else signed values.
var avx2 = kernels{
	level: cpu.AVX2, mr: 32, alone: []int{1, 2, 4}, sizes: evenUpTo(32), ahead: ahead(),
	direct: direct256, sweep: &sweep256, quantize: quantize256, quantizeFour: quantize256x4, finish: finish256, half: half256,
	others: map[block.Format]*kernels{block.Q4_0: &fours256, block.Q8_0: &fours256, n4: &fours256, n8: &fours256},
}

// fours256 multiply any number of rows, four at a time, by panels as they are packed. To unpack
// these again for each four costs less than to store and read what is unpacked: weights and
// rows stay in the second-level cache.
var fours256 = kernels{
	level: cpu.AVX2, mr: 4, alone: []int{1, 2, 4}, sizes: []int{1, 2, 4}, ahead: ahead(),
	direct: direct256, quantize: quantize256, quantizeFour: quantize256x4, finish: finish256,
}

var sweep256 = sweepKernels{
	spread: map[block.Format]kernel{
		block.Q4_1:   spread256Q4_1,
		block.Q5_0:   spread256Q5_0,
		block.Q5_1:   spread256Q5_1,
		block.Q2_K:   spread256Q2_K,
		block.Q3_K:   spread256Q3_K,
		block.Q4_K:   spread256Q4_K,
		block.Q5_K:   spread256Q5_K,
		block.Q6_K:   spread256Q6_K,
		block.IQ4_NL: spread256IQ4_NL,
		block.IQ4_XS: spread256IQ4_XS,
		block.MXFP4:  spread256MXFP4,
		n4Zero:       spread256N4Zero,
	},
	rows: [kinds]kernel{
		plain: sweep256Plain, offset: sweep256Offset, pair: sweep256Pair, twoOffsets: sweep256TwoOffsets, signed: sweep256Signed,
	},
	nibbles: sweep256OffsetNibbles,
	fours:   map[block.Format]kernel{block.Q4_K: fours256Q4_K, n4Zero: fours256N4Zero},
}

// vnni adds 128 to the values of panels, since VPDPBUSD wants them unsigned. Taking
// panels apart in registers costs less than reading them unpacked, for any rows.
var vnni = kernels{
	level: cpu.AVX512, mr: 8, alone: []int{1, 4, 8}, sizes: []int{1, 4, 8}, ahead: aheadElsewhere, far: aheadElsewhere,
	direct: direct512, finishes: true, finish: finish512, half: half512,
	quantize: quantize256, quantizeFour: quantize256x4, quantizeAlone: quantizeAlone512,
}

// tiles takes up to 8 rows as vnni does.
var tiles = kernels{
	level: cpu.AMX, mr: 16, alone: []int{1, 4, 8}, sizes: []int{8, 16}, ahead: aheadWithAMX, far: farWithAMX,
	direct: direct512, finishes: true, tiles: &tilesAMX, prompts: &promptsAMX, finish: finish512, half: half512,
	quantize: quantize256, quantizeFour: quantize256x4, quantizeAlone: quantizeAlone512,
}

var quantizeAlone512 = [4]kernel{0: quantize512Tile1, 2: quantize512Tile4, 3: quantize512Tile8}

var tilesAMX = tileKernels{
	first: firstAMX,
	more: [tileKinds][2]kernel{
		tilePlain:      {amxMorePlainx8, amxMorePlainx16},
		tileOffset:     {amxMoreOffsetx8, amxMoreOffsetx16},
		tileTwoOffsets: {amxMoreTwoOffsetsx8, amxMoreTwoOffsetsx16},
		tileDouble:     {amxMoreDoublex8, amxMoreDoublex16},
	},
	quantizeRows: quantize512x16, quantizePair: quantize512, quantizePairs: quantizePairs512x16,
	config: func(rows int, pairs bool) unsafe.Pointer {
		if pairs {
			return unsafe.Pointer(&palettes[rows/16])
		}
		return unsafe.Pointer(&bytePalettes[rows/16])
	},
}

var half256 = map[block.Format]*halfKernels{
	block.F16:  {one: half256x1p1, wide: half256x1p4, four: half256x4p1, widen: halfWiden256},
	block.BF16: {one: bfloat256x1p1, wide: bfloat256x1p4, four: bfloat256x4p1, widen: bfloatWiden256},
}

var half512 = map[block.Format]*halfKernels{
	block.F16:  {one: half512x1p1, wide: half512x1p4, four: half512x4p1, fourWide: half512x4p2, widen: halfWiden512},
	block.BF16: {one: bfloat512x1p1, wide: bfloat512x1p4, four: bfloat512x4p1, fourWide: bfloat512x4p2, widen: bfloatWiden512},
}

// tilePalette is what LDTILECFG loads.
type tilePalette struct {
	palette, start byte
	_              [14]byte
	bytes          [16]uint16 // of a row of each tile
	rows           [16]byte
}

// palettes are for tiles of 8 and 16 rows: sums, values, and q; bytePalettes are those for
// 8-bit integers.
var palettes, bytePalettes [2]tilePalette

func init() {
	set := func(p *tilePalette, rows, values, q int) {
		p.palette = 1
		for t := range 8 {
			p.bytes[t], p.rows[t] = uint16(q), byte(rows)
		}
		p.bytes[0], p.bytes[1], p.rows[1] = 4*cols, 4*cols, byte(values)
	}
	for i := range palettes {
		set(&palettes[i], 8<<i, groupSize/2, 2*groupSize)
		set(&bytePalettes[i], 8<<i, groupSize/4, groupSize)
	}
}

var direct256 = map[block.Format][4]kernel{
	block.Q4_0:   {direct256Q4_0x1, direct256Q4_0x2, direct256Q4_0x4},
	block.Q4_1:   {direct256Q4_1x1, direct256Q4_1x2, direct256Q4_1x4},
	block.Q5_0:   {direct256Q5_0x1, direct256Q5_0x2, direct256Q5_0x4},
	block.Q5_1:   {direct256Q5_1x1, direct256Q5_1x2, direct256Q5_1x4},
	block.Q8_0:   {direct256Q8_0x1, direct256Q8_0x2, direct256Q8_0x4},
	block.Q2_K:   {direct256Q2_Kx1, direct256Q2_Kx2, direct256Q2_Kx4},
	block.Q3_K:   {direct256Q3_Kx1, direct256Q3_Kx2, direct256Q3_Kx4},
	block.Q4_K:   {direct256Q4_Kx1, direct256Q4_Kx2, direct256Q4_Kx4},
	block.Q5_K:   {direct256Q5_Kx1, direct256Q5_Kx2, direct256Q5_Kx4},
	block.Q6_K:   {direct256Q6_Kx1, direct256Q6_Kx2, direct256Q6_Kx4},
	block.IQ4_NL: {direct256IQ4_NLx1, direct256IQ4_NLx2, direct256IQ4_NLx4},
	block.IQ4_XS: {direct256IQ4_XSx1, direct256IQ4_XSx2, direct256IQ4_XSx4},
	block.MXFP4:  {direct256MXFP4x1, direct256MXFP4x2, direct256MXFP4x4},
	n4:           {direct256N4x1, direct256N4x2, direct256N4x4},
	n4Zero:       {direct256N4Zerox1, direct256N4Zerox2, direct256N4Zerox4},
	n8:           {direct256N8x1, direct256N8x2, direct256N8x4},
}

var direct512 = map[block.Format][4]kernel{
	block.Q4_0:   {0: direct512Q4_0x1, 2: direct512Q4_0x4, 3: direct512Q4_0x8},
	block.Q4_1:   {0: direct512Q4_1x1, 2: direct512Q4_1x4, 3: direct512Q4_1x8},
	block.Q5_0:   {0: direct512Q5_0x1, 2: direct512Q5_0x4, 3: direct512Q5_0x8},
	block.Q5_1:   {0: direct512Q5_1x1, 2: direct512Q5_1x4, 3: direct512Q5_1x8},
	block.Q8_0:   {0: direct512Q8_0x1, 2: direct512Q8_0x4, 3: direct512Q8_0x8},
	block.Q2_K:   {0: direct512Q2_Kx1, 2: direct512Q2_Kx4, 3: direct512Q2_Kx8},
	block.Q3_K:   {0: direct512Q3_Kx1, 2: direct512Q3_Kx4, 3: direct512Q3_Kx8},
	block.Q4_K:   {0: direct512Q4_Kx1, 2: direct512Q4_Kx4, 3: direct512Q4_Kx8},
	block.Q5_K:   {0: direct512Q5_Kx1, 2: direct512Q5_Kx4, 3: direct512Q5_Kx8},
	block.Q6_K:   {0: direct512Q6_Kx1, 2: direct512Q6_Kx4, 3: direct512Q6_Kx8},
	block.IQ4_NL: {0: direct512IQ4_NLx1, 2: direct512IQ4_NLx4, 3: direct512IQ4_NLx8},
	block.IQ4_XS: {0: direct512IQ4_XSx1, 2: direct512IQ4_XSx4, 3: direct512IQ4_XSx8},
	block.MXFP4:  {0: direct512MXFP4x1, 2: direct512MXFP4x4, 3: direct512MXFP4x8},
	n4:           {0: direct512N4x1, 2: direct512N4x4, 3: direct512N4x8},
	n4Zero:       {0: direct512N4Zerox1, 2: direct512N4Zerox4, 3: direct512N4Zerox8},
	n8:           {0: direct512N8x1, 2: direct512N8x4, 3: direct512N8x8},
}

var firstAMX = map[block.Format][2]kernel{
	block.Q4_0:   {amxFirstQ4_0x8, amxFirstQ4_0x16},
	block.Q4_1:   {amxFirstQ4_1x8, amxFirstQ4_1x16},
	block.Q5_0:   {amxFirstQ5_0x8, amxFirstQ5_0x16},
	block.Q5_1:   {amxFirstQ5_1x8, amxFirstQ5_1x16},
	block.Q8_0:   {amxFirstQ8_0x8, amxFirstQ8_0x16},
	block.Q2_K:   {amxFirstQ2_Kx8, amxFirstQ2_Kx16},
	block.Q3_K:   {amxFirstQ3_Kx8, amxFirstQ3_Kx16},
	block.Q4_K:   {amxFirstQ4_Kx8, amxFirstQ4_Kx16},
	block.Q5_K:   {amxFirstQ5_Kx8, amxFirstQ5_Kx16},
	block.Q6_K:   {amxFirstQ6_Kx8, amxFirstQ6_Kx16},
	block.IQ4_NL: {amxFirstIQ4_NLx8, amxFirstIQ4_NLx16},
	block.IQ4_XS: {amxFirstIQ4_XSx8, amxFirstIQ4_XSx16},
	block.MXFP4:  {amxFirstMXFP4x8, amxFirstMXFP4x16},
	n4:           {amxFirstN4x8, amxFirstN4x16},
	n4Zero:       {amxFirstN4Zerox8, amxFirstN4Zerox16},
	n8:           {amxFirstN8x8, amxFirstN8x16},
}

var promptsAMX = promptKernels{
	decode: map[block.Format]kernel{
		block.Q4_0:   decodeQ4_0,
		block.Q4_1:   decodeQ4_1,
		block.Q5_0:   decodeQ5_0,
		block.Q5_1:   decodeQ5_1,
		block.Q8_0:   decodeQ8_0,
		block.Q2_K:   decodeQ2_K,
		block.Q3_K:   decodeQ3_K,
		block.Q4_K:   decodeQ4_K,
		block.Q5_K:   decodeQ5_K,
		block.Q6_K:   decodeQ6_K,
		block.IQ4_NL: decodeIQ4_NL,
		block.IQ4_XS: decodeIQ4_XS,
		block.MXFP4:  decodeMXFP4,
	},
	product: promptProduct, round: roundTile,
}

// evenUpTo are the even numbers from 2 on.
func evenUpTo(n int) (sizes []int) {
	for i := 2; i <= n; i += 2 {
		sizes = append(sizes, i)
	}
	return sizes
}
