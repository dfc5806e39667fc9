package sample

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/textgen"
)

// What a token costs to choose, of a vocabulary of 128k whose logits are spread
// as a model's are.
func BenchmarkNext(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	logits := make([]float32, 128<<10)
	for i := range logits {
		logits[i] = float32(rng.NormFloat64() * 3)
	}
	for i := range 10 {
		logits[i*1000] = 15 + float32(i)
	}
	for _, c := range []struct {
		name string
		s    textgen.Sampling
	}{
		{"greedy", textgen.Sampling{}},
		{"temperature", textgen.Sampling{Temperature: 1}},
		{"top_p", textgen.Sampling{Temperature: 1, TopP: 0.95}},
		{"top_k", textgen.Sampling{Temperature: 1, TopK: 40}},
		{"min_p", textgen.Sampling{Temperature: 1, MinP: 0.05}},
		{"typical", textgen.Sampling{Temperature: 1, TypicalP: 0.95}},
		{"top_k+top_p+penalties", textgen.Sampling{Temperature: 0.7, TopK: 40, TopP: 0.9, Repetition: 1.1}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := New(c.s, nil, 1, 0)
			for b.Loop() {
				s.Next(logits, nil)
			}
		})
	}
	flat := make([]float32, 128<<10)
	for i := range flat {
		flat[i] = float32(rng.NormFloat64())
	}
	for name, c := range map[string]textgen.Sampling{"top_p": {Temperature: 1, TopP: 0.95}, "typical": {Temperature: 1, TypicalP: 0.95}} {
		b.Run(name+" of a flat distribution", func(b *testing.B) {
			s := New(c, nil, 1, 0)
			for b.Loop() {
				s.Next(flat, nil)
			}
		})
	}
	b.Run("logprobs", func(b *testing.B) {
		for b.Loop() {
			Logprobs(logits, 5, 20)
		}
	})
}
