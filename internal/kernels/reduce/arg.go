package reduce

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Arg is a prepared ArgMax or ArgMin over one axis.
type Arg struct {
	outer, k, inner, parts int
	min, last              bool
	float                  bool // rows of float32
	columns                argFunc
	size                   int
	dst                    []int64
	src                    []byte
}

// argFunc finds the index of the extremum of k elements, stride apart, of each of
// neighbouring columns, at most argColumns.
type argFunc func(dst []int64, src []byte, stride, k int, least, last bool)

// argColumns is how many columns are searched together: rows of them are read in order.
const argColumns = 64

// NewArg prepares the search for the greatest element, or the least. Of equal ones
// the first counts, or the last. A NaN counts as the extremum, as in NumPy.
func NewArg(least, last bool, dt dtype.Type, shape []int, axis int) (*Arg, error) {
	if axis < -len(shape) || axis >= len(shape) {
		return nil, fmt.Errorf("arg: axis %d of a tensor of rank %d", axis, len(shape))
	}
	if axis < 0 {
		axis += len(shape)
	}
	a := &Arg{outer: 1, k: shape[axis], inner: 1, min: least, last: last, size: dt.Bits() / 8}
	for i, d := range shape {
		if i < axis {
			a.outer *= d
		} else if i > axis {
			a.inner *= d
		}
	}
	if a.k == 0 && a.outer*a.inner > 0 {
		return nil, fmt.Errorf("arg: axis %d has no elements", axis)
	}
	if a.columns = argOf(dt); a.columns == nil {
		return nil, fmt.Errorf("arg: not defined for %v", dt)
	}
	a.float = dt == dtype.Float32 && a.inner == 1
	a.parts = min(split.Parts(a.outer*a.k*a.inner, grain/4), max(a.outer*a.inner, 1))
	return a, nil
}

// Run writes outer × inner indices.
func (a *Arg) Run(p *pool.Pool, dst []int64, src []byte) {
	a.dst, a.src = dst, src
	p.Run(a.parts, a)
	a.dst, a.src = nil, nil
}

// Do computes one chunk; it is called by the pool.
func (a *Arg) Do(i int) {
	lo, hi := split.Range(a.outer*a.inner, a.parts, i)
	if a.k <= mostPlaces && a.float && argPlaces(a.dst[lo:hi], view[float32](a.src[4*lo*a.k:4*hi*a.k]), a.k, a.min, a.last) {
		return
	}
	if a.float && a.k <= argShort {
		argShortRows(a.dst[lo:hi], view[float32](a.src[4*lo*a.k:4*hi*a.k]), a.k, a.min, a.last)
		return
	}
	for lo < hi {
		o, c := lo/a.inner, lo%a.inner
		n := min(argColumns, a.inner-c, hi-lo)
		a.columns(a.dst[lo:lo+n], a.src[(o*a.k*a.inner+c)*a.size:], a.inner, a.k, a.min, a.last)
		lo += n
	}
}

func argOf(dt dtype.Type) argFunc {
	switch dt {
	case dtype.Float32:
		return argFloat32
	case dtype.Float64:
		return argOfColumns[float64]
	case dtype.Int8:
		return argOfColumns[int8]
	case dtype.Int16:
		return argOfColumns[int16]
	case dtype.Int32:
		return argOfColumns[int32]
	case dtype.Int64:
		return argOfColumns[int64]
	case dtype.Uint8:
		return argOfColumns[uint8]
	case dtype.Uint16:
		return argOfColumns[uint16]
	case dtype.Uint32:
		return argOfColumns[uint32]
	case dtype.Uint64:
		return argOfColumns[uint64]
	}
	return nil
}

func argOfColumns[T number](dst []int64, src []byte, stride, k int, least, last bool) {
	x := view[T](src)
	if len(dst) == 1 {
		dst[0] = argRow(x, stride, k, least, last)
		return
	}
	clear(dst)
	var room [argColumns]T
	best := room[:copy(room[:len(dst)], x)]
	for i := 1; i < k; i++ {
		row := x[i*stride:][:len(best)]
		best, dst := best[:len(row)], dst[:len(row)]
		if least || last {
			for j, v := range row {
				if better(v, best[j], least, last) {
					best[j], dst[j] = v, int64(i)
				}
			}
			continue
		}
		for j, v := range row {
			if v <= best[j] { // nearly always
				continue
			}
			if better(v, best[j], false, false) {
				best[j], dst[j] = v, int64(i)
			}
		}
	}
}

// argPiece is how many elements of a row are looked at together: only in the piece with the
// extremum its place is looked for.
const argPiece = 256

// argFloat32 is argOfColumns but for rows that lie in one run.
func argFloat32(dst []int64, src []byte, stride, k int, least, last bool) {
	if len(dst) > 1 || stride > 1 {
		argOfColumns[float32](dst, src, stride, k, least, last)
		return
	}
	x := view[float32](src)[:k]
	best, at := Extremum(x[:min(argPiece, k)], least), 0
	for i := argPiece; i < k; i += argPiece {
		if v := Extremum(x[i:min(i+argPiece, k)], least); better(v, best, least, last) {
			best, at = v, i
		}
	}
	piece := x[at:min(at+argPiece, k)]
	dst[0] = int64(at + place(piece, best, last))
}

// place is where x has v, the first or the last time; a NaN is like any other.
func place(x []float32, v float32, last bool) int {
	found := -1
	switch {
	case v != v:
		for i, w := range x {
			if w != w && (found < 0 || last) {
				found = i
			}
		}
	case last:
		for i := len(x) - 1; i >= 0 && found < 0; i-- {
			if x[i] == v {
				found = i
			}
		}
	default:
		for i, w := range x {
			if w == v {
				return i
			}
		}
	}
	return found
}

// mostPlaces is the longest row whose places are the bits of one number.
const mostPlaces = 32

// placesFunc sets a bit of dst for each place in a row of k that has the extremum, or NaN, if there is one.
type placesFunc func(dst *int64, x *float32, rows, k int)

// argPlaces finds the index for each row of k elements, if the level has a kernel.
func argPlaces(dst []int64, x []float32, k int, least, last bool) bool {
	const most = 1 << 14 // elements of a call, which can't be preempted
	places := &current().places[0]
	if least {
		places = &current().places[1]
	}
	f := places[(k-1)/8]
	if f == nil {
		return false
	}
	for len(dst) > 0 {
		n := min(len(dst), most/k)
		_ = x[n*k-1]
		f(&dst[0], &x[0], n, k)
		for i, set := range dst[:n] {
			if dst[i] = int64(bits.TrailingZeros32(uint32(set))); last {
				dst[i] = int64(bits.Len32(uint32(set))) - 1
			}
		}
		dst, x = dst[n:], x[n*k:]
	}
	return true
}

// argShort is the longest row that argShortRows is faster for.
const argShort = 24

// argShortRows finds the index for each row of k elements without branches, which would be hard to predict: numbers
// are compared as integers of the same order, with their place behind them.
func argShortRows(dst []int64, x []float32, k int, least, last bool) {
	sign, turn := float32(1), int64(math.MaxInt32)
	if least {
		sign = -1
	}
	if last {
		turn = 0
	}
	for r := range dst {
		best := int64(math.MinInt64)
		for i, v := range x[r*k:][:k] {
			bits := int32(math.Float32bits(v*sign + 0)) // no -0
			if v != v {
				bits = math.MaxInt32
			}
			best = max(best, int64(bits^bits>>31&math.MaxInt32)<<32|(int64(i)^turn))
		}
		dst[r] = best&math.MaxInt32 ^ turn
	}
}

// Extremum is the greatest element of up to 4096, or the least; a NaN if there is one.
func Extremum(x []float32, least bool) float32 {
	if least {
		return current().block[foldMin](x)
	}
	return current().block[foldMax](x)
}

func argRow[T number](x []T, stride, k int, least, last bool) int64 {
	best, at := x[0], 0
	for i := 1; i < k; i++ {
		if stride == 1 {
			if i += behind(x[i:k], best, least, last); i == k {
				break
			}
		}
		if v := x[i*stride]; better(v, best, least, last) {
			best, at = v, i
		}
	}
	return int64(at)
}

// behind is how many elements from the first on surely don't replace best: all, nearly always.
func behind[T number](x []T, best T, least, last bool) int {
	switch {
	case least && last:
		for i, v := range x {
			if !(v > best) {
				return i
			}
		}
	case least:
		for i, v := range x {
			if !(v >= best) {
				return i
			}
		}
	case last:
		for i, v := range x {
			if !(v < best) {
				return i
			}
		}
	default:
		for i, v := range x {
			if !(v <= best) {
				return i
			}
		}
	}
	return len(x)
}

// better reports whether v, which comes later, replaces best.
func better[T number](v, best T, least, last bool) bool {
	switch {
	case best != best:
		return last && v != v
	case v != v:
		return true
	case v == best:
		return last
	case least:
		return v < best
	}
	return v > best
}
