package calib

import (
	"math"
	"math/bits"
	"slices"

	"github.com/salver-ml/salver/internal/quant"
)

// stream counts values in bins whose number is bounded, whatever their range.
// Bins are a power of two wide, begin at multiples of their width, and reach
// from the smallest value, or zero, to the largest, or zero, since mappings do.
// Where the range outgrows them, neighbours are merged in pairs, which loses
// nothing but resolution: what is counted where depends only on the values, not
// on their order, nor on the pieces in which they came. Exact zeros, which every
// mapping keeps, are counted apart.
type stream struct {
	limit    int      // of bins
	exp      int      // a bin is 2^exp wide
	first    int      // bin i lies between (first+i)·2^exp and (first+i+1)·2^exp; at most 0
	counts   []uint64 // zeros are not in here
	zeros    uint64
	total    uint64 // with zeros
	min, max float64
}

// Observe takes in values.
func (s *stream) Observe(x []float32) error {
	if len(x) == 0 {
		return nil
	}
	l, h, err := extremes(x)
	if err != nil {
		return err
	}
	lo, hi := float64(l), float64(h)
	if s.total > 0 {
		lo, hi = math.Min(lo, s.min), math.Max(hi, s.max)
	}
	if lo != 0 || hi != 0 {
		s.cover(math.Min(lo, 0), math.Max(hi, 0))
	}
	s.min, s.max = lo, hi
	s.total += uint64(len(x))
	zeros := s.add(x)
	s.zeros += zeros
	if s.counts != nil {
		s.counts[-s.first] -= zeros
	}
	return nil
}

// add counts values, of which those that are zero go beside the smallest
// positive ones, and gives the number of zeros.
func (s *stream) add(x []float32) (zeros uint64) {
	if s.counts == nil {
		return uint64(len(x)) // nothing but zeros was seen
	}
	scale, first, counts := math.Ldexp(1, -s.exp), s.first, s.counts
	for _, v := range x {
		v += 0 // -0 becomes 0
		b := math.Float32bits(v)
		if b == 0 {
			zeros++
		}
		counts[int(float64(v)*scale)-int(b>>31)-first]++ // as index does; a power of two scales exactly
	}
	return zeros
}

// cover makes bins for the range from lo to hi, which holds 0 and more.
func (s *stream) cover(lo, hi float64) {
	_, exp := math.Frexp(hi - lo)
	exp -= bits.Len(uint(s.limit)) // too fine by a little
	if s.counts != nil {
		exp = max(exp, s.exp)
	}
	first, last := index(lo, exp), index(hi, exp)
	for last-first >= s.limit {
		exp++
		first, last = index(lo, exp), index(hi, exp)
	}
	if s.counts != nil && exp == s.exp && first == s.first && last == s.first+len(s.counts)-1 {
		return
	}
	counts := make([]uint64, last-first+1)
	for i, c := range s.counts {
		counts[(s.first+i)>>(exp-s.exp)-first] += c
	}
	s.counts, s.exp, s.first = counts, exp, first
}

// index is the number of the bin that holds v. Bins of negative numbers mirror
// those of positive ones: what lies between two belongs to the outer one.
func index(v float64, exp int) int {
	i := int(math.Ldexp(v, -exp)) // towards zero
	if v < 0 {
		i--
	}
	return i
}

// width of a bin.
func (s *stream) width() float64 { return math.Ldexp(1, s.exp) }

// edge is where bin i begins.
func (s *stream) edge(i int) float64 { return math.Ldexp(float64(s.first+i), s.exp) }

// whole is the range of all that was seen.
func (s *stream) whole() quant.Range { return quant.Range{Min: s.min, Max: s.max} }

// magnitudes are the bins of |x|.
func (s *stream) magnitudes() []uint64 {
	if s.counts == nil {
		return nil
	}
	last := s.first + len(s.counts)
	m := make([]uint64, max(last, -s.first))
	for i, c := range s.counts {
		j := s.first + i
		if j < 0 {
			j = -1 - j // [-w, 0) beside [0, w)
		}
		m[j] += c
	}
	return m
}

// clipped is the range of all that was seen, but of magnitudes up to limit.
func (s *stream) clipped(limit float64) quant.Range {
	clip := func(x float64) float64 { return math.Max(-limit, math.Min(limit, x)) }
	return quant.Range{Min: clip(s.min), Max: clip(s.max)}
}

// within is what was seen of magnitudes up to limit, or in its bin.
func (s *stream) within(limit float64) stream {
	w := *s
	w.counts = slices.Clone(s.counts)
	for i := range w.counts {
		if math.Max(s.edge(i), -s.edge(i+1)) > limit { // the end next to zero
			w.counts[i] = 0
		}
	}
	return w
}

// reached is the number that the given part of values, which are not negative, reach:
// that or its bin.
func (s *stream) reached(part float64) float64 {
	seen := s.zeros
	for i, c := range s.counts {
		if float64(seen) >= (1-part)*float64(s.total) {
			return s.edge(i)
		}
		seen += c
	}
	return s.max
}

// reportBins is the most bins of a Histogram.
const reportBins = 256

// Histogram is what was seen, with zeros, in a number of bins that can be drawn.
func (s *stream) Histogram() *Histogram {
	if s.total == 0 {
		return nil
	}
	if s.counts == nil {
		return &Histogram{Counts: []uint64{s.zeros}}
	}
	shift := 0
	first, last := index(s.min, s.exp), index(s.max, s.exp)
	for last>>shift-first>>shift >= reportBins {
		shift++
	}
	first, last = first>>shift, last>>shift
	h := &Histogram{Min: math.Ldexp(float64(first), s.exp+shift), Max: math.Ldexp(float64(last+1), s.exp+shift), Counts: make([]uint64, last-first+1)}
	for i, c := range s.counts {
		if c > 0 {
			h.Counts[(s.first+i)>>shift-first] += c
		}
	}
	if s.zeros > 0 {
		h.Counts[-first] += s.zeros // first ≤ 0 ≤ last, as 0 was seen
	}
	return h
}
