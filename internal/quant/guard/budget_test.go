package guard

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func total(layers [][]Choice, picked []int) (bytes int64, sum float64) {
	for i, k := range picked {
		bytes += layers[i][k].Bytes
		sum += layers[i][k].Error
	}
	return bytes, sum
}

// bruteForce tries everything.
func bruteForce(layers [][]Choice, budget int64) float64 {
	if len(layers) == 0 {
		if budget < 0 {
			return math.Inf(1)
		}
		return 0
	}
	best := math.Inf(1)
	for _, c := range layers[0] {
		best = min(best, c.Error+bruteForce(layers[1:], budget-c.Bytes))
	}
	return best
}

func randomLayers(r *rand.Rand, n, most int) [][]Choice {
	layers := make([][]Choice, n)
	for i := range layers {
		for range 1 + r.IntN(most) {
			layers[i] = append(layers[i], Choice{Bytes: int64(r.IntN(50)), Error: float64(r.IntN(1000)) / 64})
		}
	}
	return layers
}

// Small problems are solved as well as trying everything does; no budget is exceeded.
func TestAllotIsOptimal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	solved := 0
	for range 500 {
		layers, budget := randomLayers(r, 1+r.IntN(6), 5), int64(r.IntN(200))
		want := bruteForce(layers, budget)
		picked, err := Allot(layers, budget)
		if math.IsInf(want, 1) {
			if err == nil {
				t.Fatalf("%v fits into %d?", layers, budget)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		bytes, got := total(layers, picked)
		if bytes > budget || got > want+1e-9 {
			t.Fatalf("%v in %d bytes: %v takes %d and errs by %g, possible is %g", layers, budget, picked, bytes, got, want)
		}
		solved++
	}
	if solved < 300 {
		t.Errorf("only %d problems had a solution", solved)
	}
}

// Large problems stay within the budget, close to the bound that Lagrange's multiplier
// gives, and more money never makes it worse by more than rounding.
func TestAllotLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var layers [][]Choice
	var full int64
	for range 100 {
		n := int64(1+r.IntN(4000)) * 1021
		sensitivity := math.Exp(r.NormFloat64() * 2)
		var choices []Choice
		for _, bits := range []int64{2, 3, 4, 5, 6, 8, 16} {
			choices = append(choices, Choice{n*bits/8 + int64(r.IntN(7)), sensitivity * float64(n) * math.Pow(4, -float64(bits))})
		}
		layers = append(layers, choices)
		full += n * 2
	}
	for _, share := range []float64{.14, .28, .7, 1.01} {
		budget := int64(share * float64(full))
		picked, err := Allot(layers, budget)
		if err != nil {
			t.Fatal(err)
		}
		bytes, got := total(layers, picked)
		bound := lagrange(layers, budget)
		if bytes > budget || got > bound*1.02 {
			t.Errorf("share %g: %d of %d bytes, error %g, at least %g", share, bytes, budget, got, bound)
		}
		again, err := Allot(layers, budget)
		if err != nil || !slices.Equal(picked, again) {
			t.Errorf("share %g: another answer the second time, or %v", share, err)
		}
	}
}

// lagrange is a lower bound: max over λ of Σ min (error + λ·bytes) - λ·budget.
func lagrange(layers [][]Choice, budget int64) float64 {
	best := math.Inf(-1)
	for lambda := 1e-12; lambda < 1e6; lambda *= 1.03 {
		sum := -lambda * float64(budget)
		for _, choices := range layers {
			least := math.Inf(1)
			for _, c := range choices {
				least = min(least, c.Error+lambda*float64(c.Bytes))
			}
			sum += least
		}
		best = max(best, sum)
	}
	return best
}

func TestAllotRefuses(t *testing.T) {
	for _, layers := range [][][]Choice{
		{{}}, {{{-1, 0}}}, {{{1, math.NaN()}}}, {{{1, -1}}}, {{{1, math.Inf(1)}}}, {{{8, 0}}, {{3, 0}}},
	} {
		if picked, err := Allot(layers, 10); err == nil {
			t.Errorf("%v: %v", layers, picked)
		}
	}
	if picked, err := Allot(nil, 0); err != nil || len(picked) != 0 {
		t.Errorf("no layers: %v, %v", picked, err)
	}
}
