package activation

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// hardmax works on the lines of a float32 tensor.
type hardmax struct {
	dims     []int
	n, inner int
	lines    int
	parts    int
	dst, src []float32
}

func compileHardmax(p *op.Prep, cut layout) (op.Kernel, error) {
	dims := p.InShape(0)
	if p.In[0].DType != dtype.Float32 || len(dims) == 0 || tensor.Count(dims) == 0 {
		return nil, nil
	}
	axis, err := resolve(p.Node, dims)
	if err != nil {
		return nil, err
	}
	outer, n, inner := cut(dims, axis)
	lines := outer * inner
	return &hardmax{dims: dims, n: n, inner: inner, lines: lines, parts: min(split.Parts(lines*n, 32<<10), lines)}, nil
}

// Run marks the first of the largest of each line.
func (k *hardmax) Run(c *op.Call) error {
	k.dst, k.src = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0])
	c.Pool.Run(k.parts, k)
	k.dst, k.src = nil, nil
	return nil
}

// Do computes some lines; it is called by the pool.
func (k *hardmax) Do(part int) {
	lo, hi := split.Range(k.lines, k.parts, part)
	for i := lo; i < hi; i++ {
		first := i/k.inner*k.n*k.inner + i%k.inner
		src, dst := k.src[first:], k.dst[first:]
		if k.inner == 1 {
			best := firstLargest(src[:k.n])
			clear(dst[:k.n])
			dst[best] = 1
			continue
		}
		best := 0
		for j := range k.n {
			if src[j*k.inner] > src[best*k.inner] {
				best = j
			}
		}
		for j := range k.n {
			dst[j*k.inner] = 0
		}
		dst[best*k.inner] = 1
	}
}

// firstLargest compares as hardmaxLine does, where a NaN is no larger and nothing is
// larger than a NaN at the start.
func firstLargest(v []float32) int {
	const piece = 1024
	best := 0
	for at := 0; at < len(v) && v[0] == v[0]; at += piece {
		part := v[at:min(at+piece, len(v))]
		most := reduce.Extremum(part, false)
		switch {
		case most != most:
			for i, x := range part {
				if x > v[best] {
					best = at + i
				}
			}
		case at == 0 || most > v[best]:
			best = at + slices.Index(part, most)
		}
	}
	return best
}
