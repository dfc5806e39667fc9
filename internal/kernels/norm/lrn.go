package norm

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

const lrnTile = 512 // places at work together: a few rows of them stay in the first cache

// LRN is a prepared local response normalization of [batch, channels, area]:
// x / (bias + scale·Σx²)^beta, where the sum is over the channels around x's own
// (Krizhevsky et al., 2012).
type LRN struct {
	channels, area, before, after int
	scale, bias, beta             float32
	tiles, units, parts           int
	dst, src, scratch             []float32
}

// NewLRN prepares sums over the channels from `before` in front of each to
// `after` behind it.
func NewLRN(batch, channels, area, before, after int, scale, beta, bias float32) (*LRN, error) {
	if before < 0 || after < 0 {
		return nil, fmt.Errorf("lrn: a window of %d channels before and %d after", before, after)
	}
	l := &LRN{channels: channels, area: area, before: min(before, channels), after: min(after, channels), scale: scale, bias: bias, beta: beta}
	l.tiles = (area + lrnTile - 1) / lrnTile
	l.units = batch * l.tiles
	l.parts = min(split.Parts(batch*channels*area, grain), max(l.units, 1))
	return l, nil
}

func (l *LRN) window() int { return l.before + 1 + l.after }

// rows are what a chunk works on: the window's squares, the sum and a factor.
func (l *LRN) rows() int { return l.window() + 2 }

// Scratch is the number of float32 of scratch memory that Run needs.
func (l *LRN) Scratch() int { return l.parts * l.rows() * lrnTile }

// Run computes dst from src, which are different memory.
func (l *LRN) Run(p *pool.Pool, dst, src, scratch []float32) {
	l.dst, l.src, l.scratch = dst, src, scratch
	p.RunFromEnds(l.parts, l)
	l.dst, l.src, l.scratch = nil, nil, nil
}

// Do normalizes one chunk; it is called by the pool.
func (l *LRN) Do(part int) {
	scratch := l.scratch[part*l.rows()*lrnTile:][:l.rows()*lrnTile]
	lo, hi := split.Range(l.units, l.parts, part)
	for u := lo; u < hi; u++ {
		at := u % l.tiles * lrnTile
		l.tile(u/l.tiles*l.channels*l.area+at, min(lrnTile, l.area-at), scratch)
	}
}

// tile normalizes w places of all channels, from the element at on. Sums are in
// the order of the channels.
func (l *LRN) tile(at, w int, scratch []float32) {
	ring, sum, factor := scratch[2*lrnTile:], scratch[:w], scratch[lrnTile:][:w]
	square := func(c int) []float32 { return ring[c%l.window()*lrnTile:][:w] }
	add, mul := elemwise.Row(elemwise.Add), elemwise.Row(elemwise.Mul)
	ready := 0
	for c := range l.channels {
		for ; ready <= min(c+l.after, l.channels-1); ready++ {
			x := l.src[at+ready*l.area:][:w]
			mul(square(ready), x, x, 1, 1)
		}
		first := max(0, c-l.before)
		copy(sum, square(first))
		for k := first + 1; k < ready; k++ {
			add(sum, sum, square(k), 1, 1)
		}
		elemwise.Float32(elemwise.Affine)(sum, sum, elemwise.Params{A: l.scale, B: l.bias})
		l.power(sum, factor)
		elemwise.Row(elemwise.Div)(l.dst[at+c*l.area:][:w], l.src[at+c*l.area:], sum, 1, 1)
	}
}

// power raises x to beta; the usual exponents are roots.
func (l *LRN) power(x, spare []float32) {
	root := elemwise.Float32(elemwise.Sqrt)
	switch l.beta {
	case 1:
	case .5:
		root(x, x, elemwise.Params{})
	case .75:
		root(x, x, elemwise.Params{})
		root(spare, x, elemwise.Params{})
		elemwise.Row(elemwise.Mul)(x, x, spare, 1, 1)
	default:
		spare[0] = l.beta
		elemwise.Row(elemwise.Pow)(x, x, spare, 1, 0)
	}
}
