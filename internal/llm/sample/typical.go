package sample

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
)

// impossible is (x-max)/T of tokens whose weight is 0: it is less than that of others.
const impossible = -200

// typical keeps those of the k likeliest tokens whose information is nearest to the
// entropy, as many as reach TypicalP together (arXiv 2202.00666), in descending order.
//
// With z = (x-max)/T a token's information is log(total) - z, and the entropy, its
// mean, is log(total) less the mean of z. So z is compared with its mean.
func (s *Sampler) typical(k int, total float64) []candidate {
	s.operands[0] = impossible
	elemwise.Row(elemwise.Max)(s.scaled, s.scaled, s.operands[:1], 1, 0)
	if k < len(s.weights) {
		return s.typicalOf(s.top(k))
	}
	s.operands[0] = float32(s.weighted() / total)
	elemwise.Row(elemwise.Sub)(s.near, s.scaled, s.operands[:1], 1, 0)
	elemwise.Float32(elemwise.Abs)(s.near, s.near, elemwise.Params{})
	elemwise.Float32(elemwise.Neg)(s.near, s.near, elemwise.Params{})
	for n := min(k, 128); ; n = min(k, 8*n) { // usually few reach it
		c := s.likelihoods(s.largest(s.near, n, float32(math.Inf(-1))))
		if c, reached := nucleus(c, float64(s.TypicalP)*total); reached || n == k {
			descend(c)
			return c
		}
	}
}

// weighted is the sum of z, each times its token's weight.
func (s *Sampler) weighted() float64 {
	s.near = append(s.near[:0], s.weights...)
	elemwise.Row(elemwise.Mul)(s.near, s.near, s.scaled, 1, 1)
	if sum := float64(reduce.SumRow(s.near)); sum == sum {
		return sum
	}
	for i, p := range s.weights { // there are NaNs
		if p == 0 {
			s.scaled[i], s.near[i] = impossible, 0
		}
	}
	return float64(reduce.SumRow(s.near))
}

// typicalOf is typical of some candidates.
func (s *Sampler) typicalOf(c []candidate) []candidate {
	total, weighted := sum(c), 0.
	for _, x := range c {
		weighted += x.p * float64(s.scaled[x.id])
	}
	mean := weighted / total
	for i, x := range c {
		c[i].p = -math.Abs(float64(s.scaled[x.id]) - mean)
	}
	descend(c)
	c, _ = nucleus(s.likelihoods(c), float64(s.TypicalP)*total)
	descend(c)
	return c
}

// likelihoods gives candidates their weights, and leaves those out that have none.
func (s *Sampler) likelihoods(c []candidate) []candidate {
	kept := c[:0]
	for _, x := range c {
		if x.p = float64(s.weights[x.id]); x.p > 0 {
			kept = append(kept, x)
		}
	}
	return kept
}
