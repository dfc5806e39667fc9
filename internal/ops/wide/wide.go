// Package wide runs float32 kernels on float16 and bfloat16 tensors: inputs are
// widened into scratch memory, and outputs rounded once.
package wide

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func narrow(t dtype.Type) bool { return t == dtype.Float16 || t == dtype.BFloat16 }

// Compile makes a compile function of float32 one that takes narrow types too.
func Compile(compile func(*op.Prep) (op.Kernel, error)) func(*op.Prep) (op.Kernel, error) {
	return func(p *op.Prep) (op.Kernel, error) {
		for _, f := range p.In {
			if narrow(f.DType) {
				return widen(p, compile)
			}
		}
		return compile(p)
	}
}

// kernel calls a float32 kernel between casts.
type kernel struct {
	inner   op.Kernel
	call    op.Call
	in, out []port
	own     int // bytes of the inner kernel's scratch
	bytes   int
}

// port is one input or output.
type port struct {
	cast *elemwise.Cast // nil: passed on as it is
	dt   dtype.Type
	wide tensor.Tensor // its data is scratch memory during a run
	size int
	keep *tensor.Tensor // a constant, widened once
}

func widen(p *op.Prep, compile func(*op.Prep) (op.Kernel, error)) (op.Kernel, error) {
	k := &kernel{in: make([]port, len(p.In)), out: make([]port, len(p.Out))}
	w := *p
	w.In, w.Out = append(p.In[:0:0], p.In...), append(p.Out[:0:0], p.Out...)
	for i := range w.In {
		if err := k.in[i].prepare(&w.In[i], true); err != nil {
			return nil, err
		}
	}
	for i := range w.Out {
		if err := k.out[i].prepare(&w.Out[i], false); err != nil {
			return nil, err
		}
	}
	var err error
	if k.inner, err = compile(&w); k.inner == nil || err != nil {
		return nil, err
	}
	if s, ok := k.inner.(op.Scratcher); ok {
		k.own = op.Align(s.ScratchBytes())
	}
	k.bytes = k.own
	for _, ports := range [][]port{k.in, k.out} {
		for _, p := range ports {
			k.bytes += op.Align(p.size)
		}
	}
	k.call.In, k.call.Out = make([]*tensor.Tensor, len(p.In)), make([]*tensor.Tensor, len(p.Out))
	return k, nil
}

// prepare turns a fact into that of the float32 tensor.
func (q *port) prepare(f *op.Fact, input bool) (err error) {
	q.dt = f.DType
	if !f.Present || !narrow(f.DType) {
		return nil
	}
	dims, _ := f.Shape.Ints()
	f.DType = dtype.Float32
	if f.Const != nil {
		q.keep = tensor.New(dtype.Float32, dims...)
		num.SetFloat32s(q.keep, num.Float32s(f.Const))
		f.Const = q.keep
		return nil
	}
	q.wide = tensor.Tensor{DType: dtype.Float32, Shape: dims}
	q.size = dtype.Float32.Bytes(tensor.Count(dims))
	if input {
		q.cast, err = elemwise.NewCast(q.dt, dtype.Float32)
	} else {
		q.cast, err = elemwise.NewCast(dtype.Float32, q.dt)
	}
	return err
}

// ScratchBytes holds the widened tensors and the inner kernel's memory.
func (k *kernel) ScratchBytes() int { return k.bytes }

// Precision is that of the float32 kernel.
func (k *kernel) Precision() op.Precision { return op.PrecisionOf(k.inner) }

// Run widens, computes and narrows.
func (k *kernel) Run(c *op.Call) error {
	k.call.Context, k.call.Node, k.call.Pool, k.call.Subgraph = c.Context, c.Node, c.Pool, c.Subgraph
	k.call.Scratch = c.Scratch[:k.own]
	rest := op.Memory(c.Scratch[k.own:])
	for i := range k.in {
		q := &k.in[i]
		k.call.In[i] = c.Input(i)
		switch {
		case q.keep != nil:
			k.call.In[i] = q.keep
		case q.cast != nil:
			q.wide.Data = rest.Take(q.size)
			q.cast.Run(c.Pool, q.wide.Data, c.In[i].Data)
			k.call.In[i] = &q.wide
		}
	}
	for i := range k.out {
		q := &k.out[i]
		k.call.Out[i] = nil
		if i < len(c.Out) {
			k.call.Out[i] = c.Out[i]
		}
		if q.cast != nil {
			q.wide.Data = rest.Take(q.size)
			k.call.Out[i] = &q.wide
		}
	}
	if err := k.inner.Run(&k.call); err != nil {
		return err
	}
	for i := range k.out {
		if q := &k.out[i]; q.cast != nil {
			q.cast.Run(c.Pool, c.Output(i, q.dt, q.wide.Shape...).Data, q.wide.Data)
		}
	}
	return nil
}
