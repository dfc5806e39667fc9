package text

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	lists := func() op.Attrs {
		a := op.Attrs{"default_string": op.Default(ir.Str("_Unused")), "default_int64": op.Default(ir.Int(-1)), "default_float": op.Default(ir.Float(float32(math.Copysign(0, -1))))}
		for _, side := range []string{"keys", "values"} {
			a[side+"_strings"], a[side+"_int64s"], a[side+"_floats"] = op.Opt(ir.KindStrings), op.Opt(ir.KindInts), op.Opt(ir.KindFloats)
		}
		return a
	}
	register := func(version int, attrs op.Attrs) {
		op.Register(&op.Op{
			Domain: "ai.onnx.ml", Name: "LabelEncoder", Versions: []int{version}, Doc: "replaces keys by values",
			In: op.Ports("X:T1"), Out: op.Ports("Y:T2"), Types: op.Types{"T1": labelTypes, "T2": labelTypes}, Attrs: attrs,
			Infer: labelInfer, Ref: labelRef, Rows: op.RowsBroadcast, Cases: labelCases{},
		})
	}
	register(2, lists())
	tensors := lists()
	for _, name := range []string{"keys_tensor", "values_tensor", "default_tensor"} {
		tensors[name] = op.Opt(ir.KindTensor)
	}
	register(4, tensors)
}

var labelTypes = []dtype.Type{dtype.String, dtype.Int64, dtype.Float32, dtype.Int32, dtype.Int16, dtype.Float64}

// labelList gives the keys or the values of a LabelEncoder as a vector.
func labelList(n *ir.Node, side string) (*tensor.Tensor, error) {
	switch {
	case n.Has(side + "_tensor"):
		return n.Attr(side + "_tensor").Tensor, nil
	case n.Has(side + "_strings"):
		return tensor.FromStrings(n.Strs(side + "_strings")), nil
	case n.Has(side + "_int64s"):
		return tensor.FromSlice(n.Attr(side + "_int64s").Ints), nil
	case n.Has(side + "_floats"):
		return tensor.FromSlice(n.Floats(side + "_floats")), nil
	}
	return nil, fmt.Errorf("expected one attribute %s_…, found none", side)
}

// labelDefault is what stands for unknown keys, of the values' type.
func labelDefault(n *ir.Node, dt dtype.Type) *tensor.Tensor {
	if n.Has("default_tensor") && n.Attr("default_tensor").Tensor.DType == dt && n.Attr("default_tensor").Tensor.Len() == 1 {
		return n.Attr("default_tensor").Tensor
	}
	v := tensor.New(dt, 1)
	switch {
	case dt == dtype.String:
		v.Strings[0] = n.Str("default_string")
	case dt.IsInt():
		num.SetInt64s(v, []int64{int64(n.Int("default_int64"))})
	default:
		num.SetFloats(v, []float64{float64(n.Float("default_float"))})
	}
	return v
}

// labelKeys writes elements as comparable text; all NaNs are one key.
func labelKeys(t *tensor.Tensor) []string {
	if t.DType == dtype.String {
		return t.Strings
	}
	out := make([]string, t.Len())
	if t.DType.IsInt() {
		for i, v := range num.Int64s(t) {
			out[i] = strconv.FormatInt(v, 10)
		}
		return out
	}
	for i, v := range num.Floats(t) {
		if v == 0 {
			v = 0 // -0 equals 0
		}
		out[i] = strconv.FormatUint(math.Float64bits(v), 16)
		if math.IsNaN(v) {
			out[i] = "nan"
		}
	}
	return out
}

func labels(n *ir.Node) (keys, values *tensor.Tensor, err error) {
	if keys, err = labelList(n, "keys"); err != nil {
		return nil, nil, err
	}
	if values, err = labelList(n, "values"); err != nil {
		return nil, nil, err
	}
	if keys.Len() != values.Len() || !slices.Contains(labelTypes, keys.DType) || !slices.Contains(labelTypes, values.DType) {
		return nil, nil, fmt.Errorf("expected as many keys as values, found %s and %s", keys, values)
	}
	return keys, values, nil
}

func labelInfer(c *op.Infer) error {
	keys, values, err := labels(c.Node)
	if err != nil {
		return err
	}
	if dt := c.In[0].DType; dt != keys.DType && dt != dtype.Invalid {
		return fmt.Errorf("input has type %s, expected %s as the keys", dt, keys.DType)
	}
	c.Set(0, values.DType, c.In[0].Shape)
	return nil
}

func labelRef(c *op.Call) error {
	x := c.In[0]
	keys, values, err := labels(c.Node)
	if err != nil {
		return err
	}
	place := map[string]int{}
	for i, k := range labelKeys(keys) {
		place[k] = i // the last of equal keys
	}
	unknown := labelDefault(c.Node, values.DType)
	out := c.Output(0, values.DType, x.Shape...)
	for i, k := range labelKeys(x) {
		if at, ok := place[k]; ok {
			out.CopyElements(i, values, at, 1)
		} else {
			out.CopyElements(i, unknown, 0, 1)
		}
	}
	return nil
}
