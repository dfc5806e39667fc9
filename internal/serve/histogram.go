package serve

import (
	"sort"
	"sync/atomic"
	"time"
)

// histogram counts observations in buckets, without a lock.
type histogram struct {
	bounds []float64 // upper bounds, inclusive, ascending
	counts []atomic.Uint64
	sum    atomic.Int64 // in units of scale
	scale  float64
}

// HistogramSnapshot is a histogram's state: Counts has one more than Bounds,
// for what is above the last. The counts are not cumulative.
type HistogramSnapshot struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
}

// Bounds of the histograms: seconds in steps of 1, 2, 5 from 10 µs to 50 s, and rows in powers of two.
var (
	durationBounds = steps()
	rowBounds      = powers(1024)
)

func steps() (b []float64) {
	for e := 1e5; e >= 0.1; e /= 10 {
		b = append(b, 1/e, 2/e, 5/e)
	}
	return b
}

func powers(most float64) (b []float64) {
	for n := 1.0; n <= most; n *= 2 {
		b = append(b, n)
	}
	return b
}

func newDurations() *histogram {
	return &histogram{bounds: durationBounds, counts: make([]atomic.Uint64, len(durationBounds)+1), scale: 1e9}
}

func newRows() *histogram {
	return &histogram{bounds: rowBounds, counts: make([]atomic.Uint64, len(rowBounds)+1), scale: 1}
}

func (h *histogram) observe(d time.Duration) { h.add(float64(d)/h.scale, int64(d)) }

func (h *histogram) observeRows(n int) { h.add(float64(n), int64(n)) }

func (h *histogram) add(v float64, n int64) {
	h.counts[sort.SearchFloat64s(h.bounds, v)].Add(1)
	h.sum.Add(n)
}

func (h *histogram) snapshot() HistogramSnapshot {
	s := HistogramSnapshot{Bounds: h.bounds, Counts: make([]uint64, len(h.counts)), Sum: float64(h.sum.Load()) / h.scale}
	for i := range h.counts {
		s.Counts[i] = h.counts[i].Load()
	}
	return s
}

// Count is the number of observations.
func (s HistogramSnapshot) Count() (n uint64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// Quantile estimates a quantile (0 to 1) by interpolation within a bucket; 0
// if there are no observations.
func (s HistogramSnapshot) Quantile(q float64) float64 {
	rank := q * float64(s.Count())
	var below, low float64
	for i, c := range s.Counts {
		if c > 0 && below+float64(c) >= rank {
			if i == len(s.Bounds) {
				return low
			}
			return low + (s.Bounds[i]-low)*(rank-below)/float64(c)
		}
		below += float64(c)
		if i < len(s.Bounds) {
			low = s.Bounds[i]
		}
	}
	return 0
}
