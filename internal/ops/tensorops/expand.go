package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Expand", Versions: []int{8, 13}, Doc: "repeats dimensions of size 1",
		In: op.Ports("input:T", "shape:int64"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors},
		Infer: expandInfer, Ref: expandRef, Compile: compileExpand,
		Rows: moveRows(func(n *ir.Node, axis int) int {
			in, out := n.In[0].Type.Shape, n.Out[0].Type.Shape
			to := axis + len(out) - len(in)
			if out == nil || to < 0 || !in[axis].Equal(out[to]) {
				return mixes
			}
			return to
		}),
		Cases: expandCases{},
	})
	op.Register(&op.Op{
		Name: "Tile", Versions: []int{6, 13}, Doc: "repeats the whole tensor along each dimension",
		In: op.Ports("input:T", "repeats:int64"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors},
		Infer: tileInfer, Ref: tileRef, Compile: compileTile, Rows: sameAxis(changesSize),
		Cases: tileCases{},
	})
}

// checkDims refuses sizes that are known to be negative or too large.
func checkDims(dims []shape.Dim) error {
	for _, d := range dims {
		if n, fixed := d.Int(); fixed && (n < 0 || n > tensor.MaxElements) {
			return fmt.Errorf("shape %v: expected sizes from 0 to %d", shape.Shape(dims), tensor.MaxElements)
		}
	}
	return nil
}

func expandInfer(c *op.Infer) error {
	x := c.In[0]
	dims, ok := c.In[1].Dims()
	if !ok {
		var s shape.Shape
		if n, ok := vectorLen(c.In[1]); ok && x.Shape != nil {
			s = shape.Unknowns(max(n, len(x.Shape)))
		}
		c.Set(0, x.DType, s)
		return nil
	}
	if err := checkDims(dims); err != nil {
		return err
	}
	s, err := shape.Broadcast(x.Shape, append(shape.Shape{}, dims...))
	if err != nil {
		return err
	}
	if err := setSized(c, x.DType, s); err != nil {
		return err
	}
	elems, ok := content(x)
	if n, fixed := s.Count().Int(); ok && len(s) == 1 && fixed && n <= maxContent && len(elems) == 1 {
		c.SetContent(0, slices.Repeat(elems, n))
	} else if ok && len(s) <= 1 && s.Equal(x.Shape) {
		c.SetContent(0, elems)
	}
	return nil
}

func expandRef(c *op.Call) error {
	x := c.In[0]
	want, err := sizesOf(c, 1)
	if err != nil {
		return err
	}
	dims, err := num.BroadcastShape(x.Shape, want)
	if err != nil {
		return err
	}
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	c.Output(0, x.DType, dims...).CopyStrided(x, 0, num.BroadcastStrides(x.Shape, dims))
	return nil
}

func compileExpand(p *op.Prep) (op.Kernel, error) {
	dims := p.OutShape(0)
	if _, ok := byteSize(p.In[0].DType); !ok || dims == nil {
		return nil, nil
	}
	return newMoveKernel(p.In[0].DType, dims, num.BroadcastStrides(p.InShape(0), dims), 0)
}

func tileInfer(c *op.Infer) error {
	x := c.In[0]
	repeats, ok := c.In[1].Dims()
	if x.Shape == nil || !ok {
		var s shape.Shape
		if n, ok := vectorLen(c.In[1]); ok {
			s = shape.Unknowns(n)
		}
		c.Set(0, x.DType, s)
		return nil
	}
	if err := checkDims(repeats); err != nil {
		return err
	}
	if len(repeats) != len(x.Shape) {
		return fmt.Errorf("repeats %v: expected %d numbers, one for each dimension of the input", shape.Shape(repeats), len(x.Shape))
	}
	s := make(shape.Shape, len(repeats))
	for i, r := range repeats {
		s[i] = x.Shape[i].Mul(r)
	}
	if err := setSized(c, x.DType, s); err != nil {
		return err
	}
	elems, ok := content(x)
	if n, fixed := s.Count().Int(); ok && len(s) == 1 && fixed && n <= maxContent && len(elems) > 0 {
		c.SetContent(0, slices.Repeat(elems, n/len(elems)))
	}
	return nil
}

// tileLayout views the output as one pair of dimensions, repetition and
// element, for each of the input.
func tileLayout(in, repeats []int) (pairs, strides []int) {
	for i, s := range tensor.Strides(in) {
		pairs = append(pairs, repeats[i], in[i])
		strides = append(strides, 0, s)
	}
	return pairs, strides
}

func tileRef(c *op.Call) error {
	x := c.In[0]
	repeats, err := sizesOf(c, 1)
	if err != nil {
		return err
	}
	if len(repeats) != x.Rank() {
		return fmt.Errorf("repeats %v: expected %d numbers, one for each dimension of the input", repeats, x.Rank())
	}
	dims := make([]int, len(repeats))
	for i, r := range repeats {
		dims[i] = x.Shape[i] * r
	}
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	pairs, strides := tileLayout(x.Shape, repeats)
	c.Output(0, x.DType, dims...).Reshape(pairs...).CopyStrided(x, 0, strides)
	return nil
}

// compileTile makes a moveKernel whose output has fewer dimensions than the copy.
func compileTile(p *op.Prep) (op.Kernel, error) {
	size, ok := byteSize(p.In[0].DType)
	repeats, known := p.In[1].Ints()
	if !ok || !known {
		return nil, nil
	}
	pairs, strides := tileLayout(p.InShape(0), repeats)
	m, err := newMove(size, pairs, strides, 0, tensor.Strides(pairs), 0)
	if err != nil {
		return nil, err
	}
	return &moveKernel{m, p.In[0].DType, p.OutShape(0)}, nil
}

type expandCases struct{}

func (expandCases) Cases() []op.Case {
	return []op.Case{
		{Name: "both ways", In: []*tensor.Tensor{tensor.FromSlice([]int32{1, 2}, 2, 1), tensor.FromSlice([]int64{2, 1, 3})},
			Out: []*tensor.Tensor{tensor.FromSlice([]int32{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2}, 2, 2, 3)}},
		{Name: "smaller", In: []*tensor.Tensor{sequence(3, 4), tensor.FromSlice([]int64{1})}, Out: []*tensor.Tensor{sequence(3, 4)}},
		{Name: "planes", In: []*tensor.Tensor{sequence(2, 1, 9, 1), tensor.FromSlice([]int64{2, 5, 9, 33})}},
		{Name: "short rows", In: []*tensor.Tensor{sequence(2, 1, 3), tensor.FromSlice([]int64{2, 2100, 3})}},
	}
}

type tileCases struct{}

func (tileCases) Cases() []op.Case {
	return []op.Case{
		{Name: "matrix", In: []*tensor.Tensor{tensor.FromSlice([]int8{0, 1, 2, 3}, 2, 2), tensor.FromSlice([]int64{1, 2})},
			Out: []*tensor.Tensor{tensor.FromSlice([]int8{0, 1, 0, 1, 2, 3, 2, 3}, 2, 4)}},
		{Name: "planes", In: []*tensor.Tensor{sequence(2, 3, 5), tensor.FromSlice([]int64{2, 1, 3})}},
		{Name: "none", In: []*tensor.Tensor{sequence(2, 3), tensor.FromSlice([]int64{0, 1})}, Out: []*tensor.Tensor{sequence(0, 3)}},
	}
}
