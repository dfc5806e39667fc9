package llm

import (
	"fmt"
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
	"github.com/salver-ml/salver/internal/textgen"
)

// The likeliest tokens at every position of a prompt have the probabilities that
// the logits of the golden give.
func TestLogitsGoldens(t *testing.T) {
	m := stories(t, "f32", Options{Level: 3, CacheType: dtype.Float32, StepTokens: 16})
	for i := range 4 {
		read := func(name string) *tensor.Tensor {
			a, err := npy.ReadFile(testkit.Assets(t, fmt.Sprintf("models/stories260K/golden_%s_%d.npy", name, i)))
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		idsOf, logits := read("ids"), read("logits")
		if logits.DType != dtype.Float32 || len(logits.Shape) != 2 || logits.Shape[0] != idsOf.Len() {
			t.Fatalf("logits are %s for %s", logits, idsOf)
		}
		var ids []int32
		for j := range idsOf.Len() {
			if idsOf.DType == dtype.Int64 {
				ids = append(ids, int32(tensor.Of[int64](idsOf)[j]))
			} else {
				ids = append(ids, tensor.Of[int32](idsOf)[j])
			}
		}
		r := ask(ids, 1)
		r.Logprobs, r.PromptLogprobs = 100, 100
		var tokens []textgen.Token
		if _, err := m.Generate(t.Context(), r, func(e *textgen.Event) error {
			tokens = append(append(tokens, e.Prompt...), e.Tokens...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		tokens = tokens[len(tokens)-len(ids):]
		for p, tok := range tokens {
			row := tensor.Of[float32](logits)[p*logits.Shape[1]:][:logits.Shape[1]]
			largest, sum := 0., 0.
			for _, v := range row {
				sum += math.Exp(float64(v))
				largest = max(largest, math.Abs(float64(v)))
			}
			for _, alt := range tok.Top {
				if d := math.Abs(float64(alt.Logprob) - (float64(row[alt.ID]) - math.Log(sum))); !(d <= 1e-4*largest) {
					t.Errorf("prompt %d, position %d, token %d: %.3g apart, the largest logit is %.3g", i, p, alt.ID, d, largest)
				}
			}
		}
	}
}

// Logits are seen once at each token but the last, in order, and give the
// probabilities that requests are told.
func TestLogits(t *testing.T) {
	m := stories(t, "f32", Options{Level: 3, StepTokens: 16})
	var ids []int32
	for i := range 40 {
		ids = append(ids, int32(1+i*7%300))
	}
	r := ask(ids, 1)
	r.PromptLogprobs = 0
	var want []textgen.Token
	if _, err := m.Generate(t.Context(), r, func(e *textgen.Event) error {
		want = append(want, e.Prompt...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	next := 0
	err := m.Logits(t.Context(), ids, func(position int, logits []float32) {
		if position != next || len(logits) != m.Info().Vocabulary {
			t.Fatalf("position %d with %d logits, expected position %d", position, len(logits), next)
		}
		if got := probability(logits, ids[position+1], 0); got.Logprob != want[position].Logprob {
			t.Errorf("position %d: %v, expected %v", position, got, want[position])
		}
		if s := m.Stats(); s.Waiting+s.Running != 1 { // the engine waits, and not for those who ask it
			t.Errorf("%d wait and %d run", s.Waiting, s.Running)
		}
		next++
	})
	if err != nil || next != len(ids)-1 {
		t.Errorf("%v after %d positions", err, next)
	}
	if err := m.Logits(t.Context(), nil, nil); err == nil {
		t.Error("no error for an empty text")
	}
}
