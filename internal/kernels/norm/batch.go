package norm

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Batch is a prepared x·scale + shift per channel: BatchNormalization in inference.
type Batch struct {
	outer, channels, inner, block, parts int
	scale, shift                         []float32
	dst, src                             []float32
}

// Fold gives scale = gamma/√(variance+eps) and shift = beta - mean·scale,
// computed in float64 and rounded once.
func Fold(gamma, beta, mean, variance []float32, eps float32) (scale, shift []float32) {
	scale, shift = make([]float32, len(gamma)), make([]float32, len(gamma))
	for i := range gamma {
		s := float64(gamma[i]) / math.Sqrt(float64(variance[i])+float64(eps))
		scale[i], shift[i] = float32(s), float32(float64(beta[i])-float64(float64(mean[i])*s))
	}
	return scale, shift
}

// NewBatch prepares outer × channels × inner elements. Block b > 1 is the
// layout [outer, channels/b, inner, b], with b dividing the channels (padded with zeros in
// scale and shift if need be); otherwise b is 1.
func NewBatch(outer, inner, block int, scale, shift []float32) (*Batch, error) {
	c := len(scale)
	if len(shift) != c || block < 1 || c%block != 0 {
		return nil, fmt.Errorf("batch norm: %d scales, %d shifts in blocks of %d", c, len(shift), block)
	}
	b := &Batch{outer: outer, channels: c, inner: inner, block: block, scale: scale, shift: shift}
	if block == 1 && inner == 1 { // channels last: one block is the whole row
		b.outer, b.inner, b.block = 1, outer, max(c, 1)
	}
	b.parts = split.Parts(outer*c*inner, grain)
	return b, nil
}

// Run computes dst = src·scale + shift, each operation rounded.
func (b *Batch) Run(p *pool.Pool, dst, src []float32) {
	if b.outer*b.channels*b.inner == 0 {
		return
	}
	b.dst, b.src = dst, src
	p.RunFromEnds(b.parts, b)
	b.dst, b.src = nil, nil
}

// Do computes one chunk; it is called by the pool.
func (b *Batch) Do(part int) {
	blocks := b.channels / b.block
	lo, hi := split.Range(b.outer*blocks*b.inner, b.parts, part)
	for lo < hi {
		row := lo / b.inner
		n := min(min(hi, (row+1)*b.inner)-lo, max(callMax/b.block, 1))
		c := row % blocks * b.block
		dst, src := b.dst[lo*b.block:(lo+n)*b.block], b.src[lo*b.block:(lo+n)*b.block]
		if b.block == 1 {
			p := elemwise.Params{A: b.scale[c], B: b.shift[c]}
			elemwise.Float32(elemwise.Affine)(dst, src, p)
		} else {
			current().blocked(dst, src, b.scale[c:c+b.block], b.shift[c:c+b.block])
		}
		lo += n
	}
}
