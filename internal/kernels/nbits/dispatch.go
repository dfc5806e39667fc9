package nbits

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// kernels is what an instruction-set level provides, by the index of a format.
type kernels struct {
	row      [formats]kernel // adds to 32 columns of a row
	four     [formats]kernel // adds to fourCols columns of four rows
	fourCols int
	widen    [formats]kernel // writes 16 columns of weights as float32
}

const widenCols = 16

// A kernel takes *args as bytes: the generator knows no Go types of this package.
type kernel func(a *byte)

// args is what kernels take. The assembly knows the offsets of its fields.
type args struct {
	w      unsafe.Pointer // the first group's scale of the first column
	x      unsafe.Pointer
	ldx    int            // bytes from row to row
	groups int            // of K, at least one
	out    unsafe.Pointer // sums that are added to, 32 of each row; in widen, what is written
	ldw    int            // bytes from k to k of what widen writes
}

func (a *args) arg() *byte { return (*byte)(unsafe.Pointer(a)) }

func current() *kernels { return forLevel(cpu.Level()) }
