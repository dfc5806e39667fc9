package tensorops

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// resizedBytes interpolates bytes as float32 and rounds the result.
type resizedBytes struct {
	inner    op.Kernel
	call     op.Call
	dt       dtype.Type
	x, y     tensor.Tensor // float32
	own      int           // bytes of inner's scratch
	widen    func(dst []float32, src []byte, scale float32, zero int32)
	round    func(dst []byte, src []float32, scale, zero float32)
	dst, src []byte
	parts    int
	back     bool // round, rather than widen
}

func compileBytes(p *op.Prep) (op.Kernel, error) {
	floats := *p
	floats.In, floats.Out = slices.Clone(p.In), slices.Clone(p.Out)
	floats.In[0].DType, floats.In[0].Const, floats.Out[0].DType = dtype.Float32, nil, dtype.Float32
	inner, err := compileSized(&floats)
	if inner == nil || err != nil {
		return nil, err
	}
	k := &resizedBytes{inner: inner, dt: p.In[0].DType}
	k.x, k.y = tensor.Tensor{DType: dtype.Float32, Shape: p.InShape(0)}, tensor.Tensor{DType: dtype.Float32, Shape: p.OutShape(0)}
	k.widen, k.round = elemwise.Rows8(k.dt)
	if s, ok := inner.(op.Scratcher); ok {
		k.own = op.Align(s.ScratchBytes())
	}
	k.call.In, k.call.Out = make([]*tensor.Tensor, len(p.In)), []*tensor.Tensor{&k.y}
	return k, nil
}

// ScratchBytes holds both tensors as float32, and inner's memory.
func (k *resizedBytes) ScratchBytes() int {
	return k.own + op.Align(4*tensor.Count(k.x.Shape)) + op.Align(4*tensor.Count(k.y.Shape))
}

func (k *resizedBytes) Run(c *op.Call) error {
	rest := op.Memory(c.Scratch[k.own:])
	k.x.Data, k.y.Data = rest.Take(4*tensor.Count(k.x.Shape)), rest.Take(4*tensor.Count(k.y.Shape))
	k.src, k.dst = c.In[0].Data, c.Output(0, k.dt, k.y.Shape...).Data
	k.each(c, len(k.src), false)
	k.call.Context, k.call.Node, k.call.Pool, k.call.Scratch = c.Context, c.Node, c.Pool, c.Scratch[:k.own]
	copy(k.call.In, c.In)
	k.call.In[0] = &k.x
	err := k.inner.Run(&k.call)
	if err == nil {
		k.each(c, len(k.dst), true)
	}
	clear(k.call.In)
	k.src, k.dst, k.x.Data, k.y.Data = nil, nil, nil, nil
	return err
}

func (k *resizedBytes) each(c *op.Call, n int, back bool) {
	k.back, k.parts = back, split.Parts(n, 16<<10)
	c.Pool.Run(k.parts, k)
}

// Do converts one part; it is called by the pool.
func (k *resizedBytes) Do(part int) {
	if k.back {
		lo, hi := split.Range(len(k.dst), k.parts, part)
		k.round(k.dst[lo:hi], tensor.Of[float32](&k.y)[lo:hi], 1, 0)
		return
	}
	lo, hi := split.Range(len(k.src), k.parts, part)
	k.widen(tensor.Of[float32](&k.x)[lo:hi], k.src[lo:hi], 1, 0)
}
