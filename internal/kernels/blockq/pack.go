package blockq

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Packed is a matrix of weights in the order in which kernels read it, which is
// the same at every instruction-set level.
type Packed struct {
	format block.Format
	layout *layout
	n, k   int
	data   []byte
}

// Pack packs n rows of k elements, as a file has them, into dst, which is
// retained and has PackedSize bytes.
func Pack(dst []byte, f block.Format, n, k int, rows []byte) (*Packed, error) {
	p, err := Prepacked(dst, f, n, k)
	if err != nil {
		return nil, err
	}
	row, _ := f.RowBytes(k)
	if len(rows) != n*row {
		return nil, fmt.Errorf("blockq: %d rows of %d elements of %v have %d bytes, got %d", n, k, f, n*row, len(rows))
	}
	for panel := range tiling.Ceil(n, cols) {
		p.packPanel(panel, rows[panel*cols*row:min((panel+1)*cols, n)*row], row)
	}
	return p, nil
}

// Prepacked views data that Pack has filled before.
func Prepacked(data []byte, f block.Format, n, k int) (*Packed, error) {
	size, err := PackedSize(f, n, k)
	if err != nil {
		return nil, err
	}
	if len(data) < size {
		return nil, fmt.Errorf("blockq: packed weights of %d rows of %d elements of %v have %d bytes, got %d", n, k, f, size, len(data))
	}
	return &Packed{format: f, layout: layouts[f], n: n, k: k, data: data[:size:size]}, nil
}

// Bytes is the memory that the packed weights take.
func (p *Packed) Bytes() int { return len(p.data) }

// panel is the data of a panel.
func (p *Packed) panel(i int) []byte {
	size := p.layout.panelBytes(p.k)
	return p.data[i*size : (i+1)*size]
}

// packPanel packs at most 16 rows. Rows that are missing become zeros: their
// results are not stored.
func (p *Packed) packPanel(panel int, rows []byte, rowBytes int) {
	l := p.layout
	dst := p.panel(panel)
	clear(dst)
	var u unit
	size := p.format.Bytes()
	for j := 0; len(rows) > 0; j, rows = j+1, rows[rowBytes:] {
		at := dst
		for b := 0; b < rowBytes; b += size {
			u.parse(p.format, rows[b:b+size])
			l.place(at, j, &u)
			at = at[l.unitBytes():]
		}
	}
}

// place puts a unit into column j of its place in a panel.
func (l *layout) place(dst []byte, j int, u *unit) {
	if l.headerBytes() > 0 {
		le.PutUint16(dst[2*j:], u.d)
		if l.headerBytes() > 2*cols {
			le.PutUint16(dst[2*cols+2*j:], u.m)
		}
	}
	dst = dst[l.headerBytes():]
	for g := range l.unit() / groupSize {
		l.placeScales(dst, j, g, u)
		l.placeCodes(dst[l.scaleBytes():l.groupBytes()], j, (*[groupSize]byte)(u.codes[g*groupSize:]))
		dst = dst[l.groupBytes():]
	}
}

func (l *layout) placeScales(dst []byte, j, g int, u *unit) {
	switch l.scaling {
	case half:
		le.PutUint16(dst[2*j:], u.d)
	case halfMin:
		le.PutUint16(dst[2*j:], u.d)
		le.PutUint16(dst[2*cols+2*j:], u.m)
	case e8m0:
		dst[j] = byte(u.d)
	case super:
		dst[j], dst[cols+j] = u.sc[g], u.mins[g]
	case superI8:
		dst[j] = u.sc[g]
	case superPair, superQ2:
		dst[j], dst[cols+j] = u.sc[2*g], u.sc[2*g+1]
	}
}

// placeCodes puts 32 codes into the planes.
func (l *layout) placeCodes(dst []byte, j int, codes *[groupSize]byte) {
	dst = dst[4*j:]
	for t := range 8 {
		quad := le.Uint32(codes[4*t:])
		switch l.low {
		case 8:
			or32(dst[t*vector:], quad)
		case 4:
			or32(dst[t%4*vector:], quad&0x0f0f0f0f<<(t/4*4))
		case 2:
			or32(dst[t%2*vector:], quad&0x03030303<<(t/2*2))
		}
		switch quad >>= l.low; l.high {
		case 2:
			or32(dst[(l.low+t%2)*vector:], quad&0x03030303<<(t/2*2))
		case 1:
			or32(dst[l.low*vector:], quad&0x01010101<<t)
		}
	}
}

func or32(dst []byte, v uint32) { le.PutUint32(dst, le.Uint32(dst)|v) }
