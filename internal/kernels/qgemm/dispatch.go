package qgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// kernels is what an instruction-set level provides.
type kernels struct {
	level   cpu.Target
	mr, nr  int          // largest tile: rows and columns
	group   int          // numbers of k that are adjacent in a panel of B and in A
	align   int          // a panel's numbers of k are a multiple
	wide    bool         // A is given as words less 128, else as uint8
	fetches bool         // kernels bring next into the second-level cache
	strip   [2][2]kernel // row tiles by some panels, where level has AMX: for signed A, for more than 16 rows; takes a *strip

	// tile[r] computes tiles of r rows and nr columns beside each other, as many as
	// tile.panels says, and stores them; partial one of fewer columns, outside of which it
	// reads and writes nothing but B. Neither is there with strip.
	tile    [tileRows + 1]kernel
	partial [tileRows + 1]kernel

	// narrow converts rows of nr floats to bytes: not below lo, not above hi,
	// rounded to the nearest, ties to even, plus zero. Columns without a bit in
	// mask are left alone.
	narrow func(dst *byte, stride int, src *float32, rows int, mask uint64, lo, hi float32, zero int32)

	// gelu applies x·Φ(x) to a row, within 3e-7 of itself or of 1; nil: Product.Post does
	// it, or strip.
	gelu func(row []float32)

	// widen writes n bytes, a multiple of widenStep, with some bits flipped, as signed words;
	// nil: widen in Go does.
	widen func(dst, src *byte, n int, flips uint64)

	// clips says that B has room for spills, and pairs, if there is one, is what multiplies a B
	// that is clipped: see clip.go. The others are what spill calls.
	clips     bool
	pairs     *kernels
	evens     func(dst *uint16, rows **byte, steps int, flips uint64)
	spillRow  func(dst *int32, a *byte, spills *byte, n int)
	spill     [2]func(dst *float32, words *uint16, spills *byte, starts *uint32, columns int) // half of spillRows, or all
	transpose func(dst, src *float32, dstStride, srcStride, blocks int)

	// innerSum, if there is one, says that kernels multiply sums of A's and B's numbers. B is
	// packed as panelPacker.put has it then, and each row's words have this sum.
	innerSum func(words *byte, groups int) int32
}

const maxRows, maxCols = mma.Rows, 32

// tileRows is the most rows of a kernel of a level without tiles.
const tileRows = 14

// A kernel takes a *tile as bytes: the generator knows no Go types of this
// package.
type kernel func(t *byte)

// Bits of the flags of tile and strip.
const (
	flagColSum   = 1 << iota // start from colSum·rowZero
	flagColZero              // plus colZero·rowSum
	flagFloat                // store float32: the next apply
	flagColScale             // scale by rowScale·colScale, else by rowScale
	flagColBias
	flagClip
	flagOneZero  // strip: rowZero is the same for all rows
	flagOneScale // strip: so is rowScale
	flagBytes    // strip: c is bytes
	flagGelu     // strip: x·Φ(x) follows
	flagResidual // a residual is added before a clip
	flagEnds     // strip: the least and the most number are wanted
	flagSpilled  // start from spilled
)

// A tile is the arguments of a kernel call. The assembly knows the offsets of
// its fields.
type tile struct {
	a, b, c  unsafe.Pointer // first elements
	lda      int            // bytes from row to row
	_        int
	ldc      int
	k        int            // groups
	colBias  unsafe.Pointer // float32 per column
	rowScale unsafe.Pointer // float32 per row
	colScale unsafe.Pointer // float32 per column
	colSum   unsafe.Pointer // int32 per column: K·zeroB - Σb'
	mask     uint64         // bit j: column j exists
	flags    uint64
	lo, hi   float32
	colZero  unsafe.Pointer // int32 per column: -zeroB
	rowZero  unsafe.Pointer // int32 per row: zeroA
	rowSum   unsafe.Pointer // int32 per row: Σa'
	step     int            // bytes from one panel of B to the next
	residual unsafe.Pointer
	ldr      int
	panels   int            // tiles of a call
	panel    int            // the one in work
	nextStep int            // bytes that a panel fetches
	next     unsafe.Pointer // what is fetched into the second-level cache; B itself if nothing is
	rows     int            // for the portable kernel, which is one for all
	colInner unsafe.Pointer // int32 per column, where kernels.innerSum: minus the products of B's numbers
	rowInner unsafe.Pointer // int32 per row: those of A's
	spilled  unsafe.Pointer // int32: what spills add, where kernels.spill
	lds      int
}

func (t *tile) arg() *byte { return (*byte)(unsafe.Pointer(t)) }

// depth is the numbers of k of a panel.
func (k *kernels) depth(n int) int { return tiling.Align(n, k.align) }

// tiled reports whether the level adds up in AMX tiles.
func (k *kernels) tiled() bool { return k.strip[0][0] != nil }

// kernel is the one for a tile.
func (k *kernels) kernel(x *tile) kernel {
	if x.mask == 1<<k.nr-1 {
		return k.tile[x.rows]
	}
	return k.partial[x.rows]
}

func current() *kernels { return forLevel(cpu.Level()) }
