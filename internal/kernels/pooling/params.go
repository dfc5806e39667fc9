package pooling

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// Kind is what a window computes.
type Kind uint8

const (
	Max Kind = iota
	Average
)

// Params is a pooling in ONNX's terms. Kernel, Stride and Dilation hold one
// number per spatial dimension; Pads holds the begins, then the ends. A nil
// Stride or Dilation means ones, nil Pads zeros.
type Params struct {
	Kind            Kind
	Kernel          []int
	Stride          []int
	Dilation        []int
	Pads            []int
	Ceil            bool // keep a last window that isn't whole
	CountIncludePad bool // Average: padding counts in the divisor
}

// Global pools the whole of an input with the given spatial sizes.
func Global(kind Kind, spatial []int) Params {
	return Params{Kind: kind, Kernel: slices.Clone(spatial)}
}

// maxSide bounds every number of the geometry, so that sizes don't overflow.
const maxSide = 1 << 28

// Dims checks p and relates an input's spatial size to the output's.
func (p Params) Dims(spatial []int) ([]window.Dim, error) {
	r := len(p.Kernel)
	stride, dilation, pads := orOnes(p.Stride, r), orOnes(p.Dilation, r), p.Pads
	if pads == nil {
		pads = make([]int, 2*r)
	}
	if r == 0 || len(spatial) != r {
		return nil, fmt.Errorf("pooling: input has %d spatial dimensions %v, kernel %v has %d", len(spatial), spatial, p.Kernel, r)
	}
	if len(stride) != r || len(dilation) != r || len(pads) != 2*r {
		return nil, fmt.Errorf("pooling: kernel %v with strides %v, dilations %v, pads %v: expected %d, %d and %d numbers",
			p.Kernel, stride, dilation, pads, r, r, 2*r)
	}
	out := make([]window.Dim, r)
	for i, in := range spatial {
		d := window.Dim{In: in, Kernel: p.Kernel[i], Stride: stride[i], Dilation: dilation[i], Begin: pads[i], End: pads[r+i]}
		if in < 1 || d.Kernel < 1 || d.Stride < 1 || d.Dilation < 1 || d.Begin < 0 || d.End < 0 {
			return nil, fmt.Errorf("pooling: dimension %d of size %d: kernel %d, stride %d and dilation %d must be at least 1, pads %d+%d at least 0",
				i, in, d.Kernel, d.Stride, d.Dilation, d.Begin, d.End)
		}
		if max(in, d.Kernel, d.Stride, d.Dilation, d.Begin, d.End) > maxSide {
			return nil, fmt.Errorf("pooling: dimension %d has a number above %d: size %d, kernel %d, stride %d, dilation %d, pads %d+%d",
				i, maxSide, in, d.Kernel, d.Stride, d.Dilation, d.Begin, d.End)
		}
		d.Out = window.OutSize(in, d.Kernel, d.Stride, d.Dilation, d.Begin, d.End, p.Ceil)
		if d.Out < 1 {
			return nil, fmt.Errorf("pooling: dimension %d of the input is %d with pads %d+%d, the window needs %d",
				i, in, d.Begin, d.End, d.Dilation*(d.Kernel-1)+1)
		}
		out[i] = d
	}
	return out, nil
}

func orOnes(v []int, n int) []int {
	if v != nil {
		return v
	}
	return slices.Repeat([]int{1}, n)
}

// OutSpatial is the spatial size of the output for an input's.
func (p Params) OutSpatial(spatial []int) ([]int, error) {
	dims, err := p.Dims(spatial)
	if err != nil {
		return nil, err
	}
	return window.OutSizes(dims), nil
}

func product(v []int) int {
	n := 1
	for _, x := range v {
		n *= x
	}
	return n
}
