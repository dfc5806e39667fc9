// Package pointwise registers operators that compute each element of their
// output from the elements at the same place of their inputs.
package pointwise

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
)

// Unary is an operator of one input.
type Unary struct {
	Name     string
	Domain   string
	Versions []int
	Doc      string
	In, Out  string // names of the ports; X and Y if empty
	Types    []dtype.Type
	Attrs    op.Attrs
	Flops    float64 // per element

	Kernel elemwise.Op
	Params func(n *ir.Node) elemwise.Params // nil: none
	// The reference by domain; integers without a function of their own are
	// computed as floats.
	Float    func(x float64, p elemwise.Params) float64
	Signed   func(x int64) int64
	Unsigned func(x uint64) uint64
	// Select changes the reference and the kernel by the node's attributes.
	Select func(n *ir.Node) (elemwise.Op, func(float64, elemwise.Params) float64)
	// Content follows shape arithmetic; nil where nothing is known.
	Content func(d shape.Dim) (shape.Dim, bool)
	Cases   op.Cases
}

// Register adds u to the registry.
func (u Unary) Register() {
	if u.In == "" {
		u.In, u.Out = "X", "Y"
	}
	op.Register(&op.Op{
		Domain: u.Domain, Name: u.Name, Versions: u.Versions, Doc: u.Doc,
		In: op.Ports(u.In + ":T"), Out: op.Ports(u.Out + ":T"),
		Types: op.Types{"T": u.Types}, Attrs: u.Attrs,
		Infer: u.infer, Ref: u.ref, Compile: u.compile,
		Flops: flops(u.Flops), InPlace: []int{0}, Rows: op.RowsBroadcast, Row: u.row,
		Cases: u.Cases,
	})
}

func flops(per float64) func(in, out []op.Fact) float64 {
	return func(_, out []op.Fact) float64 {
		n, _ := out[0].Shape.Count().Int()
		return max(per, 1) * float64(n)
	}
}

func (u Unary) infer(c *op.Infer) error {
	if err := op.SameAsInput(c); err != nil {
		return err
	}
	if dims, ok := c.In[0].Dims(); ok && u.Content != nil && c.In[0].DType.IsInt() {
		out := make([]shape.Dim, len(dims))
		for i, d := range dims {
			if out[i], ok = u.Content(d); !ok {
				out[i] = shape.Unknown()
			}
		}
		c.SetContent(0, out)
	}
	return nil
}

func (u Unary) params(n *ir.Node) elemwise.Params {
	if u.Params == nil {
		return elemwise.Params{}
	}
	return u.Params(n)
}

func (u Unary) ref(c *op.Call) error {
	x := c.In[0]
	y := c.Output(0, x.DType, x.Shape...)
	switch {
	case x.DType.IsSigned() && u.Signed != nil:
		num.SetInt64s(y, each(num.Int64s(x), u.Signed))
		return nil
	case x.DType.IsUnsigned() && u.Unsigned != nil:
		num.SetUint64s(y, each(num.Uint64s(x), u.Unsigned))
		return nil
	}
	f := u.Float
	if u.Select != nil {
		_, f = u.Select(c.Node)
	}
	p := u.params(c.Node)
	num.SetFloats(y, each(num.Floats(x), func(x float64) float64 { return f(x, p) }))
	return nil
}

func each[T any](v []T, f func(T) T) []T {
	for i := range v {
		v[i] = f(v[i])
	}
	return v
}

type unaryKernel struct{ k *elemwise.Unary }

func (k unaryKernel) Run(c *op.Call) error {
	x := c.In[0]
	k.k.Run(c.Pool, c.Output(0, x.DType, x.Shape...).Data, x.Data)
	return nil
}

// kernel is the kernel's function for a node.
func (u Unary) kernel(n *ir.Node) elemwise.Op {
	if u.Select != nil {
		f, _ := u.Select(n)
		return f
	}
	return u.Kernel
}

func (u Unary) row(n *ir.Node) elemwise.RowFunc { return elemwise.UnaryRow(u.kernel(n), u.params(n)) }

func (u Unary) compile(p *op.Prep) (op.Kernel, error) {
	k, err := elemwise.NewUnary(u.kernel(p.Node), p.In[0].DType, u.params(p.Node))
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	return unaryKernel{k}, nil
}
