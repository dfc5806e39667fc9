// Package sequence registers operators on sequences of tensors and on optional
// values. Items of a sequence own their memory and are never changed, so that
// sequences share them.
package sequence

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

var sequences = []dtype.Type{dtype.Sequence}

func init() {
	types := op.Types{"S": sequences, "T": op.AllTensors, "I": op.Indices}
	v := []int{11}
	position := op.Ports("input_sequence:S", "position:I?")
	op.Register(&op.Op{
		Name: "SequenceConstruct", Versions: v, Doc: "a sequence of its inputs",
		In: op.Ports("inputs:T..."), Out: op.Ports("output_sequence:S"), Types: types, Infer: constructInfer, Ref: constructRef, Cases: constructCases{},
	})
	op.Register(&op.Op{
		Name: "SequenceEmpty", Versions: v, Doc: "a sequence of nothing",
		Out: op.Ports("output_sequence:S"), Types: types, Attrs: op.Attrs{"dtype": op.Default(ir.Int(int(dtype.Float32)))},
		Infer: func(c *op.Infer) error { setSequence(c, 0, ir.Type{DType: c.Node.DType("dtype")}); return nil },
		Ref:   func(c *op.Call) error { c.Set(0, tensor.New(dtype.Sequence)); return nil },
	})
	op.Register(&op.Op{
		Name: "SequenceAt", Versions: v, Doc: "one item of a sequence",
		In: op.Ports("input_sequence:S", "position:I"), Out: op.Ports("tensor:T"), Types: types, Infer: atInfer, Ref: atRef, Cases: atCases{},
	})
	op.Register(&op.Op{
		Name: "SequenceInsert", Versions: v, Doc: "a sequence with one more item, at the end by default",
		In: op.Ports("input_sequence:S", "tensor:T", "position:I?"), Out: op.Ports("output_sequence:S"), Types: types, Infer: insertInfer, Ref: insertRef, Cases: insertCases{},
	})
	op.Register(&op.Op{
		Name: "SequenceErase", Versions: v, Doc: "a sequence without one item, the last by default",
		In: position, Out: op.Ports("output_sequence:S"), Types: types,
		Infer: func(c *op.Infer) error { setSequence(c, 0, elem(c.In[0])); return nil },
		Ref:   eraseRef, Cases: eraseCases{},
	})
	op.Register(&op.Op{
		Name: "SequenceLength", Versions: v, Doc: "the number of items",
		In: op.Ports("input_sequence:S"), Out: op.Ports("length:int64"), Types: types, Cases: lengthCases{},
		Infer: func(c *op.Infer) error { c.Set(0, dtype.Int64, shape.Shape{}); return nil },
		Ref: func(c *op.Call) error {
			tensor.Of[int64](c.Output(0, dtype.Int64))[0] = int64(len(c.In[0].Items))
			return nil
		},
	})
}

// setSequence states that output i is a sequence of elements of a type.
func setSequence(c *op.Infer, i int, elem ir.Type) {
	c.Set(i, dtype.Sequence, nil)
	c.Out[i].Elem = &elem
}

// elem is the type of a sequence's or an optional's elements.
func elem(f op.Fact) ir.Type {
	if f.Elem == nil {
		return ir.Type{}
	}
	return *f.Elem
}

// common is the type that covers both: dimensions that differ are unknown.
func common(a, b ir.Type) (ir.Type, error) {
	switch {
	case a.DType == dtype.Invalid:
		return b, nil
	case b.DType == dtype.Invalid:
		return a, nil
	case a.DType != b.DType:
		return a, fmt.Errorf("items of one sequence: expected %s, found %s", a.DType, b.DType)
	}
	if a.Shape == nil || b.Shape == nil || len(a.Shape) != len(b.Shape) {
		return ir.Type{DType: a.DType}, nil
	}
	s := slices.Clone(a.Shape)
	for i, d := range b.Shape {
		if !s[i].Equal(d) {
			s[i] = shape.Unknown()
		}
	}
	return ir.Type{DType: a.DType, Shape: s}, nil
}

func constructInfer(c *op.Infer) error {
	t := c.In[0].Type
	for _, f := range c.In[1:] {
		var err error
		if t, err = common(t, f.Type); err != nil {
			return err
		}
	}
	setSequence(c, 0, t)
	return nil
}

func constructRef(c *op.Call) error {
	s := tensor.New(dtype.Sequence)
	for i, t := range c.In {
		if t.DType != c.In[0].DType {
			return fmt.Errorf("input %d is %s, expected %s as input 0", i, t, c.In[0].DType)
		}
		s.Items = append(s.Items, t.Clone())
	}
	c.Set(0, s)
	return nil
}

// place reads the position in input i, which may count from the end, among n
// places; absent it is last.
func place(c *op.Call, i, n, last int) (int, error) {
	t := c.Input(i)
	if t == nil {
		return last, nil
	}
	v, err := t.Ints()
	if err != nil || len(v) != 1 {
		return 0, fmt.Errorf("position: expected one integer, found %s", t)
	}
	p := v[0]
	if p < 0 {
		p += len(c.In[0].Items)
	}
	if p < 0 || p >= n {
		return 0, fmt.Errorf("position %d is outside a sequence of %d", v[0], len(c.In[0].Items))
	}
	return p, nil
}

func atInfer(c *op.Infer) error {
	t := elem(c.In[0])
	c.Set(0, t.DType, t.Shape)
	return nil
}

func atRef(c *op.Call) error {
	items := c.In[0].Items
	p, err := place(c, 1, len(items), 0)
	if err != nil {
		return err
	}
	give(c, items[p])
	return nil
}

// give makes output 0 a copy of an item.
func give(c *op.Call, t *tensor.Tensor) {
	if t.DType == dtype.Sequence || t.DType == dtype.Optional {
		c.Set(0, t)
		return
	}
	c.Output(0, t.DType, t.Shape...).CopyElements(0, t, 0, t.Len())
}

func insertInfer(c *op.Infer) error {
	t, err := common(elem(c.In[0]), c.In[1].Type)
	if err != nil {
		return err
	}
	setSequence(c, 0, t)
	return nil
}

func insertRef(c *op.Call) error {
	items, t := c.In[0].Items, c.In[1]
	if len(items) > 0 && items[0].DType != t.DType {
		return fmt.Errorf("cannot insert %s into a sequence of %s", t, items[0].DType)
	}
	p, err := place(c, 2, len(items)+1, len(items))
	if err != nil {
		return err
	}
	s := tensor.New(dtype.Sequence)
	s.Items = slices.Insert(slices.Clone(items), p, t.Clone())
	c.Set(0, s)
	return nil
}

func eraseRef(c *op.Call) error {
	items := c.In[0].Items
	if len(items) == 0 {
		return fmt.Errorf("cannot erase from an empty sequence")
	}
	p, err := place(c, 1, len(items), len(items)-1)
	if err != nil {
		return err
	}
	s := tensor.New(dtype.Sequence)
	s.Items = slices.Delete(slices.Clone(items), p, p+1)
	c.Set(0, s)
	return nil
}
