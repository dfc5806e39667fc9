package ml

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// ZipMap ends the classifiers that skl2onnx writes. By ONNX its result is a map
// from class to score for each row. Here it is the scores themselves, one
// column a class: a tensor, which every client takes; op.ClassLabels gives the
// columns' names.
func init() {
	op.Register(&op.Op{
		Domain: domain, Name: op.ZipMap, Versions: []int{1}, Doc: "its input: the scores as a tensor, a column for each class, instead of maps",
		In: op.Ports("X:float32"), Out: op.Ports("Z:float32"),
		Attrs: op.Attrs{"classlabels_strings": op.Opt(ir.KindStrings), "classlabels_int64s": op.Opt(ir.KindInts)},
		Infer: inferZipMap, Ref: zipMapRef, View: true, Rows: rowsMatrix,
		Cases: zipMapCases{},
	})
}

type zipMapCases struct{}

func (zipMapCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{.25, .75, 1, 0, .5, .5}, 3, 2)
	return []op.Case{
		{Name: "strings", In: []*tensor.Tensor{x}, Attrs: map[string]*ir.Attr{"classlabels_strings": ir.Strs("no", "yes")}, Out: []*tensor.Tensor{x}},
		{Name: "one row", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3})}, Attrs: map[string]*ir.Attr{"classlabels_int64s": ir.Ints(4, 5, 6)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3})}},
	}
}

func inferZipMap(c *op.Infer) error {
	l, err := newLabels(c.Node, "classlabels_int64s")
	if err != nil {
		return err
	}
	s := c.In[0].Shape
	if s != nil {
		if len(s) != 1 && len(s) != 2 {
			return fmt.Errorf("expected a row of scores or several, found %s", s)
		}
		if n, ok := s[len(s)-1].Int(); ok && n != l.len() {
			return fmt.Errorf("there are %d labels for %d scores", l.len(), n)
		}
		s = append(s[:len(s)-1:len(s)-1], shape.Const(l.len()))
	}
	c.Set(0, scoreType, s)
	return nil
}

func zipMapRef(c *op.Call) error {
	x := c.In[0]
	l, err := newLabels(c.Node, "classlabels_int64s")
	if err != nil {
		return err
	}
	if w := width(x); w != l.len() {
		return fmt.Errorf("there are %d labels for %d scores", l.len(), w)
	}
	copy(c.Output(0, scoreType, x.Shape...).Data, x.Data)
	return nil
}
