package sample

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
)

// impossible is (x-max)/T of tokens whose weight is 0: it is less than that of others.
const impossible = -200

// typical keeps those of the k likeliest tokens whose information is nearest to the
// entropy, as many as reach TypicalP together (arXiv 2202.00666), in descending order,
// if they are few. Otherwise keepTypical is to follow.
//
// With z = (x-max)/T a token's information is log(total) - z, and the entropy, its
// mean, is log(total) less the mean of z. So z is compared with its mean.
func (s *Sampler) typical(k int, total float64) (c []candidate, reached bool) {
	s.operands[0] = impossible
	elemwise.Row(elemwise.Max)(s.scaled, s.scaled, s.operands[:1], 1, 0)
	if k < len(s.weights) {
		return s.typicalOf(s.top(k)), true
	}
	s.operands[0] = float32(s.weighted() / total)
	elemwise.Row(elemwise.Sub)(s.near, s.scaled, s.operands[:1], 1, 0)
	elemwise.Float32(elemwise.Abs)(s.near, s.near, elemwise.Params{})
	elemwise.Float32(elemwise.Neg)(s.near, s.near, elemwise.Params{})
	c = s.likelihoods(s.largest(s.near, few, float32(math.Inf(-1))))
	c, reached = nucleus(c, float64(s.TypicalP)*total)
	descend(c)
	return c, reached
}

// keepTypical takes the weights of all tokens but those that reach a weight together,
// of which there may be tens of thousands, and gives the sum of what is left.
func (s *Sampler) keepTypical(weight float64) (total float64) {
	elemwise.Float32(elemwise.Neg)(s.near, s.near, elemwise.Params{})
	s.sumRegions(s.near)
	last := 0
	for last < regions-1 && total+s.regions[last] < weight {
		total += s.regions[last]
		last++
	}
	end := s.order[:0]
	for id, x := range s.near {
		switch at := region(x); {
		case at > last:
			s.weights[id] = 0
		case at == last && s.weights[id] > 0:
			end = append(end, candidate{int32(id), -float64(x)})
		}
	}
	descend(end)
	s.order = end
	for _, c := range end {
		if total < weight {
			total += float64(s.weights[c.id])
		} else {
			s.weights[c.id] = 0
		}
	}
	return total
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
