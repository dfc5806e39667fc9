package guard

import (
	"math"
	"slices"
)

// Divergence gathers how far distributions are from those of a reference: the
// Kullback-Leibler divergence Σ p·ln(p/q) in nats, p being the reference's.
type Divergence struct {
	each  []float64
	agree int // in the likeliest class
}

// Add takes in the logits of one distribution of each, not normalized, and gives
// their divergence. NaN among them makes it NaN.
func (d *Divergence) Add(got, want []float32) float64 {
	zg, bestGot := logSum(got)
	zw, bestWant := logSum(want)
	kl := 0.
	for i, w := range want {
		logP := float64(w) - zw
		if p := math.Exp(logP); p > 0 {
			kl += p * (logP - (float64(got[i]) - zg))
		}
	}
	kl = max(kl, 0) // rounding may take it below
	d.each = append(d.each, kl)
	if bestGot == bestWant {
		d.agree++
	}
	return kl
}

// logSum is ln Σ e^x, and the index of the largest x.
func logSum(x []float32) (z float64, best int) {
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	m, sum := float64(x[best]), 0.
	for _, v := range x {
		sum += math.Exp(float64(v) - m)
	}
	return m + math.Log(sum), best
}

// LogProb is the natural logarithm of the probability of class i by logits.
func LogProb(logits []float32, i int) float64 {
	z, _ := logSum(logits)
	return float64(logits[i]) - z
}

// Len is the number of distributions.
func (d *Divergence) Len() int { return len(d.each) }

// Mean divergence; 0 of none.
func (d *Divergence) Mean() float64 {
	sum := 0.
	for _, v := range d.each {
		sum += v
	}
	return sum / float64(max(len(d.each), 1))
}

// Quantile is the least divergence that the share q of all does not exceed; 0 of none.
func (d *Divergence) Quantile(q float64) float64 {
	if len(d.each) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d.each))
	return s[min(max(int(math.Ceil(q*float64(len(s))))-1, 0), len(s)-1)]
}

// Agreement is the share of distributions whose likeliest class is the same; 1 of none.
func (d *Divergence) Agreement() float64 {
	if len(d.each) == 0 {
		return 1
	}
	return float64(d.agree) / float64(len(d.each))
}
