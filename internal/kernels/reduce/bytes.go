package reduce

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// A leastFunc writes the least of x^flip of each of some rows of n bytes, flipped back.
type leastFunc func(dst, src *byte, rows, n int, flip uint8)

// Rows of bytes that have a kernel; a call reads callBytes at most, as it can't be preempted.
const (
	leastRow  = 16
	callBytes = 256 << 10
)

// byteRows reduces rows of bytes to their least or greatest.
type byteRows struct {
	least    leastFunc
	flip     uint8
	rows, k  int
	parts    int
	dst, src []byte
	perCall  int // rows
}

// newByteRows prepares it; nil where there is no kernel.
func newByteRows(op Op, dt dtype.Type, l layout) runner {
	f := current().least
	if f == nil || op != Max && op != Min || dt != dtype.Uint8 && dt != dtype.Int8 || l.ordered || l.k < leastRow || l.k > callBytes {
		return nil
	}
	r := &byteRows{least: f, rows: l.outer, k: l.k, perCall: callBytes / l.k}
	if op == Max {
		r.flip = 0xff
	}
	if dt == dtype.Int8 {
		r.flip ^= 0x80
	}
	r.parts = min(split.Parts(l.outer*l.k, 4*grain), max(l.outer, 1))
	return r
}

func (r *byteRows) scratchBytes() int { return 0 }

func (r *byteRows) runBytes(p *pool.Pool, dst, src, _ []byte) {
	r.dst, r.src = dst[:r.rows], src[:r.rows*r.k]
	p.Run(r.parts, r)
	r.dst, r.src = nil, nil
}

// Do reduces one chunk; it is called by the pool.
func (r *byteRows) Do(i int) {
	lo, hi := split.Range(r.rows, r.parts, i)
	for lo < hi {
		n := min(hi-lo, r.perCall)
		r.least(&r.dst[lo], &r.src[lo*r.k], n, r.k, r.flip)
		lo += n
	}
}
