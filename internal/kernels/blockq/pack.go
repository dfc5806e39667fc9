package blockq

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/mmap"
)

// Packed is a matrix of weights in the order in which kernels read it, which is
// the same at every instruction-set level.
type Packed struct {
	format block.Format
	layout *layout // nil for formats of 16 bits
	n, k   int
	data   []byte
	rows   []byte      // to be read in place of data: see Stream
	ready  int         // panels of data that are packed meanwhile
	read   atomic.Bool // all rows, once: the system has mapped their pages
}

// Pack packs n rows of k elements, as a file has them, into dst, which is
// retained and has PackedSize bytes.
func Pack(dst []byte, f block.Format, n, k int, rows []byte) (*Packed, error) {
	p, err := Prepacked(dst, f, n, k)
	if err != nil {
		return nil, err
	}
	return p, p.PackPanels(rows, 0, Panels(n))
}

// Panels is how many panels n rows are.
func Panels(n int) int { return tiling.Ceil(n, cols) }

// PackPanels packs some panels of all rows.
func (p *Packed) PackPanels(rows []byte, from, to int) error {
	row, err := p.format.RowBytes(p.k)
	if err != nil {
		return err
	}
	if len(rows) != p.n*row {
		return fmt.Errorf("blockq: %d rows of %d elements of %v have %d bytes, got %d", p.n, p.k, p.format, p.n*row, len(rows))
	}
	p.packPanels(rows, from, to)
	return nil
}

// packGrain is the number of panels for which another processor pays.
const packGrain = 8

// mapped is how many bytes of packed weights the system maps at once.
const mapped = mmap.HugePage

// packPanels packs on as many processors as there are: models are loaded before
// anything else wants them.
func (p *Packed) packPanels(rows []byte, first, last int) {
	panels := last - first
	parts := min(split.Parts(panels, packGrain), cpu.Threads())
	step := max(1, mapped/p.panelBytes())
	row := len(rows) / p.n
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			lo, hi := split.Range(panels, parts, i)
			for from := first + lo; from < first+hi; from += step {
				to := min(from+step, first+hi)
				dst := p.data[from*p.panelBytes() : to*p.panelBytes()]
				mmap.PopulateWrite(dst) // of loading a large model most would be page faults, one at a time
				mmap.PopulateRead(rows[from*cols*row : min(to*cols, p.n)*row])
				p.packRange(dst, from, to, rows)
			}
		})
	}
	wg.Wait()
}

// packRange packs some panels into dst.
func (p *Packed) packRange(dst []byte, from, to int, rows []byte) {
	pack := p.packPanel
	if p.layout == nil {
		pack = p.packHalf
	}
	row, size := len(rows)/p.n, p.panelBytes()
	for panel := from; panel < to; panel++ {
		pack(dst[:size], rows[panel*cols*row:min((panel+1)*cols, p.n)*row], row)
		dst = dst[size:]
	}
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
	size := p.panelBytes()
	return p.data[i*size : (i+1)*size]
}

// panelBytes is what a panel takes.
func (p *Packed) panelBytes() int {
	if p.layout == nil {
		return 2 * cols * p.k
	}
	return p.layout.panelBytes(p.k)
}

// packPanel packs at most 16 rows into dst. Rows that are missing become zeros: their
// results are not stored.
func (p *Packed) packPanel(dst, rows []byte, rowBytes int) {
	l := p.layout
	n := len(rows) / rowBytes
	if n == cols && l.packWhole(dst, rows, rowBytes) {
		return
	}
	if n < cols {
		clear(dst)
	}
	size := p.format.Bytes()
	var pairs func([]byte, []byte, int)
	if n == cols {
		pairs = l.packPairs()
	}
	for b := 0; b < rowBytes; b, dst = b+size, dst[l.unitBytes():] {
		at, unit := rows[b:], dst[:l.unitBytes()]
		if pairs != nil {
			pairs(unit, at, rowBytes)
			continue
		}
		for j := range n {
			l.pack(unit, j, at[j*rowBytes:][:size])
		}
	}
}

// pack puts a block into column j of its place in a panel. Codes go four at a
// time: words of the file, with bits rearranged within their bytes.
func (l *layout) pack(dst []byte, j int, b []byte) {
	group, first := l.groupBytes(), l.headerBytes()
	scaled := l.scaleBytes()
	codes := func(g int) []byte { return dst[first+g*group+scaled:] }
	scales := func(g int) []byte { return dst[first+g*group:] }
	switch l.format {
	case block.Q4_0, block.IQ4_NL:
		put16(dst, j, b)
		copyWords(codes(0), j, b[2:18])
	case block.MXFP4:
		dst[j] = b[0]
		copyWords(codes(0), j, b[1:17])
	case block.Q4_1:
		put16(dst, j, b)
		put16(dst[2*cols:], j, b[2:])
		copyWords(codes(0), j, b[4:20])
	case block.Q5_0:
		put16(dst, j, b)
		copyWords(codes(0), j, b[6:22])
		fifths(codes(0)[4*vector:], j, le.Uint32(b[2:]))
	case block.Q5_1:
		put16(dst, j, b)
		put16(dst[2*cols:], j, b[2:])
		copyWords(codes(0), j, b[8:24])
		fifths(codes(0)[4*vector:], j, le.Uint32(b[4:]))
	case block.Q8_0:
		put16(dst, j, b)
		copyWords(codes(0), j, b[2:34])
	case block.Q4_K, block.Q5_K:
		put16(dst, j, b)
		put16(dst[2*cols:], j, b[2:])
		sc, mins := scaleMins(b[4:16])
		low := b[len(b)-128:]
		for g := range 8 {
			s := scales(g)
			s[j], s[cols+j] = byte(sc>>(8*g)), byte(mins>>(8*g))
			rowNibbles(codes(g), j, low[g/2*32:][:32], g%2*4)
			if l.high > 0 {
				rowBits(codes(g)[4*vector:], j, b[16:48], g)
			}
		}
	case block.Q6_K:
		put16(dst, j, b[208:])
		for g := range 8 {
			scales(g)[j], scales(g)[cols+j] = b[192+2*g], b[193+2*g]
			rowNibbles(codes(g), j, b[g/4*64+g%2*32:][:32], g/2%2*4)
			rowPairs(codes(g)[4*vector:], j, b[128+g/4*32:][:32], g%4*2)
		}
	case block.Q3_K:
		put16(dst, j, b[108:])
		var u unit
		u.scalesQ3(b[96:108])
		for g := range 8 {
			scales(g)[j], scales(g)[cols+j] = u.sc[2*g], u.sc[2*g+1]
			rowPairs(codes(g), j, b[32+g/4*32:][:32], g%4*2)
			rowBits(codes(g)[2*vector:], j, b[:32], g)
		}
	case block.Q2_K:
		put16(dst, j, b[80:])
		put16(dst[2*cols:], j, b[82:])
		for g := range 8 {
			scales(g)[j], scales(g)[cols+j] = b[2*g], b[2*g+1]
			rowPairs(codes(g), j, b[16+g/4*32:][:32], g%4*2)
		}
	case block.IQ4_XS:
		put16(dst, j, b)
		for g := range 8 {
			scales(g)[j] = scaleIQ4(b, g)
			copyWords(codes(g), j, b[8+16*g:24+16*g])
		}
	}
}

func put16(dst []byte, j int, b []byte) { le.PutUint16(dst[2*j:], le.Uint16(b)) }

func word(b []byte, i int) uint32 { return le.Uint32(b[4*i:]) }

// put sets column j of vector v.
func put(dst []byte, v, j int, x uint32) { le.PutUint32(dst[v*vector+4*j:], x) }

// copyWords: byte j of the file has elements j and j + 16, as byte j of a vector has.
func copyWords(dst []byte, j int, b []byte) {
	for v := range len(b) / 4 {
		put(dst, v, j, word(b, v))
	}
}

func words(b []byte, i int) uint64 { return le.Uint64(b[8*i:]) }

// put2 sets column j of vectors v and v+1.
func put2(dst []byte, v, j int, x uint64) {
	put(dst, v, j, uint32(x))
	put(dst, v+1, j, uint32(x>>32))
}

// rowNibbles takes 4 bits of each of 32 bytes.
func rowNibbles(dst []byte, j int, b []byte, shift int) {
	const mask = 0x0f0f0f0f0f0f0f0f
	b = b[:32]
	put2(dst, 0, j, words(b, 0)>>shift&mask|words(b, 2)>>shift&mask<<4)
	put2(dst, 2, j, words(b, 1)>>shift&mask|words(b, 3)>>shift&mask<<4)
}

// rowPairs takes 2 bits of each of 32 bytes.
func rowPairs(dst []byte, j int, b []byte, shift int) {
	const mask = 0x0303030303030303
	b = b[:32]
	put2(dst, 0, j, words(b, 0)>>shift&mask|words(b, 1)>>shift&mask<<2|words(b, 2)>>shift&mask<<4|words(b, 3)>>shift&mask<<6)
}

// rowBits takes a bit of each of 32 bytes.
func rowBits(dst []byte, j int, b []byte, shift int) {
	const mask = 0x0101010101010101
	b = b[:32]
	x := words(b, 0)>>shift&mask | words(b, 1)>>shift&mask<<2 | words(b, 2)>>shift&mask<<4 | words(b, 3)>>shift&mask<<6
	put(dst, 0, j, uint32(x)|uint32(x>>32)<<1)
}

// fifths takes 32 bits: bit 4·t + i to bit t of byte i.
func fifths(dst []byte, j int, bits uint32) {
	var x uint32
	for i := range 4 {
		y := bits >> i & 0x11111111
		y = (y | y>>3) & 0x03030303
		y = (y | y>>6) & 0x000f000f
		x |= (y | y>>12) & 0xff << (8 * i)
	}
	put(dst, 0, j, x)
}
