package contrib

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
		Domain: op.Microsoft, Name: "CropAndResize", Versions: []int{1}, Doc: "regions of images, whose corners (y, x) are parts of height-1 and width-1, resized",
		In: op.Ports("X:T1", "rois:T1", "batch_indices:int32", "crop_size:int32"), Out: op.Ports("Y:T1"), Types: op.Types{"T1": op.Floats},
		Attrs: op.Attrs{"mode": op.Default(ir.Str("bilinear")), "extrapolation_value": op.Default(ir.Float(0))},
		Infer: inferCrop, Ref: cropRef,
		Cases: cropAndResizeCases{},
	})
}

type cropAndResizeCases struct{}

func (cropAndResizeCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{0, 1, 2, 3}, 1, 1, 2, 2)
	box, first, size := tensor.FromSlice([]float32{0, 0, 1, 2}, 1, 4), tensor.FromSlice([]int32{0}), tensor.FromSlice([]int32{2, 3})
	in := []*tensor.Tensor{x, box, first, size}
	return []op.Case{
		{Name: "bilinear", In: in, Attrs: map[string]*ir.Attr{"extrapolation_value": ir.Float(9)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 9, 2, 3, 9}, 1, 1, 2, 3)}},
		{Name: "nearest", In: in, Attrs: map[string]*ir.Attr{"mode": ir.Str("nearest")}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 1, 0, 2, 3, 0}, 1, 1, 2, 3)}},
	}
}

func inferCrop(c *op.Infer) error {
	if m := c.Node.Str("mode"); m != "bilinear" && m != "nearest" {
		return fmt.Errorf("mode is %q, expected bilinear or nearest", m)
	}
	s := shape.Unknowns(4)
	if x := c.In[0].Shape; x != nil {
		if len(x) != 4 {
			return fmt.Errorf("X has shape %v, expected [batch,channels,height,width]", x)
		}
		s[1] = x[1]
	}
	if r := c.In[1].Shape; len(r) == 2 {
		s[0] = r[0]
	}
	if size, ok := c.In[3].Dims(); ok && len(size) == 2 {
		s[2], s[3] = size[0], size[1]
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func cropRef(c *op.Call) error {
	x, rois, batches := c.In[0], c.In[1], tensor.Of[int32](c.In[2])
	size, err := c.In[3].Ints()
	if err != nil || len(size) != 2 || size[0] < 1 || size[1] < 1 {
		return fmt.Errorf("crop_size is %s, expected a height and a width", c.In[3])
	}
	if len(x.Shape) != 4 || len(rois.Shape) != 2 || rois.Shape[1] != 4 || len(batches) != rois.Shape[0] || x.Shape[2]*x.Shape[3] == 0 {
		return fmt.Errorf("X is %s, rois %s and batch_indices %s, expected images, [regions,4] and [regions]", x, rois, c.In[2])
	}
	if err := inferCrop(&op.Infer{Node: c.Node, In: factsOf(c.In), Out: make([]op.Fact, 1)}); err != nil {
		return err
	}
	channels, h, w := x.Shape[1], x.Shape[2], x.Shape[3]
	dims := []int{len(batches), channels, size[0], size[1]}
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	v, box := num.Floats(x), num.Floats(rois)
	out := make([]float64, tensor.Count(dims))
	outside := float64(c.Node.Float("extrapolation_value"))
	nearest := c.Node.Str("mode") == "nearest"
	for i := range out {
		col, row, ch, roi := i%size[1], i/size[1]%size[0], i/size[1]/size[0]%channels, i/size[1]/size[0]/channels
		b := int(batches[roi])
		if b < 0 || b >= x.Shape[0] {
			return fmt.Errorf("batch index %d, expected 0 to %d", b, x.Shape[0]-1)
		}
		y, x := along(box[roi*4], box[roi*4+2], h, size[0], row), along(box[roi*4+1], box[roi*4+3], w, size[1], col)
		if !(y >= 0 && y <= float64(h-1) && x >= 0 && x <= float64(w-1)) {
			out[i] = outside
			continue
		}
		image := v[(b*channels+ch)*h*w:][:h*w]
		if nearest {
			out[i] = image[int(math.Round(y))*w+int(math.Round(x))]
			continue
		}
		out[i] = bilinear(image, w, y, x)
	}
	num.SetFloats(c.Output(0, x.DType, dims...), out)
	return nil
}

// along is the place of sample i of n between two parts of a side.
func along(from, to float64, side, n, i int) float64 {
	last := float64(side - 1)
	if n == 1 {
		return (from + to) / 2 * last
	}
	return float64(from*last) + float64(i)*float64((to-from)*last/float64(n-1))
}

func bilinear(image []float64, w int, y, x float64) float64 {
	top, left := math.Floor(y), math.Floor(x)
	at := func(y, x float64) float64 { return image[int(y)*w+int(x)] }
	fy, fx := y-top, x-left
	bottom, right := math.Ceil(y), math.Ceil(x)
	upper := at(top, left) + float64((at(top, right)-at(top, left))*fx)
	lower := at(bottom, left) + float64((at(bottom, right)-at(bottom, left))*fx)
	return upper + float64((lower-upper)*fy)
}
