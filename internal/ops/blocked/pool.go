package blocked

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/bconv"
	"github.com/salver-ml/salver/internal/kernels/bpool"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/pooling"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	window := spatial.Attrs()
	for _, a := range []string{"ceil_mode", "count_include_pad"} {
		window[a] = op.Default(ir.Int(0))
	}
	for _, o := range []struct {
		name, doc string
		attrs     op.Attrs
		params    func(n *ir.Node, h, w int) (pooling.Params, error)
	}{
		{"BlockedMaxPool", "MaxPool in blocked layout", window, windowParams(pooling.Max)},
		{"BlockedAveragePool", "AveragePool in blocked layout", window, windowParams(pooling.Average)},
		{"BlockedGlobalMaxPool", "GlobalMaxPool in blocked layout", nil, globalParams(pooling.Max)},
		{"BlockedGlobalAveragePool", "GlobalAveragePool in blocked layout", nil, globalParams(pooling.Average)},
	} {
		p := poolOp{o.attrs == nil, o.params, onlyFloat}
		if o.name == "BlockedMaxPool" { // which is exact
			p.types = op.Types{"T": stored}
		}
		op.Register(&op.Op{
			Domain: op.Salver, Name: o.name, Versions: []int{1}, Doc: o.doc,
			In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: p.types, Attrs: o.attrs,
			Infer: p.infer, Ref: p.ref, Compile: p.compile, Rows: op.RowsFirst, Cases: p,
		})
	}
}

// poolOp is a pooling; params gives the kernel's parameters for an input of
// height h and width w.
type poolOp struct {
	global bool
	params func(n *ir.Node, h, w int) (pooling.Params, error)
	types  op.Types
}

func globalParams(kind pooling.Kind) func(*ir.Node, int, int) (pooling.Params, error) {
	return func(_ *ir.Node, h, w int) (pooling.Params, error) { return pooling.Global(kind, []int{h, w}), nil }
}

func windowParams(kind pooling.Kind) func(*ir.Node, int, int) (pooling.Params, error) {
	return func(n *ir.Node, h, w int) (pooling.Params, error) {
		win, err := spatial.Read(n, nil)
		if err != nil {
			return pooling.Params{}, err
		}
		dims, err := win.Resolve([]int{h, w})
		if err != nil {
			return pooling.Params{}, err
		}
		p := pooling.Params{Kind: kind, Kernel: win.Kernel, Stride: win.Stride, Dilation: win.Dilation,
			Ceil: n.Bool("ceil_mode"), CountIncludePad: n.Bool("count_include_pad")}
		for _, d := range dims {
			p.Pads = append(p.Pads, d.Begin)
		}
		for _, d := range dims {
			p.Pads = append(p.Pads, d.End)
		}
		return p, nil
	}
}

func (o poolOp) infer(c *op.Infer) error {
	s := c.In[0].Shape
	if s == nil {
		return nil
	}
	if len(s) != 5 || s[4].Is(0) {
		return fmt.Errorf("expected a blocked tensor, found %v", s)
	}
	size := shape.Of(1, 1)
	if !o.global {
		w, err := spatial.Read(c.Node, nil)
		if err != nil {
			return err
		}
		if size, err = w.OutShape(s[2:4]); err != nil {
			return err
		}
	}
	c.Set(0, c.In[0].DType, shape.Shape{s[0], s[1], size[0], size[1], s[4]})
	return nil
}

func (o poolOp) ref(c *op.Call) error {
	x := c.In[0]
	channels := x.Shape[1] * x.Shape[4]
	p, err := o.params(c.Node, x.Shape[2], x.Shape[3])
	if err != nil {
		return err
	}
	size, err := p.OutSpatial(x.Shape[2:4])
	if err != nil {
		return err
	}
	y := tensor.New(dtype.Float32, x.Shape[0], channels, size[0], size[1])
	if err := pooling.Reference(p, x.Shape[0]*channels, x.Shape[2:4], tensor.Of[float32](plain(x, channels)), tensor.Of[float32](y), nil); err != nil {
		return err
	}
	block(c.Output(0, x.DType, blockedDims(x.Shape[0], channels, size[0], size[1], x.Shape[4])...), y)
	return nil
}

// poolKernel runs a prepared pooling.
type poolKernel struct {
	run *pooling.Runner
	n   int
}

func (k *poolKernel) Run(c *op.Call) error {
	return k.run.Run(c.Pool, k.n, tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Out[0]))
}

func (o poolOp) compile(p *op.Prep) (op.Kernel, error) {
	s := p.InShape(0)
	if s[4] != conv.Block(cpu.Level()) || tensor.Count(s) == 0 {
		return nil, nil
	}
	prm, err := o.params(p.Node, s[2], s[3])
	if err != nil {
		return nil, err
	}
	if isBF16(p.In[0]) {
		return compileHalfPool(prm, s)
	}
	plan, err := pooling.New(prm, s[1]*s[4], s[2:4], cpu.Level(), true)
	if err != nil {
		return nil, err
	}
	return &poolKernel{plan.NewRunner(), s[0]}, nil
}

// halfPool runs a prepared maximum of bfloat16.
type halfPool struct {
	run *bpool.Runner
	n   int
}

func (k *halfPool) Run(c *op.Call) error {
	return k.run.Run(c.Pool, k.n, c.In[0].Data, c.Out[0].Data)
}

// compileHalfPool prepares the maximum of an input of shape s.
func compileHalfPool(p pooling.Params, s []int) (op.Kernel, error) {
	dims, err := p.Dims(s[2:4])
	if err != nil || s[4] != bconv.Block || !bpool.Supports(dims[0], dims[1]) {
		return nil, err
	}
	return &halfPool{bpool.New(s[1], dims[0], dims[1], cpu.Level()).NewRunner(), s[0]}, nil
}

// Cases are those of the operator.
func (o poolOp) Cases() []op.Case {
	b := conv.Block(cpu.Level())
	x := []*tensor.Tensor{ramp(blockedDims(2, 19, 9, 8, b)...)}
	if o.global {
		return []op.Case{{Name: "9x8", In: x}}
	}
	var cases []op.Case
	if len(o.types["T"]) > 1 {
		cases = []op.Case{{Name: "bfloat16", In: []*tensor.Tensor{narrowed(x[0])}, Attrs: map[string]*ir.Attr{"kernel_shape": ir.Ints(3, 3), "strides": ir.Ints(2, 2), "pads": ir.Ints(1, 1, 1, 1)}}}
	}
	return append(cases, []op.Case{
		{Name: "3x3", In: x, Attrs: map[string]*ir.Attr{"kernel_shape": ir.Ints(3, 3), "strides": ir.Ints(2, 2), "pads": ir.Ints(1, 1, 1, 1)}},
		{Name: "ceil", In: x, Attrs: map[string]*ir.Attr{"kernel_shape": ir.Ints(2, 3), "strides": ir.Ints(2, 2), "ceil_mode": ir.Int(1)}},
	}...)
}
