package ml

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: domain, Name: "OneHotEncoder", Versions: []int{1}, Doc: "a new last dimension with 1 at the element's category",
		In: op.Ports("X:T"), Out: op.Ports("Y:float32"), Types: op.Types{"T": append([]dtype.Type{dtype.String}, features...)},
		Attrs: op.Attrs{"cats_strings": op.Opt(ir.KindStrings), "cats_int64s": op.Opt(ir.KindInts), "zeros": op.Default(ir.Int(1))},
		Infer: inferOneHot, Ref: oneHotRef, Rows: op.RowsBroadcast,
		Cases: oneHotEncoderCases{},
	})
	op.Register(&op.Op{
		Domain: domain, Name: "CategoryMapper", Versions: []int{1}, Doc: "strings from integers, or integers from strings",
		In: op.Ports("X:T1"), Out: op.Ports("Y:T2"), Types: op.Types{"T1": labelTypes, "T2": labelTypes},
		Attrs: op.Attrs{"cats_strings": op.Opt(ir.KindStrings), "cats_int64s": op.Opt(ir.KindInts), "default_string": op.Default(ir.Str("_Unused")), "default_int64": op.Default(ir.Int(-1))},
		Infer: inferCategory, Ref: categoryRef, Rows: op.RowsBroadcast,
		Cases: categoryMapperCases{},
	})
	op.Register(&op.Op{
		Domain: domain, Name: "FeatureVectorizer", Versions: []int{1}, Doc: "joins the features of several matrices",
		In: op.Ports("X:T1..."), Out: op.Ports("Y:float32"), Types: op.Types{"T1": features}, Attrs: op.Attrs{"inputdimensions": op.Opt(ir.KindInts)},
		Infer: inferVectorizer, Ref: vectorizerRef,
		Cases: featureVectorizerCases{},
	})
}

type oneHotEncoderCases struct{}

func (oneHotEncoderCases) Cases() []op.Case {
	return []op.Case{
		{Name: "strings", In: []*tensor.Tensor{tensor.FromStrings([]string{"b", "c"}, 2)}, Attrs: map[string]*ir.Attr{"cats_strings": ir.Strs("a", "b")}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 0, 0}, 2, 2)}},
		{Name: "numbers", In: []*tensor.Tensor{tensor.FromSlice([]float32{4, 2}, 2, 1)}, Attrs: map[string]*ir.Attr{"cats_int64s": ir.Ints(2, 4, 8), "zeros": ir.Int(0)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 0, 1, 0, 0}, 2, 1, 3)}},
	}
}

type categoryMapperCases struct{}

func (categoryMapperCases) Cases() []op.Case {
	attrs := map[string]*ir.Attr{"cats_strings": ir.Strs("a", "b"), "cats_int64s": ir.Ints(10, 20)}
	words, numbers := tensor.FromStrings([]string{"b", "a"}, 2), tensor.FromSlice([]int64{20, 10})
	return []op.Case{{Name: "to integers", In: []*tensor.Tensor{words}, Attrs: attrs, Out: []*tensor.Tensor{numbers}}, {Name: "to strings", In: []*tensor.Tensor{numbers}, Attrs: attrs, Out: []*tensor.Tensor{words}}}
}

type featureVectorizerCases struct{}

func (featureVectorizerCases) Cases() []op.Case {
	return []op.Case{{Name: "two", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2}, 2, 1), tensor.FromSlice([]float32{3, 4, 5, 6}, 2, 2)}, Attrs: map[string]*ir.Attr{"inputdimensions": ir.Ints(1, 2)},
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 3, 4, 2, 5, 6}, 2, 3)}}}
}

func categories(n *ir.Node, dt dtype.Type) (int, error) {
	words, ints := len(n.Strs("cats_strings")), len(n.Ints("cats_int64s"))
	if (words == 0) == (ints == 0) || dt != dtype.Invalid && (dt == dtype.String) != (words > 0) {
		return 0, fmt.Errorf("expected one of cats_strings and cats_int64s, the first for strings, found %d and %d categories for %s", words, ints, dt)
	}
	return words + ints, nil
}

func inferOneHot(c *op.Infer) error {
	k, err := categories(c.Node, c.In[0].DType)
	if err != nil {
		return err
	}
	var s shape.Shape
	if c.In[0].Shape != nil {
		s = append(append(shape.Shape{}, c.In[0].Shape...), shape.Const(k))
	}
	c.Set(0, scoreType, s)
	return nil
}

func oneHotRef(c *op.Call) error {
	x := c.In[0]
	k, err := categories(c.Node, x.DType)
	if err != nil {
		return err
	}
	y := c.Output(0, scoreType, append(append([]int{}, x.Shape...), k)...)
	clear(y.Data)
	out := tensor.Of[float32](y)
	place := map[any]int{}
	for i, s := range c.Node.Strs("cats_strings") {
		place[s] = i
	}
	for i, v := range c.Node.Ints("cats_int64s") {
		place[int64(v)] = i
	}
	for i, key := range keys(x) {
		at, ok := place[key]
		if !ok && !c.Node.Bool("zeros") {
			return fmt.Errorf("element %d (%v) is of no category, and zeros is 0", i, key)
		}
		if ok {
			out[i*k+at] = 1
		}
	}
	return nil
}

// keys gives the elements as strings or int64s; floats are truncated.
func keys(x *tensor.Tensor) []any {
	out := make([]any, 0, x.Len())
	if x.DType == dtype.String {
		for _, s := range x.Strings {
			out = append(out, s)
		}
		return out
	}
	for _, v := range num.Int64s(x) {
		out = append(out, v)
	}
	return out
}

func inferCategory(c *op.Infer) error {
	if w, i := len(c.Node.Strs("cats_strings")), len(c.Node.Ints("cats_int64s")); w != i {
		return fmt.Errorf("%d cats_strings and %d cats_int64s, expected as many each", w, i)
	}
	dt := dtype.Int64
	if c.In[0].DType == dtype.Int64 {
		dt = dtype.String
	}
	c.Set(0, dt, c.In[0].Shape)
	return nil
}

func categoryRef(c *op.Call) error {
	n, x := c.Node, c.In[0]
	words, ints := n.Strs("cats_strings"), n.Ints("cats_int64s")
	if len(words) != len(ints) {
		return fmt.Errorf("%d cats_strings and %d cats_int64s, expected as many each", len(words), len(ints))
	}
	if x.DType == dtype.String {
		place := map[string]int{}
		for i, w := range words {
			place[w] = ints[i]
		}
		y := tensor.Of[int64](c.Output(0, dtype.Int64, x.Shape...))
		for i, w := range x.Strings {
			v, ok := place[w]
			if !ok {
				v = n.Int("default_int64")
			}
			y[i] = int64(v)
		}
		return nil
	}
	place := map[int64]string{}
	for i, v := range ints {
		place[int64(v)] = words[i]
	}
	y := c.Output(0, dtype.String, x.Shape...)
	for i, v := range tensor.Of[int64](x) {
		w, ok := place[v]
		if !ok {
			w = n.Str("default_string")
		}
		y.Strings[i] = w
	}
	return nil
}

func inferVectorizer(c *op.Infer) error {
	rows, total := shape.Unknown(), 0
	sizes := c.Node.Ints("inputdimensions")
	if len(sizes) != len(c.In) {
		return fmt.Errorf("inputdimensions has %d elements, expected %d as inputs", len(sizes), len(c.In))
	}
	for i, d := range sizes {
		if d < 0 || d > maxTargets {
			return fmt.Errorf("inputdimensions: %d, expected 0 to %d", d, maxTargets)
		}
		total += d
		if s := c.In[i].Shape; len(s) == 2 {
			rows = s[0]
		}
	}
	c.Set(0, scoreType, shape.Shape{rows, shape.Const(total)})
	return nil
}

func vectorizerRef(c *op.Call) error {
	sizes := c.Node.Ints("inputdimensions")
	first, err := newMatrix(c.In[0])
	if err != nil {
		return err
	}
	total := 0
	for _, d := range sizes {
		total += d
	}
	out := tensor.Of[float32](c.Output(0, scoreType, first.rows, total))
	at := 0
	for i, t := range c.In {
		m, err := newMatrix(t)
		if err != nil || i >= len(sizes) || m.width != sizes[i] || m.rows != first.rows {
			return fmt.Errorf("input %d is %s, expected %d rows as wide as inputdimensions says (%v)", i, t, first.rows, sizes)
		}
		var row []float64
		for r := range m.rows {
			row = m.row(r, row)
			narrow(out[r*total+at:], row)
		}
		at += m.width
	}
	return nil
}
