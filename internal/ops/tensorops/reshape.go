package tensorops

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	register := func(attrs op.Attrs, cases op.Cases, versions ...int) {
		op.Register(&op.Op{
			Name: "Reshape", Versions: versions, Doc: "the same elements under another shape",
			In: op.Ports("data:T", "shape:int64"), Out: op.Ports("reshaped:T"),
			Types: op.Types{"T": op.AllTensors}, Attrs: attrs,
			Infer: reshapeInfer, Ref: reshapeRef, View: true, Rows: moveRows(rowsByProduct),
			Cases: cases,
		})
	}
	register(nil, nil, 5, 13)
	register(op.Attrs{"allowzero": op.Default(ir.Int(0))}, reshapeCases{}, 14, 19, 21, 23, 24, 25)
}

func reshapeInfer(c *op.Infer) error {
	x := c.In[0]
	target, ok := c.In[1].Dims()
	if !ok {
		var s shape.Shape
		if rank, ok := vectorLen(c.In[1]); ok {
			s = shape.Unknowns(rank)
		}
		c.Set(0, x.DType, s)
		return nil
	}
	s, err := reshaped(x.Shape, target, c.Node.Bool("allowzero"))
	if err != nil {
		return err
	}
	c.Set(0, x.DType, s)
	keepContent(c)
	return nil
}

// reshaped resolves a wanted shape: 0 copies the input's dimension (unless
// allowZero), one -1 takes what is left.
func reshaped(in shape.Shape, target []shape.Dim, allowZero bool) (shape.Shape, error) {
	out := make(shape.Shape, len(target))
	free := -1
	rest, total := shape.Const(1), in.Count() // without the dimensions that are copied
	if in != nil {
		total = shape.Const(1)
		for i, d := range in {
			if i >= len(target) || allowZero || !target[i].Is(0) {
				total = total.Mul(d)
			}
		}
	}
	for i, d := range target {
		n, fixed := d.Int()
		switch {
		case fixed && n == 0 && !allowZero:
			if in != nil && i >= len(in) {
				return nil, fmt.Errorf("dimension %d of the wanted shape %v is 0 (copy the input's), but the input has shape %v", i, shape.Shape(target), in)
			}
			out[i] = shape.Unknown()
			if in != nil {
				out[i] = in[i]
			}
			continue
		case fixed && n == -1 && free < 0:
			free = i
			continue
		case fixed && n < 0:
			return nil, fmt.Errorf("wanted shape %v: expected sizes and at most one -1", shape.Shape(target))
		}
		out[i] = d
		rest = rest.Mul(d)
	}
	if in == nil {
		if free >= 0 {
			out[free] = shape.Unknown()
		}
		return out, nil
	}
	have, ok := total.Int()
	want, ok2 := rest.Int()
	fits := !ok || !ok2 || have == want
	if free >= 0 {
		fits = !ok || !ok2 || want > 0 && have%want == 0
	}
	if !fits {
		return nil, fmt.Errorf("cannot view shape %v as %v: expected %v elements, found %v", in, shape.Shape(target), in.Count(), rest)
	}
	if free >= 0 {
		out[free] = total.Div(rest)
	}
	return out, nil
}

func reshapeRef(c *op.Call) error {
	x := c.In[0]
	want, err := c.In[1].Ints()
	if err != nil {
		return err
	}
	s, err := reshaped(shape.Of(x.Shape...), shape.Of(want...), c.Node.Bool("allowzero"))
	if err != nil {
		return err
	}
	dims, _ := s.Ints()
	if err := tensor.CheckSize(dims); err != nil { // products of huge sizes wrap around, to 0 for instance
		return err
	}
	return copyOut(c, x, dims)
}

type reshapeCases struct{}

func (reshapeCases) Cases() []op.Case {
	x := sequence(2, 3, 4)
	return []op.Case{
		{Name: "copy and infer", In: []*tensor.Tensor{x, tensor.FromSlice([]int64{0, -1})}, Out: []*tensor.Tensor{x.Reshape(2, 12)}},
		{Name: "scalar", In: []*tensor.Tensor{tensor.FromSlice([]int8{7}), tensor.FromSlice([]int64{}, 0)}, Out: []*tensor.Tensor{tensor.Scalar(int8(7))}},
		{Name: "allow zero", Attrs: map[string]*ir.Attr{"allowzero": ir.Int(1)},
			In:  []*tensor.Tensor{tensor.FromSlice([]float32{}, 0, 3), tensor.FromSlice([]int64{5, 0})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{}, 5, 0)}},
	}
}
