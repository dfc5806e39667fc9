package transpose

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Gather is a prepared copy of rows by index: an input of outer × axis × inner
// elements gives outer × indices × inner.
type Gather struct {
	outer, axis, rowBytes, parts int
	dst, src                     []byte
	idx                          []int64
}

// NewGather prepares for an input shape and an axis of it.
func NewGather(elem int, shape []int, axis int) (*Gather, error) {
	if axis < -len(shape) || axis >= len(shape) {
		return nil, fmt.Errorf("gather: axis %d of a tensor of rank %d", axis, len(shape))
	}
	if axis < 0 {
		axis += len(shape)
	}
	g := &Gather{outer: 1, axis: shape[axis], rowBytes: elem}
	for i, d := range shape {
		if i < axis {
			g.outer *= d
		} else if i > axis {
			g.rowBytes *= d
		}
	}
	return g, nil
}

// Run copies the rows that idx names; negative ones count from the end.
func (g *Gather) Run(p *pool.Pool, dst, src []byte, idx []int64) error {
	for i, v := range idx {
		if v < -int64(g.axis) || v >= int64(g.axis) {
			return fmt.Errorf("gather: index %d at position %d: the axis has %d", v, i, g.axis)
		}
	}
	units := g.outer * len(idx)
	if units == 0 || g.rowBytes == 0 {
		return nil
	}
	g.dst, g.src, g.idx = dst, src, idx
	g.parts = min(split.Parts(units*(g.rowBytes+16), grainBytes), units)
	p.Run(g.parts, g)
	g.dst, g.src, g.idx = nil, nil, nil
	return nil
}

// Do copies one chunk; it is called by the pool.
func (g *Gather) Do(part int) {
	lo, hi := split.Range(g.outer*len(g.idx), g.parts, part)
	o, k := lo/len(g.idx), lo%len(g.idx)
	for u := lo; u < hi; u++ {
		v := int(g.idx[k])
		if v < 0 {
			v += g.axis
		}
		copy(g.dst[u*g.rowBytes:(u+1)*g.rowBytes], g.src[(o*g.axis+v)*g.rowBytes:])
		if k++; k == len(g.idx) {
			o, k = o+1, 0
		}
	}
}
