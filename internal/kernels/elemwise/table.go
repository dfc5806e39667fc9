package elemwise

import (
	"encoding/binary"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Table is any function of bytes, prepared for a number of them.
type Table struct {
	dst, src []byte
	table    *[256]byte
	parts    int
	look     lookup
	changes  [256]byte // of the table, as look wants them
}

// lookup writes dst[i] = table[src[i]]; changes are those of tableChanges.
type lookup func(dst, src []byte, table, changes *[256]byte)

// NewTable prepares for n bytes.
func NewTable(n int) *Table { return &Table{parts: split.Parts(n, 16384), look: current().lookup} }

// Run computes dst[i] = table[src[i]]. dst may be src.
func (t *Table) Run(p *pool.Pool, dst, src []byte, table *[256]byte) {
	t.dst, t.src, t.table = dst, src, table
	tableChanges(&t.changes, table)
	p.RunFromEnds(t.parts, t)
	t.dst, t.src, t.table = nil, nil, nil
}

// Do computes one chunk; it is called by the pool.
func (t *Table) Do(i int) {
	lo, hi := split.Range(len(t.src), t.parts, i)
	t.look(t.dst[lo:hi], t.src[lo:hi], t.table, &t.changes)
}

// tableChanges combines each piece of 16 entries with the one before it, but for the
// first of each half.
func tableChanges(dst, table *[256]byte) {
	copy(dst[:], table[:])
	for i := range 256 {
		if i%128 >= 16 {
			dst[i] ^= table[i-16]
		}
	}
}

func portableLookup(dst, src []byte, table, _ *[256]byte) {
	x, y, f := src, dst, table
	for len(x) >= 8 && len(y) >= 8 {
		v := binary.LittleEndian.Uint64(x)
		r := uint64(f[byte(v)]) | uint64(f[byte(v>>8)])<<8 | uint64(f[byte(v>>16)])<<16 | uint64(f[byte(v>>24)])<<24 |
			uint64(f[byte(v>>32)])<<32 | uint64(f[byte(v>>40)])<<40 | uint64(f[byte(v>>48)])<<48 | uint64(f[byte(v>>56)])<<56
		binary.LittleEndian.PutUint64(y, r)
		x, y = x[8:], y[8:]
	}
	for i, v := range x {
		y[i] = f[v]
	}
}
