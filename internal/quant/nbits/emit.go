package nbits

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/salver-ml/salver/internal/tensor"
)

// emitter writes quantized layers into a graph.
type emitter struct {
	g             *ir.Graph
	o             *Options
	before, after int64 // bytes of weights
}

func newEmitter(g *ir.Graph, o *Options) *emitter { return &emitter{g: g, o: o} }

// constant adds to the bytes of what the weights became.
func (e *emitter) constant(name string, t *tensor.Tensor) *ir.Value {
	e.after += int64(len(t.Data))
	return ir.NewConst(name, t)
}

// node adds an operator with one result of a type.
func (e *emitter) node(domain, name, label string, out ir.Type, in []*ir.Value, attrs map[string]ir.Attr) (*ir.Value, error) {
	version := e.g.Opsets[domain]
	if domain != "" {
		version = 1
		e.g.Opsets[domain] = 1
	}
	y := ir.NewValue(label, out)
	n := ir.NewNode(domain, name, version, in, []*ir.Value{y}, attrs)
	n.Name = label
	if err := op.Complete(n); err != nil {
		return nil, err
	}
	e.g.Nodes = append(e.g.Nodes, n)
	return y, nil
}

// layer replaces a node by its quantized form.
func (e *emitter) layer(l *layer, q *weight.Quantized) error {
	e.before += l.bytes()
	switch {
	case l.table:
		return e.table(l, q)
	case q.Scheme.Kind == weight.NF4:
		return e.bnb4(l, q)
	case e.o.Portable || q.Scheme.Kind != weight.Int:
		return e.dequantized(l, q)
	}
	return e.nbits(l, q)
}

// nbits replaces a product by MatMulNBits, and a Gemm's bias by an Add.
func (e *emitter) nbits(l *layer, q *weight.Quantized) error {
	s, name := q.Scheme, l.weights.Name
	size := s.Group * s.Bits / 8
	b := tensor.New(dtype.Uint8, q.Rows, q.Groups, size)
	for row := range q.Rows {
		for g := range q.Groups {
			packBits(b.Data[(row*q.Groups+g)*size:][:size], q.Codes[row*q.Cols+g*s.Group:][:min(s.Group, q.Cols-g*s.Group)], s.Bits)
		}
	}
	in := []*ir.Value{l.node.In[0], e.constant(name+"_q", b), e.constant(name+"_scales", typed(tensor.FromSlice(q.Scales, q.Rows, q.Groups), l.weights.Const.DType))}
	switch {
	case q.Zeros != nil && s.FloatZero:
		in = append(in, e.constant(name+"_zeros", typed(tensor.FromSlice(q.Zeros, q.Rows, q.Groups), l.weights.Const.DType)))
	case q.Zeros != nil:
		in = append(in, e.constant(name+"_zeros", packedZeros(q)))
	}
	attrs := map[string]ir.Attr{"K": ir.Int(q.Cols), "N": ir.Int(q.Rows), "bits": ir.Int(s.Bits), "block_size": ir.Int(s.Group)}
	if e.o.AccuracyLevel != 0 {
		attrs["accuracy_level"] = ir.Int(e.o.AccuracyLevel)
	}
	return e.product(l, op.Microsoft, "MatMulNBits", in, attrs)
}

// product puts a product in the place of a layer's node, with a Gemm's bias behind it.
func (e *emitter) product(l *layer, domain, name string, in []*ir.Value, attrs map[string]ir.Attr) error {
	old := l.node.Out[0]
	label := old.Name
	var bias *ir.Value
	if l.node.Is("Gemm") && len(l.node.In) > 2 {
		bias = l.node.In[2]
	}
	if bias != nil {
		label += "_product"
	}
	y, err := e.node(domain, name, label, old.Type, in, attrs)
	if err == nil && bias != nil {
		y, err = e.node("", "Add", old.Name, old.Type, []*ir.Value{y, bias}, nil)
	}
	if err != nil {
		return err
	}
	y.Producer.Name = l.node.Name
	ir.ReplaceUses(old, y)
	old.Name += "_float" // names are given once
	e.g.RemoveDead()
	return nil
}

// packBits packs codes, low bits first.
func packBits(dst []byte, codes []uint8, bits int) {
	per := 8 / bits
	for i, c := range codes {
		dst[i/per] |= c << (i % per * bits)
	}
}

// packedZeros are a row's zero points, in whole bytes.
func packedZeros(q *weight.Quantized) *tensor.Tensor {
	size := (q.Groups*q.Scheme.Bits + 7) / 8
	t := tensor.New(dtype.Uint8, q.Rows, size)
	for row := range q.Rows {
		packBits(t.Data[row*size:][:size], bytesOf(q.Zeros[row*q.Groups:][:q.Groups]), q.Scheme.Bits)
	}
	return t
}

// bytesOf are whole numbers as bytes.
func bytesOf(v []float32) []uint8 {
	b := make([]uint8, len(v))
	for i, x := range v {
		b[i] = uint8(x)
	}
	return b
}

// typed converts scales to the type of a layer's weights, which holds them exactly.
func typed(t *tensor.Tensor, dt dtype.Type) *tensor.Tensor {
	if dt == dtype.Float32 {
		return t
	}
	out := tensor.New(dt, t.Shape...)
	num.SetFloats(out, num.Floats(t))
	return out
}

// bnb4 replaces a product by MatMulBnb4.
func (e *emitter) bnb4(l *layer, q *weight.Quantized) error {
	const nf4 = 1
	b := tensor.New(dtype.Uint8, (len(q.Codes)+1)/2)
	for i, c := range q.Codes {
		b.Data[i/2] |= c << (4 * (1 - i%2))
	}
	in := []*ir.Value{l.node.In[0], e.constant(l.weights.Name+"_q", b), e.constant(l.weights.Name+"_absmax", typed(tensor.FromSlice(q.Scales), l.weights.Const.DType))}
	return e.product(l, op.Microsoft, "MatMulBnb4", in, map[string]ir.Attr{"K": ir.Int(q.Cols), "N": ir.Int(q.Rows), "block_size": ir.Int(q.Scheme.Group), "quant_type": ir.Int(nf4)})
}

// dequantized puts a DequantizeLinear behind the weights of a product, which are
// [inputs, outputs] then, in blocks along the inputs.
func (e *emitter) dequantized(l *layer, q *weight.Quantized) error {
	t, less := dtype.Uint8, 0
	switch s := q.Scheme; {
	case s.Kind == weight.E4M3:
		t = dtype.Float8E4M3FN
	case s.Kind == weight.E5M2:
		t = dtype.Float8E5M2
	case s.Symmetric && s.Bits == 8:
		t, less = dtype.Int8, 128
	case s.Symmetric:
		t, less = dtype.Int4, 8
	case s.Bits == 4:
		t = dtype.Uint4
	}
	codes := make([]uint8, len(q.Codes))
	turn(codes, q.Codes, q.Rows, q.Cols)
	for i := range codes {
		codes[i] -= uint8(less)
	}
	name := l.weights.Name
	w := tensor.New(t, q.Cols, q.Rows)
	w.Pack(codes)
	dims, attrs := []int{q.Groups, q.Rows}, map[string]ir.Attr{"axis": ir.Int(0), "block_size": ir.Int(q.Scheme.Group)}
	if q.Scheme.Group == 0 {
		dims, attrs = []int{q.Rows}, map[string]ir.Attr{"axis": ir.Int(1)}
	}
	turned := func(v []float32) []float32 {
		out := make([]float32, len(v))
		turn(out, v, q.Rows, q.Groups)
		return out
	}
	scales := typed(tensor.FromSlice(turned(q.Scales), dims...), l.weights.Const.DType)
	in := []*ir.Value{e.constant(name+"_q", w), e.constant(name+"_scales", scales)}
	if q.Zeros != nil {
		z := tensor.New(t, dims...)
		z.Pack(bytesOf(turned(q.Zeros)))
		in = append(in, e.constant(name+"_zeros", z))
	}
	y, err := e.node("", "DequantizeLinear", name+"_dq", ir.Type{DType: l.weights.Const.DType, Shape: l.weights.Type.Shape}, in, attrs)
	if err != nil {
		return err
	}
	if l.outputs {
		y.Type = ir.Type{DType: l.weights.Const.DType}
		l.node.Attrs["transB"] = ir.Int(0)
	}
	l.node.SetInput(1, y)
	return nil
}

// table replaces a Gather by GatherBlockQuantized.
func (e *emitter) table(l *layer, q *weight.Quantized) error {
	s, name := q.Scheme, l.weights.Name
	attrs := map[string]ir.Attr{"gather_axis": ir.Int(0), "quantize_axis": ir.Int(1), "block_size": ir.Int(s.Group), "bits": ir.Int(s.Bits)}
	scales := e.constant(name+"_scales", typed(tensor.FromSlice(q.Scales, q.Rows, q.Groups), l.weights.Const.DType))
	var in []*ir.Value
	if s.Bits == 8 { // bytes have zero points in the middle if there are none
		in = []*ir.Value{e.constant(name+"_q", tensor.FromSlice(q.Codes, q.Rows, q.Cols)), l.node.In[1], scales}
		if q.Zeros != nil {
			in = append(in, e.constant(name+"_zeros", tensor.FromSlice(bytesOf(q.Zeros), q.Rows, q.Groups)))
		}
	} else {
		t, codes := dtype.Uint4, q.Codes
		if s.Symmetric {
			t, codes = dtype.Int4, make([]uint8, len(q.Codes))
			for i, c := range q.Codes {
				codes[i] = c - 8
			}
		}
		data := tensor.New(t, q.Rows, q.Cols)
		data.Pack(codes)
		in = []*ir.Value{e.constant(name+"_q", data), l.node.In[1], scales}
		if q.Zeros != nil {
			z := tensor.New(t, q.Rows, q.Groups)
			z.Pack(bytesOf(q.Zeros))
			in = append(in, e.constant(name+"_zeros", z))
		}
	}
	return e.product(l, op.Microsoft, "GatherBlockQuantized", in, attrs)
}

// divide divides the input of a group by scales: in the constants of the node that
// makes it where nothing else reads it, else by a Mul.
func (e *emitter) divide(group []*layer, scales []float32) error {
	inverse := make([]float32, len(scales))
	for i, s := range scales {
		inverse[i] = 1 / s
	}
	x := group[0].node.In[0]
	if e.fold(group, x, inverse) {
		return nil
	}
	by := e.constant(fmt.Sprintf("%s_awq", x.Name), typed(tensor.FromSlice(inverse), x.Type.DType))
	y, err := e.node("", "Mul", x.Name+"_divided", x.Type, []*ir.Value{x, by}, nil)
	for _, l := range group {
		if err == nil {
			l.node.SetInput(0, y)
		}
	}
	return err
}

// fold multiplies the constants of a normalization, or of a Mul by a vector, whose
// result only the group reads.
func (e *emitter) fold(group []*layer, x *ir.Value, by []float32) bool {
	n := x.Producer
	if n == nil || len(x.Uses()) != len(group) {
		return false
	}
	for _, o := range e.g.Outputs {
		if o.Value == x {
			return false
		}
	}
	var at []int
	switch {
	case n.Is("LayerNormalization") && n.Int("axis") == -1 || n.Is("RMSNormalization") && n.Int("axis") == -1:
		at = []int{1, 2}
	case n.Is("Mul") && n.In[1].Const != nil:
		at = []int{1}
	case n.Is("Mul"):
		at = []int{0}
	default:
		return false
	}
	for _, i := range at {
		if i < len(n.In) && n.In[i] != nil && (n.In[i].Const == nil || len(n.In[i].Const.Shape) != 1 || n.In[i].Const.Len() != len(by)) {
			return false
		}
	}
	for _, i := range at {
		if i >= len(n.In) || n.In[i] == nil {
			continue
		}
		c := n.In[i].Const
		v := num.Floats(c)
		for j := range v {
			v[j] *= float64(by[j])
		}
		t := tensor.New(c.DType, c.Shape...)
		num.SetFloats(t, v)
		n.SetInput(i, ir.NewConst(n.In[i].Name+"_divided", t))
	}
	return true
}
