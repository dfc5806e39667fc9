package transpose

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// kernels is what an instruction-set level provides.
type kernels struct {
	tile1, tile2, tile4, tile8 tileFunc              // of elements of so many bytes
	lines                      func(dst, src []byte) // as many bytes as dst has
	repeats                    func(dst []byte)      // of the first 32 bytes
	// rows copies rows of bytes that are 32 at least and less than longRow; ds and ss are bytes from row to row.
	rows func(dst, src unsafe.Pointer, rows, bytes, ds, ss int)
	// double writes each element of lines of 32 bytes twice, to two places, by the elements' size; nil: there is none.
	double [9]func(dst, again, src *byte, lines int)
}

func current() *kernels { return forLevel(cpu.Level()) }

// portable is the specification of the other kernels.
var portable = kernels{
	tile1: tile[uint8], tile2: tile[uint16], tile4: tile[uint32], tile8: tile[uint64],
	lines: func(dst, src []byte) { copy(dst, src) }, repeats: repeatBytes, rows: midRows,
}

// CopyBytes copies as many bytes as dst has, into the caches.
func CopyBytes(dst, src []byte) { current().lines(dst, src[:len(dst)]) }

// repeatBytes repeats the first 32 bytes, or what there is, up to the end; it takes few and wide stores.
func repeatBytes(dst []byte) {
	const line = 64
	n := min(32, len(dst))
	if len(dst) >= line {
		copy(dst[n:line], dst)
		p := unsafe.Pointer(unsafe.SliceData(dst))
		for n = line; n+line <= len(dst); n += line {
			*(*[8]uint64)(unsafe.Add(p, n)) = *(*[8]uint64)(p)
		}
	}
	for n < len(dst) {
		n += copy(dst[n:], dst[:n])
	}
}

// Fill repeats a value, of 1 byte or another power of two up to 32, or of any number of bytes, over dst.
func Fill(dst, value []byte) {
	n := copy(dst, value)
	if 32%len(value) == 0 {
		for n < min(len(dst), 32) {
			n += copy(dst[n:min(len(dst), 32)], dst[:n])
		}
		current().repeats(dst)
		return
	}
	const near = 8 << 10 // what is copied stays in the first cache
	for piece := n; n < len(dst); {
		if n < near {
			piece = n
		}
		n += copy(dst[n:], dst[:piece])
	}
}
