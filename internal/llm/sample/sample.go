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

	"github.com/salver-ml/salver/internal/textgen"
)

// Sampler chooses the tokens of one answer. It is used by one goroutine at a time.
type Sampler struct {
	textgen.Sampling
	rng    *rand.Rand
	counts map[int32]int // of the answer's tokens, where penalties need them
	prompt map[int32]bool

	scratch []float32
	order   []candidate
}

// candidate is a token that may be chosen.
type candidate struct {
	id    int32
	logit float32
	p     float64
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
	best, at := float32(math.Inf(-1)), 0
	for i, x := range l {
		if x > best {
			best, at = x, i
		}
	}
	return int32(at)
}

// draw filters and chooses at random.
func (s *Sampler) draw(l []float32) int32 {
	c := s.candidates(l)
	s.weigh(c)
	if t := float64(s.TypicalP); t > 0 && t < 1 {
		c = typical(c, t)
	}
	if t := float64(s.TopP); t > 0 && t < 1 {
		c = nucleus(c, t)
	}
	if s.MinP > 0 {
		c = atLeast(c, float64(s.MinP))
	}
	total := 0.
	for i := range c {
		total += c[i].p
	}
	r := s.rng.Float64() * total
	for i := range c {
		if r -= c[i].p; r < 0 {
			return c[i].id
		}
	}
	return c[len(c)-1].id
}

// candidates are the TopK likeliest tokens, or all that are possible, in
// descending order; of equals the first ones.
func (s *Sampler) candidates(l []float32) []candidate {
	c := s.order[:0]
	least := s.least(l)
	for i, x := range l {
		if x >= least {
			c = append(c, candidate{id: int32(i), logit: x})
		}
	}
	if len(c) == 0 { // all are NaN or -Inf
		c = append(c, candidate{id: argmax(l)})
	}
	slices.SortFunc(c, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.id, b.id))
	})
	s.order = c
	if s.TopK > 0 && len(c) > s.TopK {
		c = c[:s.TopK]
	}
	return c
}

// negligible is how much less likely than the likeliest a token is that is not
// worth sorting: e^-30 of 2^20 of them is less than a float32 can tell from 0.
const negligible = 30

// least bounds from below the logits worth considering. Nothing below would be
// drawn, so that sorting the whole vocabulary is not needed.
func (s *Sampler) least(l []float32) float32 {
	top := float32(math.Inf(-1))
	for _, x := range l {
		top = max(top, x) // NaN is handled by x >= least
	}
	if top != top || math.IsInf(float64(top), 0) {
		top = l[argmax(l)]
	}
	return max(top-negligible*s.Temperature, -math.MaxFloat32)
}

// weigh gives the candidates their probabilities at the temperature.
func (s *Sampler) weigh(c []candidate) {
	total := 0.
	for i := range c {
		c[i].p = math.Exp(float64(c[i].logit-c[0].logit) / float64(s.Temperature))
		total += c[i].p
	}
	for i := range c {
		c[i].p /= total
	}
}

// nucleus keeps the likeliest tokens that reach probability p together (top-p,
// arXiv 1904.09751); at least one.
func nucleus(c []candidate, p float64) []candidate {
	total := 0.
	for i := range c {
		total += c[i].p
	}
	sum := 0.
	for i := range c {
		if sum += c[i].p / total; sum >= p {
			return c[:i+1]
		}
	}
	return c
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

// typical keeps the tokens whose information is nearest to the entropy, as many
// as reach probability p together (arXiv 2202.00666), in descending order of
// their probability.
func typical(c []candidate, p float64) []candidate {
	entropy := 0.
	for i := range c {
		if c[i].p > 0 {
			entropy -= c[i].p * math.Log(c[i].p)
		}
	}
	distance := func(x candidate) float64 { return math.Abs(-math.Log(x.p) - entropy) }
	slices.SortStableFunc(c, func(a, b candidate) int { return cmp.Compare(distance(a), distance(b)) })
	c = nucleus(c, p)
	slices.SortFunc(c, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.p, a.p), cmp.Compare(a.id, b.id)) })
	return c
}
