package fused

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "QuantizeInRange", Versions: []int{1},
		Doc:   "DynamicQuantizeLinear of numbers whose least and largest, and 0, have been found before.",
		In:    op.Ports("x:float32", "range:float32"),
		Out:   op.Ports("y:uint8", "y_scale:float32", "y_zero_point:uint8"),
		Infer: inferQuantizeInRange, Ref: quantizeInRangeRef, Compile: compileQuantizeInRange,
		Cases: quantizeInRangeCases{},
	})
}

type quantizeInRangeCases struct{}

func (quantizeInRangeCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{0, 2, -3, -2.5, 1.34, .5}), tensor.FromSlice([]float32{-3, 2})},
			Out: []*tensor.Tensor{tensor.FromSlice([]uint8{153, 255, 0, 26, 221, 179}), tensor.Scalar[float32](.019607844), tensor.Scalar[uint8](153)}},
		{Name: "long", In: []*tensor.Tensor{wave(7, 333), tensor.FromSlice([]float32{-1, 1})}},
	}
}

func inferQuantizeInRange(c *op.Infer) error {
	if r := c.In[1].Shape; r != nil && !r.Compatible(twoElements) {
		return fmt.Errorf("range has shape %v, expected two numbers", r)
	}
	c.Set(0, dtype.Uint8, c.In[0].Shape)
	c.Set(1, dtype.Float32, shape.Shape{})
	c.Set(2, dtype.Uint8, shape.Shape{})
	return nil
}

func quantizeInRangeRef(c *op.Call) error {
	ends := tensor.Of[float32](c.In[1])
	if len(ends) != 2 {
		return fmt.Errorf("range has shape %v, expected two numbers", c.In[1].Shape)
	}
	scale, zero := elemwise.DynamicRange(ends[0], ends[1])
	y := tensor.Of[uint8](c.Output(0, dtype.Uint8, c.In[0].Shape...))
	for i, x := range num.Float32s(c.In[0]) {
		q := math.RoundToEven(float64(x/scale)) + float64(zero)
		if !(q > 0) { // NaN as well
			q = 0
		}
		y[i] = uint8(min(q, 255))
	}
	tensor.Of[float32](c.Output(1, dtype.Float32))[0] = scale
	c.Output(2, dtype.Uint8).Data[0] = zero
	return nil
}

func compileQuantizeInRange(p *op.Prep) (op.Kernel, error) {
	dims := p.OutShape(0)
	if tensor.Count(dims) == 0 || tensor.Count(p.InShape(1)) != 2 {
		return nil, nil
	}
	k, err := elemwise.NewDynamicQuantize(tensor.Count(dims))
	if err != nil {
		return nil, err
	}
	return op.KernelFunc(func(c *op.Call) error {
		ends := tensor.Of[float32](c.In[1])
		scale, zero := k.RunInRange(c.Pool, c.Output(0, dtype.Uint8, dims...).Data, tensor.Of[float32](c.In[0]), ends[0], ends[1])
		tensor.Of[float32](c.Output(1, dtype.Float32))[0] = scale
		c.Output(2, dtype.Uint8).Data[0] = zero
		return nil
	}), nil
}
