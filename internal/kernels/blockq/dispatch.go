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
	// directTiles is for how many tiles direct is faster than unpacking, at most.
	directTiles int

	// ahead is how many bytes of packed weights are prefetched before they are read.
	ahead int

	// direct[f][i] multiplies 1<<i rows by packed panels. Where it is nil, panels
	// are unpacked first.
	direct map[block.Format][4]kernel
	// unpack makes of a panel what tile reads.
	unpack map[block.Format]kernel
	// tile[k][i] multiplies 1<<i rows by an unpacked panel.
	tile [kinds][5]kernel
	// packed[f] is tile for formats whose packed panels need no unpacking: values
	// and dw are a panel's first group then.
	packed map[block.Format]*[5]kernel
	// bias is added to the unpacked values, modulo 256.
	bias func(*layout) byte
	// many says that tile takes several tiles of rows and several panels.
	many bool

	quantize     kernel // a row
	quantizeTile kernel // mr rows, if not nil
	finish       kernel
	half         map[block.Format]*halfKernels
}

// A kernel takes *args as bytes: the generator knows no Go types of this package.
type kernel func(a *byte)

// args is what direct, unpack and tile take. The assembly knows the offsets.
// Unpacked panels have 512 bytes a group, value i of quad t of column j at
// 64·t + 4·j + i, and floats by column.
type args struct {
	w      unsafe.Pointer // packed panels
	values unsafe.Pointer // unpacked: 8-bit integers
	dw     unsafe.Pointer // scale of each column and group
	extra  unsafe.Pointer // negative minimum, or integer scale or negative minimum of each half
	q      unsafe.Pointer // int8: 32 of each row for each group
	d      unsafe.Pointer // scale of each row for each group
	s      unsafe.Pointer // d·S, of the group or of each half
	c      unsafe.Pointer // -128·S, likewise
	acc    unsafe.Pointer // results: 16 of each row, or of each panel in direct
	units  int            // of a panel in direct and unpack; groups in tile
	panels int            // in direct, and tile if it takes many
	bias   uint64         // in each byte
	rows   int            // of a tile
	zero   uint64         // c shifted right by it is -zero·S, for the layout's zero
	spill  unsafe.Pointer // spillBytes for tile

	// For kernels that take several tiles and panels:
	tiles     int
	tileStep  int            // bytes from tile to tile of q, d and s
	panelStep int            // bytes from panel to panel of values, dw and extra
	next      uintptr        // packed weights that will be unpacked soon; the kernel moves it on, also past their end
	nextStep  int            // bytes of them to prefetch for each group, tile and panel
	config    unsafe.Pointer // of the tile registers

	ahead int // bytes from the packed weights that direct and unpack read to those that they prefetch
}

const spillBytes = 8 << 10

func (a *args) arg() *byte { return (*byte)(unsafe.Pointer(a)) }

// quantizeArgs is what quantize takes: a row, and where it goes in its tile.
type quantizeArgs struct {
	x      unsafe.Pointer
	q      unsafe.Pointer // then 32·rows bytes on for each group
	d      unsafe.Pointer // 4·rows bytes on
	s      unsafe.Pointer // 4·rows bytes on
	c      unsafe.Pointer // 4·rows bytes on
	sHalf  unsafe.Pointer // 4·rows bytes on for each half
	cHalf  unsafe.Pointer // 4·rows bytes on for each half
	groups int
	rows   int // of the tile
	ldx    int // bytes from row to row of x, for a whole tile
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
	mask     uint64 // bit j: column j exists
	ahead    int    // bytes to the rows that come next, which are prefetched
}

func (a *finishArgs) arg() *byte { return (*byte)(unsafe.Pointer(a)) }

// view is n elements at p.
func view[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }

func current() *kernels { return forLevel(cpu.Level()) }
