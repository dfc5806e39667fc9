//go:build !noasm

package transpose

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

//go:generate go -C ../../../tools/asmgen run . transpose -out ../../internal/kernels/transpose/transpose_amd64.s

// forLevel: AVX-512 has nothing of its own.
func forLevel(l cpu.Target) *kernels {
	if l >= cpu.AVX2 {
		return &avx2
	}
	return &portable
}

var avx2 = kernels{
	tile1: colours(inBlocks[uint8](8, tile1AVX2)), tile2: inBlocks[uint16](8, tile2AVX2), tile4: inBlocks[uint32](8, tile4AVX2), tile8: inBlocks[uint64](4, tile8AVX2),
	lines: copyLong, repeats: repeatLong, rows: rowsLong,
	double: [9]func(dst, again, src *byte, lines int){1: double1AVX2, 2: double2AVX2, 4: double4AVX2, 8: double8AVX2},
}

// inBlocks gives f the part of a tile whose sides are multiples of a block's, and then the blocks at its ends, some of
// it once more. Tiles that are smaller than a block are left to Go.
func inBlocks[T any](side int, f func(dst, src *byte, ds, ss, h, w int)) tileFunc {
	var z T
	size := int(unsafe.Sizeof(z))
	return func(dst, src unsafe.Pointer, ds, ss, h, w int) {
		bh, bw := h/side*side, w/side*side
		if bh == 0 || bw == 0 {
			tile[T](dst, src, ds, ss, h, w)
			return
		}
		part := func(i, j, h, w int) {
			f((*byte)(unsafe.Add(dst, (j*ds+i)*size)), (*byte)(unsafe.Add(src, (i*ss+j)*size)), ds, ss, h, w)
		}
		part(0, 0, bh, bw)
		if bw < w {
			part(0, w-side, bh, side)
		}
		if bh < h {
			part(h-side, 0, side, bw)
		}
		if bh < h && bw < w {
			part(h-side, w-side, side, side)
		}
	}
}

// longCopy is from how many bytes on copyLines is worth a call, callBytes how many it gets.
const longCopy, callBytes = 2 << 10, 256 << 10

// copyLong copies as many bytes as dst has.
func copyLong(dst, src []byte) {
	for len(dst) >= longCopy {
		n := min(len(dst), callBytes) &^ 127
		_ = src[n-1]
		copyLinesAVX2(&dst[0], &src[0], n/128)
		dst, src = dst[n:], src[n:]
	}
	copy(dst, src)
}

// repeatLong repeats the first 32 bytes up to the end.
func repeatLong(dst []byte) {
	if len(dst) < longRepeat {
		repeatBytes(dst)
		return
	}
	first := dst
	for dst = dst[32:]; len(dst) >= 128; {
		n := min(len(dst), callBytes) &^ 127
		fillLinesAVX2(&dst[0], &first[0], n/128)
		dst = dst[n:]
	}
	copy(dst, first)
	if len(dst) > 32 {
		copy(dst[32:], dst)
	}
	if len(dst) > 64 {
		copy(dst[64:], dst)
	}
}

// longRepeat is from how many bytes on a call is worth it.
const longRepeat = 512

// rowsLong copies rows of bytes, in calls that end soon.
func rowsLong(dst, src unsafe.Pointer, rows, bytes, ds, ss int) {
	for most := callBytes / bytes; rows > 0; {
		n := min(rows, most)
		copyRowsAVX2((*byte)(dst), (*byte)(src), n, bytes, ds, ss)
		if rows -= n; rows > 0 {
			dst, src = unsafe.Add(dst, n*ds), unsafe.Add(src, n*ss)
		}
	}
}
