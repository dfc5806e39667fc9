package nbits

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// emitter writes quantized layers into a graph.
type emitter struct {
	g             *ir.Graph
	o             *Options
	before, after int64 // bytes of weights
	made          map[use]made
}

// use is one way in which a constant is used: nodes that share weights share what
// these become.
type use struct {
	weights        *ir.Value
	outputs, table bool
}

// made is what weights became: constants, or the result of a DequantizeLinear.
type made struct {
	scheme weight.Scheme
	values []*ir.Value
}

func newEmitter(g *ir.Graph, o *Options) *emitter {
	return &emitter{g: g, o: o, made: map[use]made{}}
}

// shared gives what a layer's weights have become before, or makes it.
func (e *emitter) shared(l *layer, s weight.Scheme, create func() ([]*ir.Value, error)) ([]*ir.Value, error) {
	key := use{l.weights, l.outputs, l.table}
	if m, ok := e.made[key]; ok {
		return m.values, nil
	}
	values, err := create()
	if err == nil {
		e.made[key] = made{s, values}
		e.before += l.bytes()
	}
	return values, err
}

// known gives the scheme of weights that have been quantized for another node.
func (e *emitter) known(l *layer) (weight.Scheme, bool) {
	m, ok := e.made[use{l.weights, l.outputs, l.table}]
	return m.scheme, ok
}

// constant adds to the bytes of what the weights became.
func (e *emitter) constant(name string, t *tensor.Tensor) *ir.Value {
	e.after += int64(len(t.Data))
	return ir.NewConst(name, t)
}

// node adds an operator with one result of a type.
func (e *emitter) node(domain, name, label string, out ir.Type, in []*ir.Value, attrs map[string]*ir.Attr) (*ir.Value, error) {
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

// layer replaces a node by its quantized form. q may be nil if the weights are
// known.
func (e *emitter) layer(l *layer, s weight.Scheme, q *weight.Quantized) error {
	switch {
	case l.table:
		return e.table(l, s, q)
	case s.Kind == weight.NF4:
		return e.bnb4(l, s, q)
	case e.o.Portable || s.Kind != weight.Int:
		return e.dequantized(l, s, q)
	}
	return e.nbits(l, s, q)
}

// nbits replaces a product by MatMulNBits, and a Gemm's bias by an Add.
func (e *emitter) nbits(l *layer, s weight.Scheme, q *weight.Quantized) error {
	in, err := e.shared(l, s, func() ([]*ir.Value, error) { return e.blocks(l, q), nil })
	if err != nil {
		return err
	}
	attrs := map[string]*ir.Attr{"K": ir.Int(l.cols), "N": ir.Int(l.rows), "bits": ir.Int(s.Bits), "block_size": ir.Int(s.Group)}
	if e.o.AccuracyLevel != 0 {
		attrs["accuracy_level"] = ir.Int(e.o.AccuracyLevel)
	}
	return e.product(l, "MatMulNBits", append([]*ir.Value{l.node.In[0]}, in...), attrs)
}

// blocks are the constants of MatMulNBits.
func (e *emitter) blocks(l *layer, q *weight.Quantized) []*ir.Value {
	s, name := q.Scheme, l.weights.Name
	size := s.Group * s.Bits / 8
	b := tensor.New(dtype.Uint8, q.Rows, q.Groups, size)
	for row := range q.Rows {
		for g := range q.Groups {
			packBits(b.Data[(row*q.Groups+g)*size:][:size], q.Codes[row*q.Cols+g*s.Group:][:min(s.Group, q.Cols-g*s.Group)], s.Bits)
		}
	}
	in := []*ir.Value{e.constant(name+"_q", b), e.floats(l, "_scales", q.Scales, q.Rows, q.Groups)}
	switch {
	case q.Zeros != nil && s.FloatZero:
		in = append(in, e.floats(l, "_zeros", q.Zeros, q.Rows, q.Groups))
	case q.Zeros != nil:
		in = append(in, e.constant(name+"_zeros", packedZeros(q)))
	}
	return in
}

// floats are numbers in the type of a layer's weights, which holds them exactly.
func (e *emitter) floats(l *layer, part string, v []float32, dims ...int) *ir.Value {
	return e.constant(l.weights.Name+part, typed(tensor.FromSlice(v, dims...), l.weights.Const.DType))
}

// product puts an operator of com.microsoft in the place of a layer's node, with a
// Gemm's bias behind it.
func (e *emitter) product(l *layer, name string, in []*ir.Value, attrs map[string]*ir.Attr) error {
	old := l.node.Out[0]
	label := old.Name
	var bias *ir.Value
	if l.node.Is("Gemm") && len(l.node.In) > 2 {
		bias = l.node.In[2]
	}
	if bias != nil {
		label += "_product"
	}
	y, err := e.node(op.Microsoft, name, label, old.Type, in, attrs)
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

// typed converts numbers.
func typed(t *tensor.Tensor, dt dtype.Type) *tensor.Tensor {
	if dt == dtype.Float32 {
		return t
	}
	out := tensor.New(dt, t.Shape...)
	num.SetFloats(out, num.Floats(t))
	return out
}

// bnb4 replaces a product by MatMulBnb4.
func (e *emitter) bnb4(l *layer, s weight.Scheme, q *weight.Quantized) error {
	const nf4 = 1
	in, err := e.shared(l, s, func() ([]*ir.Value, error) {
		b := tensor.New(dtype.Uint8, (len(q.Codes)+1)/2)
		for i, c := range q.Codes {
			b.Data[i/2] |= c << (4 * (1 - i%2))
		}
		return []*ir.Value{e.constant(l.weights.Name+"_q", b), e.floats(l, "_absmax", q.Scales, len(q.Scales))}, nil
	})
	if err != nil {
		return err
	}
	attrs := map[string]*ir.Attr{"K": ir.Int(l.cols), "N": ir.Int(l.rows), "block_size": ir.Int(s.Group), "quant_type": ir.Int(nf4)}
	return e.product(l, "MatMulBnb4", append([]*ir.Value{l.node.In[0]}, in...), attrs)
}

// dequantized puts a DequantizeLinear behind the weights of a product, which are
// [inputs, outputs] then, in blocks along the inputs.
func (e *emitter) dequantized(l *layer, s weight.Scheme, q *weight.Quantized) error {
	values, err := e.shared(l, s, func() ([]*ir.Value, error) {
		y, err := e.dequantize(l, q)
		return []*ir.Value{y}, err
	})
	if err != nil {
		return err
	}
	if l.outputs {
		l.node.Attrs["transB"] = ir.Int(0)
	}
	l.node.SetInput(1, values[0])
	return nil
}

// storage is the type in which a scheme's codes are stored by standard operators,
// and what is taken off them.
func storage(s weight.Scheme) (t dtype.Type, less uint8) {
	switch {
	case s.Kind == weight.E4M3:
		return dtype.Float8E4M3FN, 0
	case s.Kind == weight.E5M2:
		return dtype.Float8E5M2, 0
	case s.Symmetric && s.Bits == 8:
		return dtype.Int8, 128
	case s.Symmetric:
		return dtype.Int4, 8
	case s.Bits == 4:
		return dtype.Uint4, 0
	}
	return dtype.Uint8, 0
}

// stored is a tensor of codes.
func stored(t dtype.Type, codes []uint8, less uint8, dims ...int) *tensor.Tensor {
	x := tensor.New(t, dims...)
	b := slices.Clone(codes)
	for i := range b {
		b[i] -= less
	}
	x.Pack(b)
	return x
}

func (e *emitter) dequantize(l *layer, q *weight.Quantized) (*ir.Value, error) {
	t, less := storage(q.Scheme)
	codes := make([]uint8, len(q.Codes))
	turn(codes, q.Codes, q.Rows, q.Cols)
	name := l.weights.Name
	dims, attrs := []int{q.Groups, q.Rows}, map[string]*ir.Attr{"axis": ir.Int(0), "block_size": ir.Int(q.Scheme.Group)}
	if q.Scheme.Group == 0 {
		dims, attrs = []int{q.Rows}, map[string]*ir.Attr{"axis": ir.Int(1)}
	}
	turned := func(v []float32) []float32 {
		out := make([]float32, len(v))
		turn(out, v, q.Rows, q.Groups)
		return out
	}
	in := []*ir.Value{e.constant(name+"_q", stored(t, codes, less, q.Cols, q.Rows)), e.floats(l, "_scales", turned(q.Scales), dims...)}
	if q.Zeros != nil {
		in = append(in, e.constant(name+"_zeros", stored(t, bytesOf(turned(q.Zeros)), 0, dims...)))
	}
	return e.node("", "DequantizeLinear", name+"_dq", ir.Type{DType: l.weights.Const.DType, Shape: shape.Of(q.Cols, q.Rows)}, in, attrs)
}

// table replaces a Gather by GatherBlockQuantized.
func (e *emitter) table(l *layer, s weight.Scheme, q *weight.Quantized) error {
	in, err := e.shared(l, s, func() ([]*ir.Value, error) {
		t, less := storage(q.Scheme)
		if s.Bits == 8 { // bytes have zero points in the middle if there are none
			t, less = dtype.Uint8, 0
		}
		in := []*ir.Value{e.constant(l.weights.Name+"_q", stored(t, q.Codes, less, q.Rows, q.Cols)), e.floats(l, "_scales", q.Scales, q.Rows, q.Groups)}
		if q.Zeros != nil {
			in = append(in, e.constant(l.weights.Name+"_zeros", stored(t, bytesOf(q.Zeros), 0, q.Rows, q.Groups)))
		}
		return in, nil
	})
	if err != nil {
		return err
	}
	attrs := map[string]*ir.Attr{"gather_axis": ir.Int(0), "quantize_axis": ir.Int(1), "block_size": ir.Int(s.Group), "bits": ir.Int(s.Bits)}
	return e.product(l, "GatherBlockQuantized", append([]*ir.Value{in[0], l.node.In[1]}, in[1:]...), attrs)
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
