package qconv

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// Params is the geometry of a two-dimensional convolution and what its integers
// stand for. Stride, Dilation: nil means ones; Pads holds the begins, then the
// ends, nil means zeros.
type Params struct {
	In, Out  int // channels
	Groups   int // 0 means 1
	Kernel   []int
	Stride   []int
	Dilation []int
	Pads     []int

	// Parts is how many int8 a weight is the sum of; 0 means 1. Two or three are
	// for unsigned weights less a zero point, in convolutions without groups and
	// without dilation along the width, and in depthwise ones.
	Parts int

	Input    Format // of x
	Output   Format // of y
	Lo, Hi   int32  // the least and the largest y
	Residual *Residual

	Tuning Tuning // decides what otherwise a cost model does
}

// Format says what a byte is.
type Format struct {
	Signed bool
	Zero   int32 // the number that stands for 0
}

// limits are the least and the largest number.
func (f Format) limits() (lo, hi int32) {
	if f.Signed {
		return -128, 127
	}
	return 0, 255
}

// Residual says how a tensor z of the output's shape is added: the convolution
// is rounded to the format Mid, limited to [MidLo, MidHi], and
//
//	y = saturate(round((float32(mid - Mid.Zero)·MidScale + float32(z - Zero)·Scale) / OutScale) + Output.Zero)
type Residual struct {
	Format
	Scale        float32
	Mid          Format
	MidLo, MidHi int32
	MidScale     float32
	OutScale     float32
}

// maxSide bounds every number of the geometry, so that sizes don't overflow.
const maxSide = 1 << 28

// normalize fills defaults and checks what doesn't depend on the input's size.
func (p Params) normalize() (Params, error) {
	p.Groups = max(p.Groups, 1)
	if p.Stride == nil {
		p.Stride = []int{1, 1}
	}
	if p.Dilation == nil {
		p.Dilation = []int{1, 1}
	}
	if p.Pads == nil {
		p.Pads = make([]int, 4)
	}
	for _, c := range []struct {
		name   string
		v      []int
		n, low int
	}{{"kernel", p.Kernel, 2, 1}, {"strides", p.Stride, 2, 1}, {"dilations", p.Dilation, 2, 1}, {"pads", p.Pads, 4, 0}} {
		if len(c.v) != c.n {
			return p, fmt.Errorf("qconv: %s %v has %d numbers, expected %d for 2 spatial dimensions", c.name, c.v, len(c.v), c.n)
		}
		if slices.Min(c.v) < c.low || slices.Max(c.v) > maxSide {
			return p, fmt.Errorf("qconv: %s %v, expected numbers from %d to %d", c.name, c.v, c.low, maxSide)
		}
	}
	if p.In < 1 || p.Out < 1 || p.In > maxSide || p.Out > maxSide || p.In%p.Groups != 0 || p.Out%p.Groups != 0 {
		return p, fmt.Errorf("qconv: %d→%d channels in %d groups, expected multiples of the groups", p.In, p.Out, p.Groups)
	}
	p.Parts = max(p.Parts, 1)
	if p.Parts > maxParts || p.Parts > 1 && !p.TakesParts() {
		return p, fmt.Errorf("qconv: weights of %d parts, expected at most %d, and 1 in groups or with dilation", p.Parts, maxParts)
	}
	if err := p.Tuning.check(); err != nil {
		return p, err
	}
	return p, p.checkFormats()
}

const maxParts = 3

// TakesParts reports whether weights may be more than an int8.
func (p Params) TakesParts() bool {
	return p.depthwise() || p.Groups <= 1 && (p.Dilation == nil || p.Dilation[1] == 1)
}

// PartsFor is how many parts weights from lo to hi need, which may be more than
// there are.
func PartsFor(lo, hi int) int {
	return max(1, (127-lo)/128, (hi+126)/127)
}

func (p Params) checkFormats() error {
	formats := []Format{p.Input, p.Output}
	if r := p.Residual; r != nil {
		formats = append(formats, r.Format, r.Mid)
		if !(r.OutScale > 0) {
			return fmt.Errorf("qconv: scale %g of the output, expected a positive number", r.OutScale)
		}
	}
	for _, f := range formats {
		if lo, hi := f.limits(); f.Zero < lo || f.Zero > hi {
			return fmt.Errorf("qconv: zero point %d is outside [%d, %d]", f.Zero, lo, hi)
		}
	}
	if lo, hi := p.Output.limits(); p.Lo < lo || p.Hi > hi || p.Lo > p.Hi {
		return fmt.Errorf("qconv: limits [%d, %d] of the output, expected them within [%d, %d]", p.Lo, p.Hi, lo, hi)
	}
	return nil
}

// dims gives the windows along height and width.
func (p Params) dims(h, w int) (d [2]window.Dim, err error) {
	for i, in := range []int{h, w} {
		d[i] = window.Dim{In: in, Kernel: p.Kernel[i], Stride: p.Stride[i], Dilation: p.Dilation[i], Begin: p.Pads[i], End: p.Pads[2+i]}
		if in < 1 || in > maxSide {
			return d, fmt.Errorf("qconv: input of %d×%d, expected sides from 1 to %d", h, w, maxSide)
		}
		d[i].Out = window.OutSize(in, d[i].Kernel, d[i].Stride, d[i].Dilation, d[i].Begin, d[i].End, false)
		if d[i].Out < 1 {
			return d, fmt.Errorf("qconv: kernel %v with dilations %v does not fit an input of %d×%d with pads %v", p.Kernel, p.Dilation, h, w, p.Pads)
		}
	}
	return d, nil
}

// depthwise is true where each output channel has one input channel of its own.
func (p Params) depthwise() bool { return p.Groups > 1 && p.Groups == p.In && p.Out == p.In }

// WeightCount is the number of weights: [Out, In/Groups, kernel…].
func (p Params) WeightCount() int {
	return p.Out * (p.In / max(p.Groups, 1)) * p.Kernel[0] * p.Kernel[1]
}
