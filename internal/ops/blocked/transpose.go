package blocked

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	types := op.Types{"T": {dtype.Float32}, "X": stored, "Y": stored}
	op.Register(&op.Op{
		Domain: op.Salver, Name: "BlockedConvTranspose", Versions: []int{1},
		Doc: "two-dimensional transposed convolution from and to blocked layout; X has so many channels, Y is of bfloat16 where bf16 is 1",
		In:  op.Ports("X:X", "W:T", "B:T?"), Out: op.Ports("Y:Y"), Types: types,
		Attrs: op.Attrs{
			"group": op.Default(ir.Int(1)), "strides": op.Default(ir.Ints(1, 1)), "dilations": op.Default(ir.Ints(1, 1)),
			"pads": op.Default(ir.Ints(0, 0, 0, 0)), "output_padding": op.Default(ir.Ints(0, 0)),
			"block": op.Required(ir.KindInt), "channels": op.Required(ir.KindInt), "bf16": op.Opt(ir.KindInt),
		},
		Infer: inferTranspose, Ref: transposeRef, Compile: compileTranspose, Flops: transposeFlops, Rows: op.RowsFirst, Cases: transposeCases{},
	})
}

// TransposeParams gives the kernel's parameters for weights [C, M/group, kH, kW].
func TransposeParams(n *ir.Node, w []int) (conv.TransposeParams, error) {
	g := n.Int("group")
	if len(w) != 4 || g < 1 || w[0]%g != 0 {
		return conv.TransposeParams{}, fmt.Errorf("weights have shape %v in %d groups, expected [C,M/group,kH,kW]", w, g)
	}
	return conv.TransposeParams{
		Params: conv.Params{In: w[0], Out: w[1] * g, Groups: g, Kernel: w[2:],
			Stride: n.Ints("strides"), Dilation: n.Ints("dilations"), Pads: n.Ints("pads")},
		OutputPadding: n.Ints("output_padding"),
	}, nil
}

func inferTranspose(c *op.Infer) error {
	x, w := c.In[0].Shape, c.In[1].Shape
	if x == nil || w == nil {
		return nil
	}
	b := c.Node.Int("block")
	if err := checkBlocked(x, c.Node.Int("channels"), b); err != nil {
		return err
	}
	ws, ok := w.Ints()
	if !ok {
		return nil
	}
	p, err := TransposeParams(c.Node, ws)
	if err != nil {
		return err
	}
	if p.In != c.Node.Int("channels") {
		return fmt.Errorf("input X has %d channels, weights expect %d", c.Node.Int("channels"), p.In)
	}
	if err := checkBias(c.Input(2), shape.Const(p.Out)); err != nil {
		return err
	}
	var sides shape.Shape
	for i, d := range x[2:4] {
		// Sizes are linear in the input's.
		const at = 1 << 12
		out, err := p.OutSpatial([]int{at, at})
		if err != nil {
			return err
		}
		sides = append(sides, d.Mul(shape.Const(p.Stride[i])).Add(shape.Const(out[i]-at*p.Stride[i])))
	}
	c.Set(0, storedAs(c.Node), Shape(shape.Shape{x[0], shape.Const(p.Out), sides[0], sides[1]}, b))
	return nil
}

func transposeRef(c *op.Call) error {
	x, w := plain(c.In[0], c.Node.Int("channels")), c.In[1]
	p, err := TransposeParams(c.Node, w.Shape)
	if err != nil {
		return err
	}
	size, err := p.OutSpatial(x.Shape[2:])
	if err != nil {
		return err
	}
	var bias []float32
	if b := c.Input(2); b != nil {
		bias = tensor.Of[float32](b)
	}
	y := tensor.New(dtype.Float32, x.Shape[0], p.Out, size[0], size[1])
	err = conv.ReferenceTranspose(p, x.Shape[2:], x.Shape[0], tensor.Of[float32](x), tensor.Of[float32](w), bias, nil, tensor.Of[float32](y))
	if err != nil {
		return err
	}
	block(c.Output(0, storedAs(c.Node), blockedDims(x.Shape[0], p.Out, size[0], size[1], c.Node.Int("block"))...), y)
	return nil
}

// transposeKernel runs a prepared transposed convolution.
type transposeKernel struct {
	run     *conv.TransposeRunner
	weights []float32
	n       int
	scratch int // bytes
}

func (k *transposeKernel) ScratchBytes() int { return k.scratch }

func (k *transposeKernel) Run(c *op.Call) error {
	return k.run.Run(c.Pool, conv.Operands{N: k.n, In: tensor.Of[float32](c.In[0]), Weights: k.weights, Out: tensor.Of[float32](c.Out[0]),
		Scratch: tensor.View[float32](c.Scratch)})
}

func compileTranspose(p *op.Prep) (op.Kernel, error) {
	w := p.In[1].Const
	if w == nil || p.Has(2) && p.In[2].Const == nil || !levelFits(p.Node) {
		return nil, nil
	}
	x := p.InShape(0)
	if tensor.Count(x) == 0 {
		return nil, nil
	}
	prm, err := TransposeParams(p.Node, w.Shape)
	if err != nil {
		return nil, err
	}
	prm.BF16 = p.Precision == op.BF16
	prm.Stored = conv.Stored{In: isBF16(p.In[0]), Out: storedAs(p.Node) == dtype.BFloat16}
	if prm.Stored != (conv.Stored{}) && !conv.HalfFitsTranspose(prm, cpu.Level()) {
		return nil, nil
	}
	plan, err := conv.NewTranspose(prm, x[2:4], cpu.Level())
	if err != nil {
		return nil, err
	}
	if !plan.Algorithm().InBlocked() || !plan.Algorithm().OutBlocked() {
		return nil, fmt.Errorf("the %s algorithm does not work on blocks", plan.Algorithm())
	}
	var bias []float32
	if p.Has(2) {
		bias = tensor.Of[float32](p.In[2].Const)
	}
	p.OnlyPacked(1)
	packed := p.Pack("transposed", 4*plan.PackedSize(), func(b []byte) {
		err = plan.Pack(tensor.View[float32](b), tensor.Of[float32](w), bias)
	})
	if err != nil {
		return nil, err
	}
	if halves := plan.Halves(); len(halves) > 0 {
		return newHalfConv(x[0], packed, p.Threads, halves...), nil
	}
	return &transposeKernel{plan.NewRunner(), tensor.View[float32](packed), x[0], 4 * plan.ScratchSize(p.Threads)}, nil
}

func transposeFlops(in, _ []op.Fact) float64 {
	x, ok := in[0].Shape.Ints()
	w, ok2 := in[1].Shape.Ints()
	if !ok || !ok2 {
		return 0
	}
	return 2 * float64(tensor.Count(w)) * float64(x[0]*x[2]*x[3])
}

type transposeCases struct{}

func (transposeCases) Cases() []op.Case {
	b := conv.Block(cpu.Level())
	attrs := func(channels int, more map[string]*ir.Attr) map[string]*ir.Attr {
		m := map[string]*ir.Attr{"block": ir.Int(b), "channels": ir.Int(channels)}
		for k, a := range more {
			m[k] = a
		}
		return m
	}
	return []op.Case{
		{Name: "upsampling", In: []*tensor.Tensor{blockedRamp(2, 32, 5, 6, b), ramp(32, 16, 2, 2), ramp(16)}, Attrs: attrs(32, map[string]*ir.Attr{"strides": ir.Ints(2, 2)})},
		{Name: "stored in bfloat16", In: []*tensor.Tensor{narrowed(blockedRamp(2, 32, 5, 6, b)), ramp(32, 16, 2, 2), ramp(16)},
			Attrs: attrs(32, map[string]*ir.Attr{"strides": ir.Ints(2, 2), "bf16": ir.Int(1)}), Tol: 1e-2},
		{Name: "4x4", In: []*tensor.Tensor{blockedRamp(1, 20, 7, 6, b), ramp(20, 18, 4, 4)},
			Attrs: attrs(20, map[string]*ir.Attr{"strides": ir.Ints(2, 2), "pads": ir.Ints(1, 1, 1, 1)})},
		{Name: "depthwise", In: []*tensor.Tensor{blockedRamp(1, 24, 7, 6, b), ramp(24, 1, 3, 3), ramp(24)},
			Attrs: attrs(24, map[string]*ir.Attr{"group": ir.Int(24), "strides": ir.Ints(2, 2), "pads": ir.Ints(1, 1, 1, 1), "output_padding": ir.Ints(1, 1)})},
	}
}
