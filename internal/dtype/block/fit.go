package block

import "math"

// A codebook is the values that a quantized number can have before it is
// scaled: the whole numbers from lo to hi, or those of a table.
type codebook struct {
	lo, hi float64
	halves []int8    // if not nil, the nearest value to lo, lo + ½, … hi
	tops   []float64 // what fitScale tries to map the largest magnitude to
}

// integers is the codebook of the whole numbers from lo to hi; ties go to even.
func integers(lo, hi float64) *codebook {
	c := &codebook{lo: lo, hi: hi}
	for k := -9; k <= 9; k++ {
		c.tops = append(c.tops, hi+float64(k)/10)
		if lo < 0 {
			c.tops = append(c.tops, lo+float64(k)/10)
		}
	}
	return c
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
// top it takes the levels nearest to x when the largest magnitude is at top, and
// the scale that fits these best. curvature is Σ w·level², by which the error
// grows as the scale departs from there.
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
	for _, top := range c.tops {
		inverse, xl, ll := top/largest, 0.0, 0.0
		for i, v := range x {
			l := c.level(v * inverse)
			wl := float64(w[i] * l)
			xl += float64(wl * v)
			ll += float64(wl * l)
		}
		if ll > 0 && xl*xl/ll > best { // the error is Σ w·x² less this
			best, scale, curvature = xl*xl/ll, xl/ll, ll
		}
	}
	return scale, curvature
}

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
	for k := -10; k <= 10; k++ {
		step := (hi - lo) / (top + float64(k)/10)
		inverse := 1 / step
		s.l, s.ll, s.xl = 0, 0, 0
		for i, v := range x {
			l := round(clamp((v-lo)*inverse, 0, top))
			wl := float64(w[i] * l)
			s.l += wl
			s.ll += float64(wl * l)
			s.xl += float64(wl * v)
		}
		fitted, offset := s.line()
		for _, c := range [2][2]float64{{step, lo}, {fitted, offset}} {
			if g := s.gain(c[0], c[1]); c[0] > 0 && g > best {
				best, scale, minimum, curvature = g, c[0], -c[1], s.ll
			}
		}
	}
	return scale, minimum, curvature
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
