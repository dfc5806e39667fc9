package num

import (
	"fmt"

	"github.com/salver-ml/salver/internal/tensor"
)

// BroadcastShape is the NumPy broadcast of shapes.
func BroadcastShape(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]int, rank)
	for i := range out {
		out[i] = 1
	}
	for _, s := range shapes {
		for i, d := range s {
			j := i + rank - len(s)
			switch {
			case out[j] == d || d == 1:
			case out[j] == 1:
				out[j] = d
			default:
				return nil, fmt.Errorf("shapes %v do not broadcast: dimension %d is %d against %d", shapes, j, out[j], d)
			}
		}
	}
	return out, nil
}

// BroadcastStrides are the strides of a tensor of shape in read as shape out:
// 0 along the dimensions in which it is repeated.
func BroadcastStrides(in, out []int) []int {
	own := tensor.Strides(in)
	s := make([]int, len(out))
	for i, d := range in {
		if d != 1 {
			s[i+len(out)-len(in)] = own[i]
		}
	}
	return s
}

// Index lists, for each element of a tensor of the given shape in row-major
// order, the sum of its coordinates times strides.
func Index(shape, strides []int) []int {
	out := make([]int, 0, tensor.Count(shape))
	at := make([]int, len(shape))
	offset := 0
	for range cap(out) {
		out = append(out, offset)
		for d := len(shape) - 1; d >= 0; d-- {
			at[d]++
			offset += strides[d]
			if at[d] < shape[d] {
				break
			}
			offset -= at[d] * strides[d]
			at[d] = 0
		}
	}
	return out
}

// Broadcast repeats the elements v of a tensor of shape in to shape out.
func Broadcast[T any](v []T, in, out []int) []T {
	if len(v) == tensor.Count(out) {
		return v
	}
	r := make([]T, 0, tensor.Count(out))
	for _, i := range Index(out, BroadcastStrides(in, out)) {
		r = append(r, v[i])
	}
	return r
}
