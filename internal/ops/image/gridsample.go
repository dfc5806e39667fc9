// Package image registers operators on images and boxes: sampling, pooling of
// regions, suppression of boxes, and decoding.
package image

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	register := func(mode string, versions ...int) {
		op.Register(&op.Op{
			Name: "GridSample", Versions: versions, Doc: "samples images at the positions of a grid",
			In: op.Ports("X:T1", "grid:T2"), Out: op.Ports("Y:T1"), Types: op.Types{"T1": op.NumBool, "T2": op.Floats},
			Attrs: op.Attrs{"align_corners": op.Default(ir.Int(0)), "mode": op.Default(ir.Str(mode)), "padding_mode": op.Default(ir.Str("zeros"))},
			Infer: gridSampleInfer, Ref: gridSampleRef, Compile: compileGridSample, Cases: gridSampleCases{mode},
			Rows: func(n *ir.Node, in []int) ([]int, bool) {
				return []int{in[0]}, in[0] == in[1] && (in[0] == 0 || in[0] == op.NoRows)
			},
		})
	}
	register("bilinear", 16)
	register("linear", 20, 22)
}

func gridSampleInfer(c *op.Infer) error {
	x, grid := c.In[0].Shape, c.In[1].Shape
	if x == nil || grid == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	if len(x) < 3 || len(grid) != len(x) {
		return fmt.Errorf("input %v and grid %v: expected at least 3 dimensions, as many in both", x, grid)
	}
	c.Set(0, c.In[0].DType, slices.Concat(x[:2], grid[1:len(grid)-1]))
	return nil
}

// tap is one input position along an axis with its weight.
type tap struct {
	at     int
	weight float64
}

// sampler turns coordinates into taps along one axis.
type sampler struct {
	mode, padding string
	corners       bool
}

func newSampler(n *ir.Node) (sampler, error) {
	s := sampler{n.Str("mode"), n.Str("padding_mode"), n.Bool("align_corners")}
	switch s.mode {
	case "bilinear":
		s.mode = "linear"
	case "bicubic":
		s.mode = "cubic"
	case "linear", "cubic", "nearest":
	default:
		return s, fmt.Errorf("mode: expected nearest, linear or cubic, found %q", s.mode)
	}
	if !slices.Contains([]string{"zeros", "border", "reflection"}, s.padding) {
		return s, fmt.Errorf("padding_mode: expected zeros, border or reflection, found %q", s.padding)
	}
	return s, nil
}

// position is where a coordinate in [-1, 1] lies on an axis of n pixels, between the
// outermost places lo and hi unless padding is with zeros, or cubic with the border, as PyTorch has it; ok is false where nothing is there.
func (s sampler) position(coord float32, n int) (x, lo, hi float64, ok bool) {
	lo, hi = -0.5, float64(n)-0.5
	if s.corners {
		lo, hi = 0, float64(n-1)
	}
	x = s.pixel(coord, n)
	if s.mode == "nearest" {
		x = math.RoundToEven(x)
	}
	if x < lo || x > hi {
		switch s.padding {
		case "border":
			beyond := 0. // where the pixels of cubic, which are limited one by one, are all the outermost
			if s.mode == "cubic" {
				beyond = 3
			}
			x = min(max(x, -beyond), float64(n-1)+beyond)
		case "reflection":
			x = reflect(x, lo, hi)
		}
	}
	return x, lo, hi, x == x && math.Abs(x) <= 1<<40
}

// pixel is where a coordinate in [-1, 1] lies on an axis of n pixels.
func (s sampler) pixel(coord float32, n int) float64 {
	if s.corners {
		return float64(float32((coord+1)/2) * float32(n-1))
	}
	return float64((float32((coord+1)*float32(n)) - 1) / 2)
}

// taps gives the input positions for a coordinate in [-1, 1] of an axis of n.
func (s sampler) taps(coord float32, n int) []tap {
	x, lo, hi, ok := s.position(coord, n)
	if !ok {
		return nil
	}
	base := math.Floor(x)
	r := x - base
	var taps []tap
	for i, w := range s.weights(r) {
		at := int(base) + i
		if s.mode == "cubic" {
			at--
		}
		if at, ok := s.place(at, n, lo, hi); ok {
			taps = append(taps, tap{at, w})
		}
	}
	return taps
}

func (s sampler) weights(r float64) []float64 {
	switch s.mode {
	case "nearest":
		return []float64{1}
	case "linear":
		return []float64{1 - r, r}
	}
	w := cubic(r)
	return w[:]
}

// cubic is Keys' convolution for a position between the second and the third of four pixels.
func cubic(r float64) [4]float64 {
	const a = -0.75
	outer := func(x float64) float64 { return ((a*x-5*a)*x+8*a)*x - 4*a }
	inner := func(x float64) float64 { return ((a+2)*x-(a+3))*x*x + 1 }
	return [4]float64{outer(r + 1), inner(r), inner(1 - r), outer(2 - r)}
}

// place applies the padding mode to an index; ok is false where zeros are.
func (s sampler) place(i, n int, lo, hi float64) (int, bool) {
	if i >= 0 && i < n {
		return i, true
	}
	switch s.padding {
	case "border":
		return min(max(i, 0), n-1), n > 0
	case "reflection":
		return min(max(int(reflect(float64(i), lo, hi)), 0), n-1), n > 0
	}
	return 0, false
}

// reflect folds x at the borders until it lies between them.
func reflect(x, lo, hi float64) float64 {
	span := hi - lo
	if span <= 0 {
		return lo
	}
	d := math.Mod(math.Abs(x-lo), 2*span)
	if d > span {
		d = 2*span - d
	}
	return lo + d
}

func gridSampleRef(c *op.Call) error {
	x, grid := c.In[0], c.In[1]
	s, err := newSampler(c.Node)
	if err != nil {
		return err
	}
	rank := x.Rank() - 2
	if rank < 1 || grid.Rank() != x.Rank() || grid.Shape[rank+1] != rank || grid.Shape[0] != x.Shape[0] {
		return fmt.Errorf("input %s and grid %s: expected a grid of %d dimensions with %d coordinates each and the same batch", x, grid, x.Rank(), rank)
	}
	out := c.Output(0, x.DType, slices.Concat(x.Shape[:2], grid.Shape[1:rank+1])...)
	v, coords := num.Floats(x), num.Float32s(grid)
	result := make([]float64, out.Len())
	spatial, points := tensor.Count(x.Shape[2:]), tensor.Count(grid.Shape[1:rank+1])
	channels := x.Shape[1]
	strides := tensor.Strides(x.Shape[2:])
	axes := make([][]tap, rank)
	for b := range x.Shape[0] {
		for p := range points {
			at := coords[(b*points+p)*rank:]
			for d := range axes { // coordinates come last axis first
				axes[d] = s.taps(at[rank-1-d], x.Shape[2+d])
			}
			for ch := range channels {
				plane := v[(b*channels+ch)*spatial:][:spatial]
				result[(b*channels+ch)*points+p] = weighted(plane, axes, strides)
			}
		}
	}
	num.SetFloats(out, result)
	return nil
}

// weighted sums v over the product of the axes' taps.
func weighted(v []float64, axes [][]tap, strides []int) float64 {
	if len(axes) == 0 {
		return v[0]
	}
	sum := 0.
	for _, t := range axes[0] {
		sum += t.weight * weighted(v[t.at*strides[0]:], axes[1:], strides[1:])
	}
	return sum
}

func init() {
	op.Register(&op.Op{
		Name: "AffineGrid", Versions: []int{20}, Doc: "the grid of GridSample for an affine map",
		In: op.Ports("theta:T1", "size:int64"), Out: op.Ports("grid:T1"), Types: op.Types{"T1": op.Floats},
		Attrs: op.Attrs{"align_corners": op.Default(ir.Int(0))},
		Infer: affineGridInfer, Ref: affineGridRef, Compile: wide.Compile(compileAffineGrid), Cases: affineGridCases{},
	})
}

func affineGridInfer(c *op.Infer) error {
	size, ok := c.In[1].Dims()
	if !ok {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	if len(size) != 4 && len(size) != 5 {
		return fmt.Errorf("size %v: expected 4 or 5 numbers: batch, channels and the image's size", shape.Shape(size))
	}
	s := slices.Concat(shape.Shape{size[0]}, size[2:], shape.Of(len(size)-2))
	c.Set(0, c.In[0].DType, s)
	return nil
}

func affineGridRef(c *op.Call) error {
	size, err := c.In[1].Ints()
	if err != nil {
		return err
	}
	rank := len(size) - 2
	theta := c.In[0]
	if rank != 2 && rank != 3 {
		return fmt.Errorf("size %v: expected 4 or 5 numbers: batch, channels and the image's size", size)
	}
	if !slices.Equal(theta.Shape, []int{size[0], rank, rank + 1}) {
		return fmt.Errorf("theta has shape %v, expected %v", theta.Shape, []int{size[0], rank, rank + 1})
	}
	dims := slices.Concat(size[:1], size[2:], []int{rank})
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	m := num.Floats(theta)
	points := tensor.Count(size[2:])
	out := make([]float64, 0, size[0]*points*rank)
	point := make([]float64, rank+1) // x, y, (z,) 1
	point[rank] = 1
	for b := range size[0] {
		for p := range points {
			rest := p
			for d := rank - 1; d >= 0; d-- {
				n := size[2+d]
				point[rank-1-d] = gridPosition(rest%n, n, c.Node.Bool("align_corners"))
				rest /= n
			}
			for row := range rank {
				sum := 0.
				for k, v := range point {
					sum += m[(b*rank+row)*(rank+1)+k] * v
				}
				out = append(out, sum)
			}
		}
	}
	num.SetFloats(c.Output(0, theta.DType, dims...), out)
	return nil
}

// gridPosition is the centre of pixel i of n on an axis from -1 to 1.
func gridPosition(i, n int, corners bool) float64 {
	if !corners {
		return (2*float64(i)+1)/float64(n) - 1
	}
	if n == 1 {
		return -1
	}
	return 2*float64(i)/float64(n-1) - 1
}
