package image

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func f32s(dims []int, v ...float32) *tensor.Tensor { return tensor.FromSlice(v, dims...) }
func i64s(v ...int64) *tensor.Tensor               { return tensor.FromSlice(v, len(v)) }
func list(t ...*tensor.Tensor) []*tensor.Tensor    { return t }

// gridSampleCases are those of a schema, which has a name for linear interpolation.
type gridSampleCases struct{ linear string }

func (g gridSampleCases) Cases() []op.Case {
	x := f32s([]int{1, 1, 2, 2}, 1, 2, 3, 4)
	grid := f32s([]int{1, 1, 3, 2}, 0, 0, -1, -1, 3, 0)
	attrs := func(mode, padding string) map[string]*ir.Attr {
		return map[string]*ir.Attr{"mode": ir.Str(mode), "padding_mode": ir.Str(padding), "align_corners": ir.Int(1)}
	}
	cases := []op.Case{
		{Name: "zeros", Attrs: attrs(g.linear, "zeros"), In: list(x, grid), Out: list(f32s([]int{1, 1, 1, 3}, 2.5, 1, 0))},
		{Name: "border", Attrs: attrs(g.linear, "border"), In: list(x, grid), Out: list(f32s([]int{1, 1, 1, 3}, 2.5, 1, 3))},
		{Name: "reflection", Attrs: attrs("nearest", "reflection"), In: list(x, f32s([]int{1, 1, 1, 2}, 2, -1)), Out: list(f32s([]int{1, 1, 1, 1}, 1))},
	}
	cubic := map[string]string{"bilinear": "bicubic", "linear": "cubic"}[g.linear]
	for _, mode := range []string{g.linear, "nearest", cubic} {
		for i, padding := range []string{"zeros", "border", "reflection"} {
			a := attrs(mode, padding)
			a["align_corners"] = ir.Int(i % 2)
			cases = append(cases, op.Case{Name: mode + " with " + padding, Attrs: a, In: list(spread(-9, 9, 2, 5, 11, 7), spread(-1.6, 1.6, 2, 9, 13, 2))},
				op.Case{Name: mode + " of channels with " + padding, Attrs: a, In: list(spread(-9, 9, 2, 19, 11, 7), spread(-1.6, 1.6, 2, 9, 13, 2))},
				op.Case{Name: mode + " in volumes with " + padding, Attrs: a, In: list(spread(-9, 9, 2, 3, 5, 11, 7), spread(-1.6, 1.6, 2, 5, 6, 4, 3))},
				op.Case{Name: mode + " of channels in volumes with " + padding, Attrs: a, In: list(spread(-9, 9, 1, 17, 5, 1, 7), spread(-1.6, 1.6, 1, 5, 6, 4, 3))})
		}
	}
	return cases
}

// spread makes numbers from lo to hi in no order.
func spread(lo, hi float32, dims ...int) *tensor.Tensor {
	t := tensor.New(dtype.Float32, dims...)
	for i := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = lo + (hi-lo)*float32(i*7919%1009)/1008
	}
	return t
}

type affineGridCases struct{}

func (affineGridCases) Cases() []op.Case {
	corners := map[string]*ir.Attr{"align_corners": ir.Int(1)}
	return []op.Case{
		{Name: "identity", In: list(f32s([]int{1, 2, 3}, 1, 0, 0, 0, 1, 0), i64s(1, 1, 1, 2)), Out: list(f32s([]int{1, 1, 2, 2}, -.5, 0, .5, 0))},
		{Name: "two maps", Attrs: corners, In: list(spread(-2, 2, 2, 2, 3), i64s(2, 1, 5, 7))},
		{Name: "volumes", In: list(spread(-2, 2, 2, 3, 4), i64s(2, 1, 3, 5, 7))},
	}
}

type roiAlignCases struct{}

func (roiAlignCases) Cases() []op.Case {
	x := f32s([]int{1, 1, 2, 2}, 1, 2, 3, 4)
	attrs := map[string]*ir.Attr{"sampling_ratio": ir.Int(1)}
	cases := []op.Case{{Name: "centre", Attrs: attrs, In: list(x, f32s([]int{1, 4}, 0, 0, 2, 2), i64s(0)), Out: list(f32s([]int{1, 1, 1, 1}, 2.5))}}
	boxes := f32s([]int{4, 4}, 1, 2, 19, 11, -8, -8, 3, 40, 30, 1, 28, 9, 5, 5, 5, 5)
	for _, mode := range []string{"avg", "max"} {
		for _, ratio := range []int{0, 3} {
			attrs := map[string]*ir.Attr{"sampling_ratio": ir.Int(ratio), "mode": ir.Str(mode), "output_height": ir.Int(3), "output_width": ir.Int(5), "spatial_scale": ir.Float(0.5)}
			cases = append(cases, op.Case{Name: fmt.Sprintf("%s of %d", mode, ratio), Attrs: attrs, In: list(spread(-9, 9, 2, 40, 8, 12), boxes, i64s(0, 1, 1, 0))})
		}
	}
	return cases
}

type nmsCases struct{}

func (nmsCases) Cases() []op.Case {
	boxes := f32s([]int{1, 3, 4}, 0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 10, 1, 11)
	scores := f32s([]int{1, 1, 3}, 0.9, 0.95, 0.5)
	half := tensor.FromSlice([]float32{0.5})
	return []op.Case{
		{Name: "overlap", In: list(boxes, scores, i64s(3), half), Out: list(tensor.FromSlice([]int64{0, 0, 1, 0, 0, 2}, 2, 3))},
		{Name: "threshold", In: list(boxes, scores, i64s(3), half, tensor.FromSlice([]float32{0.6})), Out: list(tensor.FromSlice([]int64{0, 0, 1}, 1, 3))},
		{Name: "equal scores and a NaN", In: list(boxes, f32s([]int{1, 2, 3}, 0, float32(math.Copysign(0, -1)), 0, float32(math.NaN()), -1, -2), i64s(3), half),
			Out: list(tensor.FromSlice([]int64{0, 0, 0, 0, 0, 2, 0, 1, 1, 0, 1, 2}, 4, 3))},
		{Name: "none wanted", In: list(boxes, scores), Out: list(tensor.FromSlice([]int64{}, 0, 3))},
	}
}

type col2ImCases struct{}

func (col2ImCases) Cases() []op.Case {
	x := f32s([]int{1, 2, 2}, 1, 2, 3, 4)
	return []op.Case{
		{Name: "rows overlap", In: list(x, i64s(1, 3), i64s(1, 2)), Out: list(f32s([]int{1, 1, 1, 3}, 1, 5, 4))},
		{Name: "strides, dilations and pads", In: list(spread(-4, 4, 2, 3*6, 5*6), i64s(9, 13), i64s(2, 3)),
			Attrs: map[string]*ir.Attr{"strides": ir.Ints(2, 3), "dilations": ir.Ints(3, 2), "pads": ir.Ints(2, 3, 1, 4)}},
		{Name: "overlapping windows", In: list(spread(-4, 4, 1, 2*9, 8*20), i64s(8, 20), i64s(3, 3)), Attrs: map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1)}},
		{Name: "three dimensions", In: list(spread(-4, 4, 1, 8, 8), i64s(3, 3, 3), i64s(2, 2, 2))},
		{Name: "two images", In: list(f32s([]int{2, 1, 2}, 1, 2, 3, 4), i64s(1, 2), i64s(1, 1)), Out: list(f32s([]int{2, 1, 1, 2}, 1, 2, 3, 4))},
	}
}

type cropPadCases struct{}

func (cropPadCases) Cases() []op.Case {
	x := f32s([]int{3, 2}, 1, 2, 3, 4, 5, 6)
	return []op.Case{{Name: "both", In: list(x, i64s(1, 4)), Out: list(f32s([]int{1, 4}, 0, 3, 4, 0))}}
}

// decoderCases decode a portable pixmap of two pixels, and what is none.
type decoderCases struct{}

func (decoderCases) Cases() []op.Case {
	ppm := append([]byte("P6\n# two\n2 1\n255\n"), 1, 2, 3, 4, 5, 6)
	stream := tensor.FromSlice(ppm)
	return []op.Case{
		{Name: "PNM", In: list(stream), Out: list(tensor.FromSlice([]uint8{1, 2, 3, 4, 5, 6}, 1, 2, 3))},
		{Name: "BGR", Attrs: map[string]*ir.Attr{"pixel_format": ir.Str("BGR")}, In: list(stream), Out: list(tensor.FromSlice([]uint8{3, 2, 1, 6, 5, 4}, 1, 2, 3))},
		{Name: "no image", In: list(tensor.FromSlice([]uint8{7})), Out: list(tensor.FromSlice([]uint8{}, 0, 0, 3))},
	}
}
