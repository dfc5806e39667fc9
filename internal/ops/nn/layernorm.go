package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/norm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := op.Attrs{"axis": op.Default(ir.Int(-1)), "epsilon": op.Default(ir.Float(1e-5)), "stash_type": op.Default(ir.Int(1))}
	layer := op.Op{
		Name: "LayerNormalization", Versions: []int{17},
		In: op.Ports("X:T", "Scale:T", "B:T?"), Out: op.Ports("Y:T", "Mean:U?", "InvStdDev:U?"),
		Types: op.Types{"T": op.Floats, "U": {dtype.Float32, dtype.BFloat16}}, Attrs: attrs,
		Infer: inferLayerNorm, Ref: layerNormRef, Compile: wide.Compile(compileLayerNorm), Flops: normFlops, InPlace: []int{0}, Rows: rowsLayerNorm,
		Cases: layerNormCases{},
	}
	op.Register(&layer)
	layer.Versions, layer.Attrs = []int{1}, op.Attrs{"epsion": op.Opt(ir.KindFloat)}
	layer.Doc = "onnxruntime's operator of that name, from before ONNX had one. Like onnxruntime, it ignores epsion, which some graphs have for epsilon."
	layer.In, layer.Out = op.Ports("X:T", "Scale:V", "B:V?"), op.Ports("Y:V", "Mean:U?", "InvStdDev:U?")
	layer.Types = op.Types{"T": op.Floats, "V": op.Floats, "U": {dtype.Float32, dtype.BFloat16}}
	for name, spec := range attrs {
		layer.Attrs[name] = spec
	}
	op.Register(&layer)
	op.Register(&op.Op{
		Name: "RMSNormalization", Versions: []int{23},
		In: op.Ports("X:T", "scale:V"), Out: op.Ports("Y:V"), Types: op.Types{"T": op.Floats, "V": op.Floats}, Attrs: attrs,
		Infer: inferRMSNorm, Ref: rmsNormRef, Compile: wide.Compile(compileRMSNorm), Flops: normFlops, InPlace: []int{0}, Rows: rowsLayerNorm,
		Cases: rmsNormalizationCases{},
	})
}

type rmsNormalizationCases struct{}

func (rmsNormalizationCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{3, 4}, 1, 2), tensor.FromSlice([]float32{1, 2})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{.8485280, 2.2627413}, 1, 2)}},
		{Name: "rows", In: []*tensor.Tensor{ramp(3, 5, 67), ramp(67)}},
		{Name: "two axes", In: []*tensor.Tensor{ramp(3, 5, 7), ramp(5, 7)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(1)}},
	}
}

func normFlops(in, _ []op.Fact) float64 {
	n, _ := in[0].Shape.Count().Int()
	return 8 * float64(n)
}

type layerNormCases struct{}

func (layerNormCases) Cases() []op.Case {
	none := []*tensor.Tensor{nil}
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 3, 5, 9}, 2, 2), tensor.FromSlice([]float32{1, 2}), tensor.FromSlice([]float32{0, 1})},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{-.999995, 2.99999, -.9999987, 2.9999975}, 2, 2), tensor.FromSlice([]float32{2, 7}, 2, 1), tensor.FromSlice([]float32{.999995, .49999937}, 2, 1)}},
		{Name: "rows", In: []*tensor.Tensor{ramp(3, 5, 67), ramp(67), ramp(67)}, Out: none},
		{Name: "no bias", In: []*tensor.Tensor{ramp(3, 768), ramp(768)}, Out: none},
		{Name: "two axes", In: []*tensor.Tensor{ramp(3, 5, 7), ramp(5, 7), ramp(5, 7)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(1)}, Out: none},
		{Name: "one scale", In: []*tensor.Tensor{ramp(3, 5, 7), ramp(1)}, Out: none},
	}
}

func inferLayerNorm(c *op.Infer) error {
	x := c.In[0]
	c.Set(0, c.In[1].DType, x.Shape)
	var s shape.Shape
	if x.Shape != nil {
		axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
		if err != nil {
			return err
		}
		s = append(s, x.Shape[:axis]...)
		for range x.Shape[axis:] {
			s = append(s, shape.Const(1))
		}
	}
	for i := 1; i < len(c.Out); i++ {
		c.Set(i, stashType(c.Node), s)
	}
	return nil
}

func inferRMSNorm(c *op.Infer) error {
	if s := c.In[0].Shape; s != nil {
		if _, err := op.Axis(c.Node.Int("axis"), len(s)); err != nil {
			return err
		}
	}
	c.Set(0, c.In[1].DType, c.In[0].Shape)
	return nil
}

func stashType(n *ir.Node) dtype.Type {
	if t := n.DType("stash_type"); t == dtype.BFloat16 {
		return t
	}
	return dtype.Float32
}

// rowsLayerNorm: the batch stands before the normalized axes, and the scale
// doesn't run along it.
func rowsLayerNorm(n *ir.Node, in []int) ([]int, bool) {
	s := n.In[0].Type.Shape
	for _, a := range in[1:] {
		if a != op.NoRows {
			return nil, false
		}
	}
	if s == nil {
		return nil, false
	}
	axis, err := op.Axis(n.Int("axis"), len(s))
	if err != nil || in[0] >= axis {
		return nil, false
	}
	for _, p := range n.In[1:] {
		if p != nil && (p.Type.Shape == nil || len(p.Type.Shape) > len(s)-axis) {
			return nil, false
		}
	}
	out := make([]int, len(n.Out))
	for i := range out {
		out[i] = in[0]
	}
	return out, true
}

// normLines is the geometry of a normalization of the axes from one on: the
// number of lines, the elements of each, and the parameters spread to the input.
type normLines struct {
	lines, n    int
	scale, bias []float64 // bias is nil if absent
	stats       []int     // shape of the statistics
}

func newNormLines(c *op.Call) (*normLines, error) {
	x := c.In[0]
	axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
	if err != nil {
		return nil, err
	}
	l := &normLines{lines: tensor.Count(x.Shape[:axis]), n: tensor.Count(x.Shape[axis:])}
	l.stats = append(append([]int{}, x.Shape[:axis]...), onesLike(x.Shape[axis:])...)
	for i, p := range []*[]float64{&l.scale, &l.bias} {
		t := c.Input(i + 1)
		if t == nil {
			continue
		}
		full, err := num.BroadcastShape(t.Shape, x.Shape)
		if err != nil || tensor.Count(full) != x.Len() {
			return nil, fmt.Errorf("input %d is %s, which does not broadcast to %s", i+1, t, x)
		}
		*p = num.Broadcast(num.Floats(t), t.Shape, x.Shape)
	}
	return l, nil
}

func layerNormRef(c *op.Call) error {
	x := c.In[0]
	l, err := newNormLines(c)
	if err != nil {
		return err
	}
	eps := float64(c.Node.Float("epsilon"))
	v := num.Floats(x)
	mean, inv := make([]float64, l.lines), make([]float64, l.lines)
	for i := range l.lines {
		line := v[i*l.n : (i+1)*l.n]
		mean[i] = average(line, 0, false)
		variance := 0.
		for _, x := range line {
			variance += (x - mean[i]) * (x - mean[i]) / float64(l.n)
		}
		inv[i] = 1 / math.Sqrt(variance+eps)
		for k := range line {
			at := i*l.n + k
			line[k] = (line[k] - mean[i]) * inv[i] * l.scale[at]
			if l.bias != nil {
				line[k] += l.bias[at]
			}
		}
	}
	num.SetFloats(c.Output(0, c.In[1].DType, x.Shape...), v)
	for i, s := range [][]float64{mean, inv} {
		if c.Wants(i + 1) {
			num.SetFloats(c.Output(i+1, stashType(c.Node), l.stats...), s)
		}
	}
	return nil
}

func rmsNormRef(c *op.Call) error {
	x := c.In[0]
	l, err := newNormLines(c)
	if err != nil {
		return err
	}
	eps := float64(c.Node.Float("epsilon"))
	v := num.Floats(x)
	for i := range l.lines {
		line := v[i*l.n : (i+1)*l.n]
		squares := 0.
		for _, x := range line {
			squares += x * x
		}
		inv := 1 / math.Sqrt(squares/float64(l.n)+eps)
		for k := range line {
			line[k] *= inv * l.scale[i*l.n+k]
		}
	}
	num.SetFloats(c.Output(0, c.In[1].DType, x.Shape...), v)
	return nil
}

// normKernel normalizes rows of a float32 tensor with a scale and bias of the
// row's width.
type normKernel struct {
	*norm.Layer
	dims, stats []int
}

func (k *normKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	var extra norm.Extra
	if c.Wants(1) {
		extra.Mean = tensor.Of[float32](c.Output(1, dtype.Float32, k.stats...))
	}
	if c.Wants(2) {
		extra.Inv = tensor.Of[float32](c.Output(2, dtype.Float32, k.stats...))
	}
	var bias []float32
	if t := c.Input(2); t != nil {
		bias = tensor.Of[float32](t)
	}
	k.RunExtra(c.Pool, tensor.Of[float32](y), tensor.Of[float32](c.In[0]), tensor.Of[float32](c.In[1]), bias, extra)
	return nil
}

func compileNorm(p *op.Prep, prepare func(rows, width int, eps float32) *norm.Layer) (op.Kernel, error) {
	dims := p.InShape(0)
	axis, err := op.Axis(p.Node.Int("axis"), len(dims))
	if err != nil {
		return nil, err
	}
	for _, f := range p.In {
		if f.Present && f.DType != dtype.Float32 {
			return nil, nil
		}
	}
	width := tensor.Count(dims[axis:])
	for i := range p.In[1:] {
		if p.Has(i+1) && tensor.Count(p.InShape(i+1)) != width {
			return nil, nil
		}
	}
	if stashType(p.Node) != dtype.Float32 || tensor.Count(dims) == 0 {
		return nil, nil
	}
	k := &normKernel{Layer: prepare(tensor.Count(dims[:axis]), width, p.Node.Float("epsilon")), dims: dims}
	k.stats = append(append([]int{}, dims[:axis]...), onesLike(dims[axis:])...)
	return k, nil
}

func compileLayerNorm(p *op.Prep) (op.Kernel, error) { return compileNorm(p, norm.NewLayer) }

func compileRMSNorm(p *op.Prep) (op.Kernel, error) { return compileNorm(p, norm.NewRMS) }
