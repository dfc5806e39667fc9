package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	register := func(attrs op.Attrs, versions ...int) {
		op.Register(&op.Op{
			Name: "Constant", Versions: versions, Doc: "the value of its attribute",
			Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors}, Attrs: attrs,
			Infer: constantInfer, Ref: constantRef, Rows: noRows,
		})
	}
	register(op.Attrs{"value": op.Required(ir.KindTensor)}, 1, 9)
	register(op.Attrs{"value": op.Opt(ir.KindTensor), "sparse_value": op.Opt(ir.KindTensor)}, 11)
	register(op.Attrs{
		"value": op.Opt(ir.KindTensor), "sparse_value": op.Opt(ir.KindTensor), "value_float": op.Opt(ir.KindFloat), "value_floats": op.Opt(ir.KindFloats),
		"value_int": op.Opt(ir.KindInt), "value_ints": op.Opt(ir.KindInts),
		"value_string": op.Opt(ir.KindString), "value_strings": op.Opt(ir.KindStrings),
	}, 12, 13, 19, 21, 23, 24, 25)
	registerConstantOfShape()
}

// constantValue is the tensor that a Constant node holds.
func constantValue(n *ir.Node) (*tensor.Tensor, error) {
	var found *tensor.Tensor
	count := 0
	for name, a := range n.Attrs {
		count++
		switch name {
		case "value", "sparse_value": // made dense when the model is read
			found = a.Tensor
		case "value_float":
			found = tensor.Scalar(a.Float)
		case "value_floats":
			found = tensor.FromSlice(a.Floats, len(a.Floats))
		case "value_int":
			found = tensor.Scalar(a.Int)
		case "value_ints":
			found = tensor.FromSlice(a.Ints, len(a.Ints))
		case "value_string":
			found = tensor.FromStrings([]string{a.Str})
			found.Shape = []int{}
		case "value_strings":
			found = tensor.FromStrings(a.Strs, len(a.Strs))
		}
	}
	if count != 1 || found == nil {
		return nil, fmt.Errorf("expected one value attribute, found %d", count)
	}
	return found, nil
}

func constantInfer(c *op.Infer) error {
	t, err := constantValue(c.Node)
	if err != nil {
		return err
	}
	c.Out[0] = op.Fact{Type: ir.TypeOf(t), Present: true, Const: t, Content: ir.NewConst("", t).Content}
	return nil
}

func constantRef(c *op.Call) error {
	t, err := constantValue(c.Node)
	if err != nil {
		return err
	}
	return copyOut(c, t, t.Shape)
}

func registerConstantOfShape() {
	op.Register(&op.Op{
		Name: "ConstantOfShape", Versions: []int{9, 20, 21, 23, 24, 25}, Doc: "a tensor of the given shape filled with one value",
		In: op.Ports("input:int64"), Out: op.Ports("output:T2"), Types: op.Types{"T2": op.AllTensors},
		Attrs: op.Attrs{"value": op.Opt(ir.KindTensor)},
		Infer: fillInfer, Ref: fillRef, Compile: compileFill, Rows: noRows,
		Cases: constantOfShapeCases{},
	})
}

type constantOfShapeCases struct{}

func (constantOfShapeCases) Cases() []op.Case {
	return []op.Case{
		{Name: "default", In: []*tensor.Tensor{tensor.FromSlice([]int64{2, 1})}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 0}, 2, 1)}},
		{Name: "scalar", Attrs: map[string]*ir.Attr{"value": ir.TensorAttr(tensor.FromSlice([]int8{3}))},
			In: []*tensor.Tensor{tensor.FromSlice([]int64{}, 0)}, Out: []*tensor.Tensor{tensor.Scalar(int8(3))}},
		{Name: "large", Attrs: map[string]*ir.Attr{"value": ir.TensorAttr(tensor.FromSlice([]float32{1.5}))}, In: []*tensor.Tensor{tensor.FromSlice([]int64{301, 333})}},
	}
}

// fillValue is the one-element tensor that ConstantOfShape repeats.
func fillValue(n *ir.Node) (*tensor.Tensor, error) {
	if !n.Has("value") {
		return tensor.New(dtype.Float32, 1), nil
	}
	v := n.Attr("value").Tensor
	if v == nil || v.Len() != 1 {
		return nil, fmt.Errorf("value: expected a tensor of one element, found %v", v)
	}
	return v, nil
}

func fillInfer(c *op.Infer) error {
	v, err := fillValue(c.Node)
	if err != nil {
		return err
	}
	s, ok := c.In[0].Dims()
	if !ok {
		var unknown shape.Shape
		if rank, ok := vectorLen(c.In[0]); ok {
			unknown = shape.Unknowns(rank)
		}
		c.Set(0, v.DType, unknown)
		return nil
	}
	if err := checkDims(s); err != nil {
		return err
	}
	if err := setSized(c, v.DType, append(shape.Shape{}, s...)); err != nil {
		return err
	}
	n, fixed := shape.Shape(s).Count().Int()
	if elems, err := v.Ints(); err == nil && fixed && len(s) <= 1 && n >= 0 && n <= maxContent {
		c.SetContent(0, slices.Repeat(shape.Of(elems...), n))
	}
	return nil
}

func fillRef(c *op.Call) error {
	v, err := fillValue(c.Node)
	if err != nil {
		return err
	}
	dims, err := sizesOf(c, 0)
	if err != nil {
		return err
	}
	c.Output(0, v.DType, dims...).Fill(v, 0)
	return nil
}

// sizesOf reads input i as dimensions.
func sizesOf(c *op.Call, i int) ([]int, error) {
	dims, err := intsOf(c, i)
	if err != nil {
		return nil, err
	}
	return dims, tensor.CheckSize(dims)
}
