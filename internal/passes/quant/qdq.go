package quant

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/qconv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/fuse"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/tensor"
)

// QDQ makes integer operators of operators between DequantizeLinear and
// QuantizeLinear.
//
// What they compute is exact: the sum of integers, one rounding to float32, one
// multiplication, one rounding to the nearest integer. The network as written
// adds up products of floats instead, which round differently; a result differs by
// one unit where the sum is within float32's rounding of a tie. Tables, and what
// moves bytes or takes their maximum, give the same bytes as before.
var QDQ = pass.Pass{
	Name: "fuse-qdq", Level: 2,
	Doc:     "DequantizeLinear, an operator (Conv, ConvTranspose whose kernels do not overlap, MatMul, Gemm, Add, Mul, GlobalAveragePool, Concat, or functions of one number, with Relu or Clip) and QuantizeLinear become one operator on integers.",
	Rewrite: qdq,
}

// site is a QuantizeLinear with what comes before it.
type site struct {
	c      *pass.Context
	n      *ir.Node  // QuantizeLinear
	y      format    // of its result
	lo, hi int       // what Relu and Clip leave of the range of y
	v      *ir.Value // before Relu and Clip
	f      *ir.Node  // which makes v
}

func qdq(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	s := &site{c: c, n: n}
	var ok bool
	if s.y, ok = quantizer(n); !ok {
		return nil, nil
	}
	if p, err := s.table(); p != nil || err != nil {
		return p, err
	}
	if !s.clamps() || s.f.Domain != "" {
		return nil, nil
	}
	switch s.f.Op {
	case "Conv":
		return s.conv(), nil
	case "ConvTranspose":
		return s.convTranspose(), nil
	case "MatMul", "Gemm":
		return s.product(), nil
	case "Add", "Mul":
		return s.pair(), nil
	case "GlobalAveragePool":
		return s.mean(), nil
	case "Concat":
		return s.concat(), nil
	}
	return nil, nil
}

// clamps walks over Relu and Clip, which on integers are limits: rounding keeps
// the order.
func (s *site) clamps() bool {
	s.lo, s.hi = s.y.limits()
	for s.v = s.n.In[0]; s.v.Producer != nil; s.v = s.v.Producer.In[0] {
		s.f = s.v.Producer
		name, params, ok := fuse.ActivationOf(s.f)
		if !ok || name != "relu" && name != "clip" {
			break
		}
		if !match.Private(s.v) {
			return false
		}
		if name == "relu" {
			s.lo = max(s.lo, s.y.zero)
			continue
		}
		s.lo, s.hi = max(s.lo, s.y.quantize(params[0])), min(s.hi, s.y.quantize(params[1]))
	}
	if s.f == nil || s.v.Producer == nil || s.lo > s.hi {
		return false
	}
	if !match.Private(s.v) && s.integer() {
		s.c.Near(s.n, "the result of %s is read as floating point too", s.f)
		return false
	}
	return true
}

// integer reports whether the operands of f are quantized, so that it could
// become an integer operator.
func (s *site) integer() bool {
	_, _, ok := dequantized(s.f.In[0])
	return ok
}

// attrs are those that all integer operators have.
func (s *site) attrs(x format, from map[string]*ir.Attr) map[string]*ir.Attr {
	a := maps.Clone(from)
	if a == nil {
		a = map[string]*ir.Attr{}
	}
	a["x_zero"], a["y_zero"], a["y_type"] = ir.Int(x.zero), ir.Int(s.y.zero), ir.Int(int(s.y.dt))
	a["lo"], a["hi"] = ir.Int(s.lo), ir.Int(s.hi)
	return a
}

// patch replaces the QuantizeLinear by a node of our own.
func (s *site) patch(name string, in []*ir.Value, attrs map[string]*ir.Attr) *ir.Patch {
	y := s.c.Value(s.n.Out[0].Name)
	m := ir.NewNode(op.Salver, name, 1, in, []*ir.Value{y}, attrs)
	m.Name = s.f.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s computes on integers", s.f), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: s.n.Out[0], New: y}}}
}

func (s *site) constant(base string, t *tensor.Tensor) *ir.Value {
	if t == nil {
		return nil
	}
	return ir.NewConst(s.c.Name(base), t)
}

// weightValue gives the value that holds the weights: the one that is there
// already, if nothing had to be subtracted.
func (s *site) weightValue(v *ir.Value, w weights) *ir.Value {
	if q := v.Producer.In[0]; q.Const == w.data {
		return q
	}
	return s.constant(v.Name, w.data)
}

func (s *site) conv() *ir.Patch {
	x, xf, ok := dequantized(s.f.In[0])
	if !ok {
		return nil
	}
	w, why := dequantizedWeights(s.f.In[1], 0)
	attrs, flat := s.f.Attrs, why == "" && w.data.Rank() == 3
	if flat {
		attrs = planar(attrs)
		w.data = w.data.Reshape(w.data.Shape[0], w.data.Shape[1], 1, w.data.Shape[2])
	}
	if why == "" {
		why = w.forConv(&ir.Node{Op: "Conv", Attrs: attrs})
	}
	var bias *tensor.Tensor
	if why == "" {
		bias, why = w.bias(s.f.Input(2), w.data.Shape[0], xf.scale)
	}
	if why != "" {
		s.c.Near(s.n, "%s: %s", s.f, why)
		return nil
	}
	in := []*ir.Value{x, s.weightValue(s.f.In[1], w), s.constant(s.f.Name+"_scale", w.multiplier(xf.scale, s.y.scale)), s.constant(s.f.Name+"_bias", bias)}
	if flat {
		return s.lifted(in, s.attrs(xf, attrs))
	}
	return s.patch("QConv", in, s.attrs(xf, attrs))
}

// planar are the attributes of a convolution in one dimension for two of which the
// first has one element.
func planar(from map[string]*ir.Attr) map[string]*ir.Attr {
	a := maps.Clone(from)
	for _, name := range []string{"kernel_shape", "strides", "dilations"} {
		if v, ok := a[name]; ok {
			a[name] = ir.Ints(append([]int64{1}, v.Ints...)...)
		}
	}
	if v, ok := a["pads"]; ok && len(v.Ints) == 2 {
		a["pads"] = ir.Ints(0, v.Ints[0], 0, v.Ints[1])
	}
	return a
}

// lifted is patch for a QConv between two changes of shape.
func (s *site) lifted(in []*ir.Value, attrs map[string]*ir.Attr) *ir.Patch {
	axis := s.constant(s.f.Name+"_axis", tensor.FromSlice([]int64{2}, 1))
	x, y := s.c.Value(in[0].Name), s.c.Value(s.n.Out[0].Name)
	in[0], x = x, in[0]
	up := ir.NewNode("", "Unsqueeze", 13, []*ir.Value{x, axis}, []*ir.Value{in[0]}, nil)
	p := s.patch("QConv", in, attrs)
	down := ir.NewNode("", "Squeeze", 13, []*ir.Value{p.Replace[0].New, axis}, []*ir.Value{y}, nil)
	p.Replace[0].New = y
	p.Add = []*ir.Node{up, p.Add[0], down}
	return p
}

// forConv says what forbids the weights of a convolution.
func (w weights) forConv(n *ir.Node) string {
	if w.data.Rank() != 4 {
		return fmt.Sprintf("it has %d spatial dimensions, not 2", w.data.Rank()-2)
	}
	p := qconv.Params{In: w.data.Shape[1] * n.Int("group"), Out: w.data.Shape[0], Groups: n.Int("group"), Dilation: n.Ints("dilations")}
	if w.wide() && !p.TakesParts() {
		return "weights less their zero points are more than 8 bits hold, in groups or with dilation"
	}
	return ""
}

// forProduct says what forbids the weights of a product.
func (w weights) forProduct() string {
	switch {
	case w.data.Rank() != 2:
		return fmt.Sprintf("the weights have %d dimensions, not 2", w.data.Rank())
	case w.wide():
		return "weights less their zero points are more than 8 bits hold"
	}
	return ""
}

// product is a MatMul or Gemm by constant weights.
func (s *site) product() *ir.Patch {
	x, xf, ok := dequantized(s.f.In[0])
	if !ok {
		return nil
	}
	if _, _, ok := dequantized(s.f.In[1]); ok && s.f.Is("MatMul") && !s.f.In[1].Producer.In[0].IsConst() {
		return s.dynamicProduct(x, xf)
	}
	trans := false
	if s.f.Is("Gemm") {
		trans = s.f.Bool("transB")
		if s.f.Bool("transA") || s.f.Float("alpha") != 1 || s.f.Input(2) != nil && s.f.Float("beta") != 1 {
			s.c.Near(s.n, "%s: alpha, beta or transA are not the defaults", s.f)
			return nil
		}
	}
	axis := 1
	if trans {
		axis = 0
	}
	w, why := dequantizedWeights(s.f.In[1], axis)
	if why == "" {
		why = w.forProduct()
	}
	var bias *tensor.Tensor
	if why == "" {
		bias, why = w.bias(s.f.Input(2), w.data.Shape[axis], xf.scale)
	}
	if why != "" {
		s.c.Near(s.n, "%s: %s", s.f, why)
		return nil
	}
	wv := s.weightValue(s.f.In[1], w)
	if trans {
		wv = s.constant(s.f.In[1].Name, Transposed(w.data))
	}
	in := []*ir.Value{x, wv, s.constant(s.f.Name+"_scale", w.multiplier(xf.scale, s.y.scale)), s.constant(s.f.Name+"_bias", bias)}
	return s.patch("QMatMul", in, s.attrs(xf, nil))
}

// Transposed swaps the axes of a matrix of bytes.
func Transposed(t *tensor.Tensor) *tensor.Tensor {
	rows, cols := t.Shape[0], t.Shape[1]
	out := tensor.New(t.DType, cols, rows)
	for i, x := range t.Data {
		out.Data[i%cols*rows+i/cols] = x
	}
	return out
}

// dynamicProduct multiplies two activations.
func (s *site) dynamicProduct(x *ir.Value, xf format) *ir.Patch {
	w, wf, _ := dequantized(s.f.In[1])
	p := s.standard("", "QLinearMatMul", 10, []*ir.Value{x, s.scale(xf), s.zero(xf), w, s.scale(wf), s.zero(wf), s.scale(s.y), s.zero(s.y)})
	return p
}

func (s *site) scale(f format) *ir.Value {
	return s.constant(s.n.Out[0].Name+"_scale", tensor.Scalar(f.scale))
}

func (s *site) zero(f format) *ir.Value {
	t := tensor.New(f.dt)
	t.Data[0] = byte(f.zero)
	return s.constant(s.n.Out[0].Name+"_zero", t)
}

// standard replaces the QuantizeLinear by an operator of full range, and then
// limits it.
func (s *site) standard(domain, name string, opset int, in []*ir.Value) *ir.Patch {
	y := s.c.Value(s.n.Out[0].Name)
	m := ir.NewNode(domain, name, opset, in, []*ir.Value{y}, nil)
	m.Name = s.f.Name
	add := []*ir.Node{m}
	if lo, hi := s.y.limits(); s.lo > lo || s.hi < hi {
		t := tensor.New(s.y.dt, 256)
		for i := range t.Data {
			q := i
			if s.y.dt == dtype.Int8 {
				q = int(int8(i))
			}
			t.Data[i] = byte(min(max(q, s.lo), s.hi))
		}
		limited := s.c.Value(s.n.Out[0].Name)
		add = append(add, ir.NewNode(op.Salver, "QTable", 1, []*ir.Value{y, s.constant(s.n.Out[0].Name+"_limits", t)}, []*ir.Value{limited}, nil))
		y = limited
	}
	return &ir.Patch{Reason: fmt.Sprintf("%s computes on integers", s.f), Add: add, Replace: []ir.Replacement{{Old: s.n.Out[0], New: y}}}
}

// pair is the sum or product of two activations, or of one and a constant.
func (s *site) pair() *ir.Patch {
	var in []*ir.Value
	some := false
	for _, v := range s.f.In {
		q, f, ok := dequantized(v)
		some = some || ok
		if !ok || f.dt != s.y.dt {
			if some {
				s.c.Near(s.n, "%s: operand %q is not quantized to %s", s.f, v.Name, s.y.dt)
			}
			return nil
		}
		in = append(in, q, s.scale(f), s.zero(f))
	}
	return s.standard(op.Microsoft, "QLinear"+s.f.Op, 1, append(in, s.scale(s.y), s.zero(s.y)))
}

func (s *site) mean() *ir.Patch {
	x, xf, ok := dequantized(s.f.In[0])
	if lo, hi := s.y.limits(); !ok || s.lo != lo || s.hi != hi {
		return nil
	}
	return s.meanPatch(x, xf, false)
}

// concat requantizes operands of another format and joins bytes.
func (s *site) concat() *ir.Patch {
	lo, hi := s.y.limits()
	if s.lo != lo || s.hi != hi {
		return nil
	}
	var in []*ir.Value
	var add []*ir.Node
	for _, v := range s.f.In {
		q, f, ok := dequantized(v)
		if !ok {
			s.c.Near(s.n, "%s: operand %q is not quantized", s.f, v.Name)
			return nil
		}
		if f != s.y {
			y := s.c.Value(v.Name)
			add = append(add, ir.NewNode(op.Salver, "QTable", 1, []*ir.Value{q, s.constant(v.Name+"_table", requantize(f, s.y))}, []*ir.Value{y}, nil))
			q = y
		}
		in = append(in, q)
	}
	y := s.c.Value(s.n.Out[0].Name)
	m := ir.NewNode("", "Concat", s.f.Opset, in, []*ir.Value{y}, maps.Clone(s.f.Attrs))
	m.Name = s.f.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s joins integers", s.f), Add: append(add, m), Replace: []ir.Replacement{{Old: s.n.Out[0], New: y}}}
}
