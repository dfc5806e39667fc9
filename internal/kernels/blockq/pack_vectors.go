package blockq

import "github.com/salver-ml/salver/internal/dtype/block"

// packKernels bring codes of 16 rows into vectors of a panel.
type packKernels struct {
	// quads takes 16 bytes of each row, and gives four vectors.
	quads func(dst, src *byte, stride int)
	// halves takes 32 bytes of each row, and gives four vectors of their low halves and,
	// some bytes apart, four of their high ones.
	halves func(dst, src *byte, stride, apart int)
	// panels take so many blocks of each row, and give all of a panel that they are in.
	panels map[block.Format]func(dst, src *byte, stride, blocks int)
}

// packer is pack for all 16 columns of a panel, with kernels.
type packer struct {
	*layout
	*packKernels
}

// maxPacked is how many bytes a call of a kernel takes at most, since it can't be
// interrupted.
const maxPacked = 256 << 10

// packWhole packs a whole panel by a kernel; false if there is none.
func (l *layout) packWhole(dst, rows []byte, rowBytes int) bool {
	k := packKernelsOf()
	if k == nil || k.panels[l.format] == nil {
		return false
	}
	size := l.format.Bytes()
	blocks := rowBytes / size
	_, _ = dst[:blocks*l.unitBytes()], rows[:cols*rowBytes]
	most := max(1, maxPacked/(cols*size))
	for from := 0; from < blocks; from += most {
		k.panels[l.format](&dst[from*l.unitBytes()], &rows[from*size], rowBytes, min(most, blocks-from))
	}
	return true
}

// packVectors gives the function that is pack for all 16 columns of a whole panel; nil
// at levels that have no kernels, and for formats that have none.
func (l *layout) packVectors() func(dst, rows []byte, rowBytes int) {
	p := packer{l, packKernelsOf()}
	if p.packKernels == nil {
		return nil
	}
	switch l.format {
	case block.Q4_1, block.Q5_0, block.Q5_1:
		return p.simple
	case block.Q5_K:
		return p.super5
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
}

// super5 is for Q5_K.
func (p packer) super5(dst, rows []byte, rowBytes int) {
	group, first, codes := p.groupBytes(), p.headerBytes(), p.headerBytes()+p.scaleBytes()
	for j := range cols {
		b := rows[j*rowBytes:][:p.format.Bytes()]
		put16(dst, j, b)
		put16(dst[2*cols:], j, b[2:])
		sc, mins := scaleMins(b[4:16])
		for g := range 8 {
			s := dst[first+g*group:][:2*cols]
			s[j], s[cols+j] = byte(sc>>(8*g)), byte(mins>>(8*g))
			rowBits(dst[codes+g*group+4*vector:], j, b[16:48], g)
		}
	}
	for g := 0; g < 8; g += 2 {
		p.halvesAt(dst, rows, rowBytes, codes+g*group, group, p.format.Bytes()-128+g/2*32)
	}
}
