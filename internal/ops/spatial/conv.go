package spatial

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// ConvShape infers the output shape of a convolution of x (N×C×spatial) with w
// (M×C/group×kernel).
func ConvShape(n *ir.Node, x, w op.Fact) (shape.Shape, error) {
	rank, ok := x.Rank()
	if !ok {
		if rank, ok = w.Rank(); !ok {
			return nil, nil
		}
	}
	if wr, ok := w.Rank(); ok && wr != rank {
		return nil, fmt.Errorf("input X has shape %v, weights have %v: the ranks differ", x.Shape, w.Shape)
	}
	if rank < 3 {
		return nil, fmt.Errorf("input X has shape %v, expected at least 3 dimensions", x.Shape)
	}
	if x.Shape == nil || w.Shape == nil {
		return shape.Unknowns(rank), nil
	}
	if err := checkChannels(n, x.Shape[1], w.Shape); err != nil {
		return nil, err
	}
	out := shape.Shape{x.Shape[0], w.Shape[0]}
	kernel, ok := w.Shape[2:].Ints()
	if !ok {
		if kernel = n.Ints("kernel_shape"); kernel == nil {
			return append(out, shape.Unknowns(rank-2)...), nil
		}
	}
	win, err := Read(n, kernel)
	if err != nil {
		return nil, err
	}
	spatial, err := win.OutShape(x.Shape[2:])
	return append(out, spatial...), err
}

func checkChannels(n *ir.Node, channels shape.Dim, w shape.Shape) error {
	group := n.Int("group")
	if group < 1 {
		return fmt.Errorf("group is %d, expected at least 1", group)
	}
	c, ok := channels.Int()
	per, ok2 := w[1].Int()
	if ok && ok2 && c != per*group {
		return fmt.Errorf("input X has %d channels, weights expect %d (group %d)", c, per*group, group)
	}
	if m, ok := w[0].Int(); ok && m%group != 0 {
		return fmt.Errorf("weights give %d channels, expected a multiple of group %d", m, group)
	}
	return nil
}

// Geometry is a convolution with all sizes known.
type Geometry struct {
	Batch, In, Out, Groups int // channels of input and output
	Dims                   []window.Dim
	Shape                  []int // of the output
}

// Resolve gives the geometry of a convolution node for two shapes.
func Resolve(n *ir.Node, x, w []int) (*Geometry, error) {
	s, err := ConvShape(n, op.Fact{Type: ir.Type{Shape: shape.Of(x...)}}, op.Fact{Type: ir.Type{Shape: shape.Of(w...)}})
	if err != nil {
		return nil, err
	}
	win, err := Read(n, w[2:])
	if err != nil {
		return nil, err
	}
	g := &Geometry{Batch: x[0], In: x[1], Out: w[0], Groups: n.Int("group")}
	g.Dims, err = win.Resolve(x[2:])
	g.Shape, _ = s.Ints()
	return g, err
}

// Conv is the reference: it gathers the input under each window, zeros where
// it lies in the padding, and multiplies it with each output channel's weights.
func Conv[T int64 | float64](g *Geometry, x, w []T) ([]T, error) {
	out := make([]T, tensor.Count(g.Shape))
	pixels := tensor.Count(Sizes(g.Dims))
	area := 1
	for _, d := range g.Dims {
		area *= d.In
	}
	taps, err := Taps(g.Dims)
	if pixels == 0 || err != nil {
		return out, err
	}
	perIn, perOut := g.In/g.Groups, g.Out/g.Groups
	column := make([]T, perIn*len(taps[0]))
	for n := range g.Batch {
		for group := range g.Groups {
			in := x[(n*g.In+group*perIn)*area:]
			for p := range pixels {
				gather(column, in, taps[p], area)
				for m := range perOut {
					ch := group*perOut + m
					out[(n*g.Out+ch)*pixels+p] = dot(column, w[ch*len(column):])
				}
			}
		}
	}
	return out, nil
}

// maxTaps bounds what Taps lists: 2 GiB.
const maxTaps = 1 << 28

// Taps lists, for each output of a window in row-major order, the offset of
// each of its elements in the input; -1 in the padding. It refuses windows that
// have too many, which only absurd sizes do.
func Taps(dims []window.Dim) ([][]int, error) {
	n := 1
	for _, d := range dims {
		for _, size := range []int{d.Out, d.Kernel} {
			if n *= max(size, 1); n > maxTaps {
				return nil, fmt.Errorf("windows %v have more than %d elements in all", dims, maxTaps)
			}
		}
	}
	taps := [][]int{{}}
	for _, d := range dims {
		taps = nextTaps(taps, d)
	}
	return taps, nil
}

// nextTaps adds one dimension inside those of taps.
func nextTaps(taps [][]int, d window.Dim) [][]int {
	var out [][]int
	for _, outer := range taps {
		if len(outer) == 0 {
			outer = []int{0}
		}
		for o := range d.Out {
			list := make([]int, 0, len(outer)*d.Kernel)
			for _, at := range outer {
				for k := range d.Kernel {
					i := d.First(o) + k*d.Dilation
					if at < 0 || i < 0 || i >= d.In {
						list = append(list, -1)
					} else {
						list = append(list, at*d.In+i)
					}
				}
			}
			out = append(out, list)
		}
	}
	return out
}

func gather[T any](column, in []T, taps []int, area int) {
	for c := range len(column) / len(taps) {
		for k, at := range taps {
			var v T
			if at >= 0 {
				v = in[c*area+at]
			}
			column[c*len(taps)+k] = v
		}
	}
}

func dot[T int64 | float64](a, b []T) (s T) {
	for i, x := range a {
		s += T(x * b[i])
	}
	return s
}

// Flops counts a multiply-add per output element and weight of its channel.
func Flops(weights int) func(in, out []op.Fact) float64 {
	return func(in, out []op.Fact) float64 {
		n, _ := out[0].Shape.Count().Int()
		w := in[weights].Shape
		if len(w) == 0 {
			return float64(n)
		}
		k, _ := w[1:].Count().Int()
		return 2 * float64(n) * float64(k)
	}
}
