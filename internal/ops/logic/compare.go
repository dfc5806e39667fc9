// Package logic registers comparisons, logical operators and operators on bits.
package logic

import (
	"cmp"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	comparable := slices.Concat(op.NumBool, []dtype.Type{dtype.String})
	for _, c := range []comparison{
		{"Equal", []int{7, 11, 13, 19}, comparable, elemwise.Equal, func(o order) bool { return o == same }},
		{"Greater", []int{7, 9, 13}, op.Numeric, elemwise.Greater, func(o order) bool { return o == more }},
		{"Less", []int{7, 9, 13}, op.Numeric, elemwise.Less, func(o order) bool { return o == less }},
		{"GreaterOrEqual", []int{12, 16}, op.Numeric, elemwise.GreaterEqual, func(o order) bool { return o == more || o == same }},
		{"LessOrEqual", []int{12, 16}, op.Numeric, elemwise.LessEqual, func(o order) bool { return o == less || o == same }},
	} {
		c.register()
	}
}

// order is how two elements compare.
type order int8

const (
	less      order = -1
	same      order = 0
	more      order = 1
	unordered order = 2 // one is NaN, or nothing is known
)

// comparison is an operator that compares two inputs element by element.
type comparison struct {
	name     string
	versions []int
	types    []dtype.Type
	kernel   elemwise.Binary
	holds    func(order) bool
}

func (cmp comparison) register() {
	op.Register(&op.Op{
		Name: cmp.name, Versions: cmp.versions, Doc: "compares elements; NaN is unequal to everything",
		In: op.Ports("A:T", "B:T"), Out: op.Ports("C:bool"), Types: op.Types{"T": cmp.types},
		Infer: cmp.infer, Ref: cmp.ref, Compile: cmp.compile, Rows: op.RowsBroadcast, Cases: cmp,
	})
}

func (cmp comparison) infer(c *op.Infer) error {
	s, err := op.BroadcastShapes(c.In)
	if err != nil {
		return err
	}
	c.Set(0, dtype.Bool, s)
	if len(s) > 1 || s == nil || !c.In[0].DType.IsInt() {
		return nil
	}
	c.SetContent(0, pointwise.Content(c.In, func(a, b shape.Dim) (shape.Dim, bool) {
		o := compareDims(a, b)
		if o == unordered {
			return shape.Dim{}, false
		}
		if cmp.holds(o) {
			return shape.Const(1), true
		}
		return shape.Const(0), true
	}))
	return nil
}

// compareDims compares two sizes as far as they are known. A symbolic size is
// more than any negative number.
func compareDims(a, b shape.Dim) order {
	d := a.Sub(b)
	n, fixed := d.Int()
	switch {
	case fixed:
		return order(cmp.Compare(n, 0))
	case d.Sub(shape.Const(1)).NonNegative():
		return more
	case d.Neg().Sub(shape.Const(1)).NonNegative():
		return less
	}
	return unordered
}

func (cmp comparison) ref(c *op.Call) error {
	a, b := c.In[0], c.In[1]
	dims, err := num.BroadcastShape(a.Shape, b.Shape)
	if err != nil {
		return err
	}
	out := tensor.Of[bool](c.Output(0, dtype.Bool, dims...))
	for i, o := range compareAll(a, b, dims) {
		out[i] = cmp.holds(o)
	}
	return nil
}

func compareAll(a, b *tensor.Tensor, dims []int) []order {
	switch dt := a.DType; {
	case dt == dtype.String:
		return orders(a.Strings, b.Strings, a, b, dims)
	case dt.IsUnsigned():
		return orders(num.Uint64s(a), num.Uint64s(b), a, b, dims)
	case dt.IsSigned() || dt == dtype.Bool:
		return orders(num.Int64s(a), num.Int64s(b), a, b, dims)
	}
	return orders(num.Floats(a), num.Floats(b), a, b, dims)
}

func orders[T cmp.Ordered](x, y []T, a, b *tensor.Tensor, dims []int) []order {
	x, y = num.Broadcast(x, a.Shape, dims), num.Broadcast(y, b.Shape, dims)
	out := make([]order, len(x))
	for i := range out {
		switch {
		case x[i] < y[i]:
			out[i] = less
		case x[i] > y[i]:
			out[i] = more
		case x[i] != y[i]:
			out[i] = unordered
		}
	}
	return out
}

type compareKernel struct {
	k    *elemwise.BinaryKernel
	dims []int
}

func (k *compareKernel) Run(c *op.Call) error {
	k.k.Run(c.Pool, c.Output(0, dtype.Bool, k.dims...).Data, c.In[0].Data, c.In[1].Data)
	return nil
}

func (cmp comparison) compile(p *op.Prep) (op.Kernel, error) {
	k, err := elemwise.NewBinary(cmp.kernel, p.In[0].DType, p.InShape(0), p.InShape(1))
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	return &compareKernel{k, p.OutShape(0)}, nil
}

// Cases are those of the operator.
func (cmp comparison) Cases() []op.Case {
	want := func(orders ...order) *tensor.Tensor {
		v := make([]bool, len(orders))
		for i, o := range orders {
			v[i] = cmp.holds(o)
		}
		return tensor.FromSlice(v)
	}
	nan := float32(nan())
	return []op.Case{
		{Name: "floats", Opset: 13, In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, nan, 3}), tensor.FromSlice([]float32{2, 2, nan, 1})}, Out: []*tensor.Tensor{want(less, same, unordered, more)}},
		{Name: "uint64", Opset: 13, In: []*tensor.Tensor{tensor.FromSlice([]uint64{1 << 63, 0}), tensor.FromSlice([]uint64{1})}, Out: []*tensor.Tensor{want(more, less)}},
		{Name: "broadcast", Opset: 13, In: []*tensor.Tensor{tensor.FromSlice([]int32{1, 2, 3, 4, 5, 6}, 3, 2), tensor.FromSlice([]int32{2, 4, 6}, 3, 1)}},
	}
}
