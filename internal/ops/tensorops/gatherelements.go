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
	op.Register(&op.Op{
		Name: "GatherElements", Versions: []int{11, 13}, Doc: "one element for each index, which replaces the coordinate of axis",
		In: op.Ports("data:T", "indices:Tind"), Out: op.Ports("output:T"),
		Types: op.Types{"T": op.AllTensors, "Tind": op.Indices}, Attrs: op.Attrs{"axis": op.Default(ir.Int(0))},
		Infer: gatherElementsInfer, Ref: gatherElementsRef, Compile: compileGatherElements, Rows: gatherElementsRows,
		Cases: gatherElementsCases{},
	})
	nd := func(attrs op.Attrs, cases op.Cases, versions ...int) {
		op.Register(&op.Op{
			Name: "GatherND", Versions: versions, Doc: "slices chosen by index tuples",
			In: op.Ports("data:T", "indices:int64"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors}, Attrs: attrs,
			Infer: gatherNDInfer, Ref: gatherNDRef, Compile: compileGatherND, Rows: gatherNDRows, Cases: cases,
		})
	}
	nd(nil, nil, 11)
	nd(op.Attrs{"batch_dims": op.Default(ir.Int(0))}, gatherNDCases{}, 12, 13)
}

type gatherElementsCases struct{}

func (gatherElementsCases) Cases() []op.Case {
	some := tensor.New(dtype.Int32, 3, 50, 150)
	for i := range tensor.Of[int32](some) {
		tensor.Of[int32](some)[i] = int32(i*i%14 - 7)
	}
	return []op.Case{{Name: "rows", Attrs: map[string]*ir.Attr{"axis": ir.Int(1)},
		In:  []*tensor.Tensor{tensor.FromSlice([]int8{1, 2, 3, 4}, 2, 2), tensor.FromSlice([]int64{0, 0, 1, -2}, 2, 2)},
		Out: []*tensor.Tensor{tensor.FromSlice([]int8{1, 1, 4, 3}, 2, 2)}},
		{Name: "columns", Attrs: map[string]*ir.Attr{"axis": ir.Int(1)}, In: []*tensor.Tensor{sequence(3, 7, 150), some}},
		{Name: "lines", Attrs: map[string]*ir.Attr{"axis": ir.Int(2)}, In: []*tensor.Tensor{sequence(3, 50, 9), some.Reshape(3, 50, 150)}},
		{Name: "fewer rows", In: []*tensor.Tensor{sequence(7, 60, 150), some.Reshape(3, 50, 150)}},
	}
}

func gatherElementsInfer(c *op.Infer) error {
	x, idx := c.In[0].Shape, c.In[1].Shape
	c.Set(0, c.In[0].DType, idx)
	if x == nil || idx == nil {
		return nil
	}
	if len(x) != len(idx) {
		return fmt.Errorf("indices have shape %v, expected %d dimensions as the data", idx, len(x))
	}
	_, err := op.Axis(c.Node.Int("axis"), len(x))
	return err
}

func gatherElementsRows(n *ir.Node, in []int) ([]int, bool) {
	if n.In[0].Type.Shape == nil || in[0] != in[1] || in[0] != op.NoRows && attrAxis("axis")(n, in[0]) {
		return nil, false
	}
	return every(n, in[0]), true
}

// elementTargets gives, for each index of GatherElements and ScatterElements,
// the offset of the element of a tensor of shape dims that it names.
func elementTargets(dims []int, idx *tensor.Tensor, axis int) ([]int, error) {
	if len(idx.Shape) != len(dims) {
		return nil, fmt.Errorf("indices have shape %v, expected %d dimensions as the data", idx.Shape, len(dims))
	}
	for d, n := range idx.Shape {
		if d != axis && n > dims[d] {
			return nil, fmt.Errorf("indices have shape %v, expected at most the data's %v outside axis %d", idx.Shape, dims, axis)
		}
	}
	v, err := idx.Ints()
	if err != nil {
		return nil, err
	}
	strides := tensor.Strides(dims)
	out := make([]int, len(v))
	at := make([]int, len(dims))
	for i, k := range v {
		if k, err = element(k, dims[axis]); err != nil {
			return nil, err
		}
		out[i] = k * strides[axis]
		for d, a := range at {
			if d != axis {
				out[i] += a * strides[d]
			}
		}
		advance(at, idx.Shape)
	}
	return out, nil
}

func gatherElementsRef(c *op.Call) error {
	x, idx := c.In[0], c.In[1]
	axis, err := op.Axis(c.Node.Int("axis"), x.Rank())
	if err != nil {
		return err
	}
	from, err := elementTargets(x.Shape, idx, axis)
	if err != nil {
		return err
	}
	out := c.Output(0, x.DType, idx.Shape...)
	for i, k := range from {
		out.CopyElements(i, x, k, 1)
	}
	return nil
}

func gatherNDInfer(c *op.Infer) error {
	x, idx := c.In[0].Shape, c.In[1].Shape
	c.Set(0, c.In[0].DType, nil)
	if x == nil || len(idx) == 0 {
		return nil
	}
	depth, fixed := idx[len(idx)-1].Int()
	if !fixed {
		return nil
	}
	batch := c.Node.Int("batch_dims")
	if err := checkND(len(x), len(idx), depth, batch); err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, shape.Join(idx[:len(idx)-1], x[batch+depth:]))
	return nil
}

func checkND(rank, indexRank, depth, batch int) error {
	if batch < 0 || depth < 0 || batch+depth > rank || batch >= indexRank {
		return fmt.Errorf("index tuples of %d after %d batch dimensions: expected at most the %d dimensions of the data (indices have %d)", depth, batch, rank, indexRank)
	}
	return nil
}

// gatherNDRows keeps batch dimensions, and carries the rows of the indices
// where the data is the same for all.
func gatherNDRows(n *ir.Node, in []int) ([]int, bool) {
	idx := n.In[1].Type.Shape
	switch {
	case idx == nil:
		return nil, false
	case in[0] == op.NoRows && in[1] == op.NoRows,
		in[0] == in[1] && in[0] < n.Int("batch_dims"),
		in[0] == op.NoRows && in[1] < len(idx)-1 && in[1] >= n.Int("batch_dims"):
		return every(n, in[1]), true
	}
	return nil, false
}

// slicesND resolves index tuples: the offset of each slice in a tensor of shape
// dims, and how many elements a slice has.
func slicesND(dims []int, idx *tensor.Tensor, batch int) (offsets []int, size int, err error) {
	if idx.Rank() == 0 {
		return nil, 0, fmt.Errorf("indices are a scalar, expected at least one dimension")
	}
	depth := idx.Shape[idx.Rank()-1]
	if err := checkND(len(dims), idx.Rank(), depth, batch); err != nil {
		return nil, 0, err
	}
	for d := range batch {
		if dims[d] != idx.Shape[d] {
			return nil, 0, fmt.Errorf("batch dimension %d: expected the same size, found %d in the data and %d in the indices", d, dims[d], idx.Shape[d])
		}
	}
	v, err := idx.Ints()
	if err != nil {
		return nil, 0, err
	}
	strides := tensor.Strides(dims)
	tuples := tensor.Count(idx.Shape[:idx.Rank()-1])
	perBatch := max(tensor.Count(idx.Shape[batch:idx.Rank()-1]), 1)
	block := tensor.Count(dims[batch:])
	offsets = make([]int, tuples)
	for i := range offsets {
		offsets[i] = i / perBatch * block
		for k := range depth {
			at, err := element(v[i*depth+k], dims[batch+k])
			if err != nil {
				return nil, 0, err
			}
			offsets[i] += at * strides[batch+k]
		}
	}
	return offsets, tensor.Count(dims[batch+depth:]), nil
}

func gatherNDRef(c *op.Call) error {
	x, idx := c.In[0], c.In[1]
	batch := c.Node.Int("batch_dims")
	offsets, size, err := slicesND(x.Shape, idx, batch)
	if err != nil {
		return err
	}
	last := idx.Rank() - 1
	out := c.Output(0, x.DType, slices.Concat(idx.Shape[:last], x.Shape[batch+idx.Shape[last]:])...)
	for i, from := range offsets {
		out.CopyElements(i*size, x, from, size)
	}
	return nil
}
