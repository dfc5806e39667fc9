package softmax

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/pool"
)

// Kind is Plain or Log.
type Kind uint8

// The kinds.
const (
	Plain Kind = iota // e^x / Σe^x
	Log               // its logarithm
)

const (
	grain   = 8192 // elements in a chunk, at least: about 5 µs
	columns = 16   // turned into rows together, where the axis is not the last
)

// Softmax is a prepared softmax.
type Softmax struct {
	kind               Kind
	outer, n, inner    int
	units, parts, need int
	side               int // rows that are computed side by side; 0: one by one

	dst, src, scratch []float32
}

// New prepares the softmax of a shape along an axis, which may be negative.
func New(kind Kind, shape []int, axis int) (*Softmax, error) {
	if axis < -len(shape) || axis >= len(shape) {
		return nil, fmt.Errorf("softmax: axis %d of a tensor of rank %d", axis, len(shape))
	}
	if axis < 0 {
		axis += len(shape)
	}
	s := &Softmax{kind: kind, outer: 1, n: shape[axis], inner: 1}
	for i, d := range shape {
		if i < axis {
			s.outer *= d
		} else if i > axis {
			s.inner *= d
		}
	}
	if s.planSides(); s.side == 0 {
		s.units = s.outer * ((s.inner + columns - 1) / columns)
		if kind == Log {
			s.need += blockLen
		}
		if s.inner > 1 {
			s.need += columns * s.n
		}
	}
	s.parts = min(split.Parts(s.outer*s.n*s.inner, grain), max(s.units, 1))
	return s, nil
}

// Scratch is the number of float32 of scratch memory that Run needs.
func (s *Softmax) Scratch() int { return s.need * s.parts }

// Run computes dst from src.
func (s *Softmax) Run(p *pool.Pool, dst, src, scratch []float32) {
	if s.outer*s.n*s.inner == 0 {
		return
	}
	s.dst, s.src, s.scratch = dst, src, scratch
	p.RunFromEnds(s.parts, s)
	s.dst, s.src, s.scratch = nil, nil, nil
}

// Do computes one chunk; it is called by the pool.
func (s *Softmax) Do(part int) {
	scratch := s.scratch[part*s.need : (part+1)*s.need]
	lo, hi := split.Range(s.units, s.parts, part)
	for u := lo; u < hi; u++ {
		if s.side > 0 {
			s.sides(u, scratch)
			continue
		}
		if s.inner > 1 {
			s.tile(u, scratch)
			continue
		}
		s.row(s.dst[u*s.n:(u+1)*s.n], s.src[u*s.n:(u+1)*s.n], scratch)
	}
}

func (s *Softmax) row(dst, src, scratch []float32) {
	if s.kind == Log {
		logRow(dst, src, scratch)
		return
	}
	row(dst, src)
}

// tile turns up to 16 columns into rows, and back.
func (s *Softmax) tile(u int, scratch []float32) {
	tiles := (s.inner + columns - 1) / columns
	o, c := u/tiles, u%tiles*columns
	w := min(columns, s.inner-c)
	at := o*s.n*s.inner + c
	rows := scratch[s.need-columns*s.n:]
	transpose.Tile32(rows, s.src[at:], s.n, s.inner, s.n, w)
	for j := range w {
		r := rows[j*s.n : (j+1)*s.n]
		s.row(r, r, scratch)
	}
	transpose.Tile32(s.dst[at:], rows, s.inner, s.n, w, s.n)
}
