package calib

import (
	"math"

	"github.com/salver-ml/salver/internal/quant"
)

// stream counts values in bins whose number is bounded, whatever their range.
// Bins are a power of two wide and begin at multiples of their width. Where the
// range outgrows them, neighbours are merged in pairs, which loses nothing but
// resolution: what is counted where depends only on the values, not on their
// order, nor on the pieces in which they came. Exact zeros, which every
// quantizer keeps, are counted apart.
type stream struct {
	limit    int      // of bins
	exp      int      // a bin is 2^exp wide
	first    int      // bin i holds [(first+i)·2^exp, (first+i+1)·2^exp)
	counts   []uint64 // zeros are not in here
	zeros    uint64
	total    uint64 // with zeros
	min, max float64
}

// indexBits bounds bin numbers: a bin is at least the largest magnitude / 2^30
// wide, which is finer than the 24 bits of a float32 next to it.
const indexBits = 30

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
		s.cover(lo, hi)
	}
	s.min, s.max = lo, hi
	s.total += uint64(len(x))
	scale := math.Ldexp(1, -s.exp)
	for _, v := range x {
		if v == 0 {
			s.zeros++
			continue
		}
		s.counts[int(math.Floor(float64(v)*scale))-s.first]++ // exact: scale is a power of two
	}
	return nil
}

// cover makes bins for the range from lo to hi, one of which is not 0.
func (s *stream) cover(lo, hi float64) {
	_, top := math.Frexp(math.Max(-lo, hi))
	exp := top - indexBits
	if s.counts != nil {
		exp = max(exp, s.exp)
	}
	first, last := index(lo, exp), index(hi, exp)
	for last-first >= s.limit {
		exp++
		first, last = index(lo, exp), index(hi, exp)
	}
	if s.counts != nil && exp == s.exp && first >= s.first && last < s.first+len(s.counts) {
		return
	}
	if s.counts != nil {
		first = min(first, s.first>>(exp-s.exp))
		last = max(last, (s.first+len(s.counts)-1)>>(exp-s.exp))
	}
	counts := make([]uint64, last-first+1)
	for i, c := range s.counts {
		counts[(s.first+i)>>(exp-s.exp)-first] += c
	}
	s.counts, s.exp, s.first = counts, exp, first
}

// index is the number of the bin that holds v.
func index(v float64, exp int) int { return int(math.Floor(math.Ldexp(v, -exp))) }

// width of a bin.
func (s *stream) width() float64 { return math.Ldexp(1, s.exp) }

// edge is where bin i begins.
func (s *stream) edge(i int) float64 { return math.Ldexp(float64(s.first+i), s.exp) }

// whole is the range of all that was seen.
func (s *stream) whole() quant.Range { return quant.Range{Min: s.min, Max: s.max} }

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
	first, last := s.first, s.first+len(s.counts)-1
	for last>>shift-first>>shift >= reportBins {
		shift++
	}
	first >>= shift
	h := &Histogram{Min: math.Ldexp(float64(first), s.exp+shift), Max: math.Ldexp(float64(last>>shift+1), s.exp+shift), Counts: make([]uint64, last>>shift-first+1)}
	for i, c := range s.counts {
		h.Counts[(s.first+i)>>shift-first] += c
	}
	if s.zeros > 0 {
		h.Counts[-first] += s.zeros // the range of all that was seen holds 0
	}
	return h
}
