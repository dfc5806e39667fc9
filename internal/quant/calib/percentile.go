package calib

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// percentile leaves out the largest and the smallest values: half of the part
// that is not kept at each end, whole values only.
type percentile struct {
	stream
	keep float64
}

func (p *percentile) Range(dtype.Type, bool) (quant.Range, error) {
	if p.total == 0 {
		return quant.Range{}, errNothing()
	}
	cut := math.Floor((1 - p.keep) / 2 * float64(p.total))
	r := quant.Range{Min: p.below(cut), Max: p.above(cut)}
	if r.Min == 0 && r.Max == 0 {
		return p.whole(), nil // all but a few values are zero: without these nothing were left
	}
	return r, nil
}

// below is where the smallest values end of which there are cut.
func (p *percentile) below(cut float64) float64 {
	if cut < 1 {
		return p.min
	}
	sum := 0.
	for i, c := range p.counts {
		if p.first+i == 0 {
			if sum += float64(p.zeros); sum > cut {
				return 0
			}
		}
		if sum+float64(c) > cut {
			return math.Max(p.min, p.edge(i)+p.width()*(cut-sum)/float64(c))
		}
		sum += float64(c)
	}
	return p.max
}

// above is where the largest values begin of which there are cut.
func (p *percentile) above(cut float64) float64 {
	if cut < 1 {
		return p.max
	}
	sum := 0.
	for i := len(p.counts) - 1; i >= 0; i-- {
		c := float64(p.counts[i])
		if sum+c > cut {
			return math.Min(p.max, p.edge(i+1)-p.width()*(cut-sum)/c)
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
