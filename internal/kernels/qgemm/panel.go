package qgemm

import (
	"encoding/binary"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A panelPacker writes one panel of B and adds up its columns.
type panelPacker struct {
	dst          []byte
	sums         []int32 // one for each column that exists
	inner        []int32 // the same, see put, or nil
	nr, group, k int
	flip         byte // 0x80 makes unsigned numbers signed
	clipper      *clipper
}

// rows packs B as it is stored, src beginning at the panel's first column.
func (w *panelPacker) rows(src []byte, stride int) {
	n := len(w.sums)
	clear(w.dst[tiling.Align(w.k, w.group)*w.nr:])
	// What stands for the rows that fill up the last group: zeros when flipped.
	none := [32]byte{}
	for i := range none {
		none[i] = w.flip
	}
	var row [4][]byte
	for k := 0; k < w.k; k += w.group {
		for i := range w.group {
			row[i] = none[:n]
			if k+i < w.k {
				row[i] = src[(k+i)*stride:][:n]
			}
		}
		if w.clipper != nil {
			w.clipper.k = k
		}
		dst := w.dst[k*w.nr:][:w.group*w.nr]
		if w.group == 4 {
			w.interleave4(dst, row)
		} else {
			w.interleave2(dst, row[0], row[1])
		}
		clear(dst[n*w.group:])
	}
}

func (w *panelPacker) interleave4(dst []byte, row [4][]byte) {
	n := len(w.sums)
	r0, r1, r2, r3 := row[0][:n], row[1][:n], row[2][:n], row[3][:n]
	for j := range w.sums {
		x0, x1, x2, x3 := r0[j]^w.flip, r1[j]^w.flip, r2[j]^w.flip, r3[j]^w.flip
		w.put(dst[4*j:], j, uint32(x0)|uint32(x1)<<8|uint32(x2)<<16|uint32(x3)<<24)
	}
}

func (w *panelPacker) interleave2(dst, r0, r1 []byte) {
	n := len(w.sums)
	r0, r1 = r0[:n], r1[:n]
	for j := range w.sums {
		x0, x1 := r0[j]^w.flip, r1[j]^w.flip
		binary.LittleEndian.PutUint16(dst[2*j:], uint16(x0)|uint16(x1)<<8)
		w.sums[j] += int32(int8(x0)) + int32(int8(x1))
	}
}

// columns packs B stored transposed, src beginning at the panel's first column.
func (w *panelPacker) columns(src []byte, stride int) {
	if n := len(w.sums); n < w.nr {
		clear(w.dst)
	}
	clear(w.dst[w.k/w.group*w.group*w.nr:])
	for j := range w.sums {
		col := src[j*stride:][:w.k]
		dst := w.dst[j*w.group:]
		whole := w.k / w.group * w.group
		if w.group == 4 {
			w.scatter4(dst, j, col[:whole], 0)
		} else {
			w.sums[j] += scatter2(dst, 2*w.nr, col[:whole], w.flip)
		}
		if whole == w.k {
			continue
		}
		if w.group == 4 {
			var last [4]byte
			for i := range last {
				last[i] = w.flip
			}
			copy(last[:], col[whole:])
			w.scatter4(dst[whole*w.nr:], j, last[:], whole)
			continue
		}
		last := dst[whole*w.nr:][:w.group]
		clear(last)
		for i, x := range col[whole:] {
			last[i] = x ^ w.flip
			w.sums[j] += int32(int8(x ^ w.flip))
		}
	}
}

// scatter4 writes groups of four of column j from some k on.
func (w *panelPacker) scatter4(dst []byte, j int, src []byte, k int) {
	flips := uint32(w.flip) * 0x01010101
	for at := 0; len(src) >= 4; at += 4 * w.nr {
		if w.clipper != nil {
			w.clipper.k = k + at/w.nr
		}
		w.put(dst[at:], j, binary.LittleEndian.Uint32(src)^flips)
		src = src[4:]
	}
}

// put writes a group of four of column j, and adds it up. For inner products its first and
// third number are beside each other, then the other two, with 128 added to each.
func (w *panelPacker) put(dst []byte, j int, x uint32) {
	a, b, c, d := int32(int8(x)), int32(int8(x>>8)), int32(int8(x>>16)), int32(int8(x>>24))
	w.sums[j] += a + b + c + d
	if w.inner != nil {
		w.inner[j] -= a*c + b*d
		x = x&0xff0000ff | x>>8&0xff00 | x&0xff00<<8
		x ^= 0x80808080
	}
	if w.clipper != nil && (uint32(a+b+clipLimit) > 2*clipLimit || uint32(c+d+clipLimit) > 2*clipLimit) {
		x = w.clipper.clip(j, x)
	}
	binary.LittleEndian.PutUint32(dst, x)
}

// scatter2 writes groups of two bytes a stride apart, and adds them up.
func scatter2(dst []byte, stride int, src []byte, flip byte) (sum int32) {
	flips := uint16(flip) * 0x0101
	for at := 0; len(src) >= 2; at += stride {
		x := binary.LittleEndian.Uint16(src) ^ flips
		binary.LittleEndian.PutUint16(dst[at:], x)
		sum += int32(int8(x)) + int32(int8(x>>8))
		src = src[2:]
	}
	return sum
}
