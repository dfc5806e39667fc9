package sample

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/textgen"
)

// probabilities is what a sampler should do, computed the simple way.
func probabilities(l []float32, s textgen.Sampling) []float64 {
	p, order := make([]float64, len(l)), make([]int, len(l))
	for i, x := range l {
		p[i], order[i] = math.Exp(float64(x-slices.Max(l))/float64(s.Temperature)), i
	}
	by := func(key func(i int) float64) {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(key(a), key(b)), cmp.Compare(a, b)) })
	}
	likely := func(i int) float64 { return -p[i] }
	keep := func(n int) {
		for _, i := range order[n:] {
			p[i] = 0
		}
		order = order[:n]
	}
	total := func() (t float64) {
		for _, x := range p {
			t += x
		}
		return t
	}
	reach := func(share float32) {
		if share <= 0 || share >= 1 {
			return
		}
		t, n := 0., 0
		for t < float64(share)*total() && n < len(order) {
			t += p[order[n]]
			n++
		}
		keep(max(n, 1))
	}
	by(likely)
	if s.TopK > 0 {
		keep(min(s.TopK, len(l)))
	}
	if s.TypicalP > 0 && s.TypicalP < 1 {
		t, h := total(), 0.
		for _, i := range order {
			h -= p[i] / t * math.Log(p[i]/t)
		}
		by(func(i int) float64 { return math.Abs(-math.Log(p[i]/t) - h) })
		reach(s.TypicalP)
		by(likely)
	}
	reach(s.TopP)
	for i := range p {
		if p[i] < float64(s.MinP)*p[order[0]] {
			p[i] = 0
		}
	}
	t := total()
	for i := range p {
		p[i] /= t
	}
	return p
}

func TestDrawsFollowTheProbabilities(t *testing.T) {
	const draws = 1000
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{7, 100, 700} {
		l := make([]float32, n)
		for i := range l {
			l[i] = float32(rng.NormFloat64() * 2)
		}
		for _, s := range []textgen.Sampling{
			{Temperature: 1}, {Temperature: 0.3}, {Temperature: 1, MinP: 0.1}, {Temperature: 1, TopK: 5}, {Temperature: 1, TopK: 1000, TopP: 0.5},
			{Temperature: 1, TopP: 0.9}, {Temperature: 1, TopP: 0.999}, {Temperature: 1, TopP: 0.01}, {Temperature: 0.8, TypicalP: 0.6},
			{Temperature: 1.5, TopK: 60, TypicalP: 0.9, TopP: 0.8, MinP: 0.02},
		} {
			t.Run(fmt.Sprintf("%d %+v", n, s), func(t *testing.T) {
				want, got := probabilities(l, s), make([]int, n)
				sm := New(s, nil, 9, 0)
				for range draws {
					got[sm.Next(l, nil)]++
				}
				for i, p := range want {
					if p == 0 && got[i] > 0 {
						t.Fatalf("token %d is drawn %d times, it should never be", i, got[i])
					}
					if d := float64(got[i]) - p*draws; math.Abs(d) > 5*math.Sqrt(p*draws)+3 {
						t.Fatalf("token %d is drawn %d times, expected about %.1f", i, got[i], p*draws)
					}
				}
			})
		}
	}
}

// Logits that a broken model makes, and settings at the edges.
func TestDrawsFromStrangeLogits(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		logits []float32
		want   []int32 // any of them
	}{
		{[]float32{nan, nan, nan}, []int32{0}},
		{[]float32{-inf, -inf}, []int32{0}},
		{[]float32{1, inf, inf, nan}, []int32{1}},
		{[]float32{nan, 3, nan, 3}, []int32{1, 3}},
		{[]float32{-inf, -inf, -3e38}, []int32{2}},
		{[]float32{0, 3e38, -3e38}, []int32{1}},
		{[]float32{5, 5, 5, 5}, []int32{0, 1, 2, 3}},
	} {
		for _, s := range []textgen.Sampling{{}, {Temperature: 1}, {Temperature: 1e-45}, {Temperature: 1, TopK: 2}, {Temperature: 1, TopP: 1e-30}, {Temperature: 1, TypicalP: 0.5}, {Temperature: 1, MinP: 1}} {
			sm := New(s, nil, 3, 0)
			for range 20 {
				if id := sm.Next(c.logits, nil); !slices.Contains(c.want, id) {
					t.Errorf("%v with %+v gives %d, expected one of %v", c.logits, s, id, c.want)
				}
			}
		}
	}
}

func TestForbiddenTokensAreNeverDrawn(t *testing.T) {
	sm := New(textgen.Sampling{Temperature: 2, LogitBias: map[int32]float32{1: 100, 9: 100}}, nil, 4, 0)
	for range 200 {
		if id := sm.Next([]float32{3, 2, 1, 0}, []int32{0, 1, 70}); id != 2 && id != 3 {
			t.Fatalf("token %d is drawn", id)
		}
	}
}

func TestLogprobs(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	l := make([]float32, 9001)
	for i := range l {
		l[i] = float32(math.Round(rng.NormFloat64()*40) / 8) // many are equal
	}
	z := 0.
	order := make([]int32, len(l))
	for i, x := range l {
		z += math.Exp(float64(x))
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(l[b], l[a]) })
	chosen, top := Logprobs(l, 77, 20)
	if want := float64(l[77]) - math.Log(z); math.Abs(float64(chosen)-want) > 2e-6 {
		t.Errorf("logprob %v, expected %v", chosen, want)
	}
	for i, a := range top {
		if want := float64(l[order[i]]) - math.Log(z); a.ID != order[i] || math.Abs(float64(a.Logprob)-want) > 2e-6 {
			t.Errorf("alternative %d is %v, expected token %d with %v", i, a, order[i], want)
		}
	}
	if len(top) != 20 {
		t.Errorf("%d alternatives", len(top))
	}
}
