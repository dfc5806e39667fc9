package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "MaxRoiPool", Versions: []int{1, 22}, Doc: "Regions are rounded to whole pixels (Girshick, Fast R-CNN, 2015).",
		In: op.Ports("X:T", "rois:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"pooled_shape": op.Required(ir.KindInts), "spatial_scale": op.Default(ir.Float(1))},
		Infer: inferRoiPool, Ref: roiPoolRef, Compile: compileRoiPool,
		Cases: maxRoiPoolCases{},
	})
}

type maxRoiPoolCases struct{}

func (maxRoiPoolCases) Cases() []op.Case {
	regions := tensor.FromSlice([]float32{0, 0, 0, 30, 11, 1, 3, 4, 3, 4, 1, 7, 2, 50, 40, 0, 9, 9, 2, 2, 0, -30, -20, -5, 5, 1, 2, 3, 1.2e19, 1.3e19}, 6, 5)
	return []op.Case{{Name: "regions", In: []*tensor.Tensor{ramp(2, 3, 11, 37), regions}, Attrs: map[string]*ir.Attr{"pooled_shape": ir.Ints(3, 2), "spatial_scale": ir.Float(0.75)}}, {Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3), tensor.FromSlice([]float32{0, 0, 0, 1, 2}, 1, 5)},
		Attrs: map[string]*ir.Attr{"pooled_shape": ir.Ints(1, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{7, 8}, 1, 1, 1, 2)}}}
}

func inferRoiPool(c *op.Infer) error {
	p := c.Node.Ints("pooled_shape")
	x, rois := c.In[0].Shape, c.In[1].Shape
	if len(p) != 2 || p[0] < 1 || p[1] < 1 {
		return fmt.Errorf("pooled_shape is %v, expected two numbers of at least 1", p)
	}
	if x != nil && len(x) != 4 || rois != nil && len(rois) != 2 {
		return fmt.Errorf("X has shape %v and rois %v, expected 4 and 2 dimensions", x, rois)
	}
	out := shape.Shape{shape.Unknown(), shape.Unknown(), shape.Const(p[0]), shape.Const(p[1])}
	if rois != nil {
		out[0] = rois[0]
	}
	if x != nil {
		out[1] = x[1]
	}
	c.Set(0, c.In[0].DType, out)
	return nil
}

func roiPoolRef(c *op.Call) error {
	x, rois := c.In[0], c.In[1]
	if len(x.Shape) != 4 || len(rois.Shape) != 2 || rois.Shape[1] != 5 {
		return fmt.Errorf("X is %s and rois %s, expected [N,C,H,W] and [regions,5]", x, rois)
	}
	p := c.Node.Ints("pooled_shape")
	scale := float64(c.Node.Float("spatial_scale"))
	v, r := num.Floats(x), num.Floats(rois)
	channels, h, w := x.Shape[1], x.Shape[2], x.Shape[3]
	var out []float64
	for i := range rois.Shape[0] {
		roi := r[i*5 : i*5+5]
		n := int(roi[0])
		if n < 0 || n >= x.Shape[0] {
			return fmt.Errorf("region %d is of image %d, expected 0 to %d", i, n, x.Shape[0]-1)
		}
		for ch := range channels {
			plane := v[(n*channels+ch)*h*w:][:h*w]
			for py := range p[0] {
				y0, y1 := bin(roi[2]*scale, roi[4]*scale, py, p[0], h)
				for px := range p[1] {
					x0, x1 := bin(roi[1]*scale, roi[3]*scale, px, p[1], w)
					out = append(out, rectangleMax(plane, w, y0, y1, x0, x1))
				}
			}
		}
	}
	num.SetFloats(c.Output(0, x.DType, rois.Shape[0], channels, p[0], p[1]), out)
	return nil
}

// bin is part i of n of the pixels from round(lo) to round(hi), both included.
func bin(lo, hi float64, i, n, size int) (from, to int) {
	start := math.Round(lo)
	length := max(math.Round(hi)-start+1, 1) / float64(n)
	return clipped(math.Floor(float64(i)*length)+start, size), clipped(math.Ceil(float64(i+1)*length)+start, size)
}

// clipped is a whole number between 0 and size; a NaN is 0.
func clipped(at float64, size int) int {
	if !(at > 0) {
		return 0
	}
	return int(min(at, float64(size)))
}

// rectangleMax is the largest number of a rectangle, 0 if it is empty.
func rectangleMax(plane []float64, w, y0, y1, x0, x1 int) float64 {
	m := math.Inf(-1)
	for y := y0; y < y1; y++ {
		m = max(m, largest(plane[y*w+x0:y*w+max(x0, x1)], 0))
	}
	if math.IsInf(m, -1) {
		return 0
	}
	return m
}
