package calib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// percentile clips both ends at the magnitude below which the given part of all
// values lie, as far as they reach it: of a lopsided distribution only the longer
// end, where a clipped value wins more. Values count as spread evenly over their
// bin.
type percentile struct {
	stream
	keep float64
}

func (p *percentile) Range(dtype.Type, bool) (quant.Range, error) {
	if p.total == 0 {
		return quant.Range{}, errNothing()
	}
	limit := p.largest((1 - p.keep) * float64(p.total))
	if limit == 0 {
		return p.whole(), nil // all but a few values are zero: without these nothing were left
	}
	return p.clipped(limit), nil
}

// largest is the magnitude beyond which there are cut values.
func (p *percentile) largest(cut float64) float64 {
	m := p.magnitudes()
	for i := len(m) - 1; i >= 0; i-- {
		c := float64(m[i])
		if c > cut {
			return p.width() * (float64(i+1) - cut/c)
		}
		cut -= c
	}
	return 0
}
