package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := spatial.Attrs()
	delete(attrs, "auto_pad")
	attrs["group"], attrs["offset_group"] = op.Default(ir.Int(1)), op.Default(ir.Int(1))
	op.Register(&op.Op{
		Name: "DeformConv", Versions: []int{19, 22}, Doc: "Deformable convolution, of images only (Zhu et al., 2019).",
		In: op.Ports("X:T", "W:T", "offset:T", "B:T?", "mask:T?"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats}, Attrs: attrs,
		Infer: inferDeform, Ref: deformRef, Compile: wide.Compile(compileDeform), Flops: spatial.Flops(1),
		Cases: deformConvCases{},
	})
}

type deformConvCases struct{}

func (deformConvCases) Cases() []op.Case {
	offset := tensor.FromSlice([]float32{.5, 0, 0, 0, 0, 0, 0, 1}, 1, 8, 1, 1)
	shifts := func(dims ...int) *tensor.Tensor {
		t := ramp(dims...)
		for i, v := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = v*0.37 - 1.9
		}
		tensor.Of[float32](t)[5], tensor.Of[float32](t)[7] = float32(math.NaN()), 1e30
		return t
	}
	infinite := shifts(2, 18, 5, 12)
	for i, v := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		tensor.Of[float32](infinite)[60*(2*i+1)+17*i] = float32(v)
	}
	groups := map[string]*ir.Attr{"group": ir.Int(2), "offset_group": ir.Int(3), "pads": ir.Ints(1, 1, 1, 2), "strides": ir.Ints(2, 1), "dilations": ir.Ints(1, 2)}
	bias := tensor.FromSlice([]float32{1, -2, 3, 0.5}, 4)
	return []op.Case{
		{Name: "groups, mask and bias", Attrs: groups, In: []*tensor.Tensor{ramp(2, 6, 9, 11), shifts(4, 3, 3, 2), shifts(2, 36, 5, 12), bias, shifts(2, 18, 5, 12)}, Tol: 1e-4},
		{Name: "infinite masks", Attrs: groups, In: []*tensor.Tensor{ramp(2, 6, 9, 11), ramp(4, 3, 3, 2), ramp(2, 36, 5, 12), nil, infinite}, Tol: 1e-4},
		{Name: "many pixels", Attrs: map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1)}, In: []*tensor.Tensor{ramp(1, 70, 17, 19), ramp(3, 70, 3, 3), shifts(1, 18, 17, 19)}, Tol: 1e-4},
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 1, 2, 2), tensor.FromSlice([]float32{1, 1, 1, 1}, 1, 1, 2, 2), offset},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{7}, 1, 1, 1, 1)}},
	}
}

func inferDeform(c *op.Infer) error {
	s, err := spatial.ConvShape(c.Node, c.In[0], c.In[1])
	if err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, s)
	return nil
}

func deformRef(c *op.Call) error {
	x, w, offset := c.In[0], c.In[1], c.In[2]
	if len(x.Shape) != 4 {
		return fmt.Errorf("X is %s, expected 4 dimensions", x)
	}
	g, err := spatial.Resolve(c.Node, x.Shape, w.Shape)
	if err != nil {
		return err
	}
	kernel := tensor.Count(w.Shape[2:])
	og := c.Node.Int("offset_group")
	out := g.Shape[2:]
	if want := []int{g.Batch, 2 * og * kernel, out[0], out[1]}; og < 1 || g.In%og != 0 || fmt.Sprint(offset.Shape) != fmt.Sprint(want) {
		return fmt.Errorf("offset is %s with offset_group %d, expected %v", offset, og, want)
	}
	ov := num.Floats(offset)
	mask := make([]float64, len(ov)/2)
	for i := range mask {
		mask[i] = 1
	}
	if t := c.Input(4); t != nil {
		if t.Len() != len(mask) {
			return fmt.Errorf("mask is %s, expected [%d,%d,%d,%d]", t, g.Batch, og*kernel, out[0], out[1])
		}
		mask = num.Floats(t)
	}
	y := deform(g, num.Floats(x), num.Floats(w), ov, mask, og)
	if b := c.Input(3); b != nil {
		if b.Len() != g.Out {
			return fmt.Errorf("bias is %s, expected %d numbers", b, g.Out)
		}
		addChannels(y, num.Floats(b), g.Batch)
	}
	num.SetFloats(c.Output(0, x.DType, g.Shape...), y)
	return nil
}

// deform gathers each window at its shifted places, weighted by the mask, and
// multiplies it with the weights.
func deform(g *spatial.Geometry, x, w, offset, mask []float64, offsetGroups int) []float64 {
	dy, dx := g.Dims[0], g.Dims[1]
	kernel, pixels, area := dy.Kernel*dx.Kernel, dy.Out*dx.Out, dy.In*dx.In
	perIn, perOut := g.In/g.Groups, g.Out/g.Groups
	y := make([]float64, tensor.Count(g.Shape))
	column := make([]float64, perIn*kernel)
	for n := range g.Batch {
		for group := range g.Groups {
			for p := range pixels {
				for i := range column {
					ch, k := group*perIn+i/kernel, i%kernel
					at := (n*offsetGroups+ch/(g.In/offsetGroups))*kernel + k
					py := float64(dy.First(p/dx.Out)+k/dx.Kernel*dy.Dilation) + offset[2*at*pixels+p]
					px := float64(dx.First(p%dx.Out)+k%dx.Kernel*dx.Dilation) + offset[(2*at+1)*pixels+p]
					column[i] = bilinear(x[(n*g.In+ch)*area:][:area], dy.In, dx.In, py, px) * mask[at*pixels+p]
				}
				for m := range perOut {
					ch := group*perOut + m
					y[(n*g.Out+ch)*pixels+p] = dotProduct(column, w[ch*len(column):])
				}
			}
		}
	}
	return y
}

// bilinear interpolates; outside the plane there are zeros.
func bilinear(plane []float64, h, w int, y, x float64) float64 {
	if !(y > -1 && x > -1 && y < float64(h) && x < float64(w)) { // a NaN is outside
		return 0
	}
	at := func(y, x float64) float64 {
		if y < 0 || x < 0 || y >= float64(h) || x >= float64(w) {
			return 0
		}
		return plane[int(y)*w+int(x)]
	}
	y0, x0 := math.Floor(y), math.Floor(x)
	fy, fx := y-y0, x-x0
	return (1-fy)*((1-fx)*at(y0, x0)+fx*at(y0, x0+1)) + fy*((1-fx)*at(y0+1, x0)+fx*at(y0+1, x0+1))
}
