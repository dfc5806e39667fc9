package blockq

import "github.com/salver-ml/salver/internal/dtype/block"

// The formats of most models are packed two columns at a time: 8 bytes that are
// neighbours in a vector are written at once.

// packPairs gives the function that is pack for all 16 columns of a whole panel;
// nil for formats that have none.
func (l *layout) packPairs() func(dst, rows []byte, rowBytes int) {
	switch l.format {
	case block.Q4_0, block.IQ4_NL:
		return pairsNibbles
	case block.Q8_0:
		return pairsBytes
	case block.Q4_K:
		return pairsQ4K
	case block.Q6_K:
		return pairsQ6K
	}
	return nil
}

// quads are four vectors from some column on, up to the second of a pair.
type quads = [3*vector + 8]byte

const lower = 1<<32 - 1

// zip writes columns of vectors v and v+1, which follow each other in a file.
func zip(to *quads, v int, x, y uint64) {
	le.PutUint64(to[v*vector:], x&lower|y<<32)
	le.PutUint64(to[(v+1)*vector:], x>>32|y&^lower)
}

// zip16 writes two neighbouring 16-bit scales.
func zip16(dst, a, b []byte) {
	le.PutUint32(dst, uint32(le.Uint16(a))|uint32(le.Uint16(b))<<16)
}

// zip8 writes two neighbouring 8-bit scales.
func zip8(dst []byte, j int, a, b uint8) { le.PutUint16(dst[j:], uint16(a)|uint16(b)<<8) }

func pairsNibbles(dst, rows []byte, rowBytes int) {
	dst = dst[:2*cols+4*vector]
	at := 0
	for j := 0; j < cols; j += 2 {
		a, b := (*[18]byte)(rows[at:]), (*[18]byte)(rows[at+rowBytes:])
		at += 2 * rowBytes
		zip16(dst[2*j:], a[:], b[:])
		to := (*quads)(dst[2*cols+4*j:])
		zip(to, 0, le.Uint64(a[2:]), le.Uint64(b[2:]))
		zip(to, 2, le.Uint64(a[10:]), le.Uint64(b[10:]))
	}
}

func pairsBytes(dst, rows []byte, rowBytes int) {
	dst = dst[:2*cols+8*vector]
	at := 0
	for j := 0; j < cols; j += 2 {
		a, b := (*[34]byte)(rows[at:]), (*[34]byte)(rows[at+rowBytes:])
		at += 2 * rowBytes
		zip16(dst[2*j:], a[:], b[:])
		to := (*quads)(dst[2*cols+4*j:])
		zip(to, 0, le.Uint64(a[2:]), le.Uint64(b[2:]))
		zip(to, 2, le.Uint64(a[10:]), le.Uint64(b[10:]))
		to = (*quads)(dst[2*cols+4*vector+4*j:])
		zip(to, 0, le.Uint64(a[18:]), le.Uint64(b[18:]))
		zip(to, 2, le.Uint64(a[26:]), le.Uint64(b[26:]))
	}
}

func pairsQ4K(dst, rows []byte, rowBytes int) {
	for j := 0; j < cols; j += 2 {
		pairQ4K(dst, j, rows[j*rowBytes:], rows[(j+1)*rowBytes:])
	}
}

func pairsQ6K(dst, rows []byte, rowBytes int) {
	for j := 0; j < cols; j += 2 {
		pairQ6K(dst, j, rows[j*rowBytes:], rows[(j+1)*rowBytes:])
	}
}

func pairQ4K(dst []byte, j int, a, b []byte) {
	const group = 2*cols + 4*vector
	zip16(dst[2*j:], a, b)
	zip16(dst[2*cols+2*j:], a[2:], b[2:])
	scA, minA := scaleMins(a[4:16])
	scB, minB := scaleMins(b[4:16])
	for g := range 8 {
		s := dst[4*cols+g*group:][:group]
		zip8(s, j, byte(scA>>(8*g)), byte(scB>>(8*g)))
		zip8(s[cols:], j, byte(minA>>(8*g)), byte(minB>>(8*g)))
		at := 16 + g/2*32
		zipNibbles((*quads)(s[2*cols+4*j:]), (*[32]byte)(a[at:]), (*[32]byte)(b[at:]), g%2*4)
	}
}

func pairQ6K(dst []byte, j int, a, b []byte) {
	const group = 2*cols + 6*vector
	zip16(dst[2*j:], a[208:], b[208:])
	for g := range 8 {
		s := dst[2*cols+g*group:][:group]
		zip8(s, j, a[192+2*g], b[192+2*g])
		zip8(s[cols:], j, a[193+2*g], b[193+2*g])
		at := g/4*64 + g%2*32
		zipNibbles((*quads)(s[2*cols+4*j:]), (*[32]byte)(a[at:]), (*[32]byte)(b[at:]), g/2%2*4)
		at = 128 + g/4*32
		zipPairs(s[2*cols+4*vector+4*j:], (*[32]byte)(a[at:]), (*[32]byte)(b[at:]), g%4*2)
	}
}

// zipNibbles is rowNibbles for two columns.
func zipNibbles(to *quads, a, b *[32]byte, shift int) {
	x0, x1 := nibbles8(a, shift)
	y0, y1 := nibbles8(b, shift)
	zip(to, 0, x0, y0)
	zip(to, 2, x1, y1)
}

// nibbles8 takes 4 bits of each of 32 bytes, those of the last 16 above the first.
func nibbles8(b *[32]byte, shift int) (uint64, uint64) {
	const mask = 0x0f0f0f0f0f0f0f0f
	shift &= 63
	return le.Uint64(b[:])>>shift&mask | le.Uint64(b[16:])>>shift&mask<<4,
		le.Uint64(b[8:])>>shift&mask | le.Uint64(b[24:])>>shift&mask<<4
}

// pairs4 takes 2 bits of each of 32 bytes.
func pairs4(b *[32]byte, shift int) uint64 {
	const mask = 0x0303030303030303
	shift &= 63
	return le.Uint64(b[:])>>shift&mask | le.Uint64(b[8:])>>shift&mask<<2 |
		le.Uint64(b[16:])>>shift&mask<<4 | le.Uint64(b[24:])>>shift&mask<<6
}

// zipPairs writes 2 bits of each of 32 bytes of two neighbouring columns.
func zipPairs(dst []byte, a, b *[32]byte, shift int) {
	x, y := pairs4(a, shift), pairs4(b, shift)
	to := (*[vector + 8]byte)(dst)
	le.PutUint64(to[:], x&lower|y<<32)
	le.PutUint64(to[vector:], x>>32|y&^lower)
}
