package elemwise

import (
	"fmt"
	"slices"
)

// MaxInputs is how many inputs broadcast together at most.
const MaxInputs = 8

const (
	maxInputs = MaxInputs
	maxDims   = 16 // after collapsing
)

// Broadcast is the common shape of several inputs under NumPy's rules, with
// neighbouring dimensions merged where every input allows it. The last
// dimension is a row, along which each input has stride 1 or 0.
type Broadcast struct {
	shape   []int // of the result, not collapsed
	dims    []int
	strides [][maxInputs]int // per collapsed dimension, in elements
	n       int
	inputs  int
	need    [maxInputs]int // elements of each input
}

// NewBroadcast aligns the shapes of up to MaxInputs inputs at their last dimension.
func NewBroadcast(shapes ...[]int) (*Broadcast, error) {
	if len(shapes) < 1 || len(shapes) > maxInputs {
		return nil, fmt.Errorf("broadcast: want 1 to %d shapes, found %d", maxInputs, len(shapes))
	}
	shape, err := commonShape(shapes)
	if err != nil {
		return nil, err
	}
	b := &Broadcast{shape: shape, n: elements(shape), inputs: len(shapes)}
	for k, s := range shapes {
		b.need[k] = elements(s)
	}
	b.collapse(inputStrides(shape, shapes))
	if len(b.dims) > maxDims {
		return nil, fmt.Errorf("broadcast: shapes %v need %d separate dimensions, %d are supported", shapes, len(b.dims), maxDims)
	}
	return b, nil
}

// Shape is the result's shape.
func (b *Broadcast) Shape() []int { return b.shape }

// Len is the result's number of elements.
func (b *Broadcast) Len() int { return b.n }

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func commonShape(shapes [][]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := slices.Repeat([]int{1}, rank)
	for _, s := range shapes {
		for i, d := range s {
			o := &out[rank-len(s)+i]
			switch {
			case d < 0:
				return nil, fmt.Errorf("broadcast: shape %v has a negative dimension", s)
			case *o == 1:
				*o = d
			case d != 1 && d != *o:
				return nil, fmt.Errorf("broadcast: shapes %v do not match: dimension %d from the end is %d and %d", shapes, len(s)-i, *o, d)
			}
		}
	}
	return out, nil
}

// inputStrides gives each input's stride per result dimension, 0 where it repeats.
func inputStrides(shape []int, shapes [][]int) [][maxInputs]int {
	out := make([][maxInputs]int, len(shape))
	for k, s := range shapes {
		step := 1
		for i := len(s) - 1; i >= 0; i-- {
			if s[i] != 1 {
				out[len(shape)-len(s)+i][k] = step
			}
			step *= s[i]
		}
	}
	return out
}

// collapse merges dimension i with i+1 where every input's stride in i is what
// a longer row would have.
func (b *Broadcast) collapse(strides [][maxInputs]int) {
	for i, d := range b.shape {
		if d == 1 {
			continue
		}
		if m := len(b.dims); m > 0 {
			whole := true
			for k := range b.inputs {
				whole = whole && b.strides[m-1][k] == strides[i][k]*d
			}
			if whole {
				b.dims[m-1] *= d
				b.strides[m-1] = strides[i]
				continue
			}
		}
		b.dims = append(b.dims, d)
		b.strides = append(b.strides, strides[i])
	}
	if len(b.dims) == 0 {
		b.dims, b.strides = []int{1}, [][maxInputs]int{{}}
	}
}

// row is the length of a row, and each input's stride along it.
func (b *Broadcast) row() (n int, strides [maxInputs]int) {
	m := len(b.dims) - 1
	return b.dims[m], b.strides[m]
}

// cursor is a position in the result and the inputs: whole rows, and the
// element inside the row.
type cursor struct {
	idx [maxDims]int
	off [maxInputs]int // of the row's first element
	in  int
}

func (b *Broadcast) seek(pos int) (c cursor) {
	last := len(b.dims) - 1
	c.in = pos % b.dims[last]
	pos /= b.dims[last]
	for i := last - 1; i >= 0; i-- {
		c.idx[i] = pos % b.dims[i]
		pos /= b.dims[i]
		for k := range b.inputs {
			c.off[k] += c.idx[i] * b.strides[i][k]
		}
	}
	return c
}

// next moves to the start of the next row.
func (b *Broadcast) next(c *cursor) {
	c.in = 0
	for i := len(b.dims) - 2; i >= 0; i-- {
		c.idx[i]++
		if c.idx[i] < b.dims[i] {
			for k := range b.inputs {
				c.off[k] += b.strides[i][k]
			}
			return
		}
		c.idx[i] = 0
		for k := range b.inputs {
			c.off[k] -= (b.dims[i] - 1) * b.strides[i][k]
		}
	}
}
