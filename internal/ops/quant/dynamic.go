package quant

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

var oneElement = shape.Of(1)

func init() {
	op.Register(&op.Op{
		Name: "DynamicQuantizeLinear", Versions: []int{11},
		Doc:   "The scale is that of the whole tensor, so that rows of a batch depend on each other. A tensor of zeros has scale 1.",
		In:    op.Ports("x:float32"),
		Out:   op.Ports("y:uint8", "y_scale:float32", "y_zero_point:uint8"),
		Infer: inferDynamic, Ref: dynamicRef, Compile: compileDynamic,
		Cases: dynamicQuantizeLinearCases{},
	})
}

type dynamicQuantizeLinearCases struct{}

func (dynamicQuantizeLinearCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{0, 2, -3, -2.5, 1.34, .5})},
			Out: []*tensor.Tensor{tensor.FromSlice([]uint8{153, 255, 0, 26, 221, 179}), tensor.Scalar[float32](.019607844), tensor.Scalar[uint8](153)}},
		{Name: "positive", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2.1, 1.3, 2.5, 3.34, 4})},
			Out: []*tensor.Tensor{tensor.FromSlice([]uint8{64, 134, 83, 159, 213, 255}), tensor.Scalar[float32](.01568628), tensor.Scalar[uint8](0)}},
		{Name: "zeros", In: []*tensor.Tensor{tensor.FromSlice([]float32{0, 0})}, Out: []*tensor.Tensor{tensor.FromSlice([]uint8{0, 0}), tensor.Scalar[float32](1), tensor.Scalar[uint8](0)}},
		{Name: "long", In: []*tensor.Tensor{wave(7, 333)}},
	}
}

func inferDynamic(c *op.Infer) error {
	c.Set(0, dtype.Uint8, c.In[0].Shape)
	c.Set(1, dtype.Float32, shape.Shape{})
	c.Set(2, dtype.Uint8, shape.Shape{})
	return nil
}

// dynamicParams gives scale and zero point of numbers between lo and hi, in
// float32 arithmetic.
func dynamicParams(lo, hi float32) (scale float32, zero uint8) {
	lo, hi = min(lo, 0), max(hi, 0)
	if lo == hi {
		return 1, 0
	}
	scale = (hi - lo) / 255
	return scale, uint8(saturate(math.RoundToEven(float64(float32(0-lo)/scale)), dtype.Uint8))
}

func dynamicRef(c *op.Call) error {
	x := num.Float32s(c.In[0])
	var lo, hi float32
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	scale, zero := dynamicParams(lo, hi)
	y := tensor.Of[uint8](c.Output(0, dtype.Uint8, c.In[0].Shape...))
	for i, v := range x {
		y[i] = uint8(saturate(math.RoundToEven(float64(v/scale))+float64(zero), dtype.Uint8))
	}
	tensor.Of[float32](c.Output(1, dtype.Float32))[0] = scale
	tensor.Of[uint8](c.Output(2, dtype.Uint8))[0] = zero
	return nil
}
