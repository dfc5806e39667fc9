package explain

import "math"

// Exact stands for an infinite ratio, which JSON cannot hold.
const Exact = 999

// Tally adds up how far numbers are from what they should be.
type Tally struct {
	signal, noise, own, dot float64
	worst                   float64
	broken                  bool // a number that should be finite is not, or the other way round
}

// Add takes in numbers and what they should be. Infinities and NaN that agree count for nothing.
func (t *Tally) Add(got, want []float32) {
	for i, w32 := range want {
		g, w := float64(got[i]), float64(w32)
		d := g - w
		if math.IsNaN(d) || math.IsInf(d, 0) {
			t.broken = t.broken || g != w && !(math.IsNaN(g) && math.IsNaN(w))
			continue
		}
		t.signal += w * w
		t.noise += d * d
		t.own += g * g
		t.dot += g * w
		t.worst = max(t.worst, math.Abs(d))
	}
}

// SQNR is the signal-to-quantization-noise ratio 10·log₁₀(Σ want² / Σ (got − want)²)
// in dB; 999 stands for infinity, -999 for numbers that are not comparable.
func (t *Tally) SQNR() float64 {
	switch {
	case t.broken:
		return -Exact
	case t.noise == 0:
		return Exact
	case t.signal == 0:
		return -Exact
	}
	return 10 * math.Log10(t.signal/t.noise)
}

// Cosine is the cosine of the angle between both, seen as vectors; 1 if both are zero.
func (t *Tally) Cosine() float64 {
	switch {
	case t.broken:
		return 0
	case t.noise == 0:
		return 1
	case t.signal == 0 || t.own == 0:
		return 0
	}
	return t.dot / math.Sqrt(t.signal) / math.Sqrt(t.own)
}

// MaxAbs is the largest difference.
func (t *Tally) MaxAbs() float64 { return t.worst }
