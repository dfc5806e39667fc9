package quant

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := spatial.Attrs()
	attrs["group"] = op.Default(ir.Int(1))
	op.Register(&op.Op{
		Name: "ConvInteger", Versions: []int{10},
		In: op.Ports("x:T1", "w:T2", "x_zero_point:T1?", "w_zero_point:T2?"), Out: op.Ports("y:int32"), Types: op.Types{"T1": bytes8, "T2": bytes8}, Attrs: attrs,
		Infer: func(c *op.Infer) error { return inferConv(c, 1, dtype.Int32) }, Ref: convIntegerRef, Compile: compileConvInteger,
		Flops: spatial.Flops(1), Rows: op.RowsFirst,
		Cases: convIntegerCases{},
	})
	op.Register(&op.Op{
		Name: "QLinearConv", Versions: []int{10},
		Doc: "The bias is scaled by itself and added in float32: saturate(round(acc·s + B·s) + zero) with s = x_scale·w_scale/y_scale, each operation rounded.",
		In:  op.Ports("x:T1", "x_scale:float32", "x_zero_point:T1", "w:T2", "w_scale:float32", "w_zero_point:T2", "y_scale:float32", "y_zero_point:T3", "B:int32?"),
		Out: op.Ports("y:T3"), Types: op.Types{"T1": bytes8, "T2": bytes8, "T3": bytes8}, Attrs: attrs,
		Infer: func(c *op.Infer) error { return inferConv(c, 3, c.In[7].DType) }, Ref: qlinearConvRef, Compile: compileQLinearConv,
		Flops: spatial.Flops(3), Rows: op.RowsFirst,
		Cases: qLinearConvCases{},
	})
}

type convIntegerCases struct{}

func (convIntegerCases) Cases() []op.Case {
	pads := map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1)}
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]uint8{2, 3, 4, 5, 6, 7, 8, 9, 10}, 1, 1, 3, 3), tensor.FromSlice([]uint8{1, 1, 1, 1}, 1, 1, 2, 2), tensor.Scalar[uint8](1)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int32{12, 16, 24, 28}, 1, 1, 2, 2)}},
		{Name: "groups", In: []*tensor.Tensor{quants[int8](1, 6, 9, 8), quants[int8](4, 3, 3, 3), tensor.Scalar[int8](-5)}, Attrs: map[string]*ir.Attr{"group": ir.Int(2), "strides": ir.Ints(2, 1)}},
		{Name: "depthwise", In: []*tensor.Tensor{quants[int8](2, 6, 9, 8), quants[int8](6, 1, 3, 2), tensor.Scalar[int8](-5), tensor.FromSlice([]int8{1, 2, 3, 4, 5, 6})}, Attrs: map[string]*ir.Attr{"group": ir.Int(6), "pads": ir.Ints(1, 1, 0, 0), "dilations": ir.Ints(2, 2)}},
		{Name: "depthwise 3x3", In: []*tensor.Tensor{quants[uint8](2, 6, 9, 8), quants[int8](6, 1, 3, 3), tensor.Scalar[uint8](120)}, Attrs: map[string]*ir.Attr{"group": ir.Int(6), "pads": ir.Ints(1, 1, 1, 1), "strides": ir.Ints(2, 2)}},
		{Name: "depthwise, narrow", In: []*tensor.Tensor{quants[uint8](1, 2, 3, 2), quants[int8](2, 1, 3, 3), tensor.Scalar[uint8](120)}, Attrs: map[string]*ir.Attr{"group": ir.Int(2), "pads": ir.Ints(3, 3, 2, 2)}},
		{Name: "1d", In: []*tensor.Tensor{quants[uint8](1, 5, 40), quants[int8](8, 5, 5)}, Attrs: map[string]*ir.Attr{"strides": ir.Ints(2)}},
		{Name: "pointwise", In: []*tensor.Tensor{quants[uint8](2, 5, 7, 7), quants[int8](8, 5, 1, 1), tensor.Scalar[uint8](9)}},
		{Name: "padded", In: []*tensor.Tensor{quants[uint8](2, 5, 9, 9), quants[int8](17, 5, 3, 3), tensor.Scalar[uint8](131), tensor.Scalar[int8](2)}, Attrs: pads},
	}
}

type qLinearConvCases struct{}

func (qLinearConvCases) Cases() []op.Case {
	s := tensor.Scalar[float32]
	in := func(x, w *tensor.Tensor, ws, wz *tensor.Tensor, b *tensor.Tensor) []*tensor.Tensor {
		return []*tensor.Tensor{x, s(.02), tensor.Scalar[uint8](130), w, ws, wz, s(2.5), tensor.Scalar[uint8](119), b}
	}
	pads := map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1)}
	three := []float32{.1, .07, .04}
	return []op.Case{
		{Name: "per tensor", In: in(quants[uint8](1, 4, 9, 9), quants[int8](17, 4, 3, 3), s(.05), tensor.Scalar[int8](0), nil), Attrs: pads},
		{Name: "per channel", In: in(quants[uint8](2, 4, 6, 7), quants[int8](3, 4, 3, 3), tensor.FromSlice(three), tensor.FromSlice([]int8{0, 2, -4}), tensor.FromSlice([]int32{100, -2000, 0})), Attrs: pads},
		{Name: "depthwise", In: in(quants[uint8](2, 3, 6, 7), quants[int8](3, 1, 3, 3), tensor.FromSlice(three), tensor.FromSlice([]int8{0, 0, 0}), nil),
			Attrs: map[string]*ir.Attr{"group": ir.Int(3), "strides": ir.Ints(2, 2)}},
	}
}

func inferConv(c *op.Infer, w int, dt dtype.Type) error {
	s, err := spatial.ConvShape(c.Node, c.In[0], c.In[w])
	if err != nil {
		return err
	}
	c.Set(0, dt, s)
	return nil
}

// accumulate convolves integers less their zero points.
func accumulate(n *ir.Node, x, w, xz, wz *tensor.Tensor) (*spatial.Geometry, []int64, error) {
	g, err := spatial.Resolve(n, x.Shape, w.Shape)
	if err != nil {
		return nil, nil, err
	}
	xv, wv := num.Int64s(x), num.Int64s(w)
	if xz != nil {
		if xz.Len() != 1 {
			return nil, nil, fmt.Errorf("x_zero_point is %s, expected one number", xz)
		}
		subtract(xv, num.Int64s(xz))
	}
	if wz != nil {
		if n := wz.Len(); n != 1 && n != g.Out {
			return nil, nil, fmt.Errorf("w_zero_point is %s, expected one number or %d", wz, g.Out)
		}
		subtract(wv, num.Int64s(wz))
	}
	y, err := spatial.Conv(g, xv, wv)
	return g, y, err
}

// subtract takes zero points off v, one for each equal part of it.
func subtract(v, zero []int64) {
	for i := range v {
		v[i] -= zero[i/(len(v)/len(zero))]
	}
}

func convIntegerRef(c *op.Call) error {
	g, y, err := accumulate(c.Node, c.In[0], c.In[1], c.Input(2), c.Input(3))
	if err != nil {
		return err
	}
	num.SetInt64s(c.Output(0, dtype.Int32, g.Shape...), y)
	return nil
}

func qlinearConvRef(c *op.Call) error {
	g, acc, err := accumulate(c.Node, c.In[0], c.In[3], c.In[2], c.In[5])
	if err != nil {
		return err
	}
	xs, err := num.Scalar(c.In[1])
	if err != nil {
		return fmt.Errorf("x_scale: %w", err)
	}
	ys, err := num.Scalar(c.In[6])
	if err != nil {
		return fmt.Errorf("y_scale: %w", err)
	}
	yz, err := num.Scalar(c.In[7])
	if err != nil {
		return fmt.Errorf("y_zero_point: %w", err)
	}
	ws := num.Float32s(c.In[4])
	if n := len(ws); n != 1 && n != g.Out {
		return fmt.Errorf("w_scale is %s, expected one number or %d", c.In[4], g.Out)
	}
	bias := make([]float32, g.Out)
	if b := c.Input(8); b != nil {
		if b.Len() != g.Out {
			return fmt.Errorf("bias is %s, expected %d numbers", b, g.Out)
		}
		bias = num.Float32s(b)
	}
	dt := c.In[7].DType
	area := tensor.Count(g.Shape[2:])
	y := make([]float64, len(acc))
	for i := range y {
		ch := i / area % g.Out
		scale := float32(float32(xs)*ws[ch%len(ws)]) / float32(ys)
		v := float32(float32(acc[i])*scale) + float32(bias[ch]*scale)
		y[i] = saturate(math.RoundToEven(float64(v))+yz, dt)
	}
	num.SetFloats(c.Output(0, dt, g.Shape...), y)
	return nil
}
