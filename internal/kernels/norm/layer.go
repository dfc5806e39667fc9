package norm

import (
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

const (
	grain   = 16384 // elements in a chunk, at least: about 5 µs
	callMax = 16384 // elements in a call of assembly, which can't be preempted
)

// Layer is a prepared normalization of rows, by mean and variance or by root
// mean square.
type Layer struct {
	rows, width, parts int
	eps                float32
	rms                bool

	dst, src, gamma, beta []float32
	io                    Extra
}

// Extra are LayerNorm's further inputs and outputs; each may be nil.
type Extra struct {
	Skip []float32 // rows × width, added to the input
	Bias []float32 // width, added after Skip
	Sum  []float32 // out: the input with Skip and Bias, rows × width; needed if there is a Skip or Bias
	Mean []float32 // out: per row
	Inv  []float32 // out: 1/√(variance+eps) per row
}

// NewLayer prepares (x-mean)/√(variance+eps)·gamma + beta over rows of a width.
func NewLayer(rows, width int, eps float32) *Layer {
	return &Layer{rows: rows, width: width, eps: eps, parts: min(split.Parts(rows*width, grain), max(rows, 1))}
}

// NewRMS prepares x/√(mean of x²+eps)·gamma.
func NewRMS(rows, width int, eps float32) *Layer {
	l := NewLayer(rows, width, eps)
	l.rms = true
	return l
}

// Run normalizes src; gamma and beta have the row's width, or are nil. A beta needs a gamma.
func (l *Layer) Run(p *pool.Pool, dst, src, gamma, beta []float32) {
	l.RunExtra(p, dst, src, gamma, beta, Extra{})
}

// RunExtra is Run with further inputs and outputs.
func (l *Layer) RunExtra(p *pool.Pool, dst, src, gamma, beta []float32, io Extra) {
	if l.rows*l.width == 0 {
		return
	}
	l.dst, l.src, l.gamma, l.beta, l.io = dst, src, gamma, beta, io
	p.RunFromEnds(l.parts, l)
	l.dst, l.src, l.gamma, l.beta, l.io = nil, nil, nil, nil, Extra{}
}

// Do normalizes one chunk of rows; it is called by the pool.
func (l *Layer) Do(part int) {
	lo, hi := split.Range(l.rows, l.parts, part)
	for r := lo; r < hi; r++ {
		at, end := r*l.width, (r+1)*l.width
		x := l.sum(l.src[at:end], at, end)
		mean, inv := l.moments(x)
		if l.io.Mean != nil {
			l.io.Mean[r] = mean
		}
		if l.io.Inv != nil {
			l.io.Inv[r] = inv
		}
		normalize(l.dst[at:end], x, l.gamma, l.beta, mean, inv)
	}
}

// sum adds what is to be added to a row.
func (l *Layer) sum(x []float32, at, end int) []float32 {
	if l.io.Skip == nil && l.io.Bias == nil {
		return x
	}
	add, out := elemwise.Row(elemwise.Add), l.io.Sum[at:end]
	if l.io.Skip != nil {
		add(out, x, l.io.Skip[at:end], 1, 1)
		x = out
	}
	if l.io.Bias != nil {
		add(out, x, l.io.Bias, 1, 1)
	}
	return out
}

func (l *Layer) moments(x []float32) (mean, inv float32) {
	if l.rms {
		return 0, inverse(reduce.SquareDiffRow(x, 0)/float32(len(x)), l.eps)
	}
	return moments(x, l.eps)
}
