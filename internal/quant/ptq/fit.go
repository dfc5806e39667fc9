package ptq

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/fuse"
	"github.com/salver-ml/salver/internal/quant"
)

// fit chooses the mapping of every quantized value.
func (p *plan) fit(c *Calibration) (map[*ir.Value]quant.Affine, error) {
	maps := map[*ir.Value]quant.Affine{}
	var of func(v *ir.Value) (quant.Affine, error)
	of = func(v *ir.Value) (quant.Affine, error) {
		if m, ok := maps[v]; ok {
			return m, nil
		}
		var m quant.Affine
		var err error
		if s := p.share[v]; s != nil {
			m, err = of(s)
		}
		if n := p.makers[v]; p.share[v] == nil || n != nil && p.role[n] != roleMove && err == nil && !limits(n.Out[0], v, m) {
			p.share[v] = nil // a join with negative numbers would bring Relu back
			m, err = p.fitOne(v, c)
		}
		maps[v] = m
		return m, err
	}
	for v := range p.types {
		if _, err := of(v); err != nil {
			return nil, err
		}
	}
	return maps, nil
}

func (p *plan) fitOne(v *ir.Value, c *Calibration) (quant.Affine, error) {
	seen := c.observer(v)
	if seen == nil {
		return quant.Affine{}, fmt.Errorf("activation %q was not observed: calibrate the same graph", v.Name)
	}
	p.seen[v] = seen
	r, err := seen.Range(p.types[v], p.o.Symmetric)
	if err != nil {
		return quant.Affine{}, fmt.Errorf("activation %q: %w", v.Name, err)
	}
	m, err := quant.Fit(p.narrowed(v, r), p.types[v], p.o.Symmetric)
	if err != nil {
		return m, fmt.Errorf("activation %q: %w", v.Name, err)
	}
	return m, nil
}

// limits reports whether the integers of m hold no numbers that the activations
// between two values would change.
func limits(before, after *ir.Value, m quant.Affine) bool {
	lowest, highest, err := quant.Limits(m.Type)
	if err != nil {
		return false
	}
	const slack = 1e-6 // a rounding of the scale
	for v := after; v != before; v = v.Producer.In[0] {
		name, params, _ := fuse.ActivationOf(v.Producer)
		lo, hi := m.Dequantize(lowest), m.Dequantize(highest)
		if name == "relu" && lo < 0 || name == "clip" && (lo < params[0] || hi > params[1]+slack*hi) {
			return false
		}
	}
	return true
}
