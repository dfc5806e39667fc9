package calib

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// percentile takes the percentile of all values as its upper end, and of 100 less
// that as its lower end. Values count as spread evenly over their bin.
type percentile struct {
	stream
	keep float64
}

func (p *percentile) Range(dtype.Type, bool) (quant.Range, error) {
	if p.total == 0 {
		return quant.Range{}, errNothing()
	}
	cut := (1 - p.keep) * float64(p.total)
	r := quant.Range{Min: p.below(cut), Max: p.above(cut)}
	if r.Min == 0 && r.Max == 0 {
		return p.whole(), nil // all but a few values are zero: without these nothing were left
	}
	return r, nil
}

// below is where the smallest values end of which there are cut.
func (p *percentile) below(cut float64) float64 {
	sum := 0.
	for i, c := range p.counts {
		if p.first+i == 0 {
			if sum += float64(p.zeros); sum > cut {
				return 0
			}
		}
		if c > 0 && sum+float64(c) > cut {
			return p.within(p.edge(i) + p.width()*(cut-sum)/float64(c))
		}
		sum += float64(c)
	}
	return p.max
}

// above is where the largest values begin of which there are cut.
func (p *percentile) above(cut float64) float64 {
	sum := 0.
	for i := len(p.counts) - 1; i >= 0; i-- {
		c := float64(p.counts[i])
		if c > 0 && sum+c > cut {
			return p.within(p.edge(i+1) - p.width()*(cut-sum)/c)
		}
		sum += c
		if p.first+i == 0 {
			if sum += float64(p.zeros); sum > cut {
				return 0
			}
		}
	}
	return p.min
}

// within moves a place in a bin into the range of what was seen.
func (p *percentile) within(x float64) float64 { return math.Max(p.min, math.Min(p.max, x)) }
