package window

import "unsafe"

// Tile is the argument of a kernel, which computes a run of output pixels of
// one or several channel blocks over a rectangle of taps that all lie inside
// the input; and the same on the following lines. Strides and skips are in
// bytes. Assembly knows the offsets: a channel block is one vector of floats.
type Tile struct {
	In, Weights, Out, Residual, Bias unsafe.Pointer // Residual may be nil

	Blocks          int // input blocks (plain input: channels); 0 where no tap is inside
	KH, KW          int // taps inside the input
	CI              int // contiguous inputs per tap: the block's channels (plain input: the row's taps)
	InBlock         int // from one input block to the next
	InKH, InKW      int // from one tap to the next
	InPx            int // from one output pixel's input to the next one's
	SkipKH, SkipIC  int // weights left out after a row of taps, after a block
	WeightsOut      int // from one output block's weights to the next
	OutPx, OutBlock int // from one output pixel, block to the next
	Lo, Hi          float32
	Clamp           int // 1: clamp to [Lo, Hi]

	Lines, Channels int // lines; for kernels without a sum over channels, channel blocks
	InLine, OutLine int // from one line to the next

	Divisor float32 // of an average
	Partial int     // 1: go on from the sums of earlier input blocks, which are in Out

	LastCI   int // CI of the last block, where that is not full; 0: CI
	LastSkip int // weights left out after each of its taps

	// Next to NextEnd is what kernels may fetch into the second cache; they move Next
	// on. These are no pointers to the collector, since both may end up behind the
	// memory that they are about.
	Next, NextEnd uintptr

	_ [32]byte // threads write neighbouring tiles
}

// TileFunc is a kernel for a fixed number of pixels. The argument is a *Tile.
type TileFunc func(t *byte)

// Arg is t as kernels take it. Tiles live in long-lived slices: a pointer to a
// local would escape to the heap through the call of a function value.
func (t *Tile) Arg() *byte { return (*byte)(unsafe.Pointer(t)) }

// TileOf is the inverse of Arg.
func TileOf(arg *byte) *Tile { return (*Tile)(unsafe.Pointer(arg)) }

// Floats views n floats that begin offset bytes after p.
func Floats(p unsafe.Pointer, offset, n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Add(p, offset)), n)
}

// At is the address offset bytes into s.
func At(s []float32, offset int) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), offset)
}
