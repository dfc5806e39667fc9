package blockq

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// NBits are the weights of ONNX Runtime's MatMulNBits: N rows of K numbers of 4 or
// 8 bits, low ones first, in blocks along K of a multiple of 32. A number stands
// for (code - zero)·scale. The arithmetic is that of Q4_0, Q8_0, and with zero
// points of Q4_1 with m = -(scale·zero), rounded.
type NBits struct {
	N, K, Bits, Block int
	Codes             []byte
	Scales            []float32 // of each block of each row
	Zeros             []float32 // likewise; nil: the middle of the range
}

// Check says why the kernels can't serve, or nil.
func (w *NBits) Check() error {
	switch {
	case w.Bits != 4 && w.Bits != 8:
		return fmt.Errorf("blockq: numbers of %d bits, expected 4 or 8", w.Bits)
	case w.Bits == 8 && w.Zeros != nil:
		return fmt.Errorf("blockq: numbers of 8 bits with zero points")
	case w.N < 1 || w.K < 1 || w.Block < groupSize || w.Block%groupSize != 0 || w.K%w.Block != 0:
		return fmt.Errorf("blockq: %d rows of %d numbers in blocks of %d: expected whole blocks of a multiple of %d", w.N, w.K, w.Block, groupSize)
	}
	return nil
}

func (w *NBits) format() block.Format {
	switch {
	case w.Bits == 8:
		return n8
	case w.Zeros != nil:
		return n4Zero
	}
	return n4
}

// PackedSize is the number of bytes that Pack needs.
func (w *NBits) PackedSize() (int, error) {
	if err := w.Check(); err != nil {
		return 0, err
	}
	return tiling.Ceil(w.N, cols) * layouts[w.format()].panelBytes(w.K), nil
}

// Prepacked views data that Pack has filled before. Of the slices it is enough to
// know whether there are zero points.
func (w *NBits) Prepacked(data []byte) (*Packed, error) {
	size, err := w.PackedSize()
	if err != nil {
		return nil, err
	}
	if len(data) < size {
		return nil, fmt.Errorf("blockq: packed weights of %d rows of %d numbers of %d bits have %d bytes, got %d", w.N, w.K, w.Bits, size, len(data))
	}
	f := w.format()
	return &Packed{format: f, layout: layouts[f], n: w.N, k: w.K, data: data[:size:size]}, nil
}

// Pack packs the weights into dst, which is retained and has PackedSize bytes.
func (w *NBits) Pack(dst []byte) (*Packed, error) {
	p, err := w.Prepacked(dst)
	if err != nil {
		return nil, err
	}
	blocks := w.N * (w.K / w.Block)
	if len(w.Codes) != w.N*w.K*w.Bits/8 || len(w.Scales) != blocks || w.Zeros != nil && len(w.Zeros) != blocks {
		return nil, fmt.Errorf("blockq: %d rows of %d numbers of %d bits in blocks of %d: got %d bytes, %d scales, %d zero points",
			w.N, w.K, w.Bits, w.Block, len(w.Codes), len(w.Scales), len(w.Zeros))
	}
	clear(p.data)
	size := p.layout.groupBytes()
	for row := range w.N {
		for g := range w.K / groupSize {
			w.packGroup(p.panel(row / cols)[g*size:][:size], row, g, p.layout)
		}
	}
	return p, nil
}

func (w *NBits) packGroup(dst []byte, row, g int, l *layout) {
	j := row % cols
	b := row*(w.K/w.Block) + g*groupSize/w.Block
	le.PutUint32(dst[4*j:], math.Float32bits(w.Scales[b]))
	if w.Zeros != nil {
		le.PutUint32(dst[4*cols+4*j:], math.Float32bits(-(w.Scales[b] * w.Zeros[b])))
	}
	src := w.Codes[(row*w.K+g*groupSize)*w.Bits/8:][:groupSize*w.Bits/8]
	dst = dst[l.scaleBytes():]
	if w.Bits == 8 {
		for t := range 8 {
			put(dst, t, j, word(src, t)^0x80808080)
		}
		return
	}
	for v := range 4 { // two bytes have a quad
		put(dst, v, j, spread(le.Uint16(src[2*v:]))|spread(le.Uint16(src[2*v+8:]))<<4)
	}
}

// spread puts four numbers of 4 bits into a byte each.
func spread(x uint16) uint32 {
	y := uint32(x)
	y = (y | y<<8) & 0x00ff00ff
	return (y | y<<4) & 0x0f0f0f0f
}
