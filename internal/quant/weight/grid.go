package weight

import (
	"math"
	"slices"
	"sort"

	"github.com/salver-ml/salver/internal/dtype"
)

// params are what a group's codes are read with.
type params struct{ scale, zero float32 }

// grid maps numbers to the codes of a scheme and back.
type grid struct {
	Scheme
	levels []float32 // of kinds other than Int, by code
	order  []uint8   // codes with finite levels, by level; of two with the same, the first
	bounds []float32 // between neighbours in order
}

func newGrid(s Scheme) *grid {
	g := &grid{Scheme: s, levels: s.Kind.levels()}
	for c, l := range g.levels {
		if _, ok := finite([]float32{l}); ok {
			g.order = append(g.order, uint8(c))
		}
	}
	slices.SortStableFunc(g.order, func(a, b uint8) int {
		switch x, y := g.levels[a], g.levels[b]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	g.order = slices.CompactFunc(g.order, func(a, b uint8) bool { return g.levels[a] == g.levels[b] })
	for i := 1; i < len(g.order); i++ {
		g.bounds = append(g.bounds, (g.levels[g.order[i-1]]+g.levels[g.order[i]])/2)
	}
	return g
}

// code is that of the nearest level, of two the even one. A group of scale 0 is
// all zeros.
func (g *grid) code(x float32, p params) uint8 {
	if g.Kind == Int {
		return uint8(nearest(x, inverse(p.scale), p.zero, g.largest()))
	}
	if p.scale == 0 {
		return g.zeroCode()
	}
	x /= p.scale
	switch g.Kind {
	case MXFP4:
		return dtype.ToNarrow(dtype.Float4E2M1, x, true)
	case E4M3:
		return dtype.ToNarrow(dtype.Float8E4M3FN, x, true)
	case E5M2:
		return dtype.ToNarrow(dtype.Float8E5M2, x, true)
	}
	return g.order[sort.Search(len(g.bounds), func(i int) bool { return x < g.bounds[i] })]
}

// inverse is 1/scale, 0 of 0.
func inverse(scale float32) float32 {
	if scale == 0 {
		return 0
	}
	return 1 / scale
}

// nearest is x/scale + zero, rounded to a whole number from 0 to largest.
func nearest(x, inverse, zero, largest float32) float32 {
	const magic = 3 << 22 // what is added to it is rounded to whole numbers
	v := float32(x*inverse) + zero
	if v < 0 {
		return 0
	}
	if v > largest {
		return largest
	}
	return float32(v+magic) - magic
}

func (g *grid) zeroCode() uint8 {
	if g.Kind == NF4 {
		return 7
	}
	return 0
}

// level is what a code stands for at scale 1.
func (g *grid) level(c uint8, p params) float32 {
	if g.Kind == Int {
		return float32(c) - p.zero
	}
	return g.levels[c]
}

// value is what a code stands for.
func (g *grid) value(c uint8, p params) float32 { return g.level(c, p) * p.scale }

// span gives the range of numbers, widened to hold zero.
func span(w []float32) (lo, hi float32) {
	for _, x := range w {
		lo, hi = min(lo, x), max(hi, x)
	}
	return lo, hi
}

// cover gives a scale with which the levels reach from by·lo to by·hi. The
// number of the largest magnitude is a level itself; in a symmetric scheme of few
// bits it is the lowest one, so that all are used, and the scale may be negative.
func (g *grid) cover(lo, hi, by float32) params {
	lo, hi = lo*by, hi*by
	extreme := hi
	if -lo > hi {
		extreme = lo
	}
	switch {
	case g.Kind == MXFP4:
		return params{scale: powerOfTwo(float32(math.Abs(float64(extreme))))}
	case g.Kind != Int:
		return params{scale: g.stored(float32(math.Abs(float64(extreme))) / g.Kind.top())}
	case g.Symmetric && g.Bits > 4:
		return params{g.stored(float32(math.Abs(float64(extreme))) / (g.middle() - 1)), g.middle()}
	case g.Symmetric:
		return params{g.stored(-extreme / g.middle()), g.middle()}
	}
	p := params{scale: g.stored((hi - lo) / g.largest())}
	if p.scale != 0 {
		p.zero = -lo / p.scale
		if g.FloatZero {
			p.zero = g.stored(p.zero)
		} else {
			p.zero = min(max(float32(math.RoundToEven(float64(p.zero))), 0), g.largest())
		}
	}
	return p
}

// powerOfTwo is the shared scale of the Microscaling specification, in which the
// largest magnitude has the exponent of the largest float4, 2.
func powerOfTwo(largest float32) float32 {
	if largest == 0 {
		return 0
	}
	_, e := math.Frexp(float64(largest))
	return float32(math.Ldexp(1, min(max(e-1-2, -127), 127)))
}

// fit gives the parameters for a group. importance weighs the columns; nil is
// all alike.
func (g *grid) fit(w, importance []float32, c Clip) params {
	lo, hi := span(w)
	p := g.cover(lo, hi, 1)
	if c == MinMax || lo == hi {
		return p
	}
	f := &fitting{g, w, importance, p, g.distance(w, importance, p, math.Inf(1))}
	switch g.Kind {
	case E4M3, E5M2: // whose small levels lie as close as large ones, relative to their size
	case MXFP4:
		f.try(params{scale: p.scale / 2})
		f.try(params{scale: min(p.scale*2, 0x1p127)})
		return f.best
	default:
		f.narrow(lo, hi)
	}
	f.try(g.refit(w, importance, f.best))
	return f.best
}

// fitting looks for the parameters with the smallest squared error.
type fitting struct {
	*grid
	w, importance []float32
	best          params
	least         float64
}

// try keeps parameters that are better than the best so far, and says so.
func (f *fitting) try(p params) bool {
	if p.scale == 0 {
		return false
	}
	d := f.distance(f.w, f.importance, p, f.least)
	if d < f.least {
		f.best, f.least = p, d
		return true
	}
	return false
}

// clipSteps is how many narrower ranges there are, down to half: of each pair one
// is tried, and then the neighbours of the best.
const clipSteps = 20

func (f *fitting) narrow(lo, hi float32) {
	// a symmetric scheme of few bits has one level more at one end, which may be
	// either
	twoEnds := f.Kind == Int && f.Symmetric && f.Bits <= 4
	at, sign := 0, float32(1)
	try := func(i int, s float32) {
		p := f.cover(lo, hi, 1-float32(i)/(2*clipSteps))
		p.scale *= s
		if f.try(p) {
			at, sign = i, s
		}
	}
	for i := 0; i < clipSteps; i += 2 {
		try(i, 1)
		if twoEnds {
			try(i, -1)
		}
	}
	middle, s := at, sign
	try(middle+1, s)
	if middle > 0 {
		try(middle-1, s)
	}
}

// refit gives the scale with the least squared error for the codes as they are:
// Σ w·level / Σ level².
func (g *grid) refit(w, importance []float32, p params) params {
	var num, den float64
	for i, x := range w {
		l := float64(g.level(g.code(x, p), p))
		if importance != nil {
			l1 := l * float64(importance[i])
			num, den = num+float64(l1*float64(x)), den+float64(l1*l)
			continue
		}
		num, den = num+float64(l*float64(x)), den+float64(l*l)
	}
	if den == 0 {
		return p
	}
	return params{g.stored(float32(num / den)), p.zero}
}

// distance is the squared error of a group; if that is over limit, some number
// over limit.
func (g *grid) distance(w, importance []float32, p params, limit float64) (sum float64) {
	if g.Kind == Int && importance == nil {
		return distanceOfInts(w, p, g.largest(), limit)
	}
	for i, x := range w {
		d := float64(x) - float64(g.value(g.code(x, p), p))
		d = float64(d * d)
		if importance != nil {
			d = float64(d * float64(importance[i]))
		}
		sum += d
	}
	return sum
}

// distanceOfInts is distance where it is asked for most often.
func distanceOfInts(w []float32, p params, largest float32, limit float64) (sum float64) {
	const each = 8 // numbers, after which it is seen whether that is enough
	inv := inverse(p.scale)
	for len(w) > 0 && sum <= limit {
		n := min(each, len(w))
		for _, x := range w[:n] {
			d := float64(x - float32((nearest(x, inv, p.zero, largest)-p.zero)*p.scale))
			sum += float64(d * d)
		}
		w = w[n:]
	}
	return sum
}
