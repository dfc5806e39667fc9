package reduce

import (
	"fmt"
	"slices"
)

// layout is a tensor as outer × k × inner, with k reduced. Where the axes stand
// otherwise, perm brings them to that order first.
type layout struct {
	outer, k, inner int
	ordered         bool  // one element after the other, not by lanes: the last axis is kept
	perm            []int // of the axes; nil where the tensor is used as it is
	shape           []int // of the result, without the reduced axes
}

// newLayout decides by which axes are reduced whether that is ordered, and never by
// their sizes, so that the order does not depend on a batch. With rowsOnly it is not.
func newLayout(shape, axes []int, rowsOnly bool) (layout, error) {
	reduced := make([]bool, len(shape))
	last := -1 // reduced axis
	for _, a := range axes {
		if a < -len(shape) || a >= len(shape) {
			return layout{}, fmt.Errorf("axis %d of a tensor of rank %d", a, len(shape))
		}
		if a < 0 {
			a += len(shape)
		}
		if reduced[a] {
			return layout{}, fmt.Errorf("axis %d is named twice", a)
		}
		reduced[a], last = true, max(last, a)
	}
	l := layout{outer: 1, k: 1, inner: 1, shape: []int{}, ordered: last >= 0 && last < len(shape)-1 && !rowsOnly}
	if !l.ordered {
		last = len(shape)
	}
	var front, middle, back []int
	for i, d := range shape {
		switch {
		case reduced[i]:
			l.k *= d
			middle = append(middle, i)
			continue
		case i < last:
			l.outer *= d
			front = append(front, i)
		default:
			l.inner *= d
			back = append(back, i)
		}
		l.shape = append(l.shape, d)
	}
	perm := slices.Concat(front, middle, back)
	at := -1 // of axes with more than one element, those in order stay where they are
	for _, i := range perm {
		if shape[i] == 1 {
			continue
		}
		if i < at {
			l.perm = perm
			return l, nil
		}
		at = i
	}
	return l, nil
}

// keepDims is the result's shape with 1 for each reduced axis.
func keepDims(shape, axes []int) []int {
	out := slices.Clone(shape)
	for _, a := range axes {
		if a < 0 {
			a += len(shape)
		}
		out[a] = 1
	}
	return out
}
