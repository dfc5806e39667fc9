package nn

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(op.Op{
		Name: "MaxUnpool", Versions: []int{9, 11, 22},
		In: op.Ports("X:T1", "I:T2", "output_shape:T2?"), Out: op.Ports("output:T1"), Types: op.Types{"T1": op.Floats, "T2": {dtype.Int64}},
		Attrs: op.Attrs{"kernel_shape": op.Required(ir.KindInts), "pads": op.Opt(ir.KindInts), "strides": op.Opt(ir.KindInts)},
		Infer: inferUnpool, Ref: unpoolRef,
		Cases: maxUnpoolCases{},
	})
}

type maxUnpoolCases struct{}

func (maxUnpoolCases) Cases() []op.Case {
	attrs := map[string]ir.Attr{"kernel_shape": ir.Ints(2, 2), "strides": ir.Ints(2, 2)}
	x, i := tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 1, 2, 2), tensor.FromSlice([]int64{5, 7, 13, 15}, 1, 1, 2, 2)
	return []op.Case{
		{Name: "inferred", In: []*tensor.Tensor{x, i}, Attrs: attrs, Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4}, 1, 1, 4, 4)}},
		{Name: "shape given", In: []*tensor.Tensor{x, i, tensor.FromSlice([]int64{1, 1, 5, 5})}, Attrs: attrs,
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0}, 1, 1, 5, 5)}},
	}
}

// maxUnpoolRest bounds how much larger than inferred an output may be asked for.
const maxUnpoolRest = 1 << 10

// unpooledShape is the shape that a pooling with the node's window came from.
func unpooledShape(n *ir.Node, x shape.Shape) (shape.Shape, error) {
	w, err := spatial.Read(n, nil)
	if err != nil {
		return nil, err
	}
	if len(x) != len(w.Kernel)+2 {
		return nil, fmt.Errorf("X has shape %v, expected %d dimensions for the window %v", x, len(w.Kernel)+2, w.Kernel)
	}
	out := shape.Shape{x[0], x[1]}
	for i, d := range x[2:] {
		grow := w.Kernel[i] - w.Pads[i] - w.Pads[i+len(w.Kernel)]
		out = append(out, d.Sub(shape.Const(1)).Mul(shape.Const(w.Stride[i])).Add(shape.Const(grow)))
	}
	return out, nil
}

func inferUnpool(c *op.Infer) error {
	x := c.In[0].Shape
	if given := c.Input(2); given.Present {
		dims, ok := given.Dims()
		if !ok && x != nil {
			dims = shape.Unknowns(len(x))
		}
		c.Set(0, c.In[0].DType, dims)
		return nil
	}
	if x == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	s, err := unpooledShape(c.Node, x)
	c.Set(0, c.In[0].DType, s)
	return err
}

func unpoolRef(c *op.Call) error {
	x := c.In[0]
	s, err := unpooledShape(c.Node, shape.Of(x.Shape...))
	if err != nil {
		return err
	}
	inner, _ := s.Ints()
	if slices.Min(inner) < 0 {
		return fmt.Errorf("X is %s, which gives the shape %v", x, inner)
	}
	full := inner
	if t := c.Input(2); t != nil {
		if full, err = t.Ints(); err != nil {
			return fmt.Errorf("output_shape: %w", err)
		}
		if len(full) != len(inner) {
			return fmt.Errorf("output_shape is %v, expected %d numbers", full, len(inner))
		}
		for i, n := range full {
			if n < 0 || i > 1 && n > inner[i]+maxUnpoolRest || i < 2 && n != inner[i] {
				return fmt.Errorf("output_shape is %v, which does not go with the inferred %v", full, inner)
			}
		}
	}
	y := c.Output(0, x.DType, full...)
	clear(y.Data)
	strides := tensor.Strides(full)
	for i, at := range tensor.Of[int64](c.In[1]) {
		if at < 0 || at >= int64(tensor.Count(inner)) || i >= x.Len() {
			return fmt.Errorf("index %d is %d, expected 0 to %d", i, at, tensor.Count(inner)-1)
		}
		rest, to := int(at), 0
		for d := len(inner) - 1; d >= 0; d-- {
			p := rest % inner[d]
			rest /= inner[d]
			if p >= full[d] {
				return fmt.Errorf("index %d is %d, which lies outside output_shape %v", i, at, full)
			}
			to += p * strides[d]
		}
		y.CopyElements(to, x, i, 1)
	}
	return nil
}
