//go:build !noasm

package qconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

//go:generate go -C ../../../tools/asmgen run . qconv -out ../../internal/kernels/qconv/tile_amd64.s

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

var vnni = kernels{
	level: cpu.AVX512, squares: &squares512, lanes: 16, tilePixels: 14, depthwisePixels: 14, masked: true, largest: largest256, widen: widenBy16, interleave3: interleaveBy16,
	tile: [3][maxPixels + 1]kernel{
		1: {1: vnni512_1x1, 2: vnni512_1x2, 3: vnni512_1x3, 4: vnni512_1x4, 5: vnni512_1x5, 6: vnni512_1x6, 7: vnni512_1x7, 8: vnni512_1x8, 9: vnni512_1x9, 10: vnni512_1x10, 11: vnni512_1x11, 12: vnni512_1x12, 13: vnni512_1x13, 14: vnni512_1x14},
		2: {1: vnni512_2x1, 2: vnni512_2x2, 3: vnni512_2x3, 4: vnni512_2x4, 5: vnni512_2x5, 6: vnni512_2x6, 7: vnni512_2x7, 8: vnni512_2x8, 9: vnni512_2x9, 10: vnni512_2x10, 11: vnni512_2x11, 12: vnni512_2x12, 13: vnni512_2x13, 14: vnni512_2x14},
	},
	depthwise64: map[[2]int][5]kernel{
		{3, 1}: {1: vnni512channels_3x1_1, 2: vnni512channels_3x1_2, 3: vnni512channels_3x1_3, 4: vnni512channels_3x1_4},
		{3, 2}: {1: vnni512channels_3x2_1, 2: vnni512channels_3x2_2, 3: vnni512channels_3x2_3, 4: vnni512channels_3x2_4},
		{5, 1}: {1: vnni512channels_5x1_1, 2: vnni512channels_5x1_2, 3: vnni512channels_5x1_3, 4: vnni512channels_5x1_4},
		{5, 2}: {1: vnni512channels_5x2_1, 2: vnni512channels_5x2_2, 3: vnni512channels_5x2_3, 4: vnni512channels_5x2_4},
	},
	depthwise: [maxPixels + 1]kernel{1: vnni512depthwise_1, 2: vnni512depthwise_2, 3: vnni512depthwise_3, 4: vnni512depthwise_4, 5: vnni512depthwise_5, 6: vnni512depthwise_6, 7: vnni512depthwise_7,
		8: vnni512depthwise_8, 9: vnni512depthwise_9, 10: vnni512depthwise_10, 11: vnni512depthwise_11, 12: vnni512depthwise_12, 13: vnni512depthwise_13, 14: vnni512depthwise_14},
}

// tiles are vnni with AMX for what has no groups.
var tiles = func() kernels {
	k := vnni
	k.level, k.squares, k.strip = cpu.AMX, nil, [2][2]kernel{{u8strip16, u8strip32}, {s8strip16, s8strip32}}
	return k
}()

var avx2 = kernels{
	level: cpu.AVX2, squares: &squares256, lanes: 8, tilePixels: 4, depthwisePixels: 8, largest: largest256, widen: widenBy16, interleave3: interleaveBy16, innerSums: innerSums256, pairsPixels: 5,
	tile: [3][maxPixels + 1]kernel{
		1: {1: inner256_1x1, 2: inner256_1x2, 3: inner256_1x3, 4: inner256_1x4},
		2: {1: inner256_2x1, 2: inner256_2x2, 3: inner256_2x3, 4: inner256_2x4},
	},
	pairs: [3][maxPixels + 1]kernel{
		1: {1: pairs256_1x1, 2: pairs256_1x2, 3: pairs256_1x3, 4: pairs256_1x4, 5: pairs256_1x5},
		2: {1: pairs256_2x1, 2: pairs256_2x2, 3: pairs256_2x3, 4: pairs256_2x4, 5: pairs256_2x5},
	},
	depthwise: [maxPixels + 1]kernel{1: words256depthwise_1, 2: words256depthwise_2, 3: words256depthwise_3, 4: words256depthwise_4,
		5: words256depthwise_5, 6: words256depthwise_6, 7: words256depthwise_7, 8: words256depthwise_8},
	columns: [2][maxPixels + 1]kernel{
		{1: columns256_1_1, 2: columns256_1_2, 3: columns256_1_3, 4: columns256_1_4, 5: columns256_1_5, 6: columns256_1_6, 7: columns256_1_7},
		{1: columns256_2_1, 2: columns256_2_2, 3: columns256_2_3, 4: columns256_2_4, 5: columns256_2_5, 6: columns256_2_6, 7: columns256_2_7},
	},
}

var squares256 = squareKernels{
	channels: 16, direct: 10, input: squareInput256, columns: squareColumns256,
	product: [maxPixels + 1]kernel{1: squareProduct256x1, 2: squareProduct256x2, 3: squareProduct256x3, 4: squareProduct256x4, 5: squareProduct256x5, 6: squareProduct256x6},
	most:    6,
	output:  [squareSide + 1]kernel{1: squareOutput256x1, 2: squareOutput256x2, 3: squareOutput256x3, 4: squareOutput256x4},
}

var squares512 = squareKernels{
	channels: 32, direct: 5, input: squareInput512, columns: squareColumns512,
	product: [maxPixels + 1]kernel{1: squareProduct512x1, 2: squareProduct512x2, 3: squareProduct512x3, 4: squareProduct512x4, 5: squareProduct512x5, 6: squareProduct512x6, 7: squareProduct512x7,
		8: squareProduct512x8, 9: squareProduct512x9, 10: squareProduct512x10, 11: squareProduct512x11, 12: squareProduct512x12, 13: squareProduct512x13, 14: squareProduct512x14},
	most:   14,
	output: [squareSide + 1]kernel{1: squareOutput512x1, 2: squareOutput512x2, 3: squareOutput512x3, 4: squareOutput512x4},
}

// interleaveBy16 and widenBy16 run kernels on sixteens, and Go on the rest.
func interleaveBy16(dst, a, b, c []byte) {
	n := len(a) &^ 15
	if n > 0 {
		interleave3x128(&dst[0], &a[0], &b[0], &c[0], n)
	}
	portableInterleave3(dst[3*n:], a[n:], b[n:], c[n:])
}

func widenBy16(dst, src []byte, flips byte) {
	n := len(src) &^ 15
	if n > 0 {
		widen256(&dst[0], &src[0], n, uint64(flips))
	}
	portableWiden(dst[2*n:], src[n:], flips)
}

var largest256 = [2]func(dst, src *byte, n int){
	func(dst, src *byte, n int) { largestIn(maxU8x256, largestOf[uint8], dst, src, n) },
	func(dst, src *byte, n int) { largestIn(maxS8x256, largestOf[int8], dst, src, n) },
}

// largestIn runs a kernel on whole vectors and Go on the rest.
func largestIn(kernel, rest func(dst, src *byte, n int), dst, src *byte, n int) {
	if whole := n &^ 31; whole > 0 {
		kernel(dst, src, whole)
		dst, src = (*byte)(unsafe.Add(unsafe.Pointer(dst), whole)), (*byte)(unsafe.Add(unsafe.Pointer(src), whole))
	}
	if n&31 > 0 {
		rest(dst, src, n&31)
	}
}
