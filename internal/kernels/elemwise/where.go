package elemwise

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Select is a prepared Where: dst = cond ? a : b with broadcasting.
type Select struct {
	*Broadcast
	row             func(dst, cond, a, b unsafe.Pointer, n int, s [maxInputs]int)
	size, parts     int
	dst, cond, a, b []byte
}

// NewSelect prepares a selection between elements of size bytes (1, 2, 4, 8 or 16).
func NewSelect(size int, cond, a, b []int) (*Select, error) {
	bc, err := NewBroadcast(cond, a, b)
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	k := &Select{Broadcast: bc, size: size, parts: split.Parts(bc.n, grain)}
	switch size {
	case 1:
		k.row = selectRow[uint8]
	case 2:
		k.row = selectRow[uint16]
	case 4:
		k.row = selectRow[uint32]
	case 8:
		k.row = selectRow[uint64]
	case 16:
		k.row = selectRow[[2]uint64]
	default:
		return nil, fmt.Errorf("where: elements of %d bytes: want 1, 2, 4, 8 or 16", size)
	}
	return k, nil
}

// Run computes dst; cond has one byte per element, 0 is false.
func (k *Select) Run(p *pool.Pool, dst, cond, a, b []byte) {
	if k.n == 0 {
		return
	}
	k.dst, k.cond = dst[:k.n*k.size], cond[:k.need[0]]
	k.a, k.b = a[:k.need[1]*k.size], b[:k.need[2]*k.size]
	p.RunFromEnds(k.parts, k)
	k.dst, k.cond, k.a, k.b = nil, nil, nil, nil
}

// Do computes one chunk; it is called by the pool.
func (k *Select) Do(i int) {
	lo, hi := split.Aligned(k.n, 64, k.parts, i)
	width, s := k.Broadcast.row()
	for c := k.seek(lo); lo < hi; k.next(&c) {
		n := min(width-c.in, hi-lo)
		k.row(unsafe.Pointer(&k.dst[lo*k.size]), unsafe.Pointer(&k.cond[c.off[0]+c.in*s[0]]),
			unsafe.Pointer(&k.a[(c.off[1]+c.in*s[1])*k.size]), unsafe.Pointer(&k.b[(c.off[2]+c.in*s[2])*k.size]), n, s)
		lo += n
	}
}

func selectRow[T any](dst, cond, a, b unsafe.Pointer, n int, s [maxInputs]int) {
	d := unsafe.Slice((*T)(dst), n)
	c := unsafe.Slice((*uint8)(cond), 1+(n-1)*s[0])
	x, y := unsafe.Slice((*T)(a), 1+(n-1)*s[1]), unsafe.Slice((*T)(b), 1+(n-1)*s[2])
	if s[0] == 0 { // one condition for the row
		if c[0] == 0 {
			x, s[1] = y, s[2]
		}
		for i := range d {
			d[i] = x[i*s[1]]
		}
		return
	}
	for i := range d {
		if c[i] != 0 {
			d[i] = x[i*s[1]]
		} else {
			d[i] = y[i*s[2]]
		}
	}
}
