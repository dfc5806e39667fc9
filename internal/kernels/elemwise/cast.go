package elemwise

import (
	"fmt"
	"math"
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
	row              func(dst, src unsafe.Pointer, n int, scratch []float32)
	sizeDst, sizeSrc int
	dst, src         []byte
	n, parts         int
	scratch          [][]float32
}

// NewCast prepares a conversion.
func NewCast(from, to dtype.Type) (*Cast, error) {
	c := &Cast{sizeDst: to.Bits() / 8, sizeSrc: from.Bits() / 8}
	switch {
	case from == to && from.Bits() >= 8:
		size := c.sizeDst
		c.row = func(dst, src unsafe.Pointer, n int, _ []float32) {
			copy(unsafe.Slice((*byte)(dst), n*size), unsafe.Slice((*byte)(src), n*size))
		}
	case isNarrow(from) && isNarrow(to):
		c.row = narrowToNarrow(narrowCodec(from), narrowCodec(to))
	case isNarrow(from):
		c.row = fromNarrow(narrowCodec(from), castRow(dtype.Float32, to), c.sizeDst, to == dtype.Float32)
	case isNarrow(to):
		c.row = toNarrow(narrowCodec(to), castRow(from, dtype.Float32), c.sizeSrc, from == dtype.Float32)
	default:
		c.row = castRow(from, to)
	}
	if c.row == nil {
		return nil, fmt.Errorf("cast: no conversion from %v to %v", from, to)
	}
	if isNarrow(from) || isNarrow(to) {
		c.scratch = make([][]float32, split.Most)
	}
	return c, nil
}

func isNarrow(t dtype.Type) bool { return t == dtype.Float16 || t == dtype.BFloat16 }

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
				c.scratch[i] = make([]float32, block)
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

type castFunc func(dst, src unsafe.Pointer, n int, scratch []float32)

// fromNarrow converts by way of float32, unless that is what is wanted; toNarrow likewise.
func fromNarrow(c codec, rest castFunc, size int, same bool) castFunc {
	if rest == nil {
		return nil
	}
	if same {
		return func(dst, src unsafe.Pointer, n int, _ []float32) {
			c.widen(unsafe.Slice((*float32)(dst), n), unsafe.Slice((*uint16)(src), n))
		}
	}
	return func(dst, src unsafe.Pointer, n int, scratch []float32) {
		s := unsafe.Slice((*uint16)(src), n)
		for lo := 0; lo < n; lo += block {
			t := scratch[:min(block, n-lo)]
			c.widen(t, s[lo:])
			rest(unsafe.Add(dst, lo*size), unsafe.Pointer(&t[0]), len(t), nil)
		}
	}
}

func toNarrow(c codec, first castFunc, size int, same bool) castFunc {
	if first == nil {
		return nil
	}
	if same {
		return func(dst, src unsafe.Pointer, n int, _ []float32) {
			c.narrow(unsafe.Slice((*uint16)(dst), n), unsafe.Slice((*float32)(src), n))
		}
	}
	return func(dst, src unsafe.Pointer, n int, scratch []float32) {
		d := unsafe.Slice((*uint16)(dst), n)
		for lo := 0; lo < n; lo += block {
			t := scratch[:min(block, n-lo)]
			first(unsafe.Pointer(&t[0]), unsafe.Add(src, lo*size), len(t), nil)
			c.narrow(d[lo:lo+len(t)], t)
		}
	}
}

func narrowToNarrow(from, to codec) castFunc {
	return func(dst, src unsafe.Pointer, n int, scratch []float32) {
		d, s := unsafe.Slice((*uint16)(dst), n), unsafe.Slice((*uint16)(src), n)
		for lo := 0; lo < n; lo += block {
			t := scratch[:min(block, n-lo)]
			from.widen(t, s[lo:])
			to.narrow(d[lo:lo+len(t)], t)
		}
	}
}

// castRow converts between the types that Go has.
func castRow(from, to dtype.Type) castFunc {
	if f := kernels().casts[[2]dtype.Type{from, to}]; f != nil {
		return f
	}
	return portableCast(from, to)
}

func portableCast(from, to dtype.Type) castFunc {
	switch from {
	case dtype.Float32:
		return castFloat[float32](to)
	case dtype.Float64:
		return castFloat[float64](to)
	case dtype.Bool:
		return castBool(to)
	case dtype.Int8:
		return castInt[int8](to)
	case dtype.Int16:
		return castInt[int16](to)
	case dtype.Int32:
		return castInt[int32](to)
	case dtype.Int64:
		return castInt[int64](to)
	case dtype.Uint8:
		return castInt[uint8](to)
	case dtype.Uint16:
		return castInt[uint16](to)
	case dtype.Uint32:
		return castInt[uint32](to)
	case dtype.Uint64:
		return castInt[uint64](to)
	}
	return nil
}

func castInt[S integer](to dtype.Type) castFunc {
	switch to {
	case dtype.Float32:
		return direct[float32, S]
	case dtype.Float64:
		return direct[float64, S]
	}
	return intToInt[S](to)
}

func castFloat[S ~float32 | ~float64](to dtype.Type) castFunc {
	switch to {
	case dtype.Float32:
		return direct[float32, S]
	case dtype.Float64:
		return direct[float64, S]
	case dtype.Int8:
		return truncated[int8, S]
	case dtype.Int16:
		return truncated[int16, S]
	case dtype.Int32:
		return truncated[int32, S]
	case dtype.Int64:
		return truncated[int64, S]
	case dtype.Uint8:
		return truncated[uint8, S]
	case dtype.Uint16:
		return truncated[uint16, S]
	case dtype.Uint32:
		return truncated[uint32, S]
	case dtype.Uint64:
		return truncated[uint64, S]
	case dtype.Bool:
		return toBool[S]
	}
	return nil
}

func intToInt[S integer](to dtype.Type) castFunc {
	switch to {
	case dtype.Int8:
		return direct[int8, S]
	case dtype.Int16:
		return direct[int16, S]
	case dtype.Int32:
		return direct[int32, S]
	case dtype.Int64:
		return direct[int64, S]
	case dtype.Uint8:
		return direct[uint8, S]
	case dtype.Uint16:
		return direct[uint16, S]
	case dtype.Uint32:
		return direct[uint32, S]
	case dtype.Uint64:
		return direct[uint64, S]
	case dtype.Bool:
		return toBool[S]
	}
	return nil
}

// castBool reads any byte but 0 as 1.
func castBool(to dtype.Type) castFunc {
	rest := castRow(dtype.Uint8, to)
	if rest == nil {
		return nil
	}
	return func(dst, src unsafe.Pointer, n int, scratch []float32) {
		var t [block]uint8
		s := unsafe.Slice((*uint8)(src), n)
		size := to.Bits() / 8
		for lo := 0; lo < n; lo += block {
			m := min(block, n-lo)
			bools(t[:m], s[lo:lo+m], And, 0)
			rest(unsafe.Add(dst, lo*size), unsafe.Pointer(&t[0]), m, scratch)
		}
	}
}

func direct[D, S number](dst, src unsafe.Pointer, n int, _ []float32) {
	d, s := unsafe.Slice((*D)(dst), n), unsafe.Slice((*S)(src), n)
	for i, x := range s {
		d[i] = D(x)
	}
}

func toBool[S number](dst, src unsafe.Pointer, n int, _ []float32) {
	d, s := unsafe.Slice((*bool)(dst), n), unsafe.Slice((*S)(src), n)
	for i, x := range s {
		d[i] = x != 0
	}
}

func truncated[D integer, S ~float32 | ~float64](dst, src unsafe.Pointer, n int, _ []float32) {
	d, s := unsafe.Slice((*D)(dst), n), unsafe.Slice((*S)(src), n)
	if wide := ^D(0) > 0 && unsafe.Sizeof(D(0)) == 4 || unsafe.Sizeof(D(0)) == 8; !wide {
		for i, x := range s {
			d[i] = D(toInt32(float64(x)))
		}
		return
	}
	for i, x := range s {
		v := int64(x)
		if v == math.MinInt64 || v == math.MaxInt64 || x != x { // what processors make of numbers that they can't convert; ARM's make 0 of NaN
			v = toInt64(float64(x))
		}
		d[i] = D(v)
	}
}

// toInt32 truncates; NaN and what int32 can't hold give its least value.
func toInt32(x float64) int32 {
	if x > -1<<31-1 && x < 1<<31 {
		return int32(x)
	}
	return -1 << 31
}

// toInt64 truncates; NaN and what int64 can't hold give its least value, and
// values between 2^63 and 2^64 their unsigned bits.
func toInt64(x float64) int64 {
	switch {
	case x >= -1<<63 && x < 1<<63:
		return int64(x)
	case x >= 1<<63 && x < 1<<64:
		return int64(uint64(x))
	}
	return -1 << 63
}
