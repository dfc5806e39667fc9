package elemwise

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// Clamp limits dst = min(max(src, lo), hi) on this goroutine, for any number
// type; lo and hi hold one element each, or are empty where there is no limit.
// hi wins where lo > hi, and NaN elements stay.
func Clamp(dt dtype.Type, dst, src, lo, hi []byte) error {
	switch dt {
	case dtype.Float32:
		clampRow[float32](dst, src, lo, hi)
	case dtype.Float64:
		clampRow[float64](dst, src, lo, hi)
	case dtype.Float16, dtype.BFloat16:
		clampNarrow(narrowCodec(dt), dst, src, lo, hi)
	case dtype.Int8:
		clampRow[int8](dst, src, lo, hi)
	case dtype.Int16:
		clampRow[int16](dst, src, lo, hi)
	case dtype.Int32:
		clampRow[int32](dst, src, lo, hi)
	case dtype.Int64:
		clampRow[int64](dst, src, lo, hi)
	case dtype.Uint8:
		clampRow[uint8](dst, src, lo, hi)
	case dtype.Uint16:
		clampRow[uint16](dst, src, lo, hi)
	case dtype.Uint32:
		clampRow[uint32](dst, src, lo, hi)
	case dtype.Uint64:
		clampRow[uint64](dst, src, lo, hi)
	default:
		return fmt.Errorf("clamp: not defined for %v", dt)
	}
	return nil
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

func clampRow[T number](dst, src, lo, hi []byte) {
	d, s := view[T](dst), view[T](src)
	copy(d, s)
	if l := view[T](lo); len(l) > 0 {
		for i, x := range d {
			if x < l[0] {
				d[i] = l[0]
			}
		}
	}
	if h := view[T](hi); len(h) > 0 {
		for i, x := range d {
			if x > h[0] {
				d[i] = h[0]
			}
		}
	}
}

func clampNarrow(c codec, dst, src, lo, hi []byte) {
	var limit [1]float32
	d := view[uint16](dst)
	copy(d, view[uint16](src))
	bound := func(b []byte, beyond func(x, limit float32) bool) {
		l := view[uint16](b)
		if len(l) == 0 {
			return
		}
		c.widen(limit[:], l)
		for i := range d {
			var x [1]float32
			c.widen(x[:], d[i:i+1])
			if beyond(x[0], limit[0]) {
				d[i] = l[0]
			}
		}
	}
	bound(lo, func(x, l float32) bool { return x < l })
	bound(hi, func(x, l float32) bool { return x > l })
}
