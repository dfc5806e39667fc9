package fused

import (
	"errors"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/qconv"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Inputs of QConv.
const (
	qcX = iota
	qcW
	qcScale
	qcBias
	qcZ
)

func init() {
	attrs := quantAttrs(spatial.Attrs())
	attrs["group"], attrs["channels_last"] = op.Default(ir.Int(1)), op.Default(ir.Int(0))
	for _, name := range []string{"z_zero", "mid_type", "mid_zero", "mid_lo", "mid_hi"} {
		attrs[name] = op.Default(ir.Int(0))
	}
	for _, name := range []string{"z_scale", "mid_scale", "y_scale"} {
		attrs[name] = op.Default(ir.Float(1))
	}
	op.Register(&op.Op{
		Domain: op.Salver, Name: "QConv", Versions: []int{1},
		Doc: "saturate(round(float32(bias + Σ (X - x_zero)·W) · scale) + y_zero), at least lo and at most hi: a convolution of 8-bit integers; W of type int16 is from -255 to 255. " +
			"With Z, the convolution is rounded to mid_type with mid_zero, within mid_lo and mid_hi, and Y is round(((mid - mid_zero)·mid_scale + (Z - z_zero)·z_scale) / y_scale) + y_zero. " +
			"With channels_last, X, Y and Z are [N, H, W, C].",
		In:  op.Ports("X:T1", "W:T4", "scale:float32", "bias:int32?", "Z:T2?"),
		Out: op.Ports("Y:T3"), Types: op.Types{"T1": bytes8, "T2": bytes8, "T3": bytes8, "T4": {dtype.Int8, dtype.Int16}}, Attrs: attrs,
		Infer: inferQConv, Ref: qConvRef, Compile: compileQConv, Flops: qConvFlops, Rows: rowsQConv, Cases: qConvCases{},
	})
}

// quantAttrs adds what the bytes of X and Y stand for.
func quantAttrs(a op.Attrs) op.Attrs {
	for _, name := range []string{"x_zero", "y_zero", "lo"} {
		a[name] = op.Default(ir.Int(0))
	}
	a["hi"], a["y_type"] = op.Default(ir.Int(255)), op.Default(ir.Int(int(dtype.Uint8)))
	return a
}

// yType reads the type of the output.
func yType(n *ir.Node) (dtype.Type, error) {
	dt := n.DType("y_type")
	if dt != dtype.Uint8 && dt != dtype.Int8 {
		return dt, fmt.Errorf("y_type is %s, expected uint8 or int8", dt)
	}
	return dt, nil
}

// channelsFirst gives the shape [N, C, …] of a tensor in the layout of a node.
func channelsFirst(n *ir.Node, s shape.Shape) shape.Shape {
	if !n.Bool("channels_last") || len(s) < 3 {
		return s
	}
	last := len(s) - 1
	return append(shape.Shape{s[0], s[last]}, s[1:last]...)
}

// channelsLast is the inverse of channelsFirst.
func channelsLast(n *ir.Node, s shape.Shape) shape.Shape {
	if !n.Bool("channels_last") || len(s) < 3 {
		return s
	}
	return append(append(shape.Shape{s[0]}, s[2:]...), s[1])
}

func inferQConv(c *op.Infer) error {
	dt, err := yType(c.Node)
	if err != nil {
		return err
	}
	x := channelsFirst(c.Node, c.In[qcX].Shape)
	if x != nil && len(x) != 4 {
		return fmt.Errorf("X has shape %v, expected 4 dimensions", c.In[qcX].Shape)
	}
	s, err := spatial.ConvShape(c.Node, op.Fact{Type: ir.Type{Shape: x}}, c.In[qcW])
	if err != nil {
		return err
	}
	out := channelsLast(c.Node, s)
	if z := c.Input(qcZ); z.Present && !z.Shape.Compatible(out) {
		return fmt.Errorf("residual has shape %v, expected %v", z.Shape, out)
	}
	c.Set(0, dt, out)
	return nil
}

// qConvGeometry gives the kernel's parameters for shapes, and the input's batch,
// height and width.
func qConvGeometry(n *ir.Node, x []int, w *tensor.Tensor, xt, zt dtype.Type) (p qconv.Params, size [3]int, err error) {
	s, _ := channelsFirst(n, shape.Of(x...)).Ints()
	g, err := spatial.Resolve(n, s, w.Shape)
	if err != nil {
		return p, size, err
	}
	p = qconv.Params{In: g.In, Out: g.Out, Groups: g.Groups}
	if v := weightsOf(w, nil, nil).Wide; len(v) > 0 {
		p.Parts = qconv.PartsFor(int(slices.Min(v)), int(slices.Max(v)))
	}
	for _, d := range g.Dims {
		p.Kernel, p.Stride, p.Dilation = append(p.Kernel, d.Kernel), append(p.Stride, d.Stride), append(p.Dilation, d.Dilation)
		p.Pads = append(p.Pads, d.Begin)
	}
	for _, d := range g.Dims {
		p.Pads = append(p.Pads, d.End)
	}
	quantParams(n, &p, xt)
	if zt != dtype.Invalid {
		p.Residual = &qconv.Residual{Format: format(zt, n.Int("z_zero")), Scale: n.Float("z_scale"), Mid: format(n.DType("mid_type"), n.Int("mid_zero")),
			MidLo: int32(n.Int("mid_lo")), MidHi: int32(n.Int("mid_hi")), MidScale: n.Float("mid_scale"), OutScale: n.Float("y_scale")}
	}
	return p, [3]int{s[0], s[2], s[3]}, nil
}

// quantParams reads what quantAttrs adds.
func quantParams(n *ir.Node, p *qconv.Params, xt dtype.Type) {
	p.Input, p.Output = format(xt, n.Int("x_zero")), format(n.DType("y_type"), n.Int("y_zero"))
	p.Lo, p.Hi = int32(n.Int("lo")), int32(n.Int("hi"))
}

func format(dt dtype.Type, zero int) qconv.Format {
	return qconv.Format{Signed: dt == dtype.Int8, Zero: int32(zero)}
}

func typeOf(t *tensor.Tensor) dtype.Type {
	if t == nil {
		return dtype.Invalid
	}
	return t.DType
}

// weightsOf reads the constants that a convolution is packed from.
func weightsOf(w, scale, bias *tensor.Tensor) qconv.Weights {
	q := qconv.Weights{}
	if scale != nil {
		q.Scale = tensor.Of[float32](scale)
	}
	if w.DType == dtype.Int16 {
		q.Wide = tensor.Of[int16](w)
	} else {
		q.Data = tensor.Of[int8](w)
	}
	if bias != nil {
		q.Bias = tensor.Of[int32](bias)
	}
	return q
}

func qConvRef(c *op.Call) error {
	last := c.Node.Bool("channels_last")
	p, size, err := qConvGeometry(c.Node, c.In[qcX].Shape, c.In[qcW], c.In[qcX].DType, typeOf(c.Input(qcZ)))
	if err != nil {
		return err
	}
	s, err := spatial.ConvShape(c.Node, op.Fact{Type: ir.Type{Shape: channelsFirst(c.Node, shape.Of(c.In[qcX].Shape...))}}, op.Fact{Type: ir.TypeOf(c.In[qcW])})
	if err != nil {
		return err
	}
	dims, _ := channelsLast(c.Node, s).Ints()
	x, z := c.In[qcX].Data, []byte(nil)
	if t := c.Input(qcZ); t != nil {
		z = t.Data
	}
	plain, _ := s.Ints()
	if !last {
		x, z = turned(x, size[0], p.In, size[1]*size[2]), turned(z, plain[0], p.Out, plain[2]*plain[3])
	}
	y := c.Output(0, c.Node.DType("y_type"), dims...)
	out := y.Data
	if !last {
		out = make([]byte, len(y.Data))
	}
	if err := qconv.Reference(p, size[0], size[1], size[2], x, weightsOf(c.In[qcW], c.In[qcScale], c.Input(qcBias)), z, out); err != nil {
		return err
	}
	if !last {
		copy(y.Data, turned(out, plain[0], plain[2]*plain[3], p.Out))
	}
	return nil
}

// turned transposes n matrices of h×w bytes.
func turned(x []byte, n, h, w int) []byte {
	if x == nil {
		return nil
	}
	out := make([]byte, len(x))
	for i, v := range x {
		img, at := i/(h*w), i%(h*w)
		out[img*h*w+at%w*h+at/w] = v
	}
	return out
}

// qConvKernel runs a prepared convolution.
type qConvKernel struct {
	run     *qconv.Runner
	packed  []byte
	n       int
	scratch int
	// Where channels are first: to channels last and back.
	in, out, residual *transpose.Transpose
	sizes             [2]int // bytes of input and output
}

func compileQConv(p *op.Prep) (op.Kernel, error) {
	for _, i := range []int{qcW, qcScale, qcBias} {
		if p.Has(i) && p.In[i].Const == nil {
			return nil, nil // the passes make constants only
		}
	}
	x, out := p.InShape(qcX), p.OutShape(0)
	if tensor.Count(x) == 0 || tensor.Count(out) == 0 {
		return nil, nil
	}
	zt := dtype.Invalid
	if p.Has(qcZ) {
		zt = p.In[qcZ].DType
	}
	prm, size, err := qConvGeometry(p.Node, x, p.In[qcW].Const, p.In[qcX].DType, zt)
	if err != nil {
		return nil, err
	}
	plan, level, err := tunedQConv(p, prm, size[1], size[2])
	if errors.Is(err, qconv.ErrPadding) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := &qConvKernel{n: size[0], sizes: [2]int{tensor.Count(x), tensor.Count(out)}, scratch: plan.ScratchSize(p.Threads)}
	if k.packed, err = packQConv(p, plan, level, p.In[qcW].Const, p.In[qcScale].Const, constOf(p, qcBias)); err != nil {
		return nil, err
	}
	k.run = plan.NewRunner()
	if !p.Node.Bool("channels_last") {
		err = k.turns(prm, size, out, p.Has(qcZ))
	}
	return k, err
}

// fewOfTile is the useful part of tiles' products up to which vectors are faster.
const fewOfTile = 0.25

// tunedQConv asks for the choices that a convolution of integers leaves open, none of
// which changes a bit, and prepares it for the level whose instructions it is to use.
func tunedQConv(p *op.Prep, prm qconv.Params, h, w int) (*qconv.Plan, cpu.Target, error) {
	if p.Threads > 1 {
		prm.Tuning.Split = qconv.Split(p.ChooseIndex(op.Choice{Name: "split", Options: []string{"by-cost", "rows", "channels"}}))
		prm.Tuning.Chunks = p.ChooseNumber("chunks", qconv.DefaultChunks, 1, 2, 8)
	}
	level := cpu.Level()
	plan, err := qconv.New(prm, h, w, level)
	if err != nil || !plan.Tiles() {
		return plan, level, err
	}
	unit := op.Choice{Name: "unit", Options: []string{"tiles", "vectors"}}
	if plan.TileUse() <= fewOfTile {
		slices.Reverse(unit.Options)
	}
	if p.Choose(unit) == "vectors" {
		level = cpu.AVX512
		plan, err = qconv.New(prm, h, w, level)
	}
	return plan, level, err
}

func constOf(p *op.Prep, i int) *tensor.Tensor {
	if !p.Has(i) {
		return nil
	}
	return p.In[i].Const
}

func packQConv(p *op.Prep, plan *qconv.Plan, level cpu.Target, w, scale, bias *tensor.Tensor) ([]byte, error) {
	var err error
	packed := p.Pack("qconv/"+level.String()+"/"+plan.Layout(), plan.PackedSize(), func(b []byte) { err = plan.Pack(b, weightsOf(w, scale, bias)) })
	return packed, err
}

// turns prepares the changes of layout.
func (k *qConvKernel) turns(p qconv.Params, size [3]int, out []int, residual bool) (err error) {
	if k.in, err = transpose.New(1, []int{size[0], p.In, size[1] * size[2]}, []int{0, 2, 1}); err != nil {
		return err
	}
	if residual {
		if k.residual, err = transpose.New(1, []int{out[0], p.Out, out[2] * out[3]}, []int{0, 2, 1}); err != nil {
			return err
		}
	}
	k.out, err = transpose.New(1, []int{out[0], out[2] * out[3], p.Out}, []int{0, 2, 1})
	return err
}

// ScratchBytes is the working memory of a run.
func (k *qConvKernel) ScratchBytes() int {
	if k.in == nil {
		return k.scratch
	}
	n := op.Align(k.scratch) + op.Align(k.sizes[0]) + op.Align(k.sizes[1])
	if k.residual != nil {
		n += op.Align(k.sizes[1])
	}
	return n
}

// Run convolves.
func (k *qConvKernel) Run(c *op.Call) error {
	o := qconv.Operands{N: k.n, In: c.In[qcX].Data, Packed: k.packed, Out: c.Out[0].Data, Scratch: c.Scratch[:k.scratch]}
	if z := c.Input(qcZ); z != nil {
		o.Residual = z.Data
	}
	if k.in == nil {
		return k.run.Run(c.Pool, o)
	}
	rest := c.Scratch[op.Align(k.scratch):]
	in, out := rest[:k.sizes[0]], rest[op.Align(k.sizes[0]):][:k.sizes[1]]
	k.in.Run(c.Pool, in, o.In)
	if k.residual != nil {
		z := rest[op.Align(k.sizes[0])+op.Align(k.sizes[1]):][:k.sizes[1]]
		k.residual.Run(c.Pool, z, o.Residual)
		o.Residual = z
	}
	o.In, o.Out = in, out
	if err := k.run.Run(c.Pool, o); err != nil {
		return err
	}
	k.out.Run(c.Pool, c.Out[0].Data, out)
	return nil
}

func qConvFlops(in, out []op.Fact) float64 {
	w, ok := in[qcW].Shape.Ints()
	y, ok2 := out[0].Shape.Ints()
	if !ok || !ok2 || w[0] == 0 {
		return 0
	}
	return 2 * float64(tensor.Count(w)/w[0]) * float64(tensor.Count(y))
}

// rowsQConv: the input and the residual carry rows in their first dimension.
func rowsQConv(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		if (i != qcX && i != qcZ) && a != op.NoRows || a > 0 {
			return nil, false
		}
	}
	if len(in) > qcZ && n.In[qcZ] != nil && in[qcZ] != in[qcX] {
		return nil, false
	}
	return []int{in[qcX]}, true
}

type qConvCases struct{}

func (qConvCases) Cases() []op.Case {
	attrs := func(last int, more map[string]*ir.Attr) map[string]*ir.Attr {
		m := map[string]*ir.Attr{"channels_last": ir.Int(last), "x_zero": ir.Int(7), "y_zero": ir.Int(101), "lo": ir.Int(20)}
		for k, a := range more {
			m[k] = a
		}
		return m
	}
	pad := map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1)}
	residual := map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1), "z_zero": ir.Int(-3), "z_scale": ir.Float(.02), "mid_type": ir.Int(int(dtype.Uint8)), "mid_zero": ir.Int(90),
		"mid_hi": ir.Int(255), "mid_scale": ir.Float(.03), "y_scale": ir.Float(.04)}
	s := tensor.Scalar[float32](.0007)
	scales := wave(17)
	for i, v := range tensor.Of[float32](scales) {
		tensor.Of[float32](scales)[i] = (v + 1.5) / 3000
	}
	bias := tensor.New(dtype.Int32, 17)
	for i := range 17 {
		tensor.Of[int32](bias)[i] = int32(i*1000 - 8000)
	}
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]uint8{8, 9, 10, 17}, 1, 1, 2, 2), tensor.FromSlice([]int8{2}, 1, 1, 1, 1), tensor.Scalar[float32](.25), tensor.FromSlice([]int32{1})},
			Attrs: attrs(0, nil), Out: []*tensor.Tensor{tensor.FromSlice([]uint8{102, 102, 103, 106}, 1, 1, 2, 2)}},
		{Name: "padded", In: []*tensor.Tensor{bytesOf[uint8](2, 5, 9, 8), bytesOf[int8](17, 5, 3, 3), scales, bias}, Attrs: attrs(0, pad)},
		{Name: "channels last", In: []*tensor.Tensor{bytesOf[int8](2, 9, 8, 8), bytesOf[int8](17, 8, 1, 1), scales, bias}, Attrs: attrs(1, nil)},
		{Name: "residual", In: []*tensor.Tensor{bytesOf[uint8](1, 4, 9, 8), bytesOf[int8](17, 4, 3, 3), scales, nil, bytesOf[int8](1, 17, 9, 8)}, Attrs: attrs(0, residual)},
		{Name: "residual, channels last", In: []*tensor.Tensor{bytesOf[uint8](2, 9, 8, 4), bytesOf[int8](17, 4, 3, 3), s, bias, bytesOf[int8](2, 9, 8, 17)}, Attrs: attrs(1, residual)},
		{Name: "wide weights", In: []*tensor.Tensor{bytesOf[uint8](1, 5, 9, 8), wideWeights(17, 5, 3, 3), scales, bias}, Attrs: attrs(0, pad)},
		{Name: "depthwise", In: []*tensor.Tensor{bytesOf[uint8](1, 9, 8, 16), bytesOf[int8](16, 1, 3, 3), s}, Attrs: attrs(1, map[string]*ir.Attr{"group": ir.Int(16), "auto_pad": ir.Str("SAME_UPPER"), "strides": ir.Ints(2, 2)})},
	}
}

// wideWeights makes numbers from -255 to 255.
func wideWeights(dims ...int) *tensor.Tensor {
	v := make([]int16, tensor.Count(dims))
	for i := range v {
		v[i] = int16((i*i*7+i*31)%511 - 255)
	}
	return tensor.FromSlice(v, dims...)
}
