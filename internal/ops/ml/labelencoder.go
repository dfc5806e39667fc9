package ml

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: domain, Name: "LabelEncoder", Versions: []int{1}, Doc: "strings by their numbers in a list, or numbers by their strings",
		In: op.Ports("X:T1"), Out: op.Ports("Y:T2"), Types: op.Types{"T1": labelTypes, "T2": labelTypes},
		Attrs: op.Attrs{"classes_strings": op.Required(ir.KindStrings), "default_int64": op.Default(ir.Int(-1)), "default_string": op.Default(ir.Str("_Unused"))},
		Infer: inferLabelEncoder, Ref: labelEncoderRef, Rows: op.RowsBroadcast,
		Cases: labelEncoderCases{},
	})
}

type labelEncoderCases struct{}

func (labelEncoderCases) Cases() []op.Case {
	attrs := map[string]*ir.Attr{"classes_strings": ir.Strs("a", "b")}
	return []op.Case{
		{Name: "to numbers", In: []*tensor.Tensor{tensor.FromStrings([]string{"b", "c", "a"}, 3)}, Attrs: attrs, Out: []*tensor.Tensor{tensor.FromSlice([]int64{1, -1, 0})}},
		{Name: "to strings", In: []*tensor.Tensor{tensor.FromSlice([]int64{1, 2, -1})}, Attrs: attrs, Out: []*tensor.Tensor{tensor.FromStrings([]string{"b", "_Unused", "_Unused"}, 3)}},
	}
}

func inferLabelEncoder(c *op.Infer) error {
	if len(c.Node.Strs("classes_strings")) == 0 {
		return fmt.Errorf("classes_strings is empty")
	}
	dt := dtype.Int64
	if c.In[0].DType == dtype.Int64 {
		dt = dtype.String
	}
	c.Set(0, dt, c.In[0].Shape)
	return nil
}

func labelEncoderRef(c *op.Call) error {
	n, x := c.Node, c.In[0]
	classes := n.Strs("classes_strings")
	if x.DType == dtype.Int64 {
		y := c.Output(0, dtype.String, x.Shape...)
		for i, v := range tensor.Of[int64](x) {
			y.Strings[i] = n.Str("default_string")
			if v >= 0 && v < int64(len(classes)) {
				y.Strings[i] = classes[v]
			}
		}
		return nil
	}
	place := map[string]int64{}
	for i, s := range classes {
		place[s] = int64(i)
	}
	y := tensor.Of[int64](c.Output(0, dtype.Int64, x.Shape...))
	for i, s := range x.Strings {
		v, ok := place[s]
		if !ok {
			v = int64(n.Int("default_int64"))
		}
		y[i] = v
	}
	return nil
}
