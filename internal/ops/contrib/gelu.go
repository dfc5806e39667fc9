// Package contrib registers operators of onnxruntime's domain com.microsoft
// that its optimizer and its exporters write into model files.
package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

type params = elemwise.Params

func init() {
	pointwise.Unary{
		Domain: op.Microsoft, Name: "QuickGelu", Versions: []int{1}, Types: op.Floats, Flops: 13,
		Attrs: op.Attrs{"alpha": op.Default(ir.Float(1.702))}, Kernel: elemwise.Silu,
		Params: func(n *ir.Node) params { return params{A: n.Float("alpha")} },
		Float:  func(x float64, p params) float64 { return x / (1 + math.Exp(-float64(p.A)*x)) },
		Cases:  pointwise.Values([]float32{-1, 0, 1}, []float32{-.15420423, 0, .8457958}, nil),
	}.Register()
	registerBiased("BiasGelu", op.Ports("A:T", "B:T"), elemwise.Gelu, gelu)
	registerBiased("FastGelu", op.Ports("X:T", "bias:T?"), elemwise.GeluTanh, geluTanh)
}

func gelu(x float64, _ params) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 }

func geluTanh(x float64, _ params) float64 {
	return x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) / 2
}

// registerBiased registers a function of input 0 plus a bias for its last axis.
func registerBiased(name string, in []op.Port, k elemwise.Op, f func(float64, params) float64) {
	act := &pointwise.Activation{Op: k, Float: f}
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: name, Versions: []int{1},
		In: in, Out: op.Ports("C:T"), Types: op.Types{"T": op.Floats},
		Infer: inferBiased, InPlace: []int{0}, Rows: rowsBiased,
		Ref: func(c *op.Call) error {
			v, err := biased(c)
			if err != nil {
				return err
			}
			act.Each(v)
			num.SetFloats(c.Output(0, c.In[0].DType, c.In[0].Shape...), v)
			return nil
		},
		Compile: func(p *op.Prep) (op.Kernel, error) { return compileBiased(p, k) },
		Cases:   biasedCases{},
	})
}

type biasedCases struct{}

func (biasedCases) Cases() []op.Case {
	return []op.Case{{Name: "bias", In: []*tensor.Tensor{wave(3, 4, 33), wave(33)}}}
}

// wave makes numbers between -1 and 1.
func wave(dims ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(dims))
	for i := range v {
		v[i] = float32((i*i*5+i*3)%17-8) / 8
	}
	return tensor.FromSlice(v, dims...)
}

func inferBiased(c *op.Infer) error {
	x, b := c.In[0].Shape, c.Input(1)
	if len(x) > 0 && b.Present && b.Shape != nil && !b.Shape.Compatible(x[len(x)-1:]) {
		return fmt.Errorf("bias has shape %v, expected %v", b.Shape, shape.Shape(x[len(x)-1:]))
	}
	return op.SameAsInput(c)
}

func rowsBiased(n *ir.Node, in []int) ([]int, bool) {
	if len(in) > 1 && n.In[1] != nil && in[1] != op.NoRows {
		return nil, false
	}
	s := n.In[0].Type.Shape
	return []int{in[0]}, s != nil && in[0] != len(s)-1
}

// biased adds input 1, if it is there, to input 0 along the last axis.
func biased(c *op.Call) ([]float64, error) {
	x := c.In[0]
	v := num.Floats(x)
	t := c.Input(1)
	if t == nil {
		return v, nil
	}
	if len(x.Shape) == 0 || t.Len() != x.Shape[len(x.Shape)-1] {
		return nil, fmt.Errorf("bias is %s, expected one number for each of the last axis of %s", t, x)
	}
	for i, b := 0, num.Floats(t); i < len(v); i++ {
		v[i] += b[i%len(b)]
	}
	return v, nil
}

func compileBiased(p *op.Prep, k elemwise.Op) (op.Kernel, error) {
	dt, dims := p.In[0].DType, p.InShape(0)
	f, err := elemwise.NewUnary(k, dt, params{})
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	var add *elemwise.BinaryKernel
	if p.Has(1) {
		if add, err = elemwise.NewBinary(elemwise.Add, dt, dims, p.InShape(1)); err != nil {
			return nil, err
		}
	}
	return op.KernelFunc(func(c *op.Call) error {
		y, x := c.Output(0, dt, dims...), c.In[0]
		if add != nil {
			add.Run(c.Pool, y.Data, x.Data, c.In[1].Data)
			x = y
		}
		f.Run(c.Pool, y.Data, x.Data)
		return nil
	}), nil
}
