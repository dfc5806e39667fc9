package op

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Fact is what is known of a value at one moment: when a model is loaded
// (symbolic dimensions), or when a plan is made for given input shapes.
type Fact struct {
	ir.Type
	Present bool           // false for an absent optional input
	Const   *tensor.Tensor // the contents, if known
	Content []shape.Dim    // elements of a small integer vector or scalar, as far as shape arithmetic knows them
}

// FactOf is what the graph itself says of a value.
func FactOf(v *ir.Value) Fact {
	if v == nil {
		return Fact{}
	}
	return Fact{Type: v.Type, Present: true, Const: v.Const, Content: v.Content}
}

// Rank gives the rank, if known.
func (f Fact) Rank() (int, bool) { return len(f.Shape), f.Shape != nil }

// Ints gives the contents of an integer tensor, if they are known constants.
func (f Fact) Ints() ([]int, bool) {
	if f.Const != nil {
		v, err := f.Const.Ints()
		return v, err == nil
	}
	if f.Content == nil {
		return nil, false
	}
	return shape.Shape(f.Content).Ints()
}

// Dims gives the contents of an integer tensor as dimensions, if known.
func (f Fact) Dims() ([]shape.Dim, bool) {
	if f.Content != nil {
		return f.Content, true
	}
	if v, ok := f.Ints(); ok {
		return shape.Of(v...), true
	}
	return nil, false
}

// Infer is the context of one inference. An operator's Infer reads In and
// fills Out by Set; outputs that it leaves alone stay unknown.
type Infer struct {
	Node *ir.Node
	In   []Fact
	Out  []Fact
	// Subgraph infers the body of If, Loop or Scan with the given facts for its
	// inputs and gives those of its outputs.
	Subgraph func(g *ir.Graph, in []Fact) ([]Fact, error)
}

// Input gives input i's fact; absent ones have Present false.
func (c *Infer) Input(i int) Fact {
	if i < len(c.In) {
		return c.In[i]
	}
	return Fact{}
}

// Set states the type of output i. A nil shape is an unknown rank.
//
//go:noinline
func (c *Infer) Set(i int, dt dtype.Type, s shape.Shape) {
	if i < len(c.Out) {
		c.Out[i] = Fact{Type: ir.Type{DType: dt, Shape: s}, Present: true}
	}
}

// SetContent states the elements of output i, whose type is Set already. Those
// that the type cannot hold wrap around when they are computed, which shape
// arithmetic does not: nothing is said of them.
func (c *Infer) SetContent(i int, content []shape.Dim) {
	if i >= len(c.Out) {
		return
	}
	for _, d := range content {
		if n, ok := d.Int(); ok && !holds(c.Out[i].DType, n) {
			return
		}
	}
	c.Out[i].Content = content
}

// holds reports whether an integer type has the number n.
func holds(dt dtype.Type, n int) bool {
	v, bits := int64(n), dt.Bits()
	switch {
	case dt.IsUnsigned():
		return v >= 0 && v>>min(bits, 63) == 0
	case dt.IsSigned():
		return v>>(bits-1) == v>>63
	}
	return true
}

// Axis resolves an axis in [-rank, rank).
func Axis(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d is outside [%d, %d)", axis, -rank, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

// Axes resolves several axes and refuses duplicates.
func Axes(axes []int, rank int) ([]int, error) {
	out := make([]int, len(axes))
	seen := map[int]bool{}
	for i, a := range axes {
		r, err := Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if seen[r] {
			return nil, fmt.Errorf("axis %d is listed twice", a)
		}
		seen[r] = true
		out[i] = r
	}
	return out, nil
}

// SameAsInput is the inference of operators whose output 0 has input 0's type.
func SameAsInput(c *Infer) error {
	c.Set(0, c.In[0].DType, c.In[0].Shape)
	return nil
}

// BroadcastInputs is the inference of elementwise operators over any number of
// inputs of one type.
func BroadcastInputs(c *Infer) error {
	s, err := BroadcastShapes(c.In)
	if err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

// BroadcastShapes is the common NumPy broadcast of the facts' shapes.
func BroadcastShapes(in []Fact) (shape.Shape, error) {
	s := in[0].Shape
	for _, f := range in[1:] {
		var err error
		if s, err = shape.Broadcast(s, f.Shape); err != nil {
			return nil, err
		}
	}
	return s, nil
}
