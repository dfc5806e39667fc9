package conv

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// tile is the argument of a register-tile kernel, which computes some output
// pixels of some output blocks over a rectangle of taps that all lie inside the
// input. Strides and skips are in bytes. The assembly knows the offsets.
type tile struct {
	in, weights, out, residual, bias unsafe.Pointer // residual may be nil

	blocks         int // input blocks (plain input: channels); 0 where no tap is inside
	kh, kw         int // taps inside the input
	ci             int // contiguous inputs per tap: the block's channels (plain input: the row's taps)
	inBlock        int // from one input block to the next
	inKH, inKW     int // from one tap to the next
	inPx           int // from one output pixel's input to the next one's
	skipKH, skipIC int // weights left out after a row of taps, after a block
	weightsOut     int // from one output block's weights to the next
	outPx, outBlk  int // from one output pixel, block to the next
	lo, hi         float32
	clamp          int // 1: clamp to [lo, hi]

	// Kernels for whole rectangles: lines of pixels, from one line to the next.
	lines, pixels   int
	inLine, outLine int

	_ [64]byte // threads write neighbouring tiles
}

// tileFunc is a kernel for a fixed number of pixels and output blocks. The
// argument is a *tile.
type tileFunc func(t *byte)

// tileSet holds a level's kernels: tiles[nb][mr] computes mr pixels of nb
// blocks, nil where the registers don't hold them.
type tileSet struct {
	block int
	tiles [][]tileFunc

	depthwise tileFunc // a whole rectangle of one block
	activate  func(kind Kind, alpha float32, x []float32)
}

// tileSetFor gives the kernels of a level, or of the highest below it that
// this build has.
func tileSetFor(level cpu.Target) *tileSet {
	if s := assemblyTiles(level); s != nil {
		return s
	}
	return portableTiles(Block(level))
}

// arg is t as kernels take it. Tiles live in the Runner: a pointer to a local
// would escape to the heap through the call of a function value.
func (t *tile) arg() *byte { return (*byte)(unsafe.Pointer(t)) }
