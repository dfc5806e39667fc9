package elemwise

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Quantize is a prepared QuantizeLinear: saturate(round(x/scale) + zero), with
// ties to even, for one scale, one per index of an axis, or one per block. It divides, as the
// specification says, and gives the same integers at every level. NaN becomes
// the least value.
type Quantize struct {
	axisSplit
	row   func(dst unsafe.Pointer, src []float32, scale, zero float32)
	size  int
	dst   []byte
	src   []float32
	scale []float32
	zero  []byte
	to    dtype.Type
}

// NewQuantize prepares for a shape; axis < 0 is per tensor. With block > 0 there is a scale for so
// many elements along the axis. to is Uint8, Int8, Uint16 or Int16.
func NewQuantize(to dtype.Type, shape []int, axis, block int) (*Quantize, error) {
	a, err := newAxisSplit(shape, axis, block)
	if err != nil {
		return nil, fmt.Errorf("quantize: %w", err)
	}
	q := &Quantize{axisSplit: a, size: to.Bits() / 8, to: to}
	switch to {
	case dtype.Uint8:
		q.row = quantizeInto(current().quantU8)
	case dtype.Int8:
		q.row = quantizeInto(current().quantS8)
	case dtype.Uint16:
		q.row = quantizeInto(quantizeRow[uint16])
	case dtype.Int16:
		q.row = quantizeInto(quantizeRow[int16])
	default:
		return nil, fmt.Errorf("quantize: to %v: want uint8, int8, uint16 or int16", to)
	}
	return q, nil
}

// Run quantizes src; zero has elements of the target type, or is empty for 0.
func (q *Quantize) Run(p *pool.Pool, dst []byte, src, scale []float32, zero []byte) {
	q.dst, q.src, q.scale, q.zero = dst[:q.n*q.size], src[:q.n], scale, zero
	p.RunFromEnds(q.parts, q)
	q.dst, q.src, q.scale, q.zero = nil, nil, nil, nil
}

// Do quantizes one chunk; it is called by the pool.
func (q *Quantize) Do(i int) {
	lo, hi := q.part(i)
	for lo < hi {
		if n := q.own(lo, hi); n > 0 {
			q.each(i, lo, n)
			lo += n
			continue
		}
		channel, n := q.run(lo, hi)
		q.row(unsafe.Pointer(&q.dst[lo*q.size]), q.src[lo:lo+n], q.scale[channel], float32(intAt(q.to, q.zero, channel)))
		lo += n
	}
}

func quantizeInto[T any](f func(dst []T, src []float32, scale, zero float32)) func(unsafe.Pointer, []float32, float32, float32) {
	return func(dst unsafe.Pointer, src []float32, scale, zero float32) {
		f(unsafe.Slice((*T)(dst), len(src)), src, scale, zero)
	}
}

func quantizeRow[T int8 | uint8 | int16 | uint16](dst []T, src []float32, scale, zero float32) {
	lo, hi := limits[T]()
	lo, hi = lo-zero, hi-zero
	for i, x := range src {
		v := x / scale
		if !(v > lo) { // NaN as well
			v = lo
		}
		if v > hi {
			v = hi
		}
		dst[i] = T(int32(math.RoundToEven(float64(v))) + int32(zero))
	}
}

func limits[T int8 | uint8 | int16 | uint16]() (lo, hi float32) {
	var z T
	bits := int(unsafe.Sizeof(z)) * 8
	if z-1 > 0 {
		return 0, float32(int(1)<<bits - 1)
	}
	return float32(-(int(1) << (bits - 1))), float32(int(1)<<(bits-1) - 1)
}

// intAt reads element i of integers; 0 where there are none.
func intAt(dt dtype.Type, b []byte, i int) int32 {
	if len(b) == 0 {
		return 0
	}
	switch dt {
	case dtype.Uint8:
		return int32(b[i])
	case dtype.Int8:
		return int32(int8(b[i]))
	case dtype.Uint16:
		return int32(view[uint16](b)[i])
	case dtype.Int16:
		return int32(view[int16](b)[i])
	}
	return view[int32](b)[i]
}

// Rows8 are the loops over rows of Uint8 or Int8: float gives (src - zero)·scale, round
// what Quantize does.
func Rows8(dt dtype.Type) (float func(dst []float32, src []byte, scale float32, zero int32), round func(dst []byte, src []float32, scale, zero float32)) {
	k := current()
	if dt == dtype.Uint8 {
		return k.dequantU8, k.quantU8
	}
	float = func(dst []float32, src []byte, scale float32, zero int32) {
		k.dequantS8(dst, view[int8](src), scale, zero)
	}
	return float, func(dst []byte, src []float32, scale, zero float32) { k.quantS8(view[int8](dst), src, scale, zero) }
}

// view reads bytes as elements.
func view[T any](b []byte) []T {
	var z T
	n := len(b) / int(unsafe.Sizeof(z))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
}

// Dequantize is a prepared DequantizeLinear: float32(x - zero)·scale.
type Dequantize struct {
	axisSplit
	row   func(dst []float32, src unsafe.Pointer, scale float32, zero int32)
	size  int
	from  dtype.Type
	dst   []float32
	src   []byte
	scale []float32
	zero  []byte
}

// NewDequantize prepares for a shape; axis < 0 is per tensor. With block > 0 there is a scale for so
// many elements along the axis. from is Uint8, Int8, Uint16, Int16 or Int32.
func NewDequantize(from dtype.Type, shape []int, axis, block int) (*Dequantize, error) {
	a, err := newAxisSplit(shape, axis, block)
	if err != nil {
		return nil, fmt.Errorf("dequantize: %w", err)
	}
	q := &Dequantize{axisSplit: a, size: from.Bits() / 8, from: from}
	switch from {
	case dtype.Uint8:
		q.row = dequantizeFrom(current().dequantU8)
	case dtype.Int8:
		q.row = dequantizeFrom(current().dequantS8)
	case dtype.Uint16:
		q.row = dequantizeFrom(dequantizeRow[uint16])
	case dtype.Int16:
		q.row = dequantizeFrom(dequantizeRow[int16])
	case dtype.Int32:
		if block > 0 {
			return nil, fmt.Errorf("dequantize: from int32 in blocks")
		}
		q.row = dequantizeFrom(dequantizeRow[int32])
	default:
		return nil, fmt.Errorf("dequantize: from %v: want uint8, int8, uint16, int16 or int32", from)
	}
	return q, nil
}

// Run dequantizes src; zero has elements of the source type, or is empty for 0.
func (q *Dequantize) Run(p *pool.Pool, dst []float32, src []byte, scale []float32, zero []byte) {
	q.dst, q.src, q.scale, q.zero = dst[:q.n], src[:q.n*q.size], scale, zero
	p.RunFromEnds(q.parts, q)
	q.dst, q.src, q.scale, q.zero = nil, nil, nil, nil
}

// Do dequantizes one chunk; it is called by the pool.
func (q *Dequantize) Do(i int) {
	lo, hi := q.part(i)
	for lo < hi {
		if n := q.own(lo, hi); n > 0 && q.from != dtype.Int32 {
			q.each(i, lo, n)
			lo += n
			continue
		}
		channel, n := q.run(lo, hi)
		dst, src, zero := q.dst[lo:lo+n], unsafe.Pointer(&q.src[lo*q.size]), intAt(q.from, q.zero, channel)
		if q.from == dtype.Int32 && zero == 0 {
			scaleInts(dst, unsafe.Slice((*int32)(src), n), q.scale[channel:channel+1])
		} else {
			q.row(dst, src, q.scale[channel], zero)
		}
		lo += n
	}
}

func dequantizeFrom[T any](f func(dst []float32, src []T, scale float32, zero int32)) func([]float32, unsafe.Pointer, float32, int32) {
	return func(dst []float32, src unsafe.Pointer, scale float32, zero int32) {
		f(dst, unsafe.Slice((*T)(src), len(dst)), scale, zero)
	}
}

func dequantizeRow[T int8 | uint8 | int16 | uint16 | int32](dst []float32, src []T, scale float32, zero int32) {
	src = src[:len(dst)]
	for i, q := range src {
		dst[i] = float32(int32(q)-zero) * scale
	}
}

// scaleInts converts and multiplies by kernels, a piece at a time.
func scaleInts(dst []float32, src []int32, scale []float32) {
	k := current()
	for len(dst) > 0 {
		d := dst[:min(len(dst), sweepBlock)]
		k.casts[castPair{dtype.Int32, dtype.Float32}](unsafe.Pointer(&d[0]), unsafe.Pointer(&src[0]), len(d), nil)
		k.binary[Mul](d, d, scale, 1, 0)
		dst, src = dst[len(d):], src[len(d):]
	}
}

// DynamicQuantize is a prepared DynamicQuantizeLinear to uint8 over a whole tensor.
type DynamicQuantize struct {
	n, parts int
	src      []float32
	ends     [split.Most][2]float32
	quantize *Quantize
	scale    [1]float32
	zero     [1]byte
}

// NewDynamicQuantize prepares for n elements.
func NewDynamicQuantize(n int) (*DynamicQuantize, error) {
	q, err := NewQuantize(dtype.Uint8, []int{n}, -1, 0)
	if err != nil {
		return nil, err
	}
	return &DynamicQuantize{n: n, parts: split.Parts(n, grain), quantize: q}, nil
}

// Run quantizes src by its own range, widened to hold 0, and returns the scale
// and the zero point. A range of nothing but 0 has scale 1.
func (q *DynamicQuantize) Run(p *pool.Pool, dst []byte, src []float32) (scale float32, zero uint8) {
	q.src = src[:q.n]
	p.RunFromEnds(q.parts, q)
	var lo, hi float32
	for _, e := range q.ends[:q.parts] {
		lo, hi = min(lo, e[0]), max(hi, e[1])
	}
	q.src = nil
	return q.RunInRange(p, dst, src, lo, hi)
}

// RunInRange is Run for numbers whose range has been found.
func (q *DynamicQuantize) RunInRange(p *pool.Pool, dst []byte, src []float32, lo, hi float32) (scale float32, zero uint8) {
	q.scale[0], q.zero[0] = DynamicRange(lo, hi)
	q.quantize.Run(p, dst, src, q.scale[:], q.zero[:])
	return q.scale[0], q.zero[0]
}

// Do finds the range of one chunk; it is called by the pool.
func (q *DynamicQuantize) Do(i int) {
	lo, hi := split.Aligned(q.n, 64, q.parts, i)
	q.ends[i][0], q.ends[i][1] = MinMax(q.src[lo:hi])
}

// MinMax is the range of x and 0; NaN is ignored.
func MinMax(x []float32) (lo, hi float32) { return current().minMax(x) }

func minMaxRow(x []float32) (lo, hi float32) {
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi
}

// DynamicRange gives DynamicQuantizeLinear's scale and zero point for a range
// that holds 0.
func DynamicRange(lo, hi float32) (scale float32, zero uint8) {
	if lo == hi {
		return 1, 0
	}
	scale = (hi - lo) / 255
	z := math.RoundToEven(float64(-lo / scale))
	return scale, uint8(min(max(z, 0), 255))
}
