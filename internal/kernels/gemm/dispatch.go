package gemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// kernels is what an instruction-set level provides.
type kernels struct {
	level  cpu.Target
	mr, nr int // largest tile: rows and columns

	// tile[r] computes tiles of r rows and nr columns beside each other, as many as
	// tile.panels says: it sets, or with flagLoad continues, the sums of one block of K,
	// does what else flags say and stores. It reads nothing and writes nothing of C, the
	// residual and the column bias where mask has no bit.
	tile [maxRows + 1]kernel
	// partial is the same for a tile of fewer than nr columns.
	partial [maxRows + 1]kernel
	// half[r] is partial where no more than half of the columns exist. It may be nil.
	half [maxRows + 1]kernel
	// masksB says that with flagMaskB partial doesn't read B's columns beyond the mask either;
	// elsewhere such a panel of B is copied first.
	masksB bool

	// wide[r] computes r rows of maxWide/r panels of nr columns each, of packed B, all of
	// which exist. It may be nil.
	wide [3]kernel

	// powers says that tile knows flagPowers: elements become powers of two, as package
	// softmax's Powers has them.
	powers bool

	// lean is the number of rows from which tile knows flagLean; 0: it doesn't.
	lean int

	// dot is the sum of products over n elements in the arithmetic of dot.go.
	dot func(x, y *float32, n int) float32

	// sweep adds to n elements of c the products of passes·sweepRows elements of a with as
	// many rows of b, ldb bytes apart. It may be nil.
	sweep func(c, a, b *float32, ldb, n, passes int)

	// rowTransposed adds to blocks·rowColumns elements of c the products of k elements of a,
	// whole rowSteps, with as many rows of b, ldb bytes apart. It is nil where sweep is.
	rowTransposed func(c, a, b *float32, ldb, k, blocks int)

	// transpose8 copies the transpose of 8 rows of src, 8·blocks elements long,
	// to dst. Strides are in elements. It may be nil.
	transpose8 func(dst, src *float32, dstStride, srcStride, blocks int)
}

const (
	maxRows   = 14
	maxWide   = 4
	maxPanels = 16 // of a call, which can't be interrupted
)

// partialOf is the kernel for a panel of which only some columns exist.
func (k *kernels) partialOf(rows, columns int) kernel {
	if f := k.half[rows]; f != nil && columns <= k.nr/2 {
		return f
	}
	return k.partial[rows]
}

// panelsOf is how many panels of packed B a call for so many rows can take.
func (k *kernels) panelsOf(rows int) int {
	if rows >= len(k.wide) || k.wide[rows] == nil {
		return 1
	}
	return maxWide / rows
}

// A kernel takes a *tile as bytes: the generator knows no Go types of this
// package.
type kernel func(t *byte)

// Bits of tile.flags.
const (
	flagLoad  = 1 << iota // continue the sums in C
	flagAlpha             // the others are only set with the last block of K
	flagColBias
	flagRowBias
	flagResidual
	flagClip
	flagLeaky
	flagPowers // where kernels.powers, and never with kernels.wide
	flagMaskB  // columns of B beyond the mask must not be read
	flagLean   // where kernels.lean says so: B lies in panels, and of next a line in leanStep steps is fetched, which advance is for then
)

// leanStep is the rows of B after which a lean tile fetches again.
const leanStep = 8

// A tile is the arguments of a kernel call. The assembly knows the offsets of
// its fields.
type tile struct {
	a, b, c       unsafe.Pointer // first elements
	lda, ldb, ldc int            // bytes from row to row
	k             int            // rows of b; 0 only with flagLoad
	colBias       unsafe.Pointer
	rowBias       unsafe.Pointer
	residual      unsafe.Pointer
	ldr           int
	mask          uint64 // bit j: column j exists
	flags         uint64
	alpha, beta   float32
	lo, hi        float32
	slope         float32
	next          unsafe.Pointer // to be in the second cache for later calls; nil: nothing
	step          int            // bytes from one panel of B to the next
	advance       int            // bytes that next goes on by in two steps
	sums          unsafe.Pointer // of flagPowers, 16 of each row
	panels        int            // tiles of a call
	panel         int            // the one in work
	nextStep      int            // bytes by which next is further on for the next panel
	rows          int            // for the portable kernel, which is one for all
}

func (t *tile) arg() *byte { return (*byte)(unsafe.Pointer(t)) }

// current is the table of the level in force.
func current() *kernels { return forLevel(cpu.Level()) }
