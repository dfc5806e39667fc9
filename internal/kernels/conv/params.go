package conv

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// Params is the geometry of a convolution in ONNX's terms. Kernel, Stride,
// Dilation hold one number per spatial dimension; Pads holds the begins, then
// the ends. A nil Stride or Dilation means ones, nil Pads zeros.
type Params struct {
	In, Out  int // channels
	Groups   int // 0 means 1
	Kernel   []int
	Stride   []int
	Dilation []int
	Pads     []int

	// Winograd asks, where [WinogradFits], for an algorithm that takes a third to
	// two thirds of the time, at four times the rounding error and four times the
	// packed weights, which are its own.
	Winograd bool

	// BF16 allows to round inputs and weights to bfloat16 where there are tiles for
	// such products: see package bconv and [Plan.BF16].
	BF16 bool

	// Stored says which tensors are of bfloat16. It is for plans that compute in
	// bfloat16, which [Plan.Half] runs.
	Stored Stored

	// Tuning decides what otherwise a cost model does.
	Tuning Tuning

	Residual     bool // a tensor like the output is added before the activation
	ResidualLast bool // or after it, which only [Plan.Half] does
	Act          Activation
}

// Stored says which tensors of a convolution are of bfloat16 instead of float32.
type Stored struct{ In, Residual, Out bool }

// maxSide bounds every number of the geometry, so that sizes don't overflow.
const maxSide = 1 << 28

// normalize fills defaults and checks what doesn't depend on the input's size.
func (p Params) normalize() (Params, error) {
	r := len(p.Kernel)
	if r == 0 {
		return p, fmt.Errorf("conv: kernel has no spatial dimension, expected at least 1")
	}
	p.Groups = max(p.Groups, 1)
	p.Stride = orOnes(p.Stride, r)
	p.Dilation = orOnes(p.Dilation, r)
	if p.Pads == nil {
		p.Pads = make([]int, 2*r)
	}
	for _, c := range []struct {
		name string
		v    []int
		n    int
		low  int
	}{{"kernel", p.Kernel, r, 1}, {"strides", p.Stride, r, 1}, {"dilations", p.Dilation, r, 1}, {"pads", p.Pads, 2 * r, 0}} {
		if len(c.v) != c.n {
			return p, fmt.Errorf("conv: %s %v has %d numbers, expected %d for %d spatial dimensions", c.name, c.v, len(c.v), c.n, r)
		}
		if slices.Min(c.v) < c.low || slices.Max(c.v) > maxSide {
			return p, fmt.Errorf("conv: %s %v has a number outside %d to %d", c.name, c.v, c.low, maxSide)
		}
	}
	if p.In < 1 || p.Out < 1 || p.In%p.Groups != 0 || p.Out%p.Groups != 0 {
		return p, fmt.Errorf("conv: %d input and %d output channels don't divide into %d groups", p.In, p.Out, p.Groups)
	}
	return p, nil
}

func orOnes(v []int, n int) []int {
	if v != nil {
		return v
	}
	return slices.Repeat([]int{1}, n)
}

// dims relates an input's spatial size to the output's.
func (p Params) dims(spatial []int) ([]window.Dim, error) {
	r := len(p.Kernel)
	if len(spatial) != r {
		return nil, fmt.Errorf("conv: input has %d spatial dimensions %v, kernel %v has %d", len(spatial), spatial, p.Kernel, r)
	}
	out := make([]window.Dim, r)
	for i, in := range spatial {
		d := window.Dim{In: in, Kernel: p.Kernel[i], Stride: p.Stride[i], Dilation: p.Dilation[i], Begin: p.Pads[i], End: p.Pads[r+i]}
		d.Out = window.OutSize(in, d.Kernel, d.Stride, d.Dilation, p.Pads[i], p.Pads[r+i], false)
		if in > maxSide || d.Out > maxSide {
			return nil, fmt.Errorf("conv: spatial dimension %d is %d with an output of %d, at most %d is supported", i, in, d.Out, maxSide)
		}
		if in < 1 || d.Out < 1 {
			return nil, fmt.Errorf("conv: spatial dimension %d of the input is %d with pads %d+%d, the kernel needs %d",
				i, in, p.Pads[i], p.Pads[r+i], d.Dilation*(d.Kernel-1)+1)
		}
		out[i] = d
	}
	return out, nil
}

// OutSpatial is the spatial size of the output for an input's.
func (p Params) OutSpatial(spatial []int) ([]int, error) {
	p, err := p.normalize()
	if err != nil {
		return nil, err
	}
	dims, err := p.dims(spatial)
	if err != nil {
		return nil, err
	}
	return window.OutSizes(dims), nil
}

// WeightCount is the number of weights: Out × In/Groups × kernel.
func (p Params) WeightCount() int {
	return p.Out * (p.In / max(p.Groups, 1)) * product(p.Kernel)
}

func product(v []int) int {
	n := 1
	for _, x := range v {
		n *= x
	}
	return n
}
