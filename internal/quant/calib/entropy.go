package calib

import (
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// entropy clips where the Kullback-Leibler divergence of the quantized
// distribution from the real one is least, as TensorRT does (S. Migacz, 8-bit
// Inference with TensorRT, GTC 2017). For a threshold T, the reference p is the
// histogram up to T with all that lies beyond added to its outermost bins; q is
// the same bins without what lies beyond, merged into as many groups as there
// are quantized levels, each group's mean given back to those of its bins that
// are not empty. A bin at the edge in which p has only outliers has eps in q.
//
// Counts of few values differ by chance, which seems to be information that a
// group loses: with n bins and N values about n/2N, often more than all that
// rounding loses, and the more the higher the threshold, so that thresholds of
// small samples would be far too low. That part is taken off (as Miller and
// Madow do for entropies).
//
// A background, or a ReLU of a constant, puts many values into few bins. Rounding
// moves such a spike by less than half a step, but the divergence sees all of its
// values spread over a group, and makes the groups small by clipping what matters
// more. Therefore a group loses no more than a density does that is as steep as
// its neighbours say, or that falls by a factor of e in a thirty-second of the
// range.
//
// Symmetric mappings look at magnitudes and half of the levels. The others look
// at both sides with all levels and clip each at the same magnitude, so that
// what is never negative is treated as one-sided.
//
// The divergence counts how many values are clipped, not how far: of a heavy tail it
// cuts off what has much of the energy. Therefore the threshold is not below the one
// at which the squared error of common magnitudes, those that a third of the samples
// reach, is least.
type entropy struct {
	stream
	tops stream // the largest magnitudes of samples
	cuts stream // of their pieces
}

// eps is what an empty bin at the edge counts in q, in values.
const eps = 1e-4

// Observe takes in one sample's values.
func (e *entropy) Observe(x []float32) error {
	if err := e.stream.Observe(x); err != nil {
		return err
	}
	cuts := piecewise(x)
	if err := e.cuts.Observe(cuts); err != nil || len(cuts) == 0 {
		return err
	}
	return e.tops.Observe([]float32{slices.Max(cuts)})
}

// enoughSamples is from how many on these show what is common. Fewer are cut into
// pieces, so that one sample too shows what is common in it.
const (
	enoughSamples = 8
	pieces        = 5
)

// leastPiece is the least number of values of a piece.
const leastPiece = 64

// piecewise gives the largest magnitude of each piece of a sample. Pieces take turns,
// and lose step now and then, so that all meet all channels and columns.
func piecewise(x []float32) []float32 {
	var top [pieces]float32
	for i, v := range x {
		k := (i + i/61) % pieces
		top[k] = max(top[k], v, -v)
	}
	switch {
	case len(x) == 0:
		return nil
	case len(x) < pieces*leastPiece:
		return []float32{slices.Max(top[:])}
	}
	return top[:]
}

func (e *entropy) Range(t dtype.Type, symmetric bool) (quant.Range, error) {
	if e.total == 0 {
		return quant.Range{}, errNothing()
	}
	lowest, highest, err := quant.Limits(t)
	if err != nil {
		return quant.Range{}, err
	}
	levels := int(highest) - int(lowest) + 1
	bins, zero := e.counts, -e.first
	if symmetric {
		bins, zero, levels = e.magnitudes(), 0, levels/2
	}
	k := newDivergence(bins, zero, levels).best()
	return e.clipped(math.Max(float64(k)*e.width(), e.floor(t, symmetric))), nil
}

// floor is the least threshold that entropy may choose.
func (e *entropy) floor(t dtype.Type, symmetric bool) float64 {
	tops := &e.tops
	if tops.total < enoughSamples {
		tops = &e.cuts
	}
	common := e.within(tops.reached(1. / 3))
	mo := newMoments(&common)
	return least(math.Max(-e.min, e.max), func(limit float64) float64 {
		a, err := quant.Fit(e.clipped(limit), t, symmetric)
		if err != nil {
			return math.Inf(1)
		}
		return mo.cost(a)
	})
}

// divergence finds the threshold with the least divergence. Running sums over
// the bins make the cost of a threshold that of its groups.
type divergence struct {
	levels   int
	steepest float64 // the most that a group loses, for each of its values
	zero     int     // the bin that begins at 0
	bins     []uint64
	sum      []float64 // of counts before bin i
	used     []int     // bins before i that are not empty
	log      []float64 // of c·ln c before bin i
	groups   []group   // of the threshold that is tried
}

// group is a run of bins that become one level.
type group struct {
	values float64
	mean   float64 // the logarithm of the mean of its bins that are not empty
	loss   float64 // its divergence, times the number of values; 0 where all bins are empty
}

func newDivergence(bins []uint64, zero, levels int) *divergence {
	n := len(bins)
	d := &divergence{levels: levels, steepest: steepest(levels), zero: zero, bins: bins, sum: make([]float64, n+1), used: make([]int, n+1), log: make([]float64, n+1), groups: make([]group, levels)}
	for i, c := range bins {
		d.sum[i+1], d.used[i+1], d.log[i+1] = d.sum[i]+float64(c), d.used[i], d.log[i]
		if c > 0 {
			d.used[i+1]++
			d.log[i+1] += xlogx(float64(c))
		}
	}
	return d
}

// finest is the part of the range, as its inverse, below which structure of a
// distribution does not count, unless it goes on in the neighbourhood.
const finest = 32

// steepest is the divergence for each value that a group may have whatever its
// neighbours are.
func steepest(levels int) float64 { return slope(finest / float64(levels)) }

// slope is the divergence from its mean, for each value, of a density that falls
// by a factor of e^a.
func slope(a float64) float64 { return a * a / 24 }

func xlogx(x float64) float64 {
	if x == 0 {
		return 0
	}
	return x * math.Log(x)
}

// window gives the bins of magnitude less than k bins.
func (d *divergence) window(k int) (a, b int) {
	return max(d.zero-k, 0), min(d.zero+k, len(d.bins))
}

// best is the threshold, in bins from zero, with the least divergence; of equal
// ones the largest. Thresholds are tried on a grid of 1 % steps, then bin by bin
// around the best.
func (d *divergence) best() int {
	most := max(d.zero, len(d.bins)-d.zero)
	best, least := most, d.at(most)
	try := func(k int) {
		if a, b := d.window(k); b-a < d.levels || k >= most {
			return
		}
		if kl := d.at(k); kl < least {
			best, least = k, kl
		}
	}
	for k := most - 1; k > 0; k = min(k-1, k*99/100) {
		try(k)
	}
	for k, step := best, best/100+1; k > 0 && k >= best-step; k-- {
		try(k)
	}
	around := best
	for k := around + around/99 + 1; k > around-around/99-1; k-- {
		try(k)
	}
	return best
}

// at is the divergence of threshold k.
func (d *divergence) at(k int) float64 {
	a, b := d.window(k)
	n, all, inside := b-a, d.sum[len(d.bins)], d.sum[b]-d.sum[a]
	if n < 2 || inside == 0 {
		return math.Inf(1)
	}
	d.group(a, n)
	loss := 0.
	for i, g := range d.groups {
		if g.values > 0 {
			loss += math.Min(g.loss, d.most(i)*g.values)
		}
	}
	loss += beyond(d.sum[a], float64(d.bins[a]), d.groups[0].mean) + beyond(all-d.sum[b], float64(d.bins[b-1]), d.groups[d.levels-1].mean)
	return loss/all - math.Log(all) + math.Log(inside)
}

// group fills in the groups of n bins from bin a on, of which there are at least
// as many as groups, unless nothing can be clipped.
func (d *divergence) group(a, n int) {
	from := a
	for i := range d.groups {
		to := a + (i+1)*n/d.levels
		g := group{values: d.sum[to] - d.sum[from]}
		if used := d.used[to] - d.used[from]; used > 0 {
			mean := g.values / float64(used)
			g.mean = math.Log(mean)
			g.loss = d.log[to] - d.log[from] - g.values*g.mean - chance(used, mean)
		}
		d.groups[i], from = g, to
	}
}

// most is the largest divergence for each value of group i that counts: twice
// that of a density that is as steep as its neighbours say, which have to have
// values.
func (d *divergence) most(i int) float64 {
	before, after, steps := i-1, i+1, 2.
	switch {
	case len(d.groups) < 3:
		return math.Inf(1)
	case i == 0:
		before, after, steps = 1, 2, 1
	case after == len(d.groups):
		before, after, steps = i-2, i-1, 1
	}
	if d.groups[before].values == 0 || d.groups[after].values == 0 {
		return math.Inf(1)
	}
	return math.Max(d.steepest, 2*slope((d.groups[before].mean-d.groups[after].mean)/steps))
}

// beyond is what the values beyond a threshold add in the bin at the edge, which
// has count values of its own and is in a group of which mean is the logarithm of
// the mean.
func beyond(values, count, mean float64) float64 {
	if values == 0 {
		return 0
	}
	if count == 0 {
		mean = math.Log(eps)
	}
	return xlogx(count+values) - xlogx(count) - values*mean
}

// chance is the divergence, in values, that a group of bins of one density has
// because counts differ by chance: half for each bin but one where many values
// are counted. Where there are few, bins that are not empty differ less; the
// quotient is within 0.04 of 1-λ/(e^λ-1), with λ so that their mean is λ/(1-e^-λ).
func chance(used int, mean float64) float64 {
	x := mean - 1
	return 0.5 * float64(used-1) * (1 - 1/(1+x*(1+x*(0.5+x/6))))
}
