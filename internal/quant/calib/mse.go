package calib

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// mse takes the range whose mapping has the least expected squared error.
type mse struct{ stream }

func (m *mse) Range(t dtype.Type, symmetric bool) (quant.Range, error) {
	if m.total == 0 {
		return quant.Range{}, errNothing()
	}
	if _, _, err := quant.Limits(t); err != nil {
		return quant.Range{}, err
	}
	r := m.whole()
	if m.counts == nil {
		return r, nil
	}
	mo := newMoments(&m.stream)
	cost := func(r quant.Range) float64 {
		a, err := quant.Fit(r, t, symmetric)
		if err != nil {
			return math.Inf(1)
		}
		return mo.cost(a)
	}
	limit := math.Max(-m.min, m.max)
	both := func(x float64) quant.Range {
		return quant.Range{Min: math.Max(m.min, -x), Max: math.Min(m.max, x)}
	}
	r = both(least(limit, func(x float64) float64 { return cost(both(x)) }))
	if symmetric || m.min >= 0 || m.max <= 0 {
		return r, nil
	}
	// Each end for itself, until neither moves the error by a thousandth.
	for now := cost(r); ; {
		r.Max = least(m.max, func(x float64) float64 { return cost(quant.Range{Min: r.Min, Max: x}) })
		r.Min = -least(-m.min, func(x float64) float64 { return cost(quant.Range{Min: -x, Max: r.Max}) })
		before := now
		if now = cost(r); !(now < before*0.999) {
			return r, nil
		}
	}
}

// least is where f is least between 0 and most: the best of a grid, refined by
// golden sections between its neighbours.
func least(most float64, f func(float64) float64) float64 {
	const steps, ratio = 64, 0.93 // 0.93^64 = 1 %
	best, low := most, f(most)
	for x, i := most*ratio, 1; i < steps; x, i = x*ratio, i+1 {
		if c := f(x); c < low {
			best, low = x, c
		}
	}
	const golden = 0.6180339887498949
	a, b := best*ratio, math.Min(best/ratio, most)
	x1, x2 := b-golden*(b-a), a+golden*(b-a)
	f1, f2 := f(x1), f(x2)
	for b-a > best*1e-3 { // the error is flat there
		if f1 <= f2 {
			b, x2, f2 = x2, x1, f1
			x1 = b - golden*(b-a)
			f1 = f(x1)
		} else {
			a, x1, f1 = x1, x2, f2
			x2 = a + golden*(b-a)
			f2 = f(x2)
		}
	}
	if f1 < low {
		best, low = x1, f1
	}
	if f2 < low {
		best = x2
	}
	return best
}

// moments are running integrals of 1, x and x² over the density that a
// histogram describes: even within each bin.
type moments struct {
	first, width, perWidth float64
	counts                 []float64
	sum                    [][3]float64 // up to the beginning of bin i
}

func newMoments(s *stream) *moments {
	m := &moments{first: float64(s.first), width: s.width(), perWidth: 1 / s.width(), counts: make([]float64, len(s.counts)), sum: make([][3]float64, len(s.counts)+1)}
	for i, c := range s.counts {
		m.counts[i] = float64(c)
		m.sum[i+1] = m.with(i, s.edge(i+1), 1)
	}
	return m
}

// with is the integrals up to x, in bin i, of which the given part lies below x.
func (m *moments) with(i int, x, part float64) [3]float64 {
	a, c, at := (m.first+float64(i))*m.width, m.counts[i]*part, m.sum[i]
	return [3]float64{at[0] + c, at[1] + c*(a+x)/2, at[2] + c*(a*a+a*x+x*x)/3}
}

// upTo integrates from below to x.
func (m *moments) upTo(x float64) [3]float64 {
	place := x*m.perWidth - m.first
	switch {
	case !(place > 0):
		return [3]float64{}
	case place >= float64(len(m.counts)):
		return m.sum[len(m.counts)]
	}
	i := int(place)
	return m.with(i, x, place-float64(i))
}

// cost is the sum of squared errors of a mapping.
func (m *moments) cost(a quant.Affine) float64 {
	lowest, highest, err := quant.Limits(a.Type)
	if err != nil {
		return math.Inf(1)
	}
	scale := float64(a.Scale)
	value := func(q int32) float64 { return float64(q-a.Zero) * scale }
	if int(highest)-int(lowest) > 2*len(m.counts) {
		return m.coarse(value(lowest), value(highest), scale)
	}
	sum := 0.
	from := m.upTo(math.Inf(-1))
	for q := lowest; q <= highest; q++ {
		to := m.upTo(math.Inf(1))
		if q < highest {
			to = m.upTo(value(q) + scale/2)
		}
		sum += around(value(q), from, to)
		from = to
	}
	return sum
}

// coarse is cost where levels lie closer than bins: even noise between them.
func (m *moments) coarse(lo, hi, scale float64) float64 {
	begin, a, b, end := m.upTo(math.Inf(-1)), m.upTo(lo), m.upTo(hi), m.upTo(math.Inf(1))
	return around(lo, begin, a) + (b[0]-a[0])*scale*scale/12 + around(hi, b, end)
}

// around is the integral of (x-v)² between two places.
func around(v float64, from, to [3]float64) float64 {
	return math.Max(0, to[2]-from[2]-2*v*(to[1]-from[1])+v*v*(to[0]-from[0]))
}
