package block

import "math"

// A codebook is the values that a quantized number can have before it is
// scaled: the whole numbers from lo to hi, or those of a table.
type codebook struct {
	lo, hi float64
	halves []int8 // if not nil, the nearest value to lo, lo + ½, … hi
	// tops are what fitScale tries to map the largest magnitude to: in ascending
	// order near the highest value, and near the lowest one.
	tops [][]float64
}

// integers is the codebook of the whole numbers from lo to hi; ties go to even.
func integers(lo, hi float64) *codebook {
	c := &codebook{lo: lo, hi: hi, tops: [][]float64{around(hi, 9, 0.1)}}
	if lo < 0 {
		c.tops = append(c.tops, around(lo, 9, 0.1))
	}
	return c
}

// around lists v and the n numbers on each side of it, step apart.
func around(v float64, n int, step float64) (list []float64) {
	for k := -n; k <= n; k++ {
		list = append(list, v+float64(float64(k)*step))
	}
	return list
}

// level is the nearest value to v.
func (c *codebook) level(v float64) float64 {
	v = clamp(v, c.lo, c.hi)
	if c.halves != nil {
		return float64(c.halves[int(2*(v-c.lo))])
	}
	return round(v)
}

func clamp(v, lo, hi float64) float64 {
	if v > lo { // false for NaN
		if v < hi {
			return v
		}
		return hi
	}
	return lo
}

// round is math.RoundToEven for |v| < 2⁵¹, without a call.
func round(v float64) float64 {
	const shift = 3 << 51 // its neighbours are a distance of 1 apart
	return float64(v) + shift - shift
}

// fitScale finds a scale with a small error Σ w·(x - scale·level)². For each
// top it tries, it takes the levels nearest to x when the largest magnitude is at
// top, and the scale that fits these best. curvature is Σ w·level², by which the
// error grows as the scale departs from there.
func (c *codebook) fitScale(x, w []float64) (scale, curvature float64) {
	largest := 0.0
	for _, v := range x {
		if math.Abs(v) > math.Abs(largest) {
			largest = v
		}
	}
	if largest == 0 {
		return 0, 0
	}
	best := 0.0
	for _, tops := range c.tops {
		climb(len(tops), func(i int) float64 {
			xl, ll := c.products(x, w, tops[i]/largest)
			gain := 0.0 // the error is Σ w·x² less this
			if ll > 0 {
				gain = xl * xl / ll
			}
			if gain > best {
				best, scale, curvature = gain, xl/ll, ll
			}
			return gain
		})
	}
	return scale, curvature
}

// products are Σ w·x·level and Σ w·level² for the levels nearest to x·inverse.
func (c *codebook) products(x, w []float64, inverse float64) (xl, ll float64) {
	w = w[:len(x)]
	if c.halves != nil {
		for i, v := range x {
			l := c.level(v * inverse)
			wl := float64(w[i] * l)
			xl += float64(wl * v)
			ll += float64(wl * l)
		}
		return xl, ll
	}
	lo, hi := c.lo, c.hi
	for i, v := range x {
		l := round(clamp(v*inverse, lo, hi))
		wl := float64(w[i] * l)
		xl += float64(wl * v)
		ll += float64(wl * l)
	}
	return xl, ll
}

// stride is how far apart climb looks first.
const stride = 3

// climb looks for a large gain among 0 to n-1: at every third, and beside the
// best of these. Gains are smooth enough that the others are hardly ever better.
func climb(n int, gain func(i int) float64) {
	at, best := 0, math.Inf(-1)
	for i := 0; i < n; i += stride {
		if g := gain(i); g > best {
			at, best = i, g
		}
	}
	for _, i := range [2]int{at - 1, at + 1} {
		if i >= 0 && i < n {
			gain(i)
		}
	}
}

// ranges is how many ranges on either side of the values' own fitLine tries.
const ranges = 10

// fitLine finds a scale and a minimum, both at least 0, with a small error
// Σ w·(x - (scale·q - minimum))² for whole q from 0 to top. It takes the nearest
// q for each of several ranges, and the range or the line that fits these best.
func fitLine(x, w []float64, top float64) (scale, minimum, curvature float64) {
	lo, hi := 0.0, 0.0
	var s sums
	for i, v := range x {
		lo, hi = min(lo, v), max(hi, v)
		s.w += w[i]
		s.x += float64(w[i] * v)
	}
	if lo == hi {
		return 0, 0, 0
	}
	best := math.Inf(-1)
	climb(2*ranges+1, func(i int) float64 {
		step := (hi - lo) / (top + float64(i-ranges)/10)
		s.levels(x, w, lo, 1/step, top)
		fitted, offset := s.line()
		here := math.Inf(-1)
		for _, c := range [2][2]float64{{step, lo}, {fitted, offset}} {
			g := s.gain(c[0], c[1])
			if c[0] > 0 && g > best {
				best, scale, minimum, curvature = g, c[0], -c[1], s.ll
			}
			if c[0] > 0 && g > here {
				here = g
			}
		}
		return here
	})
	return scale, minimum, curvature
}

// levels sums over the levels from 0 to top nearest to (x - lo)·inverse.
func (s *sums) levels(x, w []float64, lo, inverse, top float64) {
	w = w[:len(x)]
	var sl, sll, sxl float64
	for i, v := range x {
		l := round(clamp((v-lo)*inverse, 0, top))
		wl := float64(w[i] * l)
		sl += wl
		sll += float64(wl * l)
		sxl += float64(wl * v)
	}
	s.l, s.ll, s.xl = sl, sll, sxl
}

// sums are weighted sums over values x and their levels l: Σ w, Σ w·x, Σ w·l,
// Σ w·l², Σ w·x·l.
type sums struct{ w, x, l, ll, xl float64 }

// line is the least squares solution of x ≈ a·l + b with b at most 0. a is 0 if
// the levels do not determine it.
func (s *sums) line() (a, b float64) {
	if det := float64(s.w*s.ll) - float64(s.l*s.l); det > 0 {
		a = (float64(s.w*s.xl) - float64(s.x*s.l)) / det
		b = (float64(s.ll*s.x) - float64(s.l*s.xl)) / det
	}
	if b > 0 {
		return s.xl / s.ll, 0
	}
	return a, b
}

// gain is Σ w·x² less the squared error of a·l + b.
func (s *sums) gain(a, b float64) float64 {
	return float64(a*(2*s.xl-float64(a*s.ll))) + float64(b*(2*s.x-float64(b*s.w))) - float64(2*a*b*s.l)
}
