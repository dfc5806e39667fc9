// Package sample chooses the next token from a model's logits.
//
// The order of the steps is that of Hugging Face's and vLLM's samplers: bias,
// penalties, temperature, then the filters top-k, typical, top-p and min-p over
// what the filters before left, then a draw. A sampler draws from a generator of
// its own, so that a seed gives the same answer whatever else runs.
package sample

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/textgen"
)

// Sampler chooses the tokens of one answer. It is used by one goroutine at a time.
type Sampler struct {
	textgen.Sampling
	rng    *rand.Rand
	counts map[int32]int // of the answer's tokens, where penalties need them
	prompt map[int32]bool

	scratch  []float32
	operands [2]float32 // of functions that are called through tables
	weights  []float32  // e^((x-max)/T) of the whole vocabulary
	sums     []float64  // of their blocks
	order    []candidate
	regions  []float64 // sums of the weights of tokens that are about alike

	scaled, near []float32 // for typical: (x-max)/T, and how little it is from its mean
}

// candidate is a token that may be chosen, and its probability by some measure
// that is the same for all.
type candidate struct {
	id int32
	p  float64
}

// New makes a sampler for choice number i of a request.
func New(s textgen.Sampling, prompt []int32, seed uint64, choice int) *Sampler {
	sm := &Sampler{Sampling: s, rng: rand.New(rand.NewPCG(seed, uint64(choice)))}
	if sm.penalizes() {
		sm.counts = map[int32]int{}
	}
	if sm.repeats() {
		sm.prompt = map[int32]bool{}
		for _, t := range prompt {
			sm.prompt[t] = true
		}
	}
	return sm
}

func (s *Sampler) repeats() bool   { return s.Repetition != 0 && s.Repetition != 1 }
func (s *Sampler) penalizes() bool { return s.repeats() || s.Presence != 0 || s.Frequency != 0 }

// Next chooses a token. The logits, which stay as they are, are those of the
// whole vocabulary; forbidden tokens are never chosen.
func (s *Sampler) Next(logits []float32, forbidden []int32) int32 {
	l := s.adjust(logits, forbidden)
	var id int32
	if s.Temperature == 0 {
		id = argmax(l)
	} else {
		id = s.draw(l)
	}
	if s.counts != nil {
		s.counts[id]++
	}
	return id
}

// adjust gives the logits after bias and penalties.
func (s *Sampler) adjust(logits []float32, forbidden []int32) []float32 {
	if len(s.LogitBias) == 0 && !s.penalizes() && len(forbidden) == 0 {
		return logits
	}
	s.scratch = append(s.scratch[:0], logits...)
	l := s.scratch
	for id, b := range s.LogitBias {
		if int(id) < len(l) {
			l[id] += b
		}
	}
	if s.repeats() {
		for id := range s.prompt {
			s.repeat(l, id)
		}
		for id := range s.counts {
			if !s.prompt[id] {
				s.repeat(l, id)
			}
		}
	}
	for id, n := range s.counts {
		l[id] -= float32(s.Frequency*float32(n)) + s.Presence
	}
	for _, id := range forbidden {
		if int(id) < len(l) {
			l[id] = float32(math.Inf(-1))
		}
	}
	return l
}

// repeat is the repetition penalty of arXiv 1909.05858.
func (s *Sampler) repeat(l []float32, id int32) {
	if int(id) >= len(l) {
		return
	}
	if l[id] > 0 {
		l[id] /= s.Repetition
	} else {
		l[id] *= s.Repetition
	}
}

// argmax is the first of the largest; NaN is never it.
func argmax(l []float32) int32 {
	if at := slices.Index(l, reduce.MaxRow(l)); at >= 0 {
		return int32(at)
	}
	best, at := float32(math.Inf(-1)), 0 // there are NaNs
	for i, x := range l {
		if x > best {
			best, at = x, i
		}
	}
	return int32(at)
}

// draw filters and chooses at random. Of a vocabulary of 100,000 tokens only
// those are put in order that a filter needs in order.
func (s *Sampler) draw(l []float32) int32 {
	likeliest := argmax(l)
	if top := l[likeliest]; top != top || math.IsInf(float64(top), 0) {
		return likeliest
	}
	total := s.weigh(l, l[likeliest])
	k := len(l)
	if s.TopK > 0 {
		k = min(k, s.TopK)
	}
	switch {
	case filters(s.TypicalP):
		if c, reached := s.typical(k, total); reached {
			return s.chooseOf(c)
		}
		total = s.keepTypical(float64(s.TypicalP) * total)
		likeliest = argmax(s.weights)
	case k < len(l):
		return s.chooseOf(s.top(k))
	}
	if filters(s.TopP) {
		return s.drawNucleus(float64(s.TopP) * total)
	}
	return s.drawAny(likeliest)
}

// chooseOf is choose after top-p.
func (s *Sampler) chooseOf(c []candidate) int32 {
	if filters(s.TopP) {
		c, _ = nucleus(c, float64(s.TopP)*sum(c))
	}
	return s.choose(c)
}

// filters reports whether the probability that tokens are to have together leaves some out.
func filters(p float32) bool { return p > 0 && p < 1 }

// weigh gives all tokens their weights, of which the largest is 1, and their sum.
func (s *Sampler) weigh(l []float32, top float32) float64 {
	s.weights = slices.Grow(s.weights[:0], len(l))[:len(l)]
	z, w := s.weights, s.weights
	if filters(s.TypicalP) {
		s.scaled = slices.Grow(s.scaled[:0], len(l))[:len(l)]
		z = s.scaled
	}
	s.operands = [2]float32{top, s.Temperature}
	elemwise.Row(elemwise.Sub)(z, l, s.operands[:1], 1, 0)
	elemwise.Row(elemwise.Div)(z, z, s.operands[1:], 1, 0)
	if total := float64(softmax.ExpSum(w, z, 0)); total == total {
		return total
	}
	for i, x := range w { // there are NaNs, which nobody chooses
		if x != x {
			w[i] = 0
		}
	}
	return float64(reduce.SumRow(w))
}

// drawBlock is how many weights are passed over at once.
const drawBlock = 1024

// drawAny chooses among all tokens that min-p leaves.
func (s *Sampler) drawAny(likeliest int32) int32 {
	if s.MinP > 0 {
		least := s.MinP * s.weights[likeliest]
		for block := range slices.Chunk(s.weights, topBlock) {
			if reduce.MaxRow(block) < least {
				clear(block)
				continue
			}
			for i, p := range block {
				if p < least {
					block[i] = 0
				}
			}
		}
	}
	s.sums = s.sums[:0]
	total := 0.
	for block := range slices.Chunk(s.weights, drawBlock) {
		sum := float64(reduce.SumRow(block))
		s.sums = append(s.sums, sum)
		total += sum
	}
	r := s.rng.Float64() * total
	for i, sum := range s.sums {
		if r >= sum {
			r -= sum
			continue
		}
		last := likeliest // where roundings leave something of r
		for j, p := range s.weights[i*drawBlock : min((i+1)*drawBlock, len(s.weights))] {
			if p > 0 {
				last = int32(i*drawBlock + j)
				if r -= float64(p); r < 0 {
					break
				}
			}
		}
		return last
	}
	return likeliest
}

// choose chooses among candidates that are in order, of which min-p leaves some.
func (s *Sampler) choose(c []candidate) int32 {
	c = atLeast(c, float64(s.MinP))
	return pick(c, s.rng.Float64()*sum(c))
}

// pick gives the token at which the weights reach r.
func pick(c []candidate, r float64) int32 {
	for i := range c {
		if r -= c[i].p; r < 0 {
			return c[i].id
		}
	}
	return c[len(c)-1].id
}

func sum(c []candidate) (total float64) {
	for i := range c {
		total += c[i].p
	}
	return total
}

// top is the n likeliest tokens in descending order, or all that are possible; of
// equals the first ones.
func (s *Sampler) top(n int) []candidate { return s.largest(s.weights, n, 0) }

// topBlock is how many numbers are passed over at once where none is among the largest.
const topBlock = 256

// largest is the n tokens with the largest numbers, of those above least, in descending
// order; of equals the first ones.
func (s *Sampler) largest(x []float32, n int, least float32) []candidate {
	c := s.order[:0]
	for at := 0; at < len(x); at += topBlock {
		block := x[at:min(at+topBlock, len(x))]
		if reduce.MaxRow(block) <= least {
			continue
		}
		for i, p := range block {
			if p <= least {
				continue
			}
			if c = append(c, candidate{int32(at + i), float64(p)}); len(c) == 2*n {
				descend(c)
				c, least = c[:n], float32(c[n-1].p)
			}
		}
	}
	descend(c)
	s.order = c
	return c[:min(n, len(c))]
}

func descend(c []candidate) {
	slices.SortFunc(c, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.p, a.p), cmp.Compare(a.id, b.id)) })
}

// atLeast keeps the tokens that are at least p times as likely as the likeliest
// (min-p, arXiv 2407.01082).
func atLeast(c []candidate, p float64) []candidate {
	for i := range c {
		if c[i].p < p*c[0].p {
			return c[:i]
		}
	}
	return c
}
