package pointwise

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Binary is an operator of two inputs of one type that broadcast.
type Binary struct {
	Name     string
	Versions []int
	Doc      string
	In       [2]string // A and B if empty
	Out      string    // C if empty
	Types    []dtype.Type
	Attrs    op.Attrs

	Kernel func(n *ir.Node) elemwise.Binary
	// The reference by domain. Integers wrap.
	Float    func(n *ir.Node) func(a, b float64) float64
	Signed   func(a, b int64) int64
	SignedOf func(n *ir.Node) func(a, b int64) int64 // instead of Signed, by the node's attributes
	Unsigned func(a, b uint64) uint64
	// Content follows shape arithmetic.
	Content func(a, b shape.Dim) (shape.Dim, bool)
	// OneWay says that only input 1 may be stretched.
	OneWay bool
	Cases  op.Cases
}

// Register adds b to the registry.
func (b Binary) Register() {
	if b.Out == "" {
		b.In, b.Out = [2]string{"A", "B"}, "C"
	}
	inPlace := []int{0, 1}
	if b.OneWay {
		inPlace = []int{0}
	}
	op.Register(&op.Op{
		Name: b.Name, Versions: b.Versions, Doc: b.Doc,
		In: op.Ports(b.In[0]+":T", b.In[1]+":T"), Out: op.Ports(b.Out + ":T"),
		Types: op.Types{"T": b.Types}, Attrs: b.Attrs,
		Infer: b.infer, Ref: b.ref, Compile: b.compile,
		Flops: flops(1), InPlace: inPlace, Rows: op.RowsBroadcast,
		Row:   func(n *ir.Node) elemwise.RowFunc { return elemwise.BinaryRow(b.Kernel(n)) },
		Cases: b.Cases,
	})
}

func (b Binary) infer(c *op.Infer) error {
	if err := op.BroadcastInputs(c); err != nil {
		return err
	}
	if b.OneWay && c.In[0].Shape != nil && c.In[1].Shape != nil {
		if err := oneWay(c.In[0].Shape, c.In[1].Shape); err != nil {
			return err
		}
		c.Set(0, c.In[0].DType, c.In[0].Shape)
	}
	if b.Content != nil && c.In[0].DType.IsInt() {
		c.SetContent(0, Content(c.In, b.Content))
	}
	return nil
}

func oneWay(x, s shape.Shape) error {
	if len(s) > len(x) {
		return fmt.Errorf("shape %v does not broadcast to %v: it has more dimensions", s, x)
	}
	for i, d := range s {
		have, ok := d.Int()
		want, ok2 := x[i+len(x)-len(s)].Int()
		if ok && ok2 && have != 1 && have != want {
			return fmt.Errorf("shape %v does not broadcast to %v: dimension %d is %d, expected 1 or %d", s, x, i, have, want)
		}
	}
	return nil
}

// Content combines the elements of integer vectors and scalars as far as they
// are known; nil where they aren't.
func Content(in []op.Fact, f func(a, b shape.Dim) (shape.Dim, bool)) []shape.Dim {
	acc, ok := in[0].Dims()
	if !ok || len(in[0].Shape) > 1 {
		return nil
	}
	for _, x := range in[1:] {
		d, ok := x.Dims()
		if !ok || len(x.Shape) > 1 {
			return nil
		}
		n := max(len(acc), len(d))
		if len(acc) == 0 || len(d) == 0 || len(acc) != n && len(acc) != 1 || len(d) != n && len(d) != 1 {
			return nil
		}
		out := make([]shape.Dim, n)
		for i := range out {
			if out[i], ok = f(acc[i%len(acc)], d[i%len(d)]); !ok {
				out[i] = shape.Unknown()
			}
		}
		acc = out
	}
	return acc
}

func (b Binary) ref(c *op.Call) error {
	x, y := c.In[0], c.In[1]
	dims, err := num.BroadcastShape(x.Shape, y.Shape)
	if err != nil {
		return err
	}
	out := c.Output(0, x.DType, dims...)
	switch {
	case x.DType.IsSigned():
		f := b.Signed
		if b.SignedOf != nil {
			f = b.SignedOf(c.Node)
		}
		num.SetInt64s(out, apply(num.Int64s, f, x, y, dims))
	case x.DType.IsUnsigned():
		num.SetUint64s(out, apply(num.Uint64s, b.Unsigned, x, y, dims))
	default:
		num.SetFloats(out, apply(num.Floats, b.Float(c.Node), x, y, dims))
	}
	return nil
}

func apply[T any](read func(*tensor.Tensor) []T, f func(a, b T) T, x, y *tensor.Tensor, dims []int) []T {
	a := num.Broadcast(read(x), x.Shape, dims)
	b := num.Broadcast(read(y), y.Shape, dims)
	out := make([]T, len(a))
	for i := range a {
		out[i] = f(a[i], b[i])
	}
	return out
}

type binaryKernel struct {
	k    *elemwise.BinaryKernel
	dims []int
}

func (k *binaryKernel) Run(c *op.Call) error {
	a, b := c.In[0], c.In[1]
	k.k.Run(c.Pool, c.Output(0, a.DType, k.dims...).Data, a.Data, b.Data)
	return nil
}

func (b Binary) compile(p *op.Prep) (op.Kernel, error) {
	k, err := elemwise.NewBinary(b.Kernel(p.Node), p.In[0].DType, p.InShape(0), p.InShape(1))
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	return &binaryKernel{k, p.OutShape(0)}, nil
}
