package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Operators that ONNX has taken over since, and older names.

func init() {
	for _, a := range []struct {
		name, standard string
		opset          int
	}{{"Trilu", "Trilu", 14}, {"Pad", "Pad", 11}, {"GridSample", "GridSample", 16}} {
		o := *op.Find("", a.standard, a.opset)
		o.Domain, o.Name, o.Versions = op.Microsoft, a.name, []int{1}
		op.Register(&o)
	}
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "Unique", Versions: []int{1}, Doc: "the different elements in the order of their first places, each element's number among them, and how often they are there",
		In: op.Ports("x:T"), Out: op.Ports("y:T", "idx:int64", "counts:int64"), Types: op.Find("", "Unique", 11).Types,
		Infer: func(c *op.Infer) error {
			n := shape.Unknown()
			c.Set(0, c.In[0].DType, shape.Shape{n})
			c.Set(1, dtype.Int64, shape.Shape{c.In[0].Shape.Count()})
			c.Set(2, dtype.Int64, shape.Shape{n})
			return nil
		},
		Ref:   uniqueRef,
		Cases: uniqueCases{},
	})
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "Range", Versions: []int{1}, Doc: "Range with a step of 1 by default",
		In: op.Ports("start:T", "limit:T", "delta:T?"), Out: op.Ports("Y:T"), Types: op.Find("", "Range", 11).Types,
		Infer: func(c *op.Infer) error {
			s, err := newStandard("Range", 11, nil, 3, 1)
			if err != nil {
				return err
			}
			delta := c.Input(2)
			if !delta.Present && c.In[0].DType != dtype.Invalid {
				delta = op.FactOf(ir.NewConst("", oneOf(c.In[0].DType)))
			}
			out, err := s.infer(c.In[0], c.In[1], delta)
			if err == nil {
				c.Set(0, c.In[0].DType, out[0].Shape)
			}
			return err
		},
		Ref:   rangeRef,
		Cases: rangeCases{},
	})
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "ExpandDims", Versions: []int{1}, Doc: "inserts a dimension of 1",
		In: op.Ports("X:T", "axis:int32"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.AllTensors},
		Infer: inferExpandDims, Ref: expandDimsRef,
		Cases: expandDimsCases{},
	})
}

type uniqueCases struct{}

func (uniqueCases) Cases() []op.Case {
	return []op.Case{{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{3, 1, 3, 2})},
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{3, 1, 2}), tensor.FromSlice([]int64{0, 1, 0, 2}), tensor.FromSlice([]int64{2, 1, 1})}}}
}

type rangeCases struct{}

func (rangeCases) Cases() []op.Case {
	return []op.Case{{Name: "no step", In: []*tensor.Tensor{tensor.Scalar[int64](2), tensor.Scalar[int64](5)}, Out: []*tensor.Tensor{tensor.FromSlice([]int64{2, 3, 4})}}}
}

type expandDimsCases struct{}

func (expandDimsCases) Cases() []op.Case {
	return []op.Case{{Name: "last", In: []*tensor.Tensor{wave(2, 3), tensor.Scalar[int32](-1)}, Out: []*tensor.Tensor{wave(6).Reshape(2, 3, 1)}}}
}

func uniqueRef(c *op.Call) error {
	s, err := newStandard("Unique", 11, map[string]*ir.Attr{"sorted": ir.Int(0)}, 1, 4)
	if err != nil {
		return err
	}
	inner := &op.Call{Context: c.Context, Node: s.node, In: c.In}
	if err := s.Ref(inner); err != nil {
		return err
	}
	for i, from := range []int{0, 2, 3} {
		give(c, i, inner.Out[from])
	}
	return nil
}

// oneOf is the number 1 as a scalar.
func oneOf(dt dtype.Type) *tensor.Tensor {
	t := tensor.New(dt)
	switch dt {
	case dtype.Float32:
		tensor.Of[float32](t)[0] = 1
	case dtype.Float64:
		tensor.Of[float64](t)[0] = 1
	default:
		clear(t.Data)
		t.Data[0] = 1
	}
	return t
}

func rangeRef(c *op.Call) error {
	s, err := newStandard("Range", 11, nil, 3, 1)
	if err != nil {
		return err
	}
	delta := c.Input(2)
	if delta == nil {
		delta = oneOf(c.In[0].DType)
	}
	y, err := s.run(c, c.In[0], c.In[1], delta)
	if err != nil {
		return err
	}
	give(c, 0, y)
	return nil
}

func inferExpandDims(c *op.Infer) error {
	axis, ok := c.In[1].Ints()
	s := c.In[0].Shape
	if !ok || s == nil || len(axis) != 1 {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	at, err := op.Axis(axis[0], len(s)+1)
	if err != nil {
		return err
	}
	out := append(append(append(shape.Shape{}, s[:at]...), shape.Const(1)), s[at:]...)
	c.Set(0, c.In[0].DType, out)
	return nil
}

func expandDimsRef(c *op.Call) error {
	in := []op.Fact{factOf(c.In[0]), op.FactOf(ir.NewConst("", c.In[1]))}
	check := &op.Infer{Node: c.Node, In: in, Out: make([]op.Fact, 1)}
	if err := inferExpandDims(check); err != nil {
		return err
	}
	dims, ok := check.Out[0].Shape.Ints()
	if !ok || check.Out[0].Shape == nil {
		return fmt.Errorf("axis is %s, expected one number", c.In[1])
	}
	x := *c.In[0]
	x.Shape = dims
	give(c, 0, &x)
	return nil
}
