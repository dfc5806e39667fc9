package sample

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/textgen"
)

// Of many tokens that are nearly alike the same ones are drawn as by putting all in order.
func TestNucleusOfFlatDistributions(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for _, c := range []textgen.Sampling{
		{TopP: 0.9}, {TopP: 0.5}, {TopP: 0.999999}, {TopP: 0.95, MinP: 0.1}, {TopP: 0.6, MinP: 1e-6}, {TopP: 0.99, MinP: 0.9},
	} {
		for _, n := range []int{1, 5, 2000, 30000} {
			logits := make([]float32, n)
			for i := range logits {
				logits[i] = float32(rng.IntN(200)) / 100 // with equal ones
			}
			c.Temperature = 1
			flat, plain := New(c, nil, 3, 0), New(c, nil, 3, 0)
			for range 50 {
				total := flat.weigh(logits, logits[argmax(logits)])
				got := flat.drawFlat(float64(c.TopP) * total)
				plain.weigh(logits, logits[argmax(logits)])
				kept, _ := nucleus(plain.top(n), float64(c.TopP)*total)
				if want := plain.choose(kept); got != want {
					t.Fatalf("top-p %v, min-p %v of %d tokens: %d, expected %d", c.TopP, c.MinP, n, got, want)
				}
			}
		}
	}
}
