// Package spatial holds what convolutions and poolings share: the attributes
// of a sliding window, the sizes of its output, and reference convolutions.
package spatial

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
)

// Attrs is the schema of a convolution's window.
func Attrs() op.Attrs {
	return op.Attrs{
		"auto_pad": op.Default(ir.Str("NOTSET")), "dilations": op.Opt(ir.KindInts), "kernel_shape": op.Opt(ir.KindInts),
		"pads": op.Opt(ir.KindInts), "strides": op.Opt(ir.KindInts),
	}
}

// Window is a sliding window with one number per spatial dimension; Pads holds
// the begins, then the ends.
type Window struct {
	Kernel, Stride, Dilation, Pads []int
	AutoPad                        string // NOTSET, VALID, SAME_UPPER or SAME_LOWER
	Ceil                           bool
	Partial                        bool // poolings: a window that is larger than the input is cut to it
}

// Read reads a node's attributes. kernel is that of the weights, or nil where
// the attribute kernel_shape must say it.
func Read(n *ir.Node, kernel []int) (Window, error) {
	w := Window{
		Kernel: kernel, Stride: n.Ints("strides"), Dilation: n.Ints("dilations"), Pads: n.Ints("pads"),
		AutoPad: n.Str("auto_pad"), Ceil: n.Bool("ceil_mode"), Partial: kernel == nil,
	}
	if k := n.Ints("kernel_shape"); k != nil {
		if kernel != nil && !slices.Equal(k, kernel) {
			return w, fmt.Errorf("kernel_shape is %v, but the weights have %v", k, kernel)
		}
		w.Kernel = k
	}
	rank := len(w.Kernel)
	if len(w.Stride) == 0 {
		w.Stride = slices.Repeat([]int{1}, rank)
	}
	if len(w.Dilation) == 0 {
		w.Dilation = slices.Repeat([]int{1}, rank)
	}
	if len(w.Pads) == 0 || w.AutoPad != "" && w.AutoPad != "NOTSET" {
		w.Pads = make([]int, 2*rank)
	}
	return w, w.check()
}

func (w Window) check() error {
	rank := len(w.Kernel)
	for _, a := range []struct {
		name  string
		v     []int
		n     int
		least int
	}{{"kernel_shape", w.Kernel, rank, 1}, {"strides", w.Stride, rank, 1}, {"dilations", w.Dilation, rank, 1}, {"pads", w.Pads, 2 * rank, 0}} {
		if len(a.v) != a.n {
			return fmt.Errorf("%s has %d numbers %v, expected %d", a.name, len(a.v), a.v, a.n)
		}
		for _, x := range a.v {
			if x < a.least || x > 1<<31 {
				return fmt.Errorf("%s is %v, expected numbers from %d to %d", a.name, a.v, a.least, 1<<31)
			}
		}
	}
	switch w.AutoPad {
	case "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
		return nil
	}
	return fmt.Errorf("auto_pad is %q, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER", w.AutoPad)
}

// Same reports whether padding is such that strides divide the input evenly.
func (w Window) Same() bool { return w.AutoPad == "SAME_UPPER" || w.AutoPad == "SAME_LOWER" }

// extent is the number of elements that the window spans in dimension i.
func (w Window) extent(i int) int { return w.Dilation[i]*(w.Kernel[i]-1) + 1 }

// OutShape is the spatial shape of the output for an input's.
func (w Window) OutShape(in shape.Shape) (shape.Shape, error) {
	if len(in) != len(w.Kernel) {
		return nil, fmt.Errorf("the input has %d spatial dimensions %v, the window %v has %d", len(in), in, w.Kernel, len(w.Kernel))
	}
	out := make(shape.Shape, len(in))
	for i, d := range in {
		if n, ok := d.Int(); ok {
			x, err := w.dim(i, n)
			if err != nil {
				return nil, err
			}
			out[i] = shape.Const(x.Out)
			continue
		}
		stride := shape.Const(w.Stride[i])
		span := d.Add(shape.Const(w.Pads[i] + w.Pads[i+len(in)] - w.extent(i)))
		switch {
		case w.Same():
			out[i] = d.DivCeil(w.Stride[i])
		case w.Ceil && w.Stride[i] > 1:
			out[i] = shape.Unknown() // a window that starts in the end padding is dropped
		default:
			out[i] = span.Div(stride).Add(shape.Const(1))
		}
	}
	return out, nil
}

// Resolve gives the geometry for an input's spatial sizes.
func (w Window) Resolve(in []int) (dims []window.Dim, err error) {
	if len(in) != len(w.Kernel) {
		return nil, fmt.Errorf("the input has %d spatial dimensions %v, the window %v has %d", len(in), in, w.Kernel, len(w.Kernel))
	}
	dims = make([]window.Dim, len(in))
	for i, n := range in {
		if dims[i], err = w.dim(i, n); err != nil {
			return nil, err
		}
	}
	return dims, nil
}

func (w Window) dim(i, in int) (window.Dim, error) {
	d := window.Dim{In: in, Kernel: w.Kernel[i], Stride: w.Stride[i], Dilation: w.Dilation[i], Begin: w.Pads[i]}
	if w.Same() {
		d.Out = (in + d.Stride - 1) / d.Stride
		total := max((d.Out-1)*d.Stride+w.extent(i)-in, 0)
		d.Begin = total / 2
		if w.AutoPad == "SAME_LOWER" {
			d.Begin = total - total/2
		}
		d.End = total - d.Begin
		return d, nil
	}
	d.End = w.Pads[i+len(w.Kernel)]
	d.Out = window.OutSize(in, d.Kernel, d.Stride, d.Dilation, d.Begin, d.End, w.Ceil)
	// onnxruntime rounds towards zero where the formula says to round down, so
	// that models that pool tiny images to nothing still run.
	if missing := w.extent(i) - in - d.Begin - d.End; w.Partial && d.Out == 0 && in > 0 && missing < d.Stride {
		d.End += missing
		d.Out = 1
	}
	if d.Out <= 0 {
		return d, fmt.Errorf("spatial dimension %d is %d with padding %d+%d, smaller than the window's %d", i, in, d.Begin, d.End, w.extent(i))
	}
	return d, nil
}

// Sizes lists the output sizes of dims.
func Sizes(dims []window.Dim) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = d.Out
	}
	return out
}
