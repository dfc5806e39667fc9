package quant

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// scaleAxis is the axis that float32 scales run along, -1 for one scale, and the length of the
// blocks that have one, 0 for one at each index; ok is false for other types.
func scaleAxis(p *op.Prep) (axis, block int, ok bool) {
	scale, x := p.InShape(1), p.InShape(0)
	if p.In[1].DType != dtype.Float32 || tensor.Count(x) == 0 {
		return 0, 0, false
	}
	if p.Has(2) && tensor.Count(p.InShape(2)) != tensor.Count(scale) {
		return 0, 0, false
	}
	if tensor.Count(scale) == 1 {
		return -1, 0, true
	}
	axis, err := op.Axis(axisOf(p.Node), len(x))
	if err != nil {
		return 0, 0, false
	}
	if block = p.Node.Int("block_size"); block != 0 {
		return axis, block, checkBlocks(x, scale, axis, block) == nil
	}
	return axis, 0, len(scale) == 1 && scale[0] == x[axis]
}

// zeroBytes is the data of an optional zero point.
func zeroBytes(c *op.Call) []byte {
	if t := c.Input(2); t != nil {
		return t.Data
	}
	return nil
}

func compileQuantize(p *op.Prep) (op.Kernel, error) {
	axis, block, ok := scaleAxis(p)
	if !ok || p.In[0].DType != dtype.Float32 || quotientType(p.Node, dtype.Float32) != dtype.Float32 {
		return nil, nil
	}
	to, dims := p.Out[0].DType, p.OutShape(0)
	k, err := elemwise.NewQuantize(to, dims, axis, block)
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	return op.KernelFunc(func(c *op.Call) error {
		k.Run(c.Pool, c.Output(0, to, dims...).Data, tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1]), zeroBytes(c))
		return nil
	}), nil
}

func compileDequantize(p *op.Prep) (op.Kernel, error) {
	axis, block, ok := scaleAxis(p)
	if !ok || p.Out[0].DType != dtype.Float32 {
		return nil, nil
	}
	dims := p.OutShape(0)
	k, err := elemwise.NewDequantize(p.In[0].DType, dims, axis, block)
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	return op.KernelFunc(func(c *op.Call) error {
		y := c.Output(0, dtype.Float32, dims...)
		k.Run(c.Pool, tensor.Of[float32](y), c.In[0].Data, tensor.Of[float32](c.In[1]), zeroBytes(c))
		return nil
	}), nil
}

func compileDynamic(p *op.Prep) (op.Kernel, error) {
	dims := p.OutShape(0)
	if tensor.Count(dims) == 0 {
		return nil, nil
	}
	k, err := elemwise.NewDynamicQuantize(tensor.Count(dims))
	if err != nil {
		return nil, err
	}
	return op.KernelFunc(func(c *op.Call) error {
		scale, zero := k.Run(c.Pool, c.Output(0, dtype.Uint8, dims...).Data, tensor.Of[float32](c.In[0]))
		tensor.Of[float32](c.Output(1, dtype.Float32))[0] = scale
		c.Output(2, dtype.Uint8).Data[0] = zero
		return nil
	}), nil
}
