package qconv

import "unsafe"

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

// view is n elements at p.
func view[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }
