package qgemm

import "encoding/binary"

// flipped copies bytes with some bits flipped, eight at a time.
func flipped(dst, src []byte, flip byte) {
	flips := uint64(flip) * 0x0101010101010101
	for len(src) >= 8 && len(dst) >= 8 {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src)^flips)
		src, dst = src[8:], dst[8:]
	}
	for i, x := range src {
		dst[i] = x ^ flip
	}
}

// widenStep is what kernels.widen takes a multiple of.
const widenStep = 16

// widen writes bytes, with some bits flipped, as signed numbers of 16 bits, and fills dst up
// with zeros.
func widen(dst, src []byte, flip byte) {
	for _, x := range src {
		binary.NativeEndian.PutUint16(dst, uint16(int8(x^flip)))
		dst = dst[2:]
	}
	clear(dst)
}
