package serve

import (
	"slices"

	"github.com/salver-ml/salver/internal/tensor"
)

// reshape turns shapes of one pattern into another: the dimensions of any size
// (-1) of from become those of to, in order.
type reshape struct{ from, to []int }

// apply reshapes t without a copy; false if its shape is not of the pattern.
func (r *reshape) apply(t *tensor.Tensor) (*tensor.Tensor, bool) {
	if !shapeFits(r.from, t.Shape) {
		return nil, false
	}
	shape := slices.Clone(r.to)
	next := 0
	for i, d := range t.Shape {
		if r.from[i] != -1 {
			continue
		}
		for next < len(shape) && shape[next] != -1 {
			next++
		}
		if next == len(shape) {
			return nil, false
		}
		shape[next] = d
		next++
	}
	return t.Reshape(shape...), true
}

// count is a shape's number of elements as (product of the fixed dimensions, number of the others).
func count(shape []int) [2]int {
	c := [2]int{1, 0}
	for _, d := range shape {
		if d < 0 {
			c[1]++
		} else {
			c[0] *= d
		}
	}
	return c
}
