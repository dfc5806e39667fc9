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
	register := func(in []op.Port, attrs op.Attrs, cases op.Cases, versions ...int) {
		attrs["axis"] = op.Default(ir.Int(0))
		op.Register(&op.Op{
			Name: "Split", Versions: versions, Doc: "cuts a tensor along an axis",
			In: in, Out: op.Ports("outputs:T..."), Types: op.Types{"T": op.AllTensors}, Attrs: attrs,
			Infer: splitInfer, Ref: splitRef, Compile: compileSplit, Parts: splitParts, Rows: sameAxis(attrAxis("axis")), Cases: cases,
		})
	}
	withSizes := op.Ports("input:T", "split:int64?")
	register(op.Ports("input:T"), op.Attrs{"split": op.Opt(ir.KindInts)}, nil, 2, 11)
	register(withSizes, op.Attrs{}, nil, 13)
	register(withSizes, op.Attrs{"num_outputs": op.Opt(ir.KindInt)}, splitCases{}, 18)
}

// splitSizes gives the sizes of a split of size into n parts: those asked for,
// or parts of equal size of which the last may be smaller (since version 18).
func splitSizes(node *ir.Node, size int, asked []int) ([]int, error) {
	n := len(node.Out)
	if asked != nil {
		sum := 0
		for _, s := range asked {
			if s < 0 {
				return nil, fmt.Errorf("split %v: expected sizes of at least 0", asked)
			}
			sum += s
		}
		if len(asked) != n || sum != size {
			return nil, fmt.Errorf("split %v: expected %d sizes, one for each output, that add up to %d", asked, n, size)
		}
		return asked, nil
	}
	if node.Has("num_outputs") && node.Int("num_outputs") != n {
		return nil, fmt.Errorf("num_outputs is %d, found %d outputs", node.Int("num_outputs"), n)
	}
	chunk := (size + n - 1) / n
	if size%n != 0 && node.Opset < 18 {
		return nil, fmt.Errorf("dimension of size %d does not split into %d equal parts", size, n)
	}
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = min(chunk, max(size-i*chunk, 0))
	}
	return sizes, nil
}

func splitInfer(c *op.Infer) error {
	x := c.In[0]
	if x.Shape == nil {
		for i := range c.Out {
			c.Set(i, x.DType, nil)
		}
		return nil
	}
	axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	sizes, err := splitDims(c, x.Shape[axis])
	if err != nil {
		return err
	}
	elems, known := content(x)
	at := 0
	for i := range c.Out {
		s := slices.Clone(x.Shape)
		s[axis] = sizes[i]
		c.Set(i, x.DType, s)
		if n, fixed := sizes[i].Int(); known && fixed && len(s) == 1 && at+n <= len(elems) {
			c.SetContent(i, elems[at:at+n])
			at += n
		} else {
			known = false
		}
	}
	return nil
}

// splitDims is splitSizes on what is known.
func splitDims(c *op.Infer, size shape.Dim) ([]shape.Dim, error) {
	asked, known := c.Node.Ints("split"), true
	if f := c.Input(1); f.Present {
		if asked, known = f.Ints(); !known {
			if d, ok := f.Dims(); ok && len(d) == len(c.Out) {
				return d, nil
			}
			return shape.Unknowns(len(c.Out)), nil
		}
	}
	n, fixed := size.Int()
	if fixed {
		sizes, err := splitSizes(c.Node, n, asked)
		return shape.Of(sizes...), err
	}
	if asked != nil {
		if len(asked) != len(c.Out) {
			return nil, fmt.Errorf("split %v: expected %d sizes, one for each output", asked, len(c.Out))
		}
		return shape.Of(asked...), nil
	}
	sizes := shape.Unknowns(len(c.Out))
	if c.Node.Opset < 18 {
		for i := range sizes {
			sizes[i] = size.Div(shape.Const(len(sizes)))
		}
	}
	return sizes, nil
}

func splitRef(c *op.Call) error {
	x := c.In[0]
	axis, err := op.Axis(c.Node.Int("axis"), x.Rank())
	if err != nil {
		return err
	}
	asked := c.Node.Ints("split")
	if c.Input(1) != nil {
		if asked, err = intsOf(c, 1); err != nil {
			return err
		}
	}
	sizes, err := splitSizes(c.Node, x.Shape[axis], asked)
	if err != nil {
		return err
	}
	at, strides := 0, tensor.Strides(x.Shape)
	for i, n := range sizes {
		dims := slices.Clone(x.Shape)
		dims[axis] = n
		c.Output(i, x.DType, dims...).CopyStrided(x, at*strides[axis], strides)
		at += n
	}
	return nil
}

// splitKernel copies each part out.
type splitKernel struct {
	dt    dtype.Type
	moves []move
	dims  [][]int
}

func (k *splitKernel) Run(c *op.Call) error {
	for i, m := range k.moves {
		if c.Wants(i) {
			m.Run(c.Pool, c.Output(i, k.dt, k.dims[i]...).Data, c.In[0].Data)
		}
	}
	return nil
}

func compileSplit(p *op.Prep) (op.Kernel, error) {
	size, ok := byteSize(p.In[0].DType)
	if !ok {
		return nil, nil
	}
	in := p.InShape(0)
	axis, err := op.Axis(p.Node.Int("axis"), len(in))
	if err != nil {
		return nil, err
	}
	k := &splitKernel{dt: p.In[0].DType}
	outer, row, at := tensor.Count(in[:axis]), tensor.Count(in[axis:]), 0
	for i := range p.Out {
		dims := p.OutShape(i)
		if dims == nil {
			return nil, nil // sizes are only known when it runs
		}
		n := tensor.Count(dims[axis:])
		m, err := newMove(size, []int{outer, n}, []int{row, 1}, at, []int{n, 1}, 0)
		if err != nil {
			return nil, err
		}
		k.moves = append(k.moves, m)
		k.dims = append(k.dims, dims)
		at += n
	}
	return k, nil
}

type splitCases struct{}

func (splitCases) Cases() []op.Case {
	return []op.Case{
		{Name: "sizes", In: []*tensor.Tensor{tensor.FromSlice([]int32{1, 2, 3, 4, 5, 6}), tensor.FromSlice([]int64{2, 4})},
			Out: []*tensor.Tensor{tensor.FromSlice([]int32{1, 2}), tensor.FromSlice([]int32{3, 4, 5, 6})}},
		{Name: "uneven", Attrs: map[string]*ir.Attr{"axis": ir.Int(1), "num_outputs": ir.Int(2)}, In: []*tensor.Tensor{tensor.FromSlice([]int32{1, 2, 3, 4, 5, 6}, 2, 3)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int32{1, 2, 4, 5}, 2, 2), tensor.FromSlice([]int32{3, 6}, 2, 1)}},
	}
}

// splitParts: along the outermost axis that is longer than one, the outputs
// follow each other in the input.
func splitParts(n *ir.Node, in, out []op.Fact) ([]int, bool) {
	return consecutive(n.Int("axis"), in[0], out)
}
