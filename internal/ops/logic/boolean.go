package logic

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func nan() float64 { return math.NaN() }

func init() {
	for _, b := range []struct {
		name   string
		kernel elemwise.Binary
		f      func(a, b bool) bool
	}{
		{"And", elemwise.And, func(a, b bool) bool { return a && b }},
		{"Or", elemwise.Or, func(a, b bool) bool { return a || b }},
		{"Xor", elemwise.Xor, func(a, b bool) bool { return a != b }},
	} {
		pointwise.Binary{
			Name: b.name, Versions: []int{7}, Types: op.Bools,
			Kernel: func(*ir.Node) elemwise.Binary { return b.kernel },
			Float: func(*ir.Node) func(x, y float64) float64 {
				return func(x, y float64) float64 { return number(b.f(x != 0, y != 0)) }
			},
			Cases: booleanCases(b.f),
		}.Register()
	}
	op.Register(&op.Op{
		Name: "Not", Versions: []int{1}, Doc: "false where true, and the reverse",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Bools},
		Infer: notInfer, Ref: notRef, InPlace: []int{0}, Rows: op.RowsBroadcast,
		Compile: func(p *op.Prep) (op.Kernel, error) {
			return &notKernel{parts: split.Parts(tensor.Count(p.InShape(0)), notGrain)}, nil
		},
		Cases: notCases{},
	})
}

// booleanCases are the table of a function.
type booleanCases func(a, b bool) bool

func (f booleanCases) Cases() []op.Case {
	x, y := tensor.FromSlice([]bool{false, false, true, true}), tensor.FromSlice([]bool{false, true, false, true})
	want := tensor.FromSlice([]bool{f(false, false), f(false, true), f(true, false), f(true, true)})
	return []op.Case{{Name: "table", In: []*tensor.Tensor{x, y}, Out: []*tensor.Tensor{want}}}
}

type notCases struct{}

func (notCases) Cases() []op.Case {
	return []op.Case{{Name: "table", In: []*tensor.Tensor{tensor.FromSlice([]bool{true, false})}, Out: []*tensor.Tensor{tensor.FromSlice([]bool{false, true})}}}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func notInfer(c *op.Infer) error {
	if err := op.SameAsInput(c); err != nil {
		return err
	}
	if d, ok := c.In[0].Dims(); ok && len(c.In[0].Shape) <= 1 {
		out := make([]shape.Dim, len(d))
		for i, x := range d {
			out[i] = shape.Const(1).Sub(x)
		}
		c.SetContent(0, out)
	}
	return nil
}

// notGrain is the least number of bytes in a chunk.
const notGrain = 1 << 16

type notKernel struct {
	dst, src []byte
	parts    int
}

// Run inverts all elements.
func (k *notKernel) Run(c *op.Call) error {
	x := c.In[0]
	k.src, k.dst = x.Data, c.Output(0, dtype.Bool, x.Shape...).Data
	c.Pool.Run(k.parts, k)
	k.src, k.dst = nil, nil
	return nil
}

// Do inverts one chunk; it is called by the pool.
func (k *notKernel) Do(part int) {
	lo, hi := split.Range(len(k.src), k.parts, part)
	elemwise.Not(k.dst[lo:hi], k.src[lo:hi])
}

func notRef(c *op.Call) error {
	x := c.In[0]
	out := tensor.Of[bool](c.Output(0, dtype.Bool, x.Shape...))
	for i, v := range tensor.Of[bool](x) {
		out[i] = !v
	}
	return nil
}
