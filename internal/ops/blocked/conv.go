package blocked

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := spatial.Attrs()
	attrs["group"] = op.Default(ir.Int(1))
	attrs["activation"], attrs["activation_params"] = op.Default(ir.Str("")), op.Opt(ir.KindFloats)
	attrs["block"], attrs["channels"] = op.Required(ir.KindInt), op.Required(ir.KindInt)
	attrs["algorithm"] = op.Opt(ir.KindString)
	attrs["bf16"], attrs["residual_last"] = op.Opt(ir.KindInt), op.Opt(ir.KindInt)
	op.Register(&op.Op{
		Domain: op.Salver, Name: "BlockedConv", Versions: []int{1},
		Doc: "two-dimensional convolution with a blocked result: activation(conv(X, W) + B + Z), or activation(conv(X, W) + B) + Z where residual_last is 1. X of so many channels is plain where it has four dimensions; Z is blocked like the result, which is of bfloat16 where bf16 is 1.",
		In:  op.Ports("X:X", "W:T", "B:T?", "Z:Z?"), Out: op.Ports("Y:Y"), Types: op.Types{"T": {dtype.Float32}, "X": stored, "Z": stored, "Y": stored}, Attrs: attrs,
		Infer: inferConv, Ref: convRef, Compile: compileConv, Flops: convFlops, Rows: rowsConv, Cases: convCases{},
	})
}

// activations are the names of the activations that the kernels apply.
var activations = map[string]struct {
	kind   conv.Kind
	params int
}{
	"": {conv.None, 0}, "relu": {conv.Relu, 0}, "clip": {conv.Clip, 2}, "leakyrelu": {conv.LeakyRelu, 1},
	"hardswish": {conv.HardSwish, 0}, "sigmoid": {conv.Sigmoid, 0}, "silu": {conv.Silu, 0},
}

// HasActivation reports whether BlockedConv can apply an activation.
func HasActivation(name string) bool { _, ok := activations[name]; return ok }

func activation(n *ir.Node) (conv.Activation, error) {
	a, ok := activations[n.Str("activation")]
	p := n.Floats("activation_params")
	if !ok || len(p) != a.params {
		return conv.Activation{}, fmt.Errorf("activation %q with parameters %v is unknown", n.Str("activation"), p)
	}
	act := conv.Activation{Kind: a.kind}
	switch a.kind {
	case conv.Clip:
		act.Lo, act.Hi = p[0], p[1]
	case conv.LeakyRelu:
		act.Alpha = p[0]
	}
	return act, nil
}

// plainInput gives the shape [N,C,H,W] of input X, plain or blocked.
func plainInput(n *ir.Node, x shape.Shape) (shape.Shape, error) {
	if len(x) == 4 {
		return x, nil
	}
	if err := checkBlocked(x, n.Int("channels"), n.Int("block")); err != nil {
		return nil, err
	}
	return plainShape(x, n.Int("channels")), nil
}

func inferConv(c *op.Infer) error {
	if _, err := activation(c.Node); err != nil {
		return err
	}
	b := c.Node.Int("block")
	if b < 1 || b > maxBlock {
		return fmt.Errorf("block is %d, expected 1 to %d", b, maxBlock)
	}
	if c.In[0].Shape == nil || c.In[1].Shape == nil {
		return nil
	}
	x, err := plainInput(c.Node, c.In[0].Shape)
	if err != nil {
		return err
	}
	s, err := spatial.ConvShape(c.Node, op.Fact{Type: ir.Type{Shape: x}}, c.In[1])
	if err != nil {
		return err
	}
	if err := checkBias(c.Input(2), c.In[1].Shape[0]); err != nil {
		return err
	}
	out := Shape(s, b)
	if z := c.Input(3); z.Present && !z.Shape.Compatible(out) {
		return fmt.Errorf("residual has shape %v, expected %v", z.Shape, out)
	}
	c.Set(0, storedAs(c.Node), out)
	return nil
}

// params gives the kernel's parameters for constant shapes and the spatial
// size of the input.
func params(n *ir.Node, x, w []int, residual bool) (p conv.Params, in []int, err error) {
	s, err := plainInput(n, shape.Of(x...))
	if err != nil {
		return p, nil, err
	}
	xs, _ := s.Ints()
	g, err := spatial.Resolve(n, xs, w)
	if err != nil {
		return p, nil, err
	}
	p = conv.Params{In: g.In, Out: g.Out, Groups: g.Groups, Residual: residual, ResidualLast: residual && n.Bool("residual_last")}
	for _, d := range g.Dims {
		p.Kernel, p.Stride, p.Dilation = append(p.Kernel, d.Kernel), append(p.Stride, d.Stride), append(p.Dilation, d.Dilation)
		p.Pads = append(p.Pads, d.Begin)
	}
	for _, d := range g.Dims {
		p.Pads = append(p.Pads, d.End)
	}
	p.Act, err = activation(n)
	return p, xs[2:], err
}

func convRef(c *op.Call) error {
	x, w := c.In[0], c.In[1]
	if len(x.Shape) == 4 && x.DType != dtype.Float32 {
		return fmt.Errorf("input X is %v, expected float32 in plain layout", x.DType)
	}
	if len(x.Shape) == 5 {
		x = plain(x, c.Node.Int("channels"))
	}
	var residual, bias []float32
	p, in, err := params(c.Node, x.Shape, w.Shape, c.Input(3) != nil)
	if err != nil {
		return err
	}
	if z := c.Input(3); z != nil {
		residual = tensor.Of[float32](plain(z, p.Out))
	}
	last := p.ResidualLast
	if last {
		p.Residual, p.ResidualLast = false, false
	}
	if b := c.Input(2); b != nil {
		bias = tensor.Of[float32](b)
	}
	size, err := p.OutSpatial(in)
	if err != nil {
		return err
	}
	y := tensor.New(dtype.Float32, x.Shape[0], p.Out, size[0], size[1])
	before := residual
	if last {
		before = nil
	}
	if err := conv.Reference(p, in, x.Shape[0], tensor.Of[float32](x), tensor.Of[float32](w), bias, before, tensor.Of[float32](y)); err != nil {
		return err
	}
	if last {
		for i, z := range residual {
			tensor.Of[float32](y)[i] += z
		}
	}
	block(c.Output(0, storedAs(c.Node), blockedDims(x.Shape[0], p.Out, size[0], size[1], c.Node.Int("block"))...), y)
	return nil
}

// convKernel runs a prepared convolution.
type convKernel struct {
	run     *conv.Runner
	weights []float32
	n       int
	scratch int // bytes
}

func (k *convKernel) ScratchBytes() int { return k.scratch }

func (k *convKernel) Run(c *op.Call) error {
	o := conv.Operands{N: k.n, In: tensor.Of[float32](c.In[0]), Weights: k.weights, Out: tensor.Of[float32](c.Out[0]),
		Scratch: tensor.View[float32](c.Scratch)}
	if z := c.Input(3); z != nil {
		o.Residual = tensor.Of[float32](z)
	}
	return k.run.Run(c.Pool, o)
}

func compileConv(p *op.Prep) (op.Kernel, error) {
	w := p.In[1].Const
	if w == nil || p.Has(2) && p.In[2].Const == nil {
		return nil, nil // the passes make constants only
	}
	if !levelFits(p.Node) {
		return nil, nil
	}
	x := p.InShape(0)
	prm, in, err := params(p.Node, x, w.Shape, p.Has(3))
	if err != nil {
		return nil, err
	}
	prm.BF16 = p.Precision == op.BF16
	prm.Stored = conv.Stored{In: isBF16(p.In[0]), Residual: p.Has(3) && isBF16(p.In[3]), Out: storedAs(p.Node) == dtype.BFloat16}
	if prm.Stored != (conv.Stored{}) && conv.DepthFits(prm, cpu.Level()) {
		return compileDepth(p, prm, x[0], in)
	}
	if (prm.Stored != (conv.Stored{}) || prm.ResidualLast) && !conv.HalfFits(prm, cpu.Level()) {
		return nil, nil
	}
	spatial.Tune(p, &prm, in, cpu.Level())
	plan, err := conv.New(prm, in, cpu.Level())
	if err != nil {
		return nil, err
	}
	if plan.Algorithm().InBlocked() != (len(x) == 5) || !plan.Algorithm().OutBlocked() {
		return nil, fmt.Errorf("the %s algorithm does not take an input of shape %v", plan.Algorithm(), x)
	}
	var bias []float32
	if p.Has(2) {
		bias = tensor.Of[float32](p.In[2].Const)
	}
	p.OnlyPacked(1)
	packed := p.Pack("conv/"+plan.Algorithm().Packing(), 4*plan.PackedSize(), func(b []byte) {
		err = plan.Pack(tensor.View[float32](b), tensor.Of[float32](w), bias)
	})
	if err != nil {
		return nil, err
	}
	if half := plan.Half(); half != nil {
		return newHalfConv(x[0], packed, p.Threads, half), nil
	}
	return &convKernel{plan.NewRunner(), tensor.View[float32](packed), x[0], 4 * plan.ScratchSize(p.Threads)}, nil
}

func convFlops(in, out []op.Fact) float64 {
	w, ok := in[1].Shape.Ints()
	y, ok2 := out[0].Shape.Ints()
	if !ok || !ok2 {
		return 0
	}
	return 2 * float64(tensor.Count(w)) * float64(y[0]*y[2]*y[3])
}

// rowsConv: the input and the residual carry rows in their first dimension.
func rowsConv(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		if (i == 1 || i == 2) && a != op.NoRows || a > 0 {
			return nil, false
		}
	}
	if len(in) > 3 && n.In[3] != nil && in[3] != in[0] {
		return nil, false
	}
	return []int{in[0]}, true
}

type convCases struct{}

func (convCases) Cases() []op.Case {
	b := conv.Block(cpu.Level())
	attrs := func(channels int, more map[string]*ir.Attr) map[string]*ir.Attr {
		m := map[string]*ir.Attr{"block": ir.Int(b), "channels": ir.Int(channels)}
		for k, a := range more {
			m[k] = a
		}
		return m
	}
	pad := ir.Ints(1, 1, 1, 1)
	return []op.Case{
		{Name: "first layer", In: []*tensor.Tensor{ramp(2, 3, 11, 10), ramp(17, 3, 3, 3), ramp(17)}, Attrs: attrs(3, map[string]*ir.Attr{"strides": ir.Ints(2, 2), "activation": ir.Str("relu")})},
		{Name: "3x3 residual", In: []*tensor.Tensor{blockedRamp(1, 20, 7, 6, b), ramp(18, 20, 3, 3), ramp(18), blockedRamp(1, 18, 7, 6, b)},
			Attrs: attrs(20, map[string]*ir.Attr{"pads": pad, "activation": ir.Str("clip"), "activation_params": ir.Floats(0, 60)})},
		{Name: "pointwise", In: []*tensor.Tensor{blockedRamp(2, 33, 5, 7, b), ramp(40, 33, 1, 1)}, Attrs: attrs(33, map[string]*ir.Attr{"activation": ir.Str("leakyrelu"), "activation_params": ir.Floats(.5)})},
		{Name: "depthwise", In: []*tensor.Tensor{blockedRamp(1, 19, 9, 8, b), ramp(19, 1, 3, 3), ramp(19)}, Attrs: attrs(19, map[string]*ir.Attr{"group": ir.Int(19), "pads": pad, "strides": ir.Ints(2, 2)})},
		{Name: "stored in bfloat16", In: []*tensor.Tensor{narrowed(blockedRamp(2, 40, 7, 6, b)), ramp(18, 40, 3, 3), ramp(18), narrowed(blockedRamp(2, 18, 7, 6, b))},
			Attrs: attrs(40, map[string]*ir.Attr{"pads": pad, "activation": ir.Str("relu"), "bf16": ir.Int(1)}), Tol: 1e-2},
		{Name: "added to an activation", In: []*tensor.Tensor{blockedRamp(1, 40, 7, 6, b), ramp(18, 40, 1, 1), ramp(18), narrowed(blockedRamp(1, 18, 7, 6, b))},
			Attrs: attrs(40, map[string]*ir.Attr{"activation": ir.Str("relu"), "residual_last": ir.Int(1)}), Tol: 1e-2},
		{Name: "depthwise in bfloat16", In: []*tensor.Tensor{narrowed(blockedRamp(1, 19, 9, 8, b)), ramp(19, 1, 3, 3), ramp(19)},
			Attrs: attrs(19, map[string]*ir.Attr{"group": ir.Int(19), "pads": pad, "strides": ir.Ints(2, 2), "bf16": ir.Int(1)}), Tol: 1e-2},
		{Name: "groups in bfloat16", In: []*tensor.Tensor{narrowed(blockedRamp(2, 72, 7, 6, b)), ramp(48, 24, 3, 3), ramp(48)},
			Attrs: attrs(72, map[string]*ir.Attr{"group": ir.Int(3), "pads": pad, "activation": ir.Str("relu"), "bf16": ir.Int(1)}), Tol: 1e-2},
		{Name: "activated in bfloat16", In: []*tensor.Tensor{blockedRamp(1, 20, 7, 6, b), ramp(18, 20, 1, 1), ramp(18)},
			Attrs: attrs(20, map[string]*ir.Attr{"activation": ir.Str("silu"), "bf16": ir.Int(1)}), Tol: 1e-2},
		{Name: "by Winograd's algorithm", In: []*tensor.Tensor{blockedRamp(1, 20, 28, 29, b), ramp(18, 20, 3, 3), ramp(18)}, Attrs: attrs(20, map[string]*ir.Attr{"pads": pad, "algorithm": ir.Str("winograd")}), Tol: 1e-5},
		{Name: "too small for it", In: []*tensor.Tensor{blockedRamp(1, 20, 7, 6, b), ramp(18, 20, 3, 3), ramp(18)}, Attrs: attrs(20, map[string]*ir.Attr{"pads": pad, "algorithm": ir.Str("winograd")})},
		{Name: "same upper", In: []*tensor.Tensor{blockedRamp(1, 24, 8, 7, b), ramp(16, 24, 2, 3)}, Attrs: attrs(24, map[string]*ir.Attr{"auto_pad": ir.Str("SAME_UPPER"), "strides": ir.Ints(2, 2)})},
	}
}
