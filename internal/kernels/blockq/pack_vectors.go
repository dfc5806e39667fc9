package blockq

import "github.com/salver-ml/salver/internal/dtype/block"

// packKernels bring codes of 16 rows into vectors of a panel.
type packKernels struct {
	// quads takes 16 bytes of each row, and gives four vectors.
	quads func(dst, src *byte, stride int)
	// halves takes 32 bytes of each row, and gives four vectors of their low halves and,
	// some bytes apart, four of their high ones.
	halves func(dst, src *byte, stride, apart int)
}

// packer is pack for all 16 columns of a panel, with kernels.
type packer struct {
	*layout
	*packKernels
}

// packVectors gives the function that is pack for all 16 columns of a whole panel; nil
// at levels that have no kernels, and for formats that have none.
func (l *layout) packVectors() func(dst, rows []byte, rowBytes int) {
	p := packer{l, packKernelsOf()}
	if p.packKernels == nil {
		return nil
	}
	switch l.format {
	case block.Q4_0, block.IQ4_NL, block.Q4_1, block.Q5_0, block.Q5_1, block.Q8_0:
		return p.simple
	case block.Q4_K, block.Q5_K:
		return p.super4
	case block.Q6_K:
		return p.super6
	}
	return nil
}

// codesAt brings 16 bytes of each row, from at on, into vectors from to on.
func (p packer) codesAt(dst, rows []byte, rowBytes, to, at int) {
	_, _ = dst[to:to+4*vector], rows[at+15*rowBytes:][:16]
	p.quads(&dst[to], &rows[at], rowBytes)
}

// halvesAt brings the halves of 32 bytes of each row into vectors from to and, apart
// bytes on, into others.
func (p packer) halvesAt(dst, rows []byte, rowBytes, to, apart, at int) {
	_, _ = dst[to+apart:to+apart+4*vector], rows[at+15*rowBytes:][:32]
	p.halves(&dst[to], &rows[at], rowBytes, apart)
}

// simple is for formats without superblocks: one or two scales, perhaps bits above the
// others, then codes.
func (p packer) simple(dst, rows []byte, rowBytes int) {
	scales, first := p.scaleBytes()/(2*cols), p.scaleBytes()
	at := 2 * scales
	for s := range scales {
		from, to := rows[2*s:], (*[2 * cols]byte)(dst[2*cols*s:])
		for j := 0; j < cols; j += 2 {
			zip16(to[2*j:], from[j*rowBytes:], from[(j+1)*rowBytes:])
		}
	}
	if p.high > 0 {
		for j := range cols {
			fifths(dst[first+4*vector:], j, le.Uint32(rows[j*rowBytes+at:]))
		}
		at += 4
	}
	p.codesAt(dst, rows, rowBytes, first, at)
	if p.low == 8 {
		p.codesAt(dst, rows, rowBytes, first+4*vector, at+16)
	}
}

// super4 is for Q4_K and Q5_K.
func (p packer) super4(dst, rows []byte, rowBytes int) {
	group, first, codes := p.groupBytes(), p.headerBytes(), p.headerBytes()+p.scaleBytes()
	for j := range cols {
		b := rows[j*rowBytes:][:p.format.Bytes()]
		put16(dst, j, b)
		put16(dst[2*cols:], j, b[2:])
		sc, mins := scaleMins(b[4:16])
		for g := range 8 {
			s := dst[first+g*group:][:2*cols]
			s[j], s[cols+j] = byte(sc>>(8*g)), byte(mins>>(8*g))
			if p.high > 0 {
				rowBits(dst[codes+g*group+4*vector:], j, b[16:48], g)
			}
		}
	}
	for g := 0; g < 8; g += 2 {
		p.halvesAt(dst, rows, rowBytes, codes+g*group, group, p.format.Bytes()-128+g/2*32)
	}
}

// super6 is for Q6_K.
func (p packer) super6(dst, rows []byte, rowBytes int) {
	group, first, codes := p.groupBytes(), p.headerBytes(), p.headerBytes()+p.scaleBytes()
	for j := 0; j < cols; j += 2 {
		a, b := rows[j*rowBytes:][:p.format.Bytes()], rows[(j+1)*rowBytes:][:p.format.Bytes()]
		zip16(dst[2*j:], a[208:], b[208:])
		for g := range 8 {
			s := dst[first+g*group:][:group]
			zip8(s, j, a[192+2*g], b[192+2*g])
			zip8(s[cols:], j, a[193+2*g], b[193+2*g])
			zipPairs(s[2*cols+4*vector+4*j:], (*[32]byte)(a[128+g/4*32:]), (*[32]byte)(b[128+g/4*32:]), g%4*2)
		}
	}
	for i := range 4 {
		g := i/2*4 + i%2 // and g + 2
		p.halvesAt(dst, rows, rowBytes, codes+g*group, 2*group, 32*i)
	}
}

// zipPairs writes 2 bits of each of 32 bytes of two neighbouring columns.
func zipPairs(dst []byte, a, b *[32]byte, shift int) {
	x, y := pairs4(a, shift), pairs4(b, shift)
	to := (*[vector + 8]byte)(dst)
	le.PutUint64(to[:], x&lower|y<<32)
	le.PutUint64(to[vector:], x>>32|y&^lower)
}
