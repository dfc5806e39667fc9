package fused

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/qconv"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := spatial.Attrs()
	attrs["ceil_mode"] = op.Default(ir.Int(0))
	op.Register(&op.Op{
		Domain: op.Salver, Name: "QMaxPool", Versions: []int{1},
		Doc: "MaxPool of 8-bit integers [N, H, W, C].",
		In:  op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": bytes8}, Attrs: attrs,
		Infer: inferQMaxPool, Ref: qMaxPoolRef, Compile: compileQMaxPool, Rows: op.RowsFirst,
		Cases: qMaxPoolCases{},
	})
	op.Register(&op.Op{
		Domain: op.Salver, Name: "QGlobalAveragePool", Versions: []int{1},
		Doc: "round(float32(Σ (X - x_zero)) · x_scale / (area · y_scale)) + y_zero, saturated: the mean of each channel of 8-bit integers. With channels_last, X and Y are [N, H, W, C].",
		In:  op.Ports("X:T1"), Out: op.Ports("Y:T2"), Types: op.Types{"T1": bytes8, "T2": bytes8},
		Attrs: op.Attrs{"x_zero": op.Default(ir.Int(0)), "y_zero": op.Default(ir.Int(0)), "y_type": op.Default(ir.Int(int(dtype.Uint8))),
			"x_scale": op.Default(ir.Float(1)), "y_scale": op.Default(ir.Float(1)), "channels_last": op.Default(ir.Int(0))},
		Infer: inferQMean, Ref: qMeanRef, Compile: compileQMean, Rows: op.RowsFirst,
		Cases: qGlobalAveragePoolCases{},
	})
}

type qMaxPoolCases struct{}

func (qMaxPoolCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]int8{1, -2, 3, -4}, 1, 2, 2, 1)}, Attrs: map[string]*ir.Attr{"kernel_shape": ir.Ints(2, 1)}, Out: []*tensor.Tensor{tensor.FromSlice([]int8{3, -2}, 1, 1, 2, 1)}},
		{Name: "padded", In: []*tensor.Tensor{bytesOf[uint8](2, 9, 8, 70)}, Attrs: map[string]*ir.Attr{"kernel_shape": ir.Ints(3, 3), "strides": ir.Ints(2, 2), "pads": ir.Ints(1, 1, 1, 1)}},
	}
}

type qGlobalAveragePoolCases struct{}

func (qGlobalAveragePoolCases) Cases() []op.Case {
	attrs := func(last int) map[string]*ir.Attr {
		return map[string]*ir.Attr{"channels_last": ir.Int(last), "x_zero": ir.Int(3), "y_zero": ir.Int(7), "x_scale": ir.Float(.02), "y_scale": ir.Float(.01)}
	}
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]uint8{1, 2, 9, 8}, 1, 1, 2, 2)}, Attrs: attrs(0), Out: []*tensor.Tensor{tensor.FromSlice([]uint8{11}, 1, 1, 1, 1)}},
		{Name: "channels first", In: []*tensor.Tensor{bytesOf[uint8](2, 5, 7, 7)}, Attrs: attrs(0)},
		{Name: "channels last", In: []*tensor.Tensor{bytesOf[uint8](2, 7, 9, 37)}, Attrs: attrs(1)},
		{Name: "no images", In: []*tensor.Tensor{bytesOf[uint8](0, 5, 7, 7)}, Attrs: attrs(0), Out: []*tensor.Tensor{bytesOf[uint8](0, 5, 1, 1)}},
	}
}

// poolDims gives the windows along the height and the width of [N, H, W, C].
func poolDims(n *ir.Node, x []int) (h, w window.Dim, err error) {
	win, err := spatial.Read(n, nil)
	if err != nil {
		return h, w, err
	}
	d, err := win.Resolve(x[1:3])
	if err != nil {
		return h, w, err
	}
	return d[0], d[1], nil
}

func inferQMaxPool(c *op.Infer) error {
	s := c.In[0].Shape
	if s == nil {
		c.Set(0, c.In[0].DType, nil)
		return nil
	}
	if len(s) != 4 {
		return fmt.Errorf("X has shape %v, expected 4 dimensions", s)
	}
	w, err := spatial.Read(c.Node, nil)
	if err != nil {
		return err
	}
	size, err := w.OutShape(s[1:3])
	if err != nil {
		return err
	}
	c.Set(0, c.In[0].DType, shape.Shape{s[0], size[0], size[1], s[3]})
	return nil
}

func qMaxPoolRef(c *op.Call) error {
	x := c.In[0]
	h, w, err := poolDims(c.Node, x.Shape)
	if err != nil {
		return err
	}
	y := c.Output(0, x.DType, x.Shape[0], h.Out, w.Out, x.Shape[3])
	m := qconv.NewMaxPool(h, w, x.Shape[3], x.DType == dtype.Int8, cpu.Generic)
	if y.Len() == 0 {
		return nil
	}
	return m.Run(nil, x.Shape[0], x.Data, y.Data, make([]byte, m.ScratchSize(x.Shape[0])))
}

// maxPoolKernel is a prepared pooling.
type maxPoolKernel struct {
	pool *qconv.MaxPool
	n    int
}

func compileQMaxPool(p *op.Prep) (op.Kernel, error) {
	x := p.InShape(0)
	h, w, err := poolDims(p.Node, x)
	if err != nil || tensor.Count(x)*tensor.Count(p.OutShape(0)) == 0 {
		return nil, err
	}
	return &maxPoolKernel{qconv.NewMaxPool(h, w, x[3], p.In[0].DType == dtype.Int8, cpu.Level()), x[0]}, nil
}

// ScratchBytes is the working memory of a run.
func (k *maxPoolKernel) ScratchBytes() int { return k.pool.ScratchSize(k.n) }

// Run computes the maxima.
func (k *maxPoolKernel) Run(c *op.Call) error {
	return k.pool.Run(c.Pool, k.n, c.In[0].Data, c.Out[0].Data, c.Scratch)
}

func inferQMean(c *op.Infer) error {
	dt, err := yType(c.Node)
	if err != nil {
		return err
	}
	s := c.In[0].Shape
	if s == nil {
		c.Set(0, dt, nil)
		return nil
	}
	if len(s) < 3 {
		return fmt.Errorf("X has shape %v, expected at least 3 dimensions", s)
	}
	out := append(shape.Shape{}, channelsFirst(c.Node, s)...)
	for i := 2; i < len(out); i++ {
		out[i] = shape.Const(1)
	}
	c.Set(0, dt, channelsLast(c.Node, out))
	return nil
}

// meanKernel averages images.
type meanKernel struct {
	node           *ir.Node
	format         qconv.Format
	n, c, area     int
	last           bool
	dims           []int
	out            dtype.Type
	xScale, yScale float32
	sums           []int32
}

func newMean(n *ir.Node, x []int, dt dtype.Type) *meanKernel {
	s, _ := channelsFirst(n, shape.Of(x...)).Ints()
	k := &meanKernel{node: n, format: format(dt, n.Int("x_zero")), n: s[0], c: s[1], area: tensor.Count(s[2:]), last: n.Bool("channels_last"),
		out: n.DType("y_type"), xScale: n.Float("x_scale"), yScale: n.Float("y_scale"), sums: make([]int32, s[1])}
	out := append([]int{}, s...)
	for i := 2; i < len(out); i++ {
		out[i] = 1
	}
	k.dims, _ = channelsLast(n, shape.Of(out...)).Ints()
	return k
}

func qMeanRef(c *op.Call) error {
	if c.In[0].Len() == 0 && c.In[0].Shape[0] > 0 {
		return fmt.Errorf("X is %s: nothing to average", c.In[0])
	}
	return newMean(c.Node, c.In[0].Shape, c.In[0].DType).Run(c)
}

func compileQMean(p *op.Prep) (op.Kernel, error) {
	if tensor.Count(p.InShape(0)) == 0 {
		return nil, nil
	}
	return newMean(p.Node, p.InShape(0), p.In[0].DType), nil
}

// Run computes the means.
func (k *meanKernel) Run(c *op.Call) error {
	y := c.Output(0, k.out, k.dims...).Data
	size := k.c * k.area
	for i := range k.n {
		x := c.In[0].Data[i*size:][:size]
		if k.last {
			qconv.Sums(k.sums, x, k.format)
		} else {
			for ch := range k.sums {
				qconv.Sums(k.sums[ch:ch+1], x[ch*k.area:][:k.area], k.format)
			}
		}
		for ch, s := range k.sums {
			y[i*k.c+ch] = k.mean(s)
		}
	}
	return nil
}

func (k *meanKernel) mean(sum int32) byte {
	lo, hi := 0., 255.
	if k.out == dtype.Int8 {
		lo, hi = -128, 127
	}
	v := float32(float32(sum)*k.xScale) / float32(float32(k.area)*k.yScale)
	return byte(int32(min(max(math.RoundToEven(float64(v))+float64(k.node.Int("y_zero")), lo), hi)))
}
