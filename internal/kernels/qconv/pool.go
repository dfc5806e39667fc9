package qconv

import (
	"encoding/binary"
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// MaxPool is a prepared maximum over windows of [N, H, W, C] bytes. A window
// wholly in the padding gives the least number.
type MaxPool struct {
	h, w     window.Dim
	channels int
	signed   bool
	largest  func(dst, src *byte, n int)
	in, out  []byte
	rows     []byte // two for each chunk: the maxima along the height, and along both
}

// NewMaxPool prepares for windows along height and width.
func NewMaxPool(h, w window.Dim, channels int, signed bool, level cpu.Target) *MaxPool {
	m := &MaxPool{h: h, w: w, channels: channels, signed: signed, largest: forLevel(level).largest[0]}
	if signed {
		m.largest = forLevel(level).largest[1]
	}
	return m
}

// ScratchSize is the working memory of a run for n images.
func (m *MaxPool) ScratchSize(n int) int { return 2 * n * m.h.Out * m.w.In * m.channels }

// Run computes n images.
func (m *MaxPool) Run(p *pool.Pool, n int, in, out, scratch []byte) error {
	if want := n * m.h.In * m.w.In * m.channels; len(in) != want {
		return fmt.Errorf("qconv: input of a pooling has %d bytes, expected %d", len(in), want)
	}
	if want := n * m.h.Out * m.w.Out * m.channels; len(out) != want || len(scratch) < m.ScratchSize(n) {
		return fmt.Errorf("qconv: output and scratch of a pooling have %d and %d bytes, expected %d and %d", len(out), len(scratch), want, m.ScratchSize(n))
	}
	m.in, m.out, m.rows = in, out, scratch
	p.RunFromEnds(n*m.h.Out, m)
	m.in, m.out, m.rows = nil, nil, nil
	return nil
}

// Do computes one row of one image: the maxima of whole rows of the input, then of
// that row and itself some pixels on, of which each window takes a pixel. Windows
// that reach into the padding compare their own pixels.
func (m *MaxPool) Do(i int) {
	size := m.w.In * m.channels
	row, both := m.rows[2*i*size:][:size], m.rows[(2*i+1)*size:][:size]
	m.maxRows(row, i/m.h.Out, i%m.h.Out)
	step := m.w.Dilation * m.channels
	if whole := size - (m.w.Kernel-1)*step; whole > 0 {
		both = both[:whole]
		copy(both, row)
		for k := 1; k < m.w.Kernel; k++ {
			m.largest(&both[0], &row[k*step], whole)
		}
	}
	out := m.out[i*m.w.Out*m.channels:][:m.w.Out*m.channels]
	for x := range m.w.Out {
		dst := out[x*m.channels:][:m.channels]
		at := m.w.First(x) * m.channels
		switch k0, k1 := m.w.Taps(x); {
		case k0 == k1:
			fill(dst, uint16(m.least()), 1)
		case k1-k0 == m.w.Kernel:
			copy(dst, both[at:])
		default:
			copy(dst, row[at+k0*step:])
			for k := k0 + 1; k < k1; k++ {
				m.largest(&dst[0], &row[at+k*step], m.channels)
			}
		}
	}
}

// maxRows gives the maxima along the height for row y of an image's output.
func (m *MaxPool) maxRows(row []byte, img, y int) {
	k0, k1 := m.h.Taps(y)
	if k0 == k1 {
		fill(row, uint16(m.least()), 1)
	}
	for k := k0; k < k1; k++ {
		src := m.in[(img*m.h.In+m.h.First(y)+k*m.h.Dilation)*len(row):][:len(row)]
		if k == k0 {
			copy(row, src)
		} else {
			m.largest(&row[0], &src[0], len(row))
		}
	}
}

// least is the least number.
func (m *MaxPool) least() byte {
	if m.signed {
		return 0x80
	}
	return 0
}

// Sums adds up the pixels of an image [pixels, channels] of bytes, less a zero
// point each, into a number for each channel.
func Sums(dst []int32, src []byte, f Format) {
	channels := len(dst)
	pixels := len(src) / max(channels, 1)
	flips := uint64(0)
	if f.Signed {
		flips = 0x8080808080808080
	}
	zero := int32(pixels) * unsignedZero(f)
	c := 0
	for ; c+8 <= channels; c += 8 {
		sum8((*[8]int32)(dst[c:]), src[c:], channels, pixels, flips)
	}
	for ; c < channels; c++ {
		s := int32(0)
		for p := range pixels {
			s += int32(src[p*channels+c] ^ byte(flips))
		}
		dst[c] = s
	}
	for c := range dst {
		dst[c] -= zero
	}
}

// sum8 adds up eight channels in words of 16 bits, at most 256 pixels at a time.
func sum8(dst *[8]int32, src []byte, stride, pixels int, flips uint64) {
	*dst = [8]int32{}
	for at := 0; at < pixels; at += 256 {
		var even, odd uint64
		for p := at; p < min(at+256, pixels); p++ {
			x := binary.LittleEndian.Uint64(src[p*stride:]) ^ flips
			even += x & 0x00ff00ff00ff00ff
			odd += x >> 8 & 0x00ff00ff00ff00ff
		}
		for i := range 4 {
			dst[2*i] += int32(even >> (16 * i) & 0xffff)
			dst[2*i+1] += int32(odd >> (16 * i) & 0xffff)
		}
	}
}
