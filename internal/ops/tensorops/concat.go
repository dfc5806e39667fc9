package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Concat", Versions: []int{4, 11, 13}, Doc: "joins tensors along an axis",
		In: op.Ports("inputs:T..."), Out: op.Ports("concat_result:T"),
		Types: op.Types{"T": op.AllTensors}, Attrs: op.Attrs{"axis": op.Required(ir.KindInt)},
		Infer: concatInfer, Ref: concatRef, Compile: compileConcat, Joins: concatJoins, Rows: concatRows, Cases: concatCases{},
	})
}

func concatInfer(c *op.Infer) error {
	for i, f := range c.In {
		if f.DType != c.In[0].DType {
			return fmt.Errorf("input %d has type %s, expected %s as input 0", i, f.DType, c.In[0].DType)
		}
	}
	s, err := concatenated(c.In, c.Node.Int("axis"))
	if err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, s)
	if len(s) == 1 {
		concatContent(c)
	}
	return nil
}

func concatenated(in []op.Fact, axis int) (shape.Shape, error) {
	var out shape.Shape
	for i, f := range in {
		if f.Shape == nil {
			return nil, nil
		}
		if i == 0 {
			a, err := op.Axis(axis, len(f.Shape))
			if err != nil {
				return nil, err
			}
			axis, out = a, slices.Clone(f.Shape)
			continue
		}
		if len(f.Shape) != len(out) {
			return nil, fmt.Errorf("input %d has shape %v, expected %d dimensions as input 0", i, f.Shape, len(out))
		}
		for k, d := range f.Shape {
			if k == axis {
				out[k] = out[k].Add(d)
				continue
			}
			m, err := sameDim(out[k], d)
			if err != nil {
				return nil, fmt.Errorf("input %d has shape %v: dimension %d: %w", i, f.Shape, k, err)
			}
			out[k] = m
		}
	}
	return out, nil
}

// sameDim unites what is known of two sizes that must be equal.
func sameDim(a, b shape.Dim) (shape.Dim, error) {
	x, fixed := a.Int()
	y, fixed2 := b.Int()
	switch {
	case fixed && fixed2 && x != y:
		return a, fmt.Errorf("expected %d, found %d", x, y)
	case fixed2, a.IsUnknown():
		return b, nil
	}
	return a, nil
}

// concatContent joins what is known of the elements of vectors.
func concatContent(c *op.Infer) {
	var all []shape.Dim
	known := false
	for _, f := range c.In {
		d, ok := content(f)
		if !ok {
			n, fixed := f.Shape[0].Int()
			if !fixed || n > maxContent {
				return
			}
			d = shape.Unknowns(n)
		}
		known = known || ok
		all = append(all, d...)
	}
	if known && len(all) <= maxContent {
		c.SetContent(0, all)
	}
}

// concatRows keeps the axis if every input carries rows along it.
func concatRows(n *ir.Node, in []int) ([]int, bool) {
	for _, a := range in {
		if a != in[0] {
			return nil, false
		}
	}
	if in[0] == op.NoRows {
		return every(n, op.NoRows), true
	}
	if n.In[0].Type.Shape == nil || attrAxis("axis")(n, in[0]) {
		return nil, false
	}
	return every(n, in[0]), true
}

func concatRef(c *op.Call) error {
	facts := make([]op.Fact, len(c.In))
	for i, t := range c.In {
		facts[i].Type = ir.TypeOf(t)
	}
	s, err := concatenated(facts, c.Node.Int("axis"))
	if err != nil {
		return err
	}
	dims, _ := s.Ints()
	axis, _ := op.Axis(c.Node.Int("axis"), len(dims))
	out := c.Output(0, c.In[0].DType, dims...)
	row := tensor.Count(dims[axis:])
	at := 0
	for _, t := range c.In {
		n := tensor.Count(t.Shape[axis:])
		for o := range tensor.Count(dims[:axis]) {
			out.CopyElements(o*row+at, t, o*n, n)
		}
		at += n
	}
	return nil
}

// concatKernel copies each input into its place.
type concatKernel struct {
	moves []move
	out   op.Fact
	dims  []int
}

func (k *concatKernel) Run(c *op.Call) error {
	out := c.Output(0, k.out.DType, k.dims...)
	for i, m := range k.moves {
		m.Run(c.Pool, out.Data, c.In[i].Data)
	}
	return nil
}

func compileConcat(p *op.Prep) (op.Kernel, error) {
	size, ok := byteSize(p.In[0].DType)
	if !ok {
		return nil, nil
	}
	dims := p.OutShape(0)
	axis, err := op.Axis(p.Node.Int("axis"), len(dims))
	if err != nil {
		return nil, err
	}
	k := &concatKernel{out: p.In[0], dims: dims}
	outer, row, at := tensor.Count(dims[:axis]), tensor.Count(dims[axis:]), 0
	for i := range p.In {
		n := tensor.Count(p.InShape(i)[axis:])
		m, err := newMove(size, []int{outer, n}, []int{n, 1}, 0, []int{row, 1}, at)
		if err != nil {
			return nil, err
		}
		k.moves = append(k.moves, m)
		at += n
	}
	return k, nil
}

type concatCases struct{}

func (concatCases) Cases() []op.Case {
	axis := func(a int) map[string]*ir.Attr { return map[string]*ir.Attr{"axis": ir.Int(a)} }
	return []op.Case{
		{Name: "columns", Attrs: axis(1), In: []*tensor.Tensor{tensor.FromSlice([]int8{1, 2}, 2, 1), tensor.FromSlice([]int8{3, 4, 5, 6}, 2, 2)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int8{1, 3, 4, 2, 5, 6}, 2, 3)}},
		{Name: "channels", Attrs: axis(-3), In: []*tensor.Tensor{sequence(2, 3, 5, 7), sequence(2, 8, 5, 7), sequence(2, 1, 5, 7)}},
		{Name: "empty", Attrs: axis(0), In: []*tensor.Tensor{sequence(0, 3), sequence(2, 3)}, Out: []*tensor.Tensor{sequence(2, 3)}},
	}
}

// concatJoins: along the outermost axis that is longer than one, the inputs
// follow each other in the output.
func concatJoins(n *ir.Node, in, out []op.Fact) ([]int, bool) {
	return consecutive(n.Int("axis"), out[0], in)
}

// consecutive gives where parts begin that make up a whole along an axis, if
// all axes before it have one element.
func consecutive(axis int, whole op.Fact, parts []op.Fact) (begin []int, ok bool) {
	dims, ok := whole.Shape.Ints()
	if !ok {
		return nil, false
	}
	if axis, err := op.Axis(axis, len(dims)); err != nil || tensor.Count(dims[:axis]) != 1 {
		return nil, false
	}
	begin = make([]int, len(parts))
	at := 0
	for i, f := range parts {
		n, ok := f.Shape.Count().Int()
		if !ok {
			return nil, false
		}
		begin[i] = at
		at += n
	}
	return begin, at == tensor.Count(dims)
}
