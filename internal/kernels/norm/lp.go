package norm

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/pool"
)

const lpColumns = 16 // turned into rows together, where the axis is not the last

// Lp is a prepared LpNormalization along one axis: x divided by Σ|x| or √Σx²;
// 0 where that is 0.
type Lp struct {
	p, outer, n, inner, units, parts int
	dst, src, scratch                []float32
	norms                            [split.Most]float32 // per chunk: the row's at work
}

// NewLp prepares the norm of order p, 1 or 2.
func NewLp(p int, shape []int, axis int) (*Lp, error) {
	if axis < -len(shape) || axis >= len(shape) {
		return nil, fmt.Errorf("lp norm: axis %d of a tensor of rank %d", axis, len(shape))
	}
	if p != 1 && p != 2 {
		return nil, fmt.Errorf("lp norm: order %d: want 1 or 2", p)
	}
	if axis < 0 {
		axis += len(shape)
	}
	l := &Lp{p: p, outer: 1, n: shape[axis], inner: 1}
	for i, d := range shape {
		if i < axis {
			l.outer *= d
		} else if i > axis {
			l.inner *= d
		}
	}
	l.units = l.outer * ((l.inner + lpColumns - 1) / lpColumns)
	l.parts = min(split.Parts(l.outer*l.n*l.inner, grain), max(l.units, 1))
	return l, nil
}

// Scratch is the number of float32 of scratch memory that Run needs.
func (l *Lp) Scratch() int {
	if l.inner == 1 {
		return 0
	}
	return l.parts * lpColumns * l.n
}

// Run computes dst from src.
func (l *Lp) Run(p *pool.Pool, dst, src, scratch []float32) {
	if l.outer*l.n*l.inner == 0 {
		return
	}
	l.dst, l.src, l.scratch = dst, src, scratch
	p.RunFromEnds(l.parts, l)
	l.dst, l.src, l.scratch = nil, nil, nil
}

// Do normalizes one chunk; it is called by the pool.
func (l *Lp) Do(part int) {
	lo, hi := split.Range(l.units, l.parts, part)
	for u := lo; u < hi; u++ {
		if l.inner == 1 {
			l.row(part, l.dst[u*l.n:(u+1)*l.n], l.src[u*l.n:(u+1)*l.n])
			continue
		}
		l.tile(u, part, l.scratch[part*lpColumns*l.n:][:lpColumns*l.n])
	}
}

func (l *Lp) tile(u, part int, rows []float32) {
	tiles := (l.inner + lpColumns - 1) / lpColumns
	o, c := u/tiles, u%tiles*lpColumns
	w := min(lpColumns, l.inner-c)
	at := o*l.n*l.inner + c
	transpose.Tile32(rows, l.src[at:], l.n, l.inner, l.n, w)
	for j := range w {
		r := rows[j*l.n : (j+1)*l.n]
		l.row(part, r, r)
	}
	transpose.Tile32(l.dst[at:], rows, l.inner, l.n, w, l.n)
}

func (l *Lp) row(part int, dst, src []float32) {
	v := &l.norms[part]
	if l.p == 1 {
		*v = reduce.AbsRow(src)
	} else {
		*v = float32(math.Sqrt(float64(reduce.SquareDiffRow(src, 0))))
	}
	if *v == 0 {
		clear(dst)
		return
	}
	elemwise.Row(elemwise.Div)(dst, src, l.norms[part:], 1, 0)
}
