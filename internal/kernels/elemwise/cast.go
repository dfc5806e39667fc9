package elemwise

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Cast is a prepared conversion between numeric types, bool, float16 and
// bfloat16.
//
// Floats to integers truncate towards zero; NaN and values out of range give
// what C compilers' code gives on x86: int32 and int64 become their least
// value, narrower integers the low bits of the int32, and uint32 those of the int64. Integers wrap. To bool: not
// zero, so NaN is true. Float to a narrower float rounds to nearest, ties to
// even, and overflows to infinity; float64 to a 16-bit float rounds through float32.
type Cast struct {
	row              castFunc
	sizeDst, sizeSrc int
	dst, src         []byte
	n, parts         int
	scratch          [][]float32 // nil where the conversion has no stages
}

// NewCast prepares a conversion.
func NewCast(from, to dtype.Type) (*Cast, error) {
	row, staged := castRow(from, to)
	if row == nil {
		return nil, fmt.Errorf("cast: no conversion from %v to %v", from, to)
	}
	c := &Cast{row: row, sizeDst: to.Bits() / 8, sizeSrc: from.Bits() / 8}
	if staged {
		c.scratch = make([][]float32, split.Most)
	}
	return c, nil
}

// Run converts as many elements as dst has.
func (c *Cast) Run(p *pool.Pool, dst, src []byte) {
	c.n = len(dst) / c.sizeDst
	if c.n == 0 {
		return
	}
	c.dst, c.src = dst, src[:c.n*c.sizeSrc]
	c.parts = split.Parts(c.n, grain)
	if c.scratch != nil {
		for i := range c.parts {
			if c.scratch[i] == nil {
				c.scratch[i] = make([]float32, castStages*block)
			}
		}
	}
	p.RunFromEnds(c.parts, c)
	c.dst, c.src = nil, nil
}

// Do converts one chunk; it is called by the pool.
func (c *Cast) Do(i int) {
	lo, hi := split.Aligned(c.n, 64, c.parts, i)
	if lo == hi {
		return
	}
	var scratch []float32
	if c.scratch != nil {
		scratch = c.scratch[i]
	}
	c.row(unsafe.Pointer(&c.dst[lo*c.sizeDst]), unsafe.Pointer(&c.src[lo*c.sizeSrc]), hi-lo, scratch)
}
