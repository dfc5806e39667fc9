package blockq

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype/block"
)

// kernels is what an instruction-set level provides.
type kernels struct {
	level cpu.Target
	mr    int   // rows of the largest tile
	alone []int // sizes of a tile that is the only one, for direct, ascending
	sizes []int // of other tiles, ascending

	// ahead is how many bytes of packed weights are prefetched before they are read, and
	// far how many are brought into the second-level cache, by kernels of 512 bits.
	ahead, far int

	// direct[f][i] multiplies 1<<i rows by packed panels: the only tile, or all tiles where
	// there are no kernels for several. It does what finish does too if finishes is true.
	direct   map[block.Format][4]kernel
	finishes bool
	// Kernels for several tiles, or for one of more rows than alone has:
	sweep *sweepKernels
	tiles *tileKernels

	// Without direct, unpack makes of a panel what tile reads, and tile[k] multiplies rows by
	// it.
	unpack map[block.Format]kernel
	tile   [kinds]kernel

	// others[f], if there are, are the kernels for f in the place of these.
	others map[block.Format]*kernels

	// prompts, if not nil, multiply tokens of prompts.
	prompts *promptKernels

	quantize     kernel // a row
	quantizeFour kernel // four rows of a tile that are next to each other, or nil
	// quantizeAlone[i] are for tiles of 1<<i rows, with a multiple of 8>>i groups; or nil.
	quantizeAlone [4]kernel
	finish        kernel
	half          map[block.Format]*halfKernels
}

// tileKernels multiply 8-bit integers, or bfloat16, in which they are exact, where values
// have more bits.
type tileKernels struct {
	// first[f][i] multiplies 8<<i rows by packed panels, which it unpacks. Their values
	// stay, unless there are more than a.ring holds.
	first map[block.Format][2]kernel
	// more[k][i] multiplies further tiles of 8<<i rows by unpacked panels.
	more [tileKinds][2]kernel

	quantizeRows  kernel // those of a tile of 16
	quantizePair  kernel // a row, as bfloat16
	quantizePairs kernel // those of a tile
	config        func(rows int, pairs bool) unsafe.Pointer
}

// A kernel takes *args as bytes: the generator knows no Go types of this package.
type kernel func(a *byte)

// args is what the kernels of products take. The assembly knows the offsets.
// Unpacked panels have 512 bytes a group, value i of quad t of column j at
// 64·t + 4·j + i, and floats by column.
type args struct {
	w      unsafe.Pointer // packed panels
	values unsafe.Pointer // unpacked: 8-bit integers
	dw     unsafe.Pointer // scale of each column and group
	extra  unsafe.Pointer // negative minimum, or integer scale or negative minimum of each half
	q      unsafe.Pointer // int8: 32 of each row for each group
	shift  unsafe.Pointer // bits that sums of products are shifted by, of each row for each group
	s      unsafe.Pointer // S shifted, of the group or of each half
	c      unsafe.Pointer // -128·S, likewise
	acc    unsafe.Pointer // results: 16 of each row, or of each row of each panel, those of a tile together
	units  int            // of a panel in direct and unpack; otherwise groups of a panel
	panels int            // unless it takes one
	header int            // bytes from the packed weights' header to w, for spread and fours
	rows   int            // of a tile
	zero   uint64         // c shifted right by it is -zero·S, for the layout's zero
	spill  unsafe.Pointer // spillBytes for tileKernels, sweepSpill for sweepKernels

	// For tileKernels:
	tiles    int
	tileStep int            // bytes from tile to tile of q, shift and s
	gap      int            // bytes of packed weights from the groups of a panel to those of the next; for sweepKernels, from the last line of a panel's group that is prefetched to the first of the next panel's
	ring     int            // bytes of unpacked groups, which are at values
	sums     int            // if not 0, acc has the sums of groups before
	config   unsafe.Pointer // of the tile registers

	ahead int // bytes from the packed weights that are read to those that are prefetched; for spread and fours, from panel to panel
	far   int // likewise, into the second-level cache

	fetch int // for tileKernels: bytes from w to the end of what they prefetch; for sweepKernels the address of the first line

	// For direct: *finishArgs of the first panel, with the mask of the last one, for kernels
	// that store results where they go in the end; the others fetch these places. at is the
	// bytes of columns from the first panel to the one that comes, which they count.
	finish unsafe.Pointer
	at     int

	// For sweepKernels: bytes from panel to panel of the results, and from the slots of a
	// group to those of the next.
	step  int
	slots int
	lines int // that they prefetch of a panel's group
	share int // that they prefetch for a pair of rows, or four
	group int // bytes from group to group of packed weights
}

const spillBytes = 4 << 10

func (a *args) arg() *byte { return (*byte)(unsafe.Pointer(a)) }

// quantizeArgs is what quantize takes: a row, and where it goes in its tile.
type quantizeArgs struct {
	x      unsafe.Pointer
	q      unsafe.Pointer // then 32·rows bytes on for each group
	shift  unsafe.Pointer // 4·rows bytes on
	s      unsafe.Pointer // 4·rows bytes on
	c      unsafe.Pointer // 4·rows bytes on
	sHalf  unsafe.Pointer // 4·rows bytes on for each half
	cHalf  unsafe.Pointer // 4·rows bytes on for each half
	groups int
	rows   int // of the tile
	ldx    int // bytes from row to row of x, for several rows
	scale  unsafe.Pointer
}

func (a *quantizeArgs) arg() *byte { return (*byte)(unsafe.Pointer(a)) }

// finishArgs is what finish takes: up to 16 columns of some rows of sums.
type finishArgs struct {
	acc      unsafe.Pointer
	y        unsafe.Pointer
	bias     unsafe.Pointer // or nil
	residual unsafe.Pointer // or nil
	ldy, ldr int            // bytes
	rows     int
	mask     uint64         // bit j: column j exists
	ahead    int            // bytes to the rows that come next, which are prefetched
	scales   unsafe.Pointer // of the rows, or nil
}

func (a *finishArgs) arg() *byte { return (*byte)(unsafe.Pointer(a)) }

// view is n elements at p.
func view[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }

func current() *kernels { return forLevel(cpu.Level()) }

// currentFor gives the kernels for a layout.
func currentFor(l *layout) *kernels {
	kern := current()
	if l == nil {
		return kern
	}
	if other := kern.others[l.format]; other != nil {
		return other
	}
	return kern
}
