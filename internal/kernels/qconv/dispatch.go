package qconv

import "github.com/salver-ml/salver/internal/cpu"

// kernels is what an instruction-set level provides.
type kernels struct {
	level  cpu.Target
	lanes  int  // channels of a vector; a panel has one or two
	masked bool // kernels touch no channel without a bit in mask

	// tile[v][p] computes p pixels, at most tilePixels, of v vectors of channels.
	tile       [3][maxPixels + 1]kernel
	tilePixels int
	// innerSums, if there is one, says that tile multiplies sums of the input's numbers and
	// weights: it takes the input as words less 128, and what innerSums adds up for each of
	// lines pixels.
	innerSums kernel
	// pairs is tile for bytes, where no two products of a pair saturate 16 bits; nil: tile is
	// as fast.
	pairs       [3][maxPixels + 1]kernel
	pairsPixels int
	// depthwise[p] computes p pixels, at most depthwisePixels, of one vector of channels.
	depthwise       [maxPixels + 1]kernel
	depthwisePixels int
	// columns[stride-1][p] is the same for 3×3 taps and up to 7 pixels, which share columns of
	// the input; nil: there are none.
	columns [2][maxPixels + 1]kernel
	// depthwise64[{size, stride}][p] is the same for 64 channels and 1 to 4 pixels; nil: there
	// are none.
	depthwise64 map[[2]int][5]kernel
	// squares, if there are any, compute 3×3 taps by tiles of 4×4 outputs.
	squares *squareKernels
	// strip computes convolutions without groups in AMX's tiles, of a *strip: for signed input,
	// for more than 16 rows; nil: there are none.
	strip [2][2]kernel

	// largest keeps the larger one of n bytes of dst and of src each: unsigned, signed.
	largest [2]func(dst, src *byte, n int)
	// widen writes bytes, with some bits flipped, as signed numbers of 16 bits.
	widen func(dst, src []byte, flips byte)
	// interleave3 writes three planes as one of triples.
	interleave3 func(dst, a, b, c []byte)
}

func current() *kernels { return forLevel(cpu.Level()) }

// portable is the specification of the other kernels.
var portable = makePortable()
