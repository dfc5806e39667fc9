package ptq

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/quant"
	"github.com/salver-ml/salver/internal/tensor"
)

// emitter writes what a plan says into its graph. Scales, zero points and
// quantized weights that are equal are one constant each: small models consist
// of little else.
type emitter struct {
	*plan
	maps   map[*ir.Value]quant.Affine
	inputs map[*ir.Node][]*ir.Value // of integer operators, as they were
	added  []*ir.Node
	consts map[constKey][]*ir.Value
	count  int    // of constants, which are numbered
	wide   string // domain of operators on 16 bits
}

func newEmitter(p *plan, maps map[*ir.Value]quant.Affine) *emitter {
	e := &emitter{plan: p, maps: maps, inputs: map[*ir.Node][]*ir.Value{}, consts: map[constKey][]*ir.Value{}}
	for _, n := range p.g.Nodes {
		e.inputs[n] = slices.Clone(n.In)
	}
	return e
}

// constant gives the one constant with these contents.
func (e *emitter) constant(prefix string, t *tensor.Tensor) *ir.Value {
	key := constKey{t.DType, maphash.Bytes(seed, t.Data)}
	if v := equal(e.consts[key], t); v != nil {
		return v
	}
	v := ir.NewConst(fmt.Sprintf("%s.%d", prefix, e.count), t)
	e.count++
	e.consts[key] = append(e.consts[key], v)
	return v
}

// constKey is where constants that may be equal are kept.
type constKey struct {
	dt   dtype.Type
	hash uint64
}

var seed = maphash.MakeSeed()

func (e *emitter) scale(s float32) *ir.Value { return e.constant("scale", tensor.Scalar(s)) }

func (e *emitter) zero(m quant.Affine) *ir.Value {
	t := tensor.New(m.Type)
	num.SetInt64s(t, []int64{int64(m.Zero)})
	return e.constant("zero", t)
}

// node adds an operator with one result, without a name: those of QuantizeLinear
// and DequantizeLinear would be a good part of a small file.
func (e *emitter) node(domain, name, out string, in []*ir.Value, attrs map[string]*ir.Attr) *ir.Value {
	y := ir.NewValue(out, ir.Type{})
	n := ir.NewNode(domain, name, e.opset(domain), in, []*ir.Value{y}, attrs)
	n.Name = ""
	e.added = append(e.added, n)
	return y
}

func (e *emitter) opset(domain string) int {
	if domain == "" {
		return e.g.Opsets[""]
	}
	e.g.Opsets[domain] = 1
	return 1
}

// domain is where the operators on integers of a type are.
func (e *emitter) domain(t dtype.Type) string {
	if t.Bits() == 16 {
		return e.wide
	}
	return ""
}

// quantizeValues puts QuantizeLinear and DequantizeLinear after every quantized
// value. What an integer operator gives is read dequantized by all; of what is
// computed in floating point only integer operators read the rounded numbers.
func (e *emitter) quantizeValues() {
	for _, v := range e.g.Inputs {
		e.quantizeValue(v, nil)
	}
	for _, n := range slices.Clone(e.g.Nodes) {
		for _, v := range n.Out {
			e.quantizeValue(v, e.makers[v])
		}
	}
}

func (e *emitter) quantizeValue(v *ir.Value, maker *ir.Node) {
	if v == nil || e.types[v] == 0 {
		return
	}
	m := e.maps[v]
	name, domain := v.Name, e.domain(m.Type)
	in := []*ir.Value{nil, e.scale(m.Scale), e.zero(m)}
	q := ir.NewValue(name+"_q", ir.Type{})
	dq := e.node(domain, "DequantizeLinear", name+"_dq", []*ir.Value{q, in[1], in[2]}, nil)
	if maker == nil {
		for _, u := range slices.Clone(v.Uses()) {
			if e.integer[u.Node] && slices.Contains(e.operands(u.Node), v) && (u.Index == 0 || e.role[u.Node] == rolePair || e.role[u.Node] == roleConcat) {
				u.Node.SetInput(u.Index, dq)
			}
		}
		in[0] = v
	} else {
		ir.ReplaceUses(v, dq)
		dq.Name = name
		in[0] = e.unlimited(maker, v, m)
		if in[0] == v {
			v.Name = name + "_f"
		}
	}
	n := ir.NewNode(domain, "QuantizeLinear", e.opset(domain), in, []*ir.Value{q}, nil)
	n.Name = ""
	e.added = append(e.added, n)
}

// unlimited gives what v was before Relu and Clip, where the limits of the
// integers do the same.
func (e *emitter) unlimited(maker *ir.Node, v *ir.Value, m quant.Affine) *ir.Value {
	if e.role[maker] == roleMove {
		return v
	}
	before := maker.Out[0]
	if limits(before, v, m) {
		return before
	}
	return v
}

// quantizeOperator gives an integer operator its weights in 8 bits.
func (e *emitter) quantizeOperator(n *ir.Node) (*weights, error) {
	x := e.maps[e.inputs[n][0]]
	w, axis := n.In[1], channelAxis(n)
	var bias []float32
	var floor []float64
	if b := n.Input(2); b != nil {
		bias = tensor.Of[float32](b.Const)
		floor = biasFloor(bias, x.Scale)
	}
	q, err := quantizeWeights(w.Const, axis, e.perChannel(), floor, e.o)
	if err != nil {
		return nil, fmt.Errorf("%s: the weights %q: %w", n, w.Name, err)
	}
	n.SetInput(1, e.dequantized(w.Name, q.data, q.scales(), q.zeros(), axis))
	if bias != nil {
		name := n.In[2].Name
		b, scale := q.quantizeBias(bias, x.Scale)
		n.SetInput(2, e.dequantized(name, tensor.FromSlice(b, len(b)), scale, nil, 0))
	}
	return q, nil
}

func (e *emitter) perChannel() bool {
	return !e.o.PerTensor && e.g.Opsets[""] >= perChannelOpset
}

// dequantized is a constant of integers as DequantizeLinear gives it.
func (e *emitter) dequantized(name string, q *tensor.Tensor, scale []float32, zeros []byte, axis int) *ir.Value {
	var attrs map[string]*ir.Attr
	s, z := tensor.Scalar(scale[0]), tensor.New(q.DType)
	if len(scale) > 1 {
		s, z = tensor.FromSlice(scale, len(scale)), tensor.New(q.DType, len(scale))
		attrs = map[string]*ir.Attr{"axis": ir.Int(axis)}
	}
	in := []*ir.Value{e.constant("q", q), e.constant("scale", s)}
	if zeros != nil {
		copy(z.Data, zeros)
		in = append(in, e.constant("zero", z))
	}
	return e.node("", "DequantizeLinear", name, in, attrs)
}

// quantizeRows gives rows that are looked up one scale each.
func (e *emitter) quantizeRows(n *ir.Node) (*weights, error) {
	w := n.In[0]
	o := Options{Weights: dtype.Int8}
	q, err := quantizeWeights(w.Const, 0, true, nil, &o)
	if err != nil {
		return nil, fmt.Errorf("%s: the weights %q: %w", n, w.Name, err)
	}
	old := n.Out[0]
	rows := e.node("", "Gather", old.Name+"_q", []*ir.Value{e.constant("q", q.data), n.In[1]}, map[string]*ir.Attr{"axis": ir.Int(0)})
	rows.Producer.Name = n.Name
	scales := e.node("", "Gather", old.Name+"_scale", []*ir.Value{e.constant("scale", tensor.FromSlice(q.scales(), w.Const.Shape[0], 1)), n.In[1]}, map[string]*ir.Attr{"axis": ir.Int(0)})
	floats := e.node("", "Cast", old.Name+"_f", []*ir.Value{rows}, map[string]*ir.Attr{"to": ir.Int(int(dtype.Float32))})
	ir.ReplaceUses(old, e.node("", "Mul", old.Name, []*ir.Value{floats, scales}, nil))
	return q, nil
}

// quantizeStored gives weights that only floating-point kernels take 8 bits in the
// file: for these the channels of results run along axis 1, but for Conv.
func (e *emitter) quantizeStored(n *ir.Node) (w *weights, err error) {
	for _, i := range stored(n) {
		if w, err = e.store(n, i, channelsOf(n)); err != nil {
			return nil, err
		}
	}
	e.reason[n] = "its weights are stored in 8 bits and computed with in floating point, for want of an integer kernel"
	return w, nil
}

// finish sorts the graph and infers what was added.
func (e *emitter) finish() error {
	e.g.Nodes = append(e.g.Nodes, e.added...)
	e.g.RemoveDead()
	if err := e.g.Sort(); err != nil {
		return err
	}
	fresh := map[*ir.Node]bool{}
	for _, n := range e.added {
		fresh[n] = true
	}
	for _, n := range e.g.Nodes {
		if !fresh[n] {
			continue
		}
		if err := op.Complete(n); err != nil {
			return err
		}
		if err := op.InferNode(n); err != nil {
			return err
		}
	}
	return e.g.Verify()
}
