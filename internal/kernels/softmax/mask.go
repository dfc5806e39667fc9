package softmax

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/elemwise"
)

// maskPlan finds the row of the mask that belongs to a row of the tensor.
type maskPlan struct {
	scale   float32
	none    bool  // no mask
	one     bool  // one element per row
	dims    []int // of the tensor, without the last
	strides []int // of the mask along them
}

func newMaskPlan(shape, mask []int, scale float32) (*maskPlan, error) {
	m := &maskPlan{scale: scale, none: mask == nil, dims: shape[:len(shape)-1], strides: make([]int, len(shape)-1)}
	if len(mask) > len(shape) {
		return nil, fmt.Errorf("softmax: mask %v has more dimensions than the scores %v", mask, shape)
	}
	step := 1
	for i := len(mask) - 1; i >= 0; i-- {
		at := len(shape) - len(mask) + i
		if mask[i] != 1 && mask[i] != shape[at] {
			return nil, fmt.Errorf("softmax: mask %v does not broadcast to the scores %v", mask, shape)
		}
		if at < len(m.dims) && mask[i] != 1 {
			m.strides[at] = step
		}
		step *= mask[i]
	}
	m.one = len(mask) == 0 || mask[len(mask)-1] == 1 && shape[len(shape)-1] != 1
	return m, nil
}

// apply computes row u of src·scale + mask.
func (m *maskPlan) apply(dst, src, mask []float32, u int) {
	if m.none {
		p := elemwise.Params{A: m.scale}
		elemwise.Float32(elemwise.Affine)(dst, src, p)
		return
	}
	at := 0
	for i := len(m.dims) - 1; i >= 0; i-- {
		at += u % m.dims[i] * m.strides[i]
		u /= m.dims[i]
	}
	if m.one {
		p := elemwise.Params{A: m.scale, B: mask[at]}
		elemwise.Float32(elemwise.Affine)(dst, src, p)
		return
	}
	kernels().masked(dst, src, mask[at:at+len(dst)], m.scale)
}
