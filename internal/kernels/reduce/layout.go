package reduce

import (
	"fmt"
	"slices"
)

// layout is a tensor as outer × k × inner, with k reduced. Where the reduced
// axes are apart, perm brings them to the end first.
type layout struct {
	outer, k, inner int
	perm            []int // of the axes; nil where the tensor is used as it is
	shape           []int // of the result, without the reduced axes
}

// minInner is the least number of columns for which reducing rows of columns
// beats a transposition.
const minInner = 8

func newLayout(shape, axes []int, rowsOnly bool) (layout, error) {
	reduced := make([]bool, len(shape))
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
		reduced[a] = true
	}
	l := layout{outer: 1, k: 1, inner: 1, shape: []int{}}
	kept := 1
	for i, d := range shape {
		if reduced[i] {
			l.k *= d
		} else {
			kept *= d
			l.shape = append(l.shape, d)
		}
	}
	stage, simple := 0, true // 0: outer, 1: reduced, 2: inner
	for i, d := range shape {
		switch {
		case d == 1:
		case reduced[i]:
			simple = simple && stage < 2
			stage = 1
		case stage == 0:
			l.outer *= d
		default:
			stage = 2
			l.inner *= d
		}
	}
	if simple && (l.inner == 1 || l.inner >= minInner && !rowsOnly) {
		return l, nil
	}
	l.outer, l.inner = kept, 1
	for i := range shape {
		if !reduced[i] {
			l.perm = append(l.perm, i)
		}
	}
	for i := range shape {
		if reduced[i] {
			l.perm = append(l.perm, i)
		}
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
