package transpose

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// table is one instruction-set level's kernels.
type table struct {
	tile1, tile2, tile4, tile8 tileFunc              // of elements of so many bytes
	lines                      func(dst, src []byte) // as many bytes as dst has
	repeats                    func(dst []byte)      // of the first 32 bytes
	// rows copies rows of bytes that are 32 at least and less than longRow; ds and ss are bytes from row to row.
	rows func(dst, src unsafe.Pointer, rows, bytes, ds, ss int)
}

// tables has each level's kernels; a level without its own has those below it.
var tables = []*table{{tile[uint8], tile[uint16], tile[uint32], tile[uint64], func(dst, src []byte) { copy(dst, src) }, repeatBytes, midRows}}

func kernels() *table { return tables[min(int(cpu.Level()), len(tables)-1)] }

// CopyBytes copies as many bytes as dst has, into the caches.
func CopyBytes(dst, src []byte) { kernels().lines(dst, src[:len(dst)]) }

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
		kernels().repeats(dst)
		return
	}
	for n < len(dst) {
		n += copy(dst[n:], dst[:n])
	}
}
