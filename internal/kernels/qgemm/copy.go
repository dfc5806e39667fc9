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

// widen writes bytes, with some bits flipped, as little-endian 16-bit numbers,
// four at a time, and fills dst up with zeros.
func widen(dst, src []byte, flip byte) {
	flips := uint64(flip) * 0x0001000100010001
	for len(src) >= 4 && len(dst) >= 8 {
		x := uint64(binary.LittleEndian.Uint32(src))
		x = (x | x<<16) & 0x0000ffff0000ffff
		x = (x | x<<8) & 0x00ff00ff00ff00ff
		binary.LittleEndian.PutUint64(dst, x^flips)
		src, dst = src[4:], dst[8:]
	}
	for _, x := range src {
		binary.LittleEndian.PutUint16(dst, uint16(x^flip))
		dst = dst[2:]
	}
	clear(dst)
}
