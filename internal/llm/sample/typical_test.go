package sample

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/textgen"
)

// Of many tokens that are nearly alike the same ones are kept as by putting all in order,
// and the filters after it see what is left.
func TestTypicalOfFlatDistributions(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 7))
	for _, c := range []textgen.Sampling{
		{TypicalP: 0.5}, {TypicalP: 0.95}, {TypicalP: 0.999999}, {TypicalP: 0.9, TopP: 0.7}, {TypicalP: 0.9, MinP: 0.4}, {TypicalP: 0.9, TopP: 0.7, MinP: 0.4},
	} {
		for _, n := range []int{1, 2, 5000} {
			for _, spread := range []float64{0, 0.001, 1} {
				logits := make([]float32, n)
				for i := range logits {
					logits[i] = float32(rng.NormFloat64() * spread)
				}
				if n > 2 {
					logits[n/2] = float32(math.Inf(-1))
				}
				c.Temperature = 1
				flat, plain := New(c, nil, 3, 0), New(c, nil, 3, 0)
				kept := map[int32]bool{}
				total := plain.weigh(logits, logits[argmax(logits)])
				plain.typical(n, total)
				want, _ := nucleus(plain.likelihoods(plain.largest(plain.near, n, float32(math.Inf(-1)))), float64(c.TypicalP)*total)
				descend(want)
				if filters(c.TopP) {
					want, _ = nucleus(want, float64(c.TopP)*sum(want))
				}
				for _, x := range atLeast(want, float64(c.MinP)) {
					kept[x.id] = true
				}
				for range 20 {
					if id := flat.Next(logits, nil); !kept[id] {
						t.Fatalf("typical-p %v, top-p %v, min-p %v, spread %v of %d tokens: %d is not one of the %d kept", c.TypicalP, c.TopP, c.MinP, spread, n, id, len(kept))
					}
				}
			}
		}
	}
}

// All tokens that are kept are drawn, each as often as its weight says.
func TestTypicalDrawsAllItKeeps(t *testing.T) {
	const n, draws = 4000, 10000
	logits := make([]float32, n)
	for i := range logits {
		logits[i] = float32(i) / n
	}
	s := New(textgen.Sampling{Temperature: 1, TypicalP: 0.6}, nil, 1, 0)
	counts := make([]int, n)
	for range draws {
		counts[s.Next(logits, nil)]++
	}
	want := probabilities(logits, textgen.Sampling{Temperature: 1, TypicalP: 0.6})
	const group = 100
	for at := 0; at < n; at += group {
		p, got := 0., 0
		for i := at; i < at+group; i++ {
			p += want[i]
			got += counts[i]
		}
		if d := float64(got) - p*draws; math.Abs(d) > 5*math.Sqrt(p*draws)+3 {
			t.Errorf("tokens %d to %d are drawn %d times, expected about %.0f", at, at+group-1, got, p*draws)
		}
	}
}
