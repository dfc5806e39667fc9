package nbits

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Weights are N rows of K numbers of some bits, low ones first, in blocks along K that have
// a scale and a zero point each. The last block of a row may have codes beyond K.
type Weights struct {
	N, K, Bits, Block int
	Codes             []byte
	Scales            []float32 // of each block of each row
	Zeros             []byte    // likewise; nil: the middle of the range
}

// Packed weights are panels of 32 rows of W, columns of the product from here on. A panel is
// a group for every 32 elements of K:
//
//	scales  32 of float32
//	zeros   32 of float32, where there are zero points
//	codes   words of each column, the first of all 32, then the second…: a word has the next
//	        32/bits codes of its column, low bits first. Without zero points the middle of
//	        the range has been subtracted.
//
// Columns beyond N are zeros.
type Packed struct {
	n, k   int
	format format
	data   []byte
}

const (
	panelCols = 32
	groupSize = 32            // elements of K
	vector    = 4 * panelCols // bytes
	maxBlock  = 1 << 30
)

// format is how codes are packed.
type format struct {
	bits  int
	zeros bool
}

// index is the place of a format's kernels.
func (f format) index() int {
	i := f.bits/4 - 1
	if f.zeros {
		i += 2
	}
	return i
}

const formats = 4

// codesAt is where the codes of a group begin.
func (f format) codesAt() int {
	if f.zeros {
		return 2 * vector
	}
	return vector
}

func (f format) groupBytes() int { return f.codesAt() + f.bits*vector }

// Check says why the kernels can't serve, or nil.
func (w *Weights) Check() error {
	if w.Bits != 4 && w.Bits != 8 {
		return fmt.Errorf("nbits: numbers of %d bits, expected 4 or 8", w.Bits)
	}
	if w.N < 1 || w.K < 1 || w.K%groupSize != 0 || w.Block < groupSize || w.Block%groupSize != 0 || w.Block > maxBlock {
		return fmt.Errorf("nbits: %d rows of %d numbers in blocks of %d: expected rows and blocks of a multiple of %d, and of %d at most", w.N, w.K, w.Block, groupSize, maxBlock)
	}
	return nil
}

func (w *Weights) format() format { return format{w.Bits, w.Zeros != nil} }

// PackedSize is the number of bytes that Pack needs.
func (w *Weights) PackedSize() (int, error) {
	if err := w.Check(); err != nil {
		return 0, err
	}
	size := w.format().groupBytes() * (w.K / groupSize)
	panels := tiling.Ceil(w.N, panelCols)
	if panels > math.MaxInt/size {
		return 0, fmt.Errorf("nbits: %d rows of %d numbers are beyond what can be addressed", w.N, w.K)
	}
	return panels * size, nil
}

// Prepacked views data that Pack has filled before. Of the slices it is enough to
// know whether there are zero points.
func (w *Weights) Prepacked(data []byte) (*Packed, error) {
	size, err := w.PackedSize()
	if err != nil {
		return nil, err
	}
	if len(data) < size {
		return nil, fmt.Errorf("nbits: packed weights of %d rows of %d numbers of %d bits have %d bytes, got %d", w.N, w.K, w.Bits, size, len(data))
	}
	return &Packed{n: w.N, k: w.K, format: w.format(), data: data[:size:size]}, nil
}

// Pack packs the weights into dst, which is retained and has PackedSize bytes.
func (w *Weights) Pack(dst []byte) (*Packed, error) {
	p, err := w.Prepacked(dst)
	if err != nil {
		return nil, err
	}
	perRow := tiling.Ceil(w.K, w.Block)
	rowBytes := perRow * w.Block * w.Bits / 8
	if len(w.Codes) != w.N*rowBytes || len(w.Scales) != w.N*perRow || w.Zeros != nil && len(w.Zeros) != w.N*perRow {
		return nil, fmt.Errorf("nbits: %d rows of %d numbers of %d bits in blocks of %d: got %d bytes, %d scales, %d zero points",
			w.N, w.K, w.Bits, w.Block, len(w.Codes), len(w.Scales), len(w.Zeros))
	}
	clear(p.data)
	le, size := binary.LittleEndian, p.format.groupBytes()
	middle := uint32(0) // flips the highest bit of each code, which makes it signed
	if !p.format.zeros {
		middle = map[int]uint32{4: 0x88888888, 8: 0x80808080}[w.Bits]
	}
	for row := range w.N {
		at, codes := 4*(row%panelCols), w.Codes[row*rowBytes:]
		for g := range w.K / groupSize {
			dst := p.panel(row / panelCols)[g*size:][:size]
			block := row*perRow + g*groupSize/w.Block
			le.PutUint32(dst[at:], math.Float32bits(w.Scales[block]))
			if p.format.zeros {
				le.PutUint32(dst[vector+at:], math.Float32bits(float32(w.Zeros[block])))
			}
			for v := range w.Bits {
				le.PutUint32(dst[p.format.codesAt()+v*vector+at:], le.Uint32(codes[4*(g*w.Bits+v):])^middle)
			}
		}
	}
	return p, nil
}

func (p *Packed) panelBytes() int { return p.k / groupSize * p.format.groupBytes() }

func (p *Packed) panel(i int) []byte { return p.data[i*p.panelBytes():][:p.panelBytes()] }
