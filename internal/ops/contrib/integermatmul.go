package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "MatMulIntegerToFloat", Versions: []int{1}, Doc: "(A - a_zero)·(B - b_zero)·a_scale·b_scale + bias; B may have a scale and zero point for each column",
		In: op.Ports("A:T1", "B:T2", "a_scale:T3", "b_scale:T3", "a_zero_point:T1?", "b_zero_point:T2?", "bias:T3?"), Out: op.Ports("Y:T3"),
		Types: op.Types{"T1": bytes8, "T2": bytes8, "T3": {dtype.Float32, dtype.Float16}},
		Infer: func(c *op.Infer) error { return inferIntegerProduct(c, c.In[2].DType) }, Ref: matMulIntegerToFloatRef, Compile: compileIntegerToFloat, Flops: linear.Flops, Rows: rowsIntegerProduct,
		Cases: matMulIntegerToFloatCases{},
	})
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "DynamicQuantizeMatMul", Versions: []int{1},
		Doc: "A·B + bias for a quantized B; A is quantized as DynamicQuantizeLinear does, the whole tensor with one scale, so that rows of a batch depend on each other",
		In:  op.Ports("A:float32", "B:T2", "b_scale:float32", "b_zero_point:T2?", "bias:float32?"), Out: op.Ports("Y:float32"), Types: op.Types{"T2": bytes8},
		Infer: func(c *op.Infer) error { return inferIntegerProduct(c, dtype.Float32) }, Ref: dynamicMatMulRef, Compile: compileDynamicMatMul, Flops: linear.Flops,
		Cases: dynamicQuantizeMatMulCases{},
	})
}

type matMulIntegerToFloatCases struct{}

func (matMulIntegerToFloatCases) Cases() []op.Case {
	a, b := tensor.FromSlice([]uint8{11, 7, 3, 10}, 2, 2), tensor.FromSlice([]int8{1, 4, 2, 5}, 2, 2)
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{a, b, scalar32(.5), tensor.FromSlice([]float32{2, 4}), tensor.Scalar[uint8](10), nil, tensor.FromSlice([]float32{100, 0})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{95, -22, 93, -56}, 2, 2)}},
		{Name: "zero of each column", In: []*tensor.Tensor{bytesWave[uint8](2, 3, 40), bytesWave[int8](40, 5), scalar32(.01), scalar32(.02), nil, tensor.FromSlice([]int8{1, -2, 3, 0, 9})}},
	}
}

type dynamicQuantizeMatMulCases struct{}

func (dynamicQuantizeMatMulCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{0, 255, 51, 102}, 2, 2), tensor.FromSlice([]int8{1, 2, 3, 4}, 2, 2), scalar32(1), tensor.Scalar[int8](1), tensor.FromSlice([]float32{1, 0})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{511, 765, 205, 357}, 2, 2)}},
		{Name: "scale of each column", In: []*tensor.Tensor{wave(2, 3, 40), bytesWave[uint8](40, 5), tensor.FromSlice([]float32{.1, .2, .3, .4, .5}), tensor.FromSlice([]uint8{1, 2, 3, 128, 255})}},
	}
}

func inferIntegerProduct(c *op.Infer, dt dtype.Type) error {
	s, err := linear.MatMulShape(c.In[0].Shape, c.In[1].Shape)
	if err != nil {
		return err
	}
	c.Set(0, dt, s)
	return nil
}

func rowsIntegerProduct(n *ir.Node, in []int) ([]int, bool) {
	for i := range in[2:] {
		if in[i+2] != op.NoRows {
			return nil, false
		}
	}
	if s := n.In[2].Type.Shape; s == nil || !s.Count().Is(1) {
		return nil, false
	}
	return linear.Rows(n, in[:2])
}

// integerProduct is (A - a_zero)·(B - b_zero)·a_scale·b_scale + bias, with one
// scale and zero point for A, and one or one for each column for B.
type integerProduct struct {
	a, b               *tensor.Tensor
	aScale, bScale     *tensor.Tensor
	aZero, bZero, bias *tensor.Tensor
}

// columns gives a number for each of n columns, from one or n.
func columns(name string, t *tensor.Tensor, n int) ([]float64, error) {
	if t == nil {
		return make([]float64, n), nil
	}
	v := num.Floats(t)
	if len(v) == n {
		return v, nil
	}
	if len(v) != 1 {
		return nil, fmt.Errorf("%s is %s, expected one number or %d", name, t, n)
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = v[0]
	}
	return out, nil
}

func (p *integerProduct) write(c *op.Call, dt dtype.Type) error {
	m, err := linear.NewMatMul(p.a.Shape, p.b.Shape)
	if err != nil {
		return err
	}
	aScale, aZero, err := scaleOf(p.aScale, p.aZero)
	if err != nil {
		return fmt.Errorf("A: %w", err)
	}
	var per [3][]float64 // of the columns: zero points, scales, bias
	for i, t := range []*tensor.Tensor{p.bZero, p.bScale, p.bias} {
		if per[i], err = columns([]string{"b_zero_point", "b_scale", "bias"}[i], t, m.N); err != nil {
			return err
		}
	}
	av, bv := num.Int64s(p.a), num.Int64s(p.b)
	for i := range av {
		av[i] -= int64(aZero)
	}
	for i := range bv {
		bv[i] -= int64(per[0][i%m.N])
	}
	acc := linear.Multiply(m, av, bv)
	y := make([]float64, len(acc))
	for i, s := range acc {
		k := float32(aScale * float32(per[1][i%m.N]))
		y[i] = float64(float32(float32(s)*k) + float32(per[2][i%m.N]))
	}
	num.SetFloats(c.Output(0, dt, m.Shape...), y)
	return nil
}

func matMulIntegerToFloatRef(c *op.Call) error {
	p := integerProduct{a: c.In[0], b: c.In[1], aScale: c.In[2], bScale: c.In[3], aZero: c.Input(4), bZero: c.Input(5), bias: c.Input(6)}
	return p.write(c, c.In[2].DType)
}

func dynamicMatMulRef(c *op.Call) error {
	x := tensor.Of[float32](c.In[0])
	var lo, hi float32
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	scale, zero := float32(1), 0.
	if lo < hi {
		scale = (hi - lo) / 255
		zero = saturated(math.RoundToEven(float64(float32(0-lo)/scale)), dtype.Uint8)
	}
	a := tensor.New(dtype.Uint8, c.In[0].Shape...)
	for i, v := range x {
		a.Data[i] = uint8(saturated(math.RoundToEven(float64(v/scale))+zero, dtype.Uint8))
	}
	p := integerProduct{a: a, b: c.In[1], aScale: scalar32(scale), bScale: c.In[2], aZero: tensor.Scalar(uint8(zero)), bZero: c.Input(3), bias: c.Input(4)}
	return p.write(c, dtype.Float32)
}
