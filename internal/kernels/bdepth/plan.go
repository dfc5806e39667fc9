// Package bdepth computes depthwise convolutions of activations that are stored in
// bfloat16, in the blocked layout of package conv, which uses it. Nothing is rounded
// but what is stored: weights, sums, bias and activation are of float32.
//
// # Arithmetic
//
// One chain of fused multiply-adds that begins at the bias and visits kernel rows and
// columns in order; taps in the padding are zeros that are multiplied. Then the limits, an activation that is more than limits, and the rounding
// of what is stored in bfloat16.
//
// # How it is fast
//
// Pieces of some rows and columns of inputs are widened, with their borders, into memory that
// stays in the first-level cache; the outputs that read them follow in one call. What two
// pieces have in common is widened twice.
package bdepth

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/kernels/window"
)

// Block is the number of channels in a block of an activation.
const Block = 16

// Params says what to compute.
type Params struct {
	Channels int
	H, W     window.Dim
	// What is of bfloat16 instead of float32.
	InBF16, OutBF16 bool

	Clamp  bool // to [Lo, Hi]
	Lo, Hi float32
	After  func(x []float32) // the rest of the activation, or nil
}

// Supports reports whether there are plans at a level.
func Supports(level cpu.Target) bool { return mma.Supports(level) }

// Plan is a convolution prepared for one input size and level.
type Plan struct {
	Params
	kern    *mma.Kernels
	blocks  int
	window  int   // rows of inputs that a row of outputs reads
	taps    int   // of a window
	rows    int   // of outputs in a piece
	width   int   // and columns
	cols    int   // pixels of its widened rows
	offsets []int // of taps there, in bytes
	inSize  int   // bytes of a number
	outSize int
}

// New prepares a convolution. At levels without tiles it is computed by portable
// twins, for tests.
func New(p Params, level cpu.Target) *Plan {
	pl := &Plan{Params: p, kern: mma.For(level), blocks: tiling.Ceil(p.Channels, Block), inSize: sizeOf(p.InBF16), outSize: sizeOf(p.OutBF16)}
	if !p.Clamp {
		pl.Lo, pl.Hi = float32(math.Inf(-1)), float32(math.Inf(1))
	}
	pl.window = (p.H.Kernel-1)*p.H.Dilation + 1
	pl.width = min(p.W.Out, pieceWidth)
	pl.cols = (pl.width-1)*p.W.Stride + (p.W.Kernel-1)*p.W.Dilation + 1
	pl.taps = p.H.Kernel * p.W.Kernel
	for kh := range p.H.Kernel {
		for kw := range p.W.Kernel {
			pl.offsets = append(pl.offsets, (kh*p.H.Dilation*pl.cols+kw*p.W.Dilation)*pixelBytes)
		}
	}
	fit := pieceBytes / (pl.cols * pixelBytes) // rows of inputs
	pl.rows = min(p.H.Out, max(leastRows, (fit-pl.window)/p.H.Stride+1))
	return pl
}

const (
	pixelBytes = 4 * Block
	pieceBytes = 28 << 10 // of widened rows
	pieceWidth = 28       // twice what the kernel takes at once
	leastRows  = 4        // of a piece: fewer would have too much widened twice
)

// widened is the rows of inputs that so many rows of outputs read.
func (pl *Plan) widened(rows int) int { return (rows-1)*pl.H.Stride + pl.window }

// sizeOf is the bytes of a number.
func sizeOf(bf16 bool) int {
	if bf16 {
		return 2
	}
	return 4
}

// InSize is the bytes of an input of n images.
func (pl *Plan) InSize(n int) int { return n * pl.blocks * pl.H.In * pl.W.In * Block * pl.inSize }

// OutSize is the bytes of the output.
func (pl *Plan) OutSize(n int) int { return n * pl.blocks * pl.H.Out * pl.W.Out * Block * pl.outSize }

// PackedSize is the number of bytes of packed weights: for each block the bias, then
// the taps.
func (pl *Plan) PackedSize() int { return 4 * pl.blocks * pl.blockFloats() }

func (pl *Plan) blockFloats() int { return Block * (1 + pl.taps) }

// Pack writes weights [Channels, 1, kernel rows, kernel columns] and bias [Channels]
// (or nil) into dst, in the order in which they are read.
func (pl *Plan) Pack(dst []byte, weights, bias []float32) error {
	if len(weights) != pl.Channels*pl.taps || len(dst) != pl.PackedSize() || bias != nil && len(bias) != pl.Channels {
		return fmt.Errorf("bdepth: %d weights into %d bytes with a bias of %d, expected %d, %d and %d", len(weights), len(dst), len(bias), pl.Channels*pl.taps, pl.PackedSize(), pl.Channels)
	}
	clear(dst)
	to := floats(dst)
	for c := range pl.Channels {
		block := to[c/Block*pl.blockFloats():]
		if bias != nil {
			block[c%Block] = bias[c]
		}
		for t := range pl.taps {
			block[Block*(1+t)+c%Block] = weights[c*pl.taps+t]
		}
	}
	return nil
}

func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func numbers(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}
