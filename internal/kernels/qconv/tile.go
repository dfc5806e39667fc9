package qconv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// A tile is the argument of a kernel: some pixels of a panel of output channels,
// and the same on the following lines. Distances are in bytes. The assembly
// knows the offsets.
type tile struct {
	in, weights, out, residual unsafe.Pointer // residual may be nil
	bias, scale                unsafe.Pointer // int32 and float32, one for each channel of the panel

	kh, kw, groups  int // rows and columns of taps, groups of four bytes per tap
	inKH, inKW      int // from one tap to the next
	inPx, inFar     int // from one pixel's input to the next, from pixel 0's to pixel 7's
	outPx, outFar   int
	lines           int
	inLine, outLine int
	mask            uint64 // bit j: channel j of the panel exists

	lo, hi       float32 // of y, less its zero point
	zero         int32
	midLo, midHi float32 // of the convolution that a residual is added to
	midScale     float32
	resZero      float32
	resScale     float32
	yScale       float32
	yInverse     float32
	signed       int64 // 1: the residual is signed

	// For kernels that narrow with saturation: y is unsigned there, and flip makes
	// it signed.
	zero16   int16
	flip     uint8
	lo8, hi8 uint8

	// For kernels of inner products: what is taken from the sums of each pixel.
	sums    unsafe.Pointer // int32
	sumLine int

	_ [40]byte // threads write neighbouring tiles
}

func (t *tile) arg() *byte { return (*byte)(unsafe.Pointer(t)) }

// A kernel computes a fixed number of pixels; its argument is a *tile.
type kernel func(t *byte)

// maxPixels bounds the pixels of a tile.
const maxPixels = 14

// columnPixels is the most pixels of a kernel that shares columns.
const columnPixels = 7

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

	// largest keeps the larger one of n bytes of dst and of src each.
	largest func(signed bool) func(dst, src *byte, n int)
}

// view is n elements at p.
func view[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }
