package calib

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// slowDivergence is divergence.at with both distributions written out.
func slowDivergence(bins []uint64, zero, levels, k int) float64 {
	a, b := max(zero-k, 0), min(zero+k, len(bins))
	n := b - a
	p, q := make([]float64, n), make([]float64, n)
	for i, c := range bins {
		p[min(max(i-a, 0), n-1)] += float64(c)
	}
	from := 0
	d := divergence{steepest: steepest(levels), groups: make([]group, levels)}
	raw := make([]float64, levels) // the groups' divergences with what chance adds
	for g := range levels {
		to := (g + 1) * n / levels
		sum, used := 0., 0.
		for i := from; i < to; i++ {
			if c := bins[a+i]; c > 0 {
				sum, used = sum+float64(c), used+1
			}
		}
		for i := from; i < to; i++ {
			if c := float64(bins[a+i]); c > 0 {
				q[i] = sum / used
				raw[g] += c * math.Log(c/q[i])
			}
		}
		if used > 0 {
			d.groups[g] = group{sum, math.Log(sum / used), raw[g] - chance(int(used), sum/used)}
		}
		from = to
	}
	less := 0.
	for i, g := range d.groups {
		if g.values > 0 {
			less += raw[i] - min(g.loss, d.most(i)*g.values)
		}
	}
	pSum, qSum, kl := 0., 0., 0.
	for i := range p {
		pSum, qSum = pSum+p[i], qSum+q[i]
	}
	for i := range p {
		if p[i] > 0 {
			if q[i] == 0 {
				q[i] = eps
			}
			kl += p[i] / pSum * math.Log(p[i]/pSum/(q[i]/qSum))
		}
	}
	return kl - less/pSum
}

// What is taken off as chance is what Poisson counts of even density show.
func TestChance(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, rate := range []float64{0.05, 0.3, 1, 2, 5, 20} {
		const bins = 200000
		counts := make([]float64, bins)
		for range int(rate * bins) {
			counts[r.IntN(bins)]++
		}
		used, sum, kl := 0, 0., 0.
		for _, c := range counts {
			if c > 0 {
				used, sum = used+1, sum+c
			}
		}
		for _, c := range counts {
			kl += xlogx(c) - c*math.Log(sum/float64(used))
		}
		if got := chance(used, sum/float64(used)); math.Abs(got-kl) > 0.05*float64(used) {
			t.Errorf("%g values a bin: %g, expected %g", rate, got/float64(used), kl/float64(used))
		}
	}
}

// Sums over groups give what distributions that are written out give, and the
// search finds nearly the least of all thresholds.
func TestDivergence(t *testing.T) {
	for i, s := range shapes {
		o := searching[*entropy](observed(t, "entropy", Options{Bins: leastBins}, draw(i, 50000)))
		for _, c := range []struct {
			bins         []uint64
			zero, levels int
		}{{o.counts, -o.first, 256}, {o.magnitudes(), 0, 128}} {
			d := newDivergence(c.bins, c.zero, c.levels)
			most := max(c.zero, len(c.bins)-c.zero)
			least := math.Inf(1)
			for k := 1; k <= most; k++ {
				if a, b := d.window(k); b-a < c.levels && k < most || d.sum[b] == d.sum[a] {
					continue
				}
				kl := d.at(k)
				least = min(least, kl)
				if k%37 == 0 {
					if want := slowDivergence(c.bins, c.zero, c.levels, k); math.Abs(kl-want) > 1e-9*math.Max(1, want) {
						t.Fatalf("%s: divergence %g at %d of %d bins, expected %g", s.name, kl, k, most, want)
					}
				}
			}
			if found := d.at(d.best()); found > least+6e-4 { // what chance makes of 50,000 values in 2,000 bins
				t.Errorf("%s, %d levels: found the divergence %g at %d of %d, the least is %g", s.name, c.levels, found, d.best(), most, least)
			}
		}
	}
}

// The thresholds of hand-made distributions are where theory has them. For a
// density of Fisher information 1 (normal, Laplace), the divergence is near
// T²/(24·128²) of rounding plus tail·ln(tail/bin at the edge) of clipping.
func TestEntropyThresholds(t *testing.T) {
	for _, c := range []struct {
		name     string
		m        target
		low, top float64 // of the upper end
	}{
		{"normal", target{dtype.Int8, true}, 4, 5.2},
		{"normal, one outlier at 60", target{dtype.Int8, true}, 4, 12},
		{"normal, one outlier at 60", target{dtype.Uint8, false}, 4, 12},
		{"normal, one outlier at 60", target{dtype.Int4, true}, 2.5, 4.5},
		{"Laplace", target{dtype.Int8, true}, 9, 13.5},
		{"Laplace", target{dtype.Int4, true}, 5, 8},
		{"ReLU of normal", target{dtype.Uint8, false}, 3.8, 5.2},
		{"uniform", target{dtype.Int8, true}, 0.999, 1},
		{"constant", target{dtype.Uint8, false}, 3.7, 3.700001},
		{"bimodal", target{dtype.Int8, true}, 3.7, 4.5},
		{"one spike", target{dtype.Uint8, false}, 5, 5},
		{"background", target{dtype.Uint8, false}, 8, 15},
		{"background", target{dtype.Int8, true}, 8, 15},
	} {
		for i, s := range shapes {
			if s.name != c.name {
				continue
			}
			if r := rangeOf(t, observed(t, "entropy", Options{}, draw(i, 200000)), c.m); r.Max < c.low || r.Max > c.top {
				t.Errorf("%s, %v: clipped at %g, expected %g to %g", c.name, c.m, r.Max, c.low, c.top)
			}
		}
	}
}

// studentT draws from Student's distribution with 3 degrees of freedom.
func studentT(r *rand.Rand) float64 {
	sum := 0.
	for range 3 {
		x := r.NormFloat64()
		sum += x * x
	}
	return r.NormFloat64() / math.Sqrt(sum/3)
}

// What entropy does to distributions that are easily got wrong: nothing is clipped
// where there is no tail, an outlier is dropped, a heavy tail is not.
func TestEntropyTails(t *testing.T) {
	const n = 100000
	r := rand.New(rand.NewPCG(11, 12))
	outlier := func(size float64) []float32 {
		x := normal(r, n)
		x[n/3] = float32(size)
		return x
	}
	discrete := func(values ...float64) []float32 {
		return each(n, func() float64 { return values[r.IntN(len(values))] })
	}
	for _, c := range []struct {
		name     string
		x        []float32
		low, top float64 // of the largest magnitude, as parts of what was seen
		below    float64 // at most so many dB below the best range; 0 does not ask
	}{
		{"uniform", each(n, func() float64 { return 2*r.Float64() - 1 }), 0.999, 1, 0.1},
		{"normal", normal(r, n), 0.85, 1, 1.1},
		{"Laplace", each(n, func() float64 { return r.ExpFloat64() * float64(1-2*r.IntN(2)) }), 0.75, 1, 1.1},
		{"Student-t", each(n, func() float64 { return studentT(r) }), 0.1, 1, 4},
		{"bimodal", each(n, func() float64 { return float64(6*r.IntN(2)-3) + r.NormFloat64()/4 }), 0.9, 1, 0.6},
		{"half-normal", each(n, func() float64 { return math.Max(0, r.NormFloat64()) }), 0.8, 1, 1.1},
		{"outlier at 100 deviations", outlier(100), 0.04, 0.12, 0},
		{"outlier at 1000 deviations", outlier(1000), 0.004, 0.03, 0},
		{"constant", discrete(-2.5), 1, 1, 0},
		{"two values", discrete(0, 7), 1, 1, 0},
		{"few values", discrete(-3, -1, 0, 0.25, 9), 1, 1, 0},
		{"few values, most of them equal", discrete(slices.Concat(slices.Repeat([]float64{0.5}, 60), []float64{4, -4})...), 1, 1, 0},
	} {
		for _, m := range mappings[:2] {
			most := float64(max(slices.Max(c.x), -slices.Min(c.x)))
			e := rangeOf(t, observed(t, "entropy", Options{}, c.x), m)
			if part := math.Max(-e.Min, e.Max) / most; part < c.low || part > c.top {
				t.Errorf("%s, %v: clipped at %.4f of %g, expected %g to %g", c.name, m, part, most, c.low, c.top)
			}
			best := rangeOf(t, observed(t, "mse", Options{}, c.x), m)
			if d := sqnr(c.x, best, m.dtype, m.symmetric) - sqnr(c.x, e, m.dtype, m.symmetric); c.below > 0 && d > c.below {
				t.Errorf("%s, %v: %.2f dB below the best range", c.name, m, d)
			}
		}
	}
}

// A tail that all samples have stays; outliers of some samples do not.
func TestEntropyCommon(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	var common, rare [][]float32
	for i := range 16 {
		x := normal(r, 5000)
		for j := 0; j < len(x); j += 100 {
			x[j] = float32(10 + 10*r.Float64())
		}
		common = append(common, x)
		if i%4 != 0 {
			x = normal(r, 5000)
		}
		rare = append(rare, x)
	}
	m := target{dtype.Int4, true}
	all, some := rangeOf(t, observed(t, "entropy", Options{}, common...), m), rangeOf(t, observed(t, "entropy", Options{}, rare...), m)
	if all.Max < 6 || some.Max > 4.5 {
		t.Errorf("a tail up to 20 is clipped at %g where all samples have it, at %g where a quarter of them do", all.Max, some.Max)
	}
}

// No range of a fine grid is better than that of mse, on the values themselves.
func TestLeastSquares(t *testing.T) {
	for i, s := range shapes {
		x := draw(i, 1000)
		o := searching[*mse](observed(t, "mse", Options{}, x))
		for _, m := range mappings[:4] {
			got := sqnr(x, rangeOf(t, o, m), m.dtype, m.symmetric)
			best, at := got, quant.Range{}
			for a := 1.0; a > 0.02; a *= 0.88 {
				for b := 1.0; b > 0.02; b *= 0.88 {
					r := quant.Range{Min: math.Min(o.min, 0) * a, Max: math.Max(o.max, 0) * b}
					if g := sqnr(x, r, m.dtype, m.symmetric); g > best {
						best, at = g, r
					}
				}
			}
			if best > got+0.1 && got < 200 {
				t.Errorf("%s, %v: %.2f dB at %v, expected %.2f dB at %v", s.name, m, got, rangeOf(t, o, m), best, at)
			}
		}
	}
}

// The expected error is that of the values.
func TestCost(t *testing.T) {
	for i, s := range shapes[:8] {
		x := draw(i, 100000)
		o := searching[*mse](observed(t, "mse", Options{}, x))
		for _, m := range mappings {
			a, err := quant.Fit(quant.Range{Min: o.min / 2, Max: o.max / 2}, m.dtype, m.symmetric)
			if err != nil {
				t.Fatal(err)
			}
			want := 0.
			for _, v := range x {
				d := float64(a.Round(v)) - float64(v)
				want += d * d
			}
			if got := newMoments(&o.stream).cost(a); math.Abs(got-want) > 0.02*want {
				t.Errorf("%s, %v: error %g, expected %g", s.name, m, got, want)
			}
		}
	}
}
