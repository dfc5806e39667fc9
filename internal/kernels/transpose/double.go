package transpose

import (
	"encoding/binary"
	"unsafe"
)

// Double writes each element of src, of 1, 2, 4 or 8 bytes, twice to dst and to again, which may be the
// same place. Both are twice as long as src.
func Double(dst, again, src []byte, size int) {
	dst, again = dst[:2*len(src)], again[:2*len(src)]
	const line = 32
	const most = 64 << 10 // bytes that a call reads
	if f := current().double[size]; f != nil && len(src) >= line {
		for at := 0; at < len(src); {
			at = min(at, len(src)-line) // the last line: some once more
			n := min(len(src)-at, most) / line
			f(&dst[2*at], &again[2*at], &src[at], n)
			at += n * line
		}
		return
	}
	if len(src) == 0 {
		return
	}
	double(dst, src, size)
	if unsafe.SliceData(again) != unsafe.SliceData(dst) {
		copy(again, dst)
	}
}

// double writes 8 bytes at a time, or 16 of the largest elements.
func double(dst, src []byte, size int) {
	done := len(src) / 4 * 4
	switch size {
	case 1:
		for i := 0; i < done; i += 4 {
			v := uint64(binary.NativeEndian.Uint32(src[i:]))
			v = (v | v<<16) & 0x0000ffff0000ffff
			v = (v | v<<8) & 0x00ff00ff00ff00ff
			binary.NativeEndian.PutUint64(dst[2*i:], v*0x101)
		}
		for i := done; i < len(src); i++ {
			dst[2*i], dst[2*i+1] = src[i], src[i]
		}
	case 2:
		for i := 0; i < done; i += 4 {
			v := uint64(binary.NativeEndian.Uint32(src[i:]))
			v = (v | v<<16) & 0x0000ffff0000ffff
			binary.NativeEndian.PutUint64(dst[2*i:], v*0x10001)
		}
		for i := done; i < len(src); i++ {
			dst[2*i-i%2], dst[2*i-i%2+2] = src[i], src[i]
		}
	case 4:
		for i := 0; i < len(src); i += 4 {
			v := uint64(binary.NativeEndian.Uint32(src[i:]))
			binary.NativeEndian.PutUint64(dst[2*i:], v|v<<32)
		}
	case 8:
		for i := 0; i < len(src); i += 8 {
			v := binary.NativeEndian.Uint64(src[i:])
			binary.NativeEndian.PutUint64(dst[2*i:], v)
			binary.NativeEndian.PutUint64(dst[2*i+8:], v)
		}
	}
}
