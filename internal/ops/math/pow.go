package math

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Pow", Versions: []int{7, 12, 13, 15},
		Doc: "Integers wrap, and a negative exponent truncates towards zero.",
		In:  op.Ports("X:T", "Y:T1"), Out: op.Ports("Z:T"),
		Types: op.Types{"T": op.Numeric, "T1": op.Numeric},
		Infer: op.BroadcastInputs, Ref: powRef, Compile: compilePow, InPlace: []int{0}, Rows: op.RowsBroadcast,
		Row:   func(*ir.Node) elemwise.RowFunc { return elemwise.BinaryRow(elemwise.Pow) },
		Cases: powCases{},
	})
}

type powCases struct{}

func (powCases) Cases() []op.Case {
	mixed := pair("float to int", []float32{1, 2, 3}, []float32{4, 5, 6}, []float32{1, 32, 729})
	mixed.In[1] = tensor.FromSlice([]int64{4, 5, 6})
	mixed.Opset = 12
	return append(broadcasts(), mixed, pair("values", []float32{1, 2, 4}, []float32{4, -1, .5}, []float32{1, .5, 2}),
		pair("int64", []int64{3, -2, 2}, []int64{4, 3, -1}, []int64{81, -8, 0}))
}

func powRef(c *op.Call) error {
	x, y := c.In[0], c.In[1]
	dims, err := num.BroadcastShape(x.Shape, y.Shape)
	if err != nil {
		return err
	}
	z := c.Output(0, x.DType, dims...)
	if x.DType.IsInt() && y.DType.IsInt() {
		a, b := num.Broadcast(num.Int64s(x), x.Shape, dims), num.Broadcast(num.Int64s(y), y.Shape, dims)
		out := make([]int64, len(a))
		for i := range a {
			out[i] = powInt(a[i], b[i])
		}
		num.SetInt64s(z, out)
		return nil
	}
	a, b := num.Broadcast(num.Floats(x), x.Shape, dims), num.Broadcast(num.Floats(y), y.Shape, dims)
	out := make([]float64, len(a))
	for i := range a {
		out[i] = math.Pow(a[i], b[i])
	}
	num.SetFloats(z, out)
	return nil
}

func powInt(x, n int64) int64 {
	switch {
	case n >= 0:
	case x == 1:
		return 1
	case x == -1 && n%2 == 0:
		return 1
	case x == -1:
		return -1
	default:
		return 0
	}
	r := int64(1)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			r *= x
		}
		x *= x
	}
	return r
}

type powConst struct{ k *elemwise.Unary }

func (k powConst) Run(c *op.Call) error {
	x := c.In[0]
	k.k.Run(c.Pool, c.Output(0, x.DType, x.Shape...).Data, x.Data)
	return nil
}

// compilePow turns the usual constant exponents into cheaper functions; they
// are the same within the stated error of Pow.
func compilePow(p *op.Prep) (op.Kernel, error) {
	if p.In[0].DType != p.In[1].DType {
		return nil, nil
	}
	if e := p.In[1].Const; e != nil && e.Len() == 1 && len(e.Shape) <= len(p.InShape(0)) && e.DType == dtype.Float32 {
		if f, ok := map[float64]elemwise.Op{2: elemwise.Square, .5: elemwise.Sqrt, -1: elemwise.Reciprocal}[num.Floats(e)[0]]; ok {
			k, err := elemwise.NewUnary(f, p.In[0].DType, elemwise.Params{})
			return powConst{k}, err
		}
	}
	k, err := elemwise.NewBinary(elemwise.Pow, p.In[0].DType, p.InShape(0), p.InShape(1))
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	dims := p.OutShape(0)
	return op.KernelFunc(func(c *op.Call) error {
		k.Run(c.Pool, c.Output(0, c.In[0].DType, dims...).Data, c.In[0].Data, c.In[1].Data)
		return nil
	}), nil
}
