package samples

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/shape"
)

// part says which part of an array is one sample's.
type part struct {
	samples int   // how many it holds; 0: it belongs to all
	step    int   // rows of the first dimension that one sample has
	shape   []int // of one sample
}

// fits reports whether an array of the given shape is one of s.
func fits(s shape.Shape, dims []int) bool {
	return s == nil || s.Compatible(shape.Of(dims...))
}

// partOf finds how an array of the given shape is cut into samples of input v.
// One that has a dimension more than the input holds a sample in each row; one
// that lacks the dimension of a batch is one sample; else the first dimension is
// cut into batches of the model's size, or of one row where that is open.
func partOf(g *ir.Graph, v *ir.Value, dims []int) (part, error) {
	want := v.Type.Shape
	if slices.Contains(dims, 0) {
		return part{}, fmt.Errorf("expected %s, found the shape %v, which holds nothing", v.Type, dims)
	}
	if want == nil {
		return part{shape: dims}, nil
	}
	rank := len(want)
	switch {
	case len(dims) == rank+1 && fits(want, dims[1:]):
		return part{dims[0], 1, dims[1:]}, nil
	case len(dims) == rank && rank > 0 && fits(want[1:], dims[1:]):
		return cut(g, v, dims)
	case len(dims) == rank && fits(want, dims):
		return part{shape: dims}, nil
	case len(dims) == rank-1 && fits(want[1:], dims) && fits(want[:1], []int{1}):
		return part{shape: slices.Insert(slices.Clone(dims), 0, 1)}, nil
	}
	return part{}, fmt.Errorf("expected %s, or that with more rows for several samples; found the shape %v", v.Type, dims)
}

// cut divides the first dimension, all others fit.
func cut(g *ir.Graph, v *ir.Value, dims []int) (part, error) {
	size, known := v.Type.Shape[0].Int()
	switch {
	case !known && !isBatch(g, v) || known && dims[0] == size:
		return part{shape: dims}, nil
	case !known:
		size = 1
	case size == 0 || dims[0]%size != 0:
		return part{}, fmt.Errorf("expected %s, or a multiple of its %d rows; found the shape %v", v.Type, size, dims)
	}
	one := slices.Clone(dims)
	one[0] = size
	return part{dims[0] / size, size, one}, nil
}

// isBatch reports whether the open first dimension of an input counts samples.
// Where it is the only dimension of every input that begins with it, it is the
// length of a signal.
func isBatch(g *ir.Graph, v *ir.Value) bool {
	return slices.ContainsFunc(g.Inputs, func(u *ir.Value) bool {
		return len(u.Type.Shape) >= 2 && u.Type.Shape[0].Equal(v.Type.Shape[0])
	})
}

// together gives the number of samples that several arrays hold. Those with one
// sample may go with any number.
func together(names []string, parts []part) (int, error) {
	n, first := 0, ""
	for i, p := range parts {
		switch {
		case p.samples == 0:
		case first == "":
			n, first = p.samples, names[i]
		case p.samples != n:
			return 0, fmt.Errorf("%s holds %d samples, %s holds %d: expected the same number", first, n, names[i], p.samples)
		}
	}
	if first == "" {
		return 1, nil
	}
	return n, nil
}
