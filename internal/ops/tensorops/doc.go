// Package tensorops registers the operators that move, select, rearrange and
// make the elements of tensors, and those that compute with shapes.
//
// Data movement works on elements of any type: the references copy whole
// elements (tensor.CopyStrided), the fast kernels blocks of bytes.
package tensorops

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// maxContent bounds the vectors whose elements shape arithmetic follows.
const maxContent = 64

// content gives the elements of a small integer or bool vector or scalar.
func content(f op.Fact) ([]shape.Dim, bool) {
	if f.Const != nil && f.DType == dtype.Bool && f.Const.Len() <= maxContent {
		out := make([]shape.Dim, f.Const.Len())
		for i, b := range tensor.Of[bool](f.Const) {
			if b {
				out[i] = shape.Const(1)
			}
		}
		return out, true
	}
	if f.Const != nil && f.Const.Len() > maxContent {
		return nil, false
	}
	return f.Dims()
}

// keepContent states that output 0 has input 0's elements in the same order.
func keepContent(c *op.Infer) {
	d, ok := content(c.In[0])
	if s := c.Out[0].Shape; ok && s != nil && len(s) <= 1 {
		c.SetContent(0, d)
	}
}

// setSized states output 0 of an operator whose sizes come from data, and
// refuses those that are negative or too large.
func setSized(c *op.Infer, dt dtype.Type, s shape.Shape) error {
	c.Set(0, dt, s)
	if dims, fixed := s.Ints(); fixed {
		return tensor.CheckSize(dims)
	}
	return nil
}

// maxRank bounds the ranks that a declared length of a vector can ask for before
// its contents are seen.
const maxRank = 1 << 10

// vectorLen is the length of a vector input, e.g. the rank that a shape input asks for.
func vectorLen(f op.Fact) (int, bool) {
	if len(f.Shape) != 1 {
		return 0, false
	}
	n, ok := f.Shape[0].Int()
	return n, ok && n <= maxRank
}

// intsOf reads optional input i as integers; absent gives nil.
func intsOf(c *op.Call, i int) ([]int, error) {
	t := c.Input(i)
	if t == nil {
		return nil, nil
	}
	v, err := t.Ints()
	if err != nil {
		return nil, fmt.Errorf("input %d: %w", i, err)
	}
	return v, nil
}

// oneInt reads input i, which holds one integer.
func oneInt(c *op.Call, i int) (int, error) {
	v, err := intsOf(c, i)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("input %d: expected one element, found %v", i, c.Input(i))
	}
	return v[0], nil
}

// copyOut makes output 0 a copy of input 0 (x) under another shape of the same size, or
// that itself.
func copyOut(c *op.Call, x *tensor.Tensor, dims []int) error {
	if c.MayAlias {
		c.Set(0, x.Reshape(dims...))
		return nil
	}
	out := c.Output(0, x.DType, dims...)
	out.CopyElements(0, x, 0, x.Len())
	return nil
}
