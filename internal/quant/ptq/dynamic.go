package ptq

import (
	"context"
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/quant"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/tensor"
)

// dynamicOpset is the opset from which DynamicQuantizeLinear exists.
const dynamicOpset = 11

// Dynamic quantizes a graph in place such that ranges of activations are measured
// in each run: products and convolutions multiply integers and give floating
// point. It needs no samples, costs a pass over each activation, and is for models
// that are large products, such as transformers.
//
// One scale for a whole tensor makes the rows of a batch depend on each other, so
// that a server does not batch such a model. Options.PerRow gives each row of a
// product a scale of its own, symmetric, out of standard operators.
func Dynamic(ctx context.Context, g *ir.Graph, o Options) (*report.Report, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	if err := Prepare(ctx, g, o); err != nil {
		return nil, err
	}
	if v := g.Opsets[""]; v < dynamicOpset {
		return nil, fmt.Errorf("the model has opset %d and its operators do not allow a newer one, dynamic quantization needs opset %d: export the model again", v, dynamicOpset)
	}
	p := newPlan(g, &o, func(*ir.Value) bool { return true })
	d := &dynamic{emitter: newEmitter(p, nil), measured: map[*ir.Value]measured{}}
	rep := &report.Report{Method: "dynamic", BytesBefore: ConstantBytes(g)}
	done := 0
	for _, n := range g.Nodes {
		w, err := d.quantize(n)
		if err != nil {
			return nil, err
		}
		if w != nil {
			done++
		}
		d.describe(rep, n, w)
	}
	inside, err := d.quantizeInside(g, rep)
	if err != nil {
		return nil, err
	}
	if done+inside == 0 {
		return nil, nothing(rep)
	}
	if err := d.finish(); err != nil {
		return nil, fmt.Errorf("after quantization: %w", err)
	}
	rep.BytesAfter = ConstantBytes(g)
	return rep, nil
}

// dynamic emits what measures ranges as the model runs.
type dynamic struct {
	*emitter
	measured map[*ir.Value]measured
}

// measured are an activation's integers, their scale and their zero point, which
// is nil for zero.
type measured struct{ q, scale, zero *ir.Value }

func (d *dynamic) quantize(n *ir.Node) (*weights, error) {
	switch d.role[n] {
	case roleEmbed:
		return d.quantizeRows(n)
	case roleStored:
		return d.quantizeStored(n)
	case roleProduct:
		return d.product(n)
	case roleConv:
		if d.o.Ops == nil && !alongOne(n) {
			d.reason[n] = "a convolution with ranges measured in each run is slower than one of floats: quantize it statically, or name Conv among the operators"
			return nil, nil
		}
		return d.conv(n)
	}
	return nil, nil
}

// alongOne reports whether a convolution runs over all channels along one dimension.
func alongOne(n *ir.Node) bool {
	wide := 0
	for _, k := range n.In[1].Const.Shape[2:] {
		if k > 1 {
			wide++
		}
	}
	return wide == 1 && n.Int("group") == 1
}

// measure gives x as integers, once for all that read it.
func (d *dynamic) measure(x *ir.Value, perRow bool) measured {
	m, ok := d.measured[x]
	if !ok {
		if perRow {
			m = d.measureRows(x)
		} else {
			m = d.measureAll(x)
		}
		d.measured[x] = m
	}
	return m
}

func (d *dynamic) measureAll(x *ir.Value) measured {
	m := measured{ir.NewValue(x.Name+"_q", ir.Type{}), ir.NewValue(x.Name+"_scale", ir.Type{}), ir.NewValue(x.Name+"_zero", ir.Type{})}
	n := ir.NewNode("", "DynamicQuantizeLinear", d.opset(""), []*ir.Value{x}, []*ir.Value{m.q, m.scale, m.zero}, nil)
	n.Name = ""
	d.added = append(d.added, n)
	return m
}

// measureRows gives each row along the last axis the scale max|x|/127.
func (d *dynamic) measureRows(x *ir.Value) measured {
	const steps, tiny = 127, 0x1p-126
	magnitude := d.node("", "Abs", x.Name+"_abs", []*ir.Value{x}, nil)
	in, attrs := []*ir.Value{magnitude}, map[string]*ir.Attr{"keepdims": ir.Int(1), "axes": ir.Ints(-1)}
	if d.opset("") >= 18 { // from which axes are an input
		in, attrs = append(in, d.constant("axes", tensor.FromSlice([]int64{-1}, 1))), map[string]*ir.Attr{"keepdims": ir.Int(1)}
	}
	largest := d.node("", "ReduceMax", x.Name+"_max", in, attrs)
	scale := d.node("", "Mul", x.Name+"_step", []*ir.Value{largest, d.constant("part", tensor.Scalar[float32](1./steps))}, nil)
	scale = d.node("", "Max", x.Name+"_scale", []*ir.Value{scale, d.constant("least", tensor.Scalar[float32](tiny))}, nil)
	q := d.node("", "Div", x.Name+"_steps", []*ir.Value{x, scale}, nil)
	q = d.node("", "Round", x.Name+"_round", []*ir.Value{q}, nil)
	q = d.node("", "Cast", x.Name+"_q", []*ir.Value{q}, map[string]*ir.Attr{"to": ir.Int(int(dtype.Int8))})
	return measured{q: q, scale: scale}
}

// product is MatMulInteger, scaled, with the bias added.
func (d *dynamic) product(n *ir.Node) (*weights, error) {
	w, axis := n.In[1].Const, channelAxis(n)
	q, err := quantizeWeights(w, axis, !d.o.PerTensor, nil, d.o)
	if err != nil {
		return nil, fmt.Errorf("%s: the weights %q: %w", n, n.In[1].Name, err)
	}
	data := q.data
	if axis == 0 {
		data = quant.Transposed(data)
	}
	x := d.measure(n.In[0], d.o.PerRow)
	in := []*ir.Value{x.q, d.constant("q", data), x.zero, d.zeroPoints(q)}
	y := d.scaled(n, "MatMulInteger", in, x, d.constant("scale", vectorOf(q.scales())), nil)
	if b := n.Input(2); b != nil {
		y = d.node("", "Add", n.Out[0].Name, []*ir.Value{y, b}, nil)
	}
	ir.ReplaceUses(n.Out[0], y)
	return q, nil
}

// conv is ConvInteger with weights of uint8, which is what onnxruntime has a
// kernel for.
func (d *dynamic) conv(n *ir.Node) (*weights, error) {
	o := *d.o
	o.Weights, o.AsymmetricWeights = dtype.Uint8, false
	w := n.In[1].Const
	q, err := quantizeWeights(w, 0, !o.PerTensor, nil, &o)
	if err != nil {
		return nil, fmt.Errorf("%s: the weights %q: %w", n, n.In[1].Name, err)
	}
	x := d.measure(n.In[0], false)
	spread := make([]int, w.Rank()-1) // [C, 1, 1]
	for i := range spread {
		spread[i] = 1
	}
	s := vectorOf(q.scales())
	if s.Rank() > 0 {
		spread[0] = s.Len()
		s = s.Reshape(spread...)
	}
	zero := tensor.FromSlice(q.zeros()[:1])
	in := []*ir.Value{x.q, d.constant("q", q.data), x.zero, d.constant("zero", zero)}
	y := d.scaled(n, "ConvInteger", in, x, d.constant("scale", s), n.Attrs)
	if b := n.Input(2); b != nil {
		spread[0] = b.Const.Len()
		y = d.node("", "Add", n.Out[0].Name, []*ir.Value{y, d.constant(b.Name, b.Const.Reshape(spread...))}, nil)
	}
	ir.ReplaceUses(n.Out[0], y)
	return q, nil
}

// scaled multiplies the integers of an operator with both scales.
func (d *dynamic) scaled(n *ir.Node, name string, in []*ir.Value, x measured, w *ir.Value, attrs map[string]*ir.Attr) *ir.Value {
	out := n.Out[0].Name
	sums := d.node("", name, out+"_q", in, attrs)
	sums.Producer.Name = n.Name
	y := d.node("", "Cast", out+"_f", []*ir.Value{sums}, map[string]*ir.Attr{"to": ir.Int(int(dtype.Float32))})
	if x.zero == nil { // scales of rows and of columns
		y = d.node("", "Mul", out+"_columns", []*ir.Value{y, w}, nil)
		return d.node("", "Mul", out, []*ir.Value{y, x.scale}, nil)
	}
	scale := d.node("", "Mul", out+"_scale", []*ir.Value{x.scale, w}, nil)
	return d.node("", "Mul", out, []*ir.Value{y, scale}, nil)
}

// zeroPoints are those of weights; nil if all are zero.
func (d *dynamic) zeroPoints(w *weights) *ir.Value {
	all := true
	for _, m := range w.maps {
		all = all && m.Zero == 0
	}
	if all {
		return nil
	}
	t := tensor.New(w.data.DType)
	if len(w.maps) > 1 {
		t = tensor.New(w.data.DType, len(w.maps))
	}
	copy(t.Data, w.zeros())
	return d.constant("zero", t)
}

func vectorOf(s []float32) *tensor.Tensor {
	if len(s) == 1 {
		return tensor.Scalar(s[0])
	}
	return tensor.FromSlice(s, len(s))
}
