package contrib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/norm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// skipKernel normalizes input + skip + bias in one sweep.
type skipKernel struct {
	*norm.Layer
	beta, bias  int // inputs; 0 is none
	dims, stats []int
	scratch     int // bytes, for the sum where the graph does not want it
}

// compile serves float32 with a skip of the input's shape.
func (s skipNorm) compile(p *op.Prep) (op.Kernel, error) {
	dims := p.InShape(0)
	n := tensor.Count(dims)
	for i, f := range p.In {
		if f.Present && (f.DType != dtype.Float32 || i > 1 && tensor.Count(p.InShape(i)) != dims[len(dims)-1]) {
			return nil, nil
		}
	}
	if n == 0 || tensor.Count(p.InShape(1)) != n {
		return nil, nil
	}
	width := dims[len(dims)-1]
	k := &skipKernel{Layer: norm.NewLayer(n/width, width, p.Node.Float("epsilon")), beta: s.beta, bias: s.bias, dims: dims, scratch: 4 * n}
	if s.rms {
		k.Layer = norm.NewRMS(n/width, width, p.Node.Float("epsilon"))
	}
	k.stats = append(append([]int{}, dims[:len(dims)-1]...), 1)
	return k, nil
}

// ScratchBytes is the working memory of a run.
func (k *skipKernel) ScratchBytes() int { return k.scratch }

// Run normalizes.
func (k *skipKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	extra := norm.Extra{Skip: tensor.Of[float32](c.In[1]), Sum: tensor.View[float32](c.Scratch)[:y.Len()]}
	if c.Wants(3) {
		extra.Sum = tensor.Of[float32](c.Output(3, dtype.Float32, k.dims...))
	}
	if c.Wants(1) {
		extra.Mean = tensor.Of[float32](c.Output(1, dtype.Float32, k.stats...))
	}
	if c.Wants(2) {
		extra.Inv = tensor.Of[float32](c.Output(2, dtype.Float32, k.stats...))
	}
	extra.Bias = k.optional(c, k.bias)
	k.RunExtra(c.Pool, tensor.Of[float32](y), tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[2]), k.optional(c, k.beta), extra)
	return nil
}

func (k *skipKernel) optional(c *op.Call, i int) []float32 {
	if t := c.Input(i); i > 0 && t != nil {
		return tensor.Of[float32](t)
	}
	return nil
}

// compileSimplified serves float32 with a scale for each element of a row.
func compileSimplified(p *op.Prep) (op.Kernel, error) {
	dims := p.InShape(0)
	axis, err := op.Axis(p.Node.Int("axis"), len(dims))
	if err != nil {
		return nil, err
	}
	width := tensor.Count(dims[axis:])
	if p.In[0].DType != dtype.Float32 || p.In[1].DType != dtype.Float32 || tensor.Count(p.InShape(1)) != width || tensor.Count(dims) == 0 {
		return nil, nil
	}
	l := norm.NewRMS(tensor.Count(dims[:axis]), width, p.Node.Float("epsilon"))
	stats := append([]int{}, dims[:axis]...)
	for range dims[axis:] {
		stats = append(stats, 1)
	}
	return op.KernelFunc(func(c *op.Call) error {
		var extra norm.Extra
		if c.Wants(1) {
			extra.Inv = tensor.Of[float32](c.Output(1, dtype.Float32, stats...))
		}
		y := tensor.Of[float32](c.Output(0, dtype.Float32, dims...))
		l.RunExtra(c.Pool, y, tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1]), nil, extra)
		return nil
	}), nil
}
