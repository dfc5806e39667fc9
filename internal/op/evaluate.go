package op

import (
	"context"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// largeResult is the size in bytes from which Evaluate looks for a fast kernel.
const largeResult = 64 << 10

// Evaluate computes a node on known inputs (nil where absent) outside a plan:
// by its reference, or by a fast kernel on the pool, which may be nil, where the
// result is large.
func Evaluate(n *ir.Node, in []*tensor.Tensor, p *pool.Pool) ([]*tensor.Tensor, error) {
	o := Of(n)
	if o == nil {
		return nil, unknown(n)
	}
	c := &Call{Context: context.Background(), Node: n, In: in, Pool: p}
	k, err := evaluator(o, c)
	if err != nil {
		return nil, err
	}
	if k != nil {
		return c.Out, k.Run(c)
	}
	return c.Out, o.Ref(c)
}

// evaluator compiles a fast kernel for a large result and allocates its
// outputs; nil leaves the node to the reference.
func evaluator(o *Op, c *Call) (Kernel, error) {
	if o.Compile == nil {
		return nil, nil
	}
	inf := &Infer{Node: c.Node, In: make([]Fact, len(c.In)), Out: make([]Fact, len(c.Node.Out))}
	for i, t := range c.In {
		if t != nil {
			inf.In[i] = Fact{Type: ir.TypeOf(t), Present: true, Const: t}
		}
	}
	if err := o.InferOutputs(inf); err != nil {
		return nil, err
	}
	out := make([]*tensor.Tensor, len(inf.Out))
	size := 0
	for i, f := range inf.Out {
		dims, ok := f.Shape.Ints()
		if !ok || f.Elem != nil || f.DType == dtype.String || f.DType == dtype.Invalid {
			return nil, nil
		}
		if size += f.DType.Bytes(tensor.Count(dims)); size < largeResult {
			return nil, nil
		}
		out[i] = tensor.New(f.DType, dims...)
	}
	pack := func(_ string, n int, fill func([]byte)) []byte {
		b := tensor.Bytes(n)
		fill(b)
		return b
	}
	k, err := o.Compile(&Prep{Node: c.Node, In: inf.In, Out: inf.Out, Threads: c.Pool.Threads(), Pack: pack})
	if err != nil || k == nil {
		return nil, err
	}
	c.Out = out
	if s, ok := k.(Scratcher); ok {
		c.Scratch = tensor.Bytes(s.ScratchBytes())
	}
	return k, nil
}
