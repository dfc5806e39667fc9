package tensorops

import (
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	types := op.Types{"T1": slices.Concat(op.Floats, op.Float8)}
	boolean := func(c *op.Infer) error { c.Set(0, dtype.Bool, c.In[0].Shape); return nil }
	op.Register(&op.Op{
		Name: "IsNaN", Versions: []int{9, 13, 20}, Doc: "true for NaN",
		In: op.Ports("X:T1"), Out: op.Ports("Y:bool"), Types: types,
		Infer: boolean, Rows: op.RowsBroadcast, Cases: isNaNCases{},
		Ref:     func(c *op.Call) error { return test(c, math.IsNaN) },
		Compile: wide.Compile(compileIsNaN),
	})
	op.Register(&op.Op{
		Name: "IsInf", Versions: []int{10, 20}, Doc: "true for infinities, of either sign or of both",
		In: op.Ports("X:T1"), Out: op.Ports("Y:bool"), Types: types,
		Attrs: op.Attrs{"detect_negative": op.Default(ir.Int(1)), "detect_positive": op.Default(ir.Int(1))},
		Infer: boolean, Rows: op.RowsBroadcast, Cases: isInfCases{},
		Ref: func(c *op.Call) error {
			neg, pos := c.Node.Bool("detect_negative"), c.Node.Bool("detect_positive")
			return test(c, func(x float64) bool { return neg && math.IsInf(x, -1) || pos && math.IsInf(x, 1) })
		},
		Compile: wide.Compile(compileIsInf),
	})
}

func test(c *op.Call, holds func(float64) bool) error {
	x := c.In[0]
	out := tensor.Of[bool](c.Output(0, dtype.Bool, x.Shape...))
	for i, v := range floats(x) {
		out[i] = holds(v)
	}
	return nil
}

// testKernel tests float32 or float64.
type testKernel[T float32 | float64] struct {
	holds func(dst []bool, src []T)
	dst   []bool
	src   []T
	parts int
}

func newTest[T float32 | float64](p *op.Prep, holds func(dst []bool, src []T)) op.Kernel {
	return &testKernel[T]{holds: holds, parts: split.Parts(tensor.Count(p.InShape(0)), 32768)}
}

func compileIsNaN(p *op.Prep) (op.Kernel, error) {
	switch p.In[0].DType {
	case dtype.Float32:
		return newTest(p, elemwise.IsNaN), nil
	case dtype.Float64:
		return newTest(p, func(dst []bool, src []float64) {
			for i, x := range src[:len(dst)] {
				dst[i] = x != x
			}
		}), nil
	}
	return nil, nil
}

func compileIsInf(p *op.Prep) (op.Kernel, error) {
	negative, positive := p.Node.Bool("detect_negative"), p.Node.Bool("detect_positive")
	switch p.In[0].DType {
	case dtype.Float32:
		return newTest(p, elemwise.IsInf(positive, negative)), nil
	case dtype.Float64:
		return newTest(p, func(dst []bool, src []float64) {
			for i, x := range src[:len(dst)] {
				dst[i] = positive && x > math.MaxFloat64 || negative && x < -math.MaxFloat64
			}
		}), nil
	}
	return nil, nil
}

// Run tests all elements.
func (k *testKernel[T]) Run(c *op.Call) error {
	x := c.In[0]
	k.src, k.dst = tensor.Of[T](x), tensor.Of[bool](c.Output(0, dtype.Bool, x.Shape...))
	c.Pool.Run(k.parts, k)
	k.src, k.dst = nil, nil
	return nil
}

// Do tests one chunk; it is called by the pool.
func (k *testKernel[T]) Do(part int) {
	lo, hi := split.Range(len(k.src), k.parts, part)
	k.holds(k.dst[lo:hi], k.src[lo:hi])
}
