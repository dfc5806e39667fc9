package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Operators that choose elements by a condition or a position.
func init() {
	op.Register(&op.Op{
		Name: "NonZero", Versions: []int{9, 13}, Doc: "the coordinates of the elements other than zero, one column each",
		In: op.Ports("X:T"), Out: op.Ports("Y:int64"), Types: op.Types{"T": op.NumBool},
		Infer: func(c *op.Infer) error {
			rank := shape.Unknown()
			if r, ok := c.In[0].Rank(); ok {
				rank = shape.Const(r)
			}
			c.Set(0, dtype.Int64, shape.Shape{rank, shape.Unknown()})
			return nil
		},
		Ref: nonZeroRef, Rows: noRows, Cases: nonZeroCases{},
	})
	op.Register(&op.Op{
		Name: "Compress", Versions: []int{9, 11}, Doc: "the slices along an axis, or elements, whose condition is true",
		In: op.Ports("input:T", "condition:bool"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors}, Attrs: op.Attrs{"axis": op.Opt(ir.KindInt)},
		Infer: compressInfer, Ref: compressRef, Cases: compressCases{},
		Rows: sameAxis(func(n *ir.Node, axis int) bool { return !n.Has("axis") || attrAxis("axis")(n, axis) }),
	})
	op.Register(&op.Op{
		Name: "Trilu", Versions: []int{14}, Doc: "the upper or lower triangle of matrices, zero elsewhere",
		In: op.Ports("input:T", "k:int64?"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors}, Attrs: op.Attrs{"upper": op.Default(ir.Int(1))},
		Infer: triluInfer, Ref: triluRef, Compile: compileTrilu, Cases: triluCases{},
		Rows: sameAxis(func(n *ir.Node, axis int) bool { return axis >= len(n.In[0].Type.Shape)-2 }),
	})
	op.Register(&op.Op{
		Name: "OneHot", Versions: []int{9, 11}, Doc: "a new dimension that is on at the index and off elsewhere",
		In: op.Ports("indices:T1", "depth:T2", "values:T3"), Out: op.Ports("output:T3"),
		Types: op.Types{"T1": op.Numeric, "T2": op.Numeric, "T3": op.AllTensors}, Attrs: op.Attrs{"axis": op.Default(ir.Int(-1))},
		Infer: oneHotInfer, Ref: oneHotRef, Cases: oneHotCases{},
		Rows: moveRows(func(n *ir.Node, axis int) int {
			at, err := op.Axis(n.Int("axis"), len(n.In[0].Type.Shape)+1)
			if err != nil {
				return mixes
			}
			if axis >= at {
				axis++
			}
			return axis
		}),
	})
}

func compressInfer(c *op.Infer) error {
	x := c.In[0]
	if !c.Node.Has("axis") {
		c.Set(0, x.DType, shape.Unknowns(1))
		return nil
	}
	if x.Shape == nil {
		c.Set(0, x.DType, nil)
		return nil
	}
	axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	s := slices.Clone(x.Shape)
	s[axis] = shape.Unknown()
	c.Set(0, x.DType, s)
	return nil
}

func compressRef(c *op.Call) error {
	x := c.In[0]
	dims, axis := []int{x.Len()}, 0
	if c.Node.Has("axis") {
		var err error
		if axis, err = op.Axis(c.Node.Int("axis"), x.Rank()); err != nil {
			return err
		}
		dims = slices.Clone(x.Shape)
	}
	n, inner := dims[axis], tensor.Count(dims[axis+1:])
	conditions := tensor.Of[uint8](c.In[1])
	count := 0
	for i, on := range conditions {
		if on != 0 && i >= n {
			return fmt.Errorf("condition %d is true, expected at most %d conditions, the size of axis %d", i, n, axis)
		}
		count += one(on)
	}
	keep := make([]int, count+1) // one more to write over
	at := 0
	for i, on := range conditions {
		keep[at] = i
		at += one(on)
	}
	keep = keep[:count]
	dims[axis] = len(keep)
	out := c.Output(0, x.DType, dims...)
	if size, whole := byteSize(x.DType); whole && inner == 1 {
		for o := range tensor.Count(dims[:axis]) {
			pick(out.Data[o*len(keep)*size:][:len(keep)*size], x.Data[o*n*size:][:n*size], keep, size)
		}
		return nil
	}
	for o := range tensor.Count(dims[:axis]) {
		for k, i := range keep {
			out.CopyElements((o*len(keep)+k)*inner, x, (o*n+i)*inner, inner)
		}
	}
	return nil
}

// pick writes elements of so many bytes.
func pick(dst, src []byte, at []int, size int) {
	switch size {
	case 1:
		pickOf(dst, src, at)
	case 2:
		pickOf(tensor.View[uint16](dst), tensor.View[uint16](src), at)
	case 4:
		pickOf(tensor.View[uint32](dst), tensor.View[uint32](src), at)
	case 8:
		pickOf(tensor.View[uint64](dst), tensor.View[uint64](src), at)
	default:
		for k, i := range at {
			copy(dst[k*size:(k+1)*size], src[i*size:])
		}
	}
}

func pickOf[T any](dst, src []T, at []int) {
	dst = dst[:len(at)]
	for k, i := range at {
		dst[k] = src[i]
	}
}

func triluInfer(c *op.Infer) error {
	if r, ok := c.In[0].Rank(); ok && r < 2 {
		return fmt.Errorf("input has shape %v, expected at least 2 dimensions", c.In[0].Shape)
	}
	return op.SameAsInput(c)
}

func triluRef(c *op.Call) error {
	x := c.In[0]
	if x.Rank() < 2 {
		return fmt.Errorf("input has shape %v, expected at least 2 dimensions", x.Shape)
	}
	k := 0
	if c.Input(1) != nil {
		var err error
		if k, err = oneInt(c, 1); err != nil {
			return err
		}
	}
	h, w := x.Shape[x.Rank()-2], x.Shape[x.Rank()-1]
	out := c.Output(0, x.DType, x.Shape...)
	out.Fill(tensor.New(x.DType, 1), 0)
	for row := range x.Len() / max(w, 1) {
		from, to := kept(row%h, w, k, c.Node.Bool("upper"))
		out.CopyElements(row*w+from, x, row*w+from, to-from)
	}
	return nil
}

func oneHotInfer(c *op.Infer) error {
	idx := c.In[0].Shape
	c.Set(0, c.In[2].DType, nil)
	if idx == nil {
		return nil
	}
	axis, err := op.Axis(c.Node.Int("axis"), len(idx)+1)
	if err != nil {
		return err
	}
	depth := shape.Unknown()
	if f := c.In[1]; f.Const != nil && f.Const.Len() == 1 {
		depth = shape.Const(int(num.Floats(f.Const)[0]))
	} else if d, ok := f.Dims(); ok && len(d) == 1 {
		depth = d[0]
	}
	return setSized(c, c.In[2].DType, slices.Insert(slices.Clone(idx), axis, depth))
}

func oneHotRef(c *op.Call) error {
	idx, values := c.In[0], c.In[2]
	d, err := num.Scalar(c.In[1])
	if err != nil {
		return fmt.Errorf("depth: %w", err)
	}
	depth := int(d)
	axis, err := op.Axis(c.Node.Int("axis"), idx.Rank()+1)
	if err != nil {
		return err
	}
	dims := slices.Insert(slices.Clone(idx.Shape), axis, depth)
	switch {
	case values.Len() != 2:
		return fmt.Errorf("values: expected two elements, off and on, found %s", values)
	case depth < 0:
		return fmt.Errorf("depth is %d, expected at least 0", depth)
	}
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	out := c.Output(0, values.DType, dims...)
	out.Fill(values, 0)
	inner := tensor.Count(idx.Shape[axis:])
	for i, v := range num.Int64s(idx) {
		at, err := element(int(v), depth)
		if err != nil {
			continue // out of range: all off
		}
		out.CopyElements((i/inner*depth+at)*inner+i%inner, values, 1, 1)
	}
	return nil
}
