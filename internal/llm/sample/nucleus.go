package sample

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/reduce"
)

// few is how many tokens usually have nearly all of the weight.
const few = 128

// drawNucleus draws among the likeliest tokens that reach a weight together.
func (s *Sampler) drawNucleus(weight float64) int32 {
	if c, reached := nucleus(s.top(few), weight); reached {
		return s.choose(c)
	}
	return s.drawFlat(weight)
}

// nucleus keeps the first tokens that reach a weight together (top-p, arXiv
// 1904.09751); at least one.
func nucleus(c []candidate, weight float64) (kept []candidate, reached bool) {
	for i := range c {
		if weight -= c[i].p; weight <= 0 {
			return c[:i+1], true
		}
	}
	return c, false
}

// region numbers numbers from 0 to 1000 by their size, 32 for each power of two, so that
// only those of one region have to be put in order to find one in the order of all.
func region(x float32) int { return int(math.Float32bits(x) >> 18) }

const regions = 1 << 13

// sumRegions adds up the weights of each region of x, numbers of all tokens.
func (s *Sampler) sumRegions(x []float32) {
	if s.regions == nil {
		s.regions = make([]float64, regions)
	}
	clear(s.regions)
	x = x[:len(s.weights)]
	for i, p := range s.weights {
		s.regions[region(x[i])] += float64(p)
	}
}

// drawFlat is drawNucleus where tens of thousands of tokens are nearly alike.
func (s *Sampler) drawFlat(weight float64) int32 {
	if s.MinP > 0 { // leaves the beginning of the same order, so that the shorter one counts
		least := s.MinP * reduce.MaxRow(s.weights)
		weight = min(weight, s.weightAbove(least)*(1-1e-12))
	}
	s.sumRegions(s.weights)
	above, last := 0., 0 // the last region of which some are kept, and the weight of those above
	for i, next := regions-1, 0.; i >= 0 && next < weight; i-- {
		if s.regions[i] > 0 {
			above, last = next, i
			next += s.regions[i]
		}
	}
	end, _ := nucleus(s.within(last), weight-above)
	r := s.rng.Float64() * (above + sum(end))
	for i := regions - 1; i > last; i-- {
		if r < s.regions[i] {
			return pick(s.within(i), r)
		}
		r -= s.regions[i]
	}
	return pick(end, r)
}

func (s *Sampler) weightAbove(least float32) (total float64) {
	for _, p := range s.weights {
		if p >= least {
			total += float64(p)
		}
	}
	return total
}

// within gives the tokens of a region of weights in descending order.
func (s *Sampler) within(number int) []candidate {
	c := s.order[:0]
	for id, p := range s.weights {
		if region(p) == number && p > 0 {
			c = append(c, candidate{int32(id), float64(p)})
		}
	}
	descend(c)
	s.order = c
	return c
}
