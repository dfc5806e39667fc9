package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "MultiHeadAttention", Versions: []int{1},
		Doc: "Attention of projected queries, keys and values: [batch, sequence, hidden] each, all three packed as [batch, sequence, heads, 3, size], " +
			"keys and values packed as [batch, sequence, heads, 2, size], or keys and values as [batch, heads, sequence, size]. Not supported: cache_indirection.",
		In:  op.Ports("query:T", "key:T?", "value:T?", "bias:T?", "key_padding_mask:int32?", "attention_bias:T?", "past_key:T?", "past_value:T?", "past_sequence_length:int32?", "cache_indirection:int32?"),
		Out: op.Ports("output:T", "present_key:T?", "present_value:T?", "qk:QK?"), Types: op.Types{"T": op.Floats, "QK": op.Floats},
		Attrs: op.Attrs{"num_heads": op.Required(ir.KindInt), "mask_filter_value": op.Default(ir.Float(-10000)), "scale": op.Opt(ir.KindFloat), "unidirectional": op.Default(ir.Int(0))},
		Infer: inferMultiHead, Ref: multiHeadRef, Compile: compileMultiHead, Rows: rowsMultiHead, Cases: multiHeadCases{},
	})
}

type multiHeadCases struct{}

func (multiHeadCases) Cases() []op.Case {
	heads := map[string]*ir.Attr{"num_heads": ir.Int(2)}
	one, three := []*tensor.Tensor{nil}, []*tensor.Tensor{nil, nil, nil}
	q, k, v := wave(2, 3, 8), wave(2, 5, 8), wave(2, 5, 12)
	causal := map[string]*ir.Attr{"num_heads": ir.Int(2), "unidirectional": ir.Int(1), "scale": ir.Float(.3)}
	return []op.Case{
		{Name: "one token", In: []*tensor.Tensor{wave(1, 1, 4), wave(1, 1, 4), tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 1, 4)}, Attrs: heads, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 1, 4)}},
		{Name: "bias and mask", In: []*tensor.Tensor{q, k, v, wave(28), tensor.FromSlice([]int32{1, 1, 1, 0, 0, 1, 1, 1, 1, 0}, 2, 5), wave(1, 2, 3, 5)}, Attrs: heads, Out: one},
		{Name: "packed", In: []*tensor.Tensor{wave(2, 3, 2, 3, 4)}, Attrs: causal, Out: one},
		{Name: "packed keys and values", In: []*tensor.Tensor{q, wave(2, 5, 2, 2, 4)}, Attrs: heads, Out: one},
		{Name: "cache", In: []*tensor.Tensor{q, wave(2, 3, 8), wave(2, 3, 8), nil, nil, nil, wave(2, 2, 4, 4), wave(2, 2, 4, 4)}, Attrs: causal, Out: three},
		{Name: "cache and bias", In: []*tensor.Tensor{q, wave(2, 3, 8), wave(2, 3, 8), wave(24), tensor.FromSlice([]int32{7, 5, 1, 0}), wave(1, 2, 1, 7), wave(2, 2, 4, 4), wave(2, 2, 4, 4)}, Attrs: heads, Out: three},
		{Name: "lengths", In: []*tensor.Tensor{q, k, v, wave(28), tensor.FromSlice([]int32{3, 5})}, Attrs: heads, Out: three},
		{Name: "all outputs", In: []*tensor.Tensor{q, k, v}, Attrs: heads},
		{Name: "other sequence", In: []*tensor.Tensor{q, wave(2, 2, 5, 4), wave(2, 2, 5, 6), nil, tensor.FromSlice([]int32{1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1}, 2, 3, 5)}, Attrs: heads, Out: one},
	}
}

// headSizes is the geometry of MultiHeadAttention for shapes whose dimensions
// may be symbolic.
type headSizes struct {
	batch, seq, keys, size, vsize shape.Dim
}

func multiHeadSizes(n *ir.Node, q, k, v shape.Shape) (*headSizes, error) {
	heads := n.Int("num_heads")
	if heads < 1 {
		return nil, fmt.Errorf("num_heads is %d, expected at least 1", heads)
	}
	per := func(name string, d shape.Dim) (shape.Dim, error) {
		if w, ok := d.Int(); ok && w%heads != 0 {
			return d, fmt.Errorf("%s has %d columns, which do not divide into %d heads", name, w, heads)
		}
		return d.Div(shape.Const(heads)), nil
	}
	h := &headSizes{batch: q[0], seq: q[1], keys: q[1]}
	var err error
	switch {
	case len(q) == 5:
		if k != nil || v != nil || !shape.Of(heads, 3).Compatible(q[2:4]) {
			return nil, fmt.Errorf("query has shape %v, expected [batch,sequence,%d,3,size] without key and value", q, heads)
		}
		h.size, h.vsize = q[4], q[4]
		return h, nil
	case len(q) != 3 || k == nil:
		return nil, fmt.Errorf("query has shape %v, expected 3 dimensions with a key, or 5", q)
	}
	if h.size, err = per("query", q[2]); err != nil {
		return nil, err
	}
	switch {
	case len(k) == 5 && v == nil:
		if want := (shape.Shape{q[0], k[1], shape.Const(heads), shape.Const(2), h.size}); !want.Compatible(k) {
			return nil, fmt.Errorf("key has shape %v, expected [batch,sequence,heads,2,size], which is %v", k, want)
		}
		h.keys, h.vsize = k[1], k[4]
	case len(k) == 3 && len(v) == 3:
		h.keys = k[1]
		h.vsize, err = per("value", v[2])
	case len(k) == 4 && len(v) == 4:
		h.keys, h.vsize = k[2], v[3]
	default:
		return nil, fmt.Errorf("key and value have shapes %v and %v, expected 3 or 4 dimensions each, or 5 and no value", k, v)
	}
	return h, err
}

func inferMultiHead(c *op.Infer) error {
	dt := c.In[0].DType
	k, v := c.Input(1), c.Input(2)
	if c.Input(9).Present {
		return fmt.Errorf("cache_indirection is not supported")
	}
	if c.In[0].Shape == nil || k.Present && k.Shape == nil || v.Present && v.Shape == nil {
		for i := range c.Out {
			c.Set(i, dt, nil)
		}
		return nil
	}
	h, err := multiHeadSizes(c.Node, c.In[0].Shape, k.Shape, v.Shape)
	if err != nil {
		return err
	}
	heads := shape.Const(c.Node.Int("num_heads"))
	total := h.keys
	room := h.keys
	if past := c.Input(6); past.Present {
		total, room = shape.Unknown(), shape.Unknown()
		if len(past.Shape) == 4 {
			if room = past.Shape[2]; !c.Input(8).Present {
				total = h.keys.Add(past.Shape[2])
				room = total
			}
		}
	}
	c.Set(0, dt, shape.Shape{h.batch, h.seq, heads.Mul(h.vsize)})
	c.Set(1, dt, shape.Shape{h.batch, heads, room, h.size})
	c.Set(2, dt, shape.Shape{h.batch, heads, room, h.vsize})
	c.Set(3, dt, shape.Shape{h.batch, heads, h.seq, total})
	return nil
}

// rowsMultiHead: all inputs but the bias carry the batch first.
func rowsMultiHead(n *ir.Node, in []int) ([]int, bool) {
	for i, v := range n.In {
		switch {
		case v == nil:
		case i == 3:
			if in[i] != op.NoRows {
				return nil, false
			}
		case i == 5 && in[i] == op.NoRows:
			if s := v.Type.Shape; s == nil || len(s) == 4 && !s[0].Is(1) {
				return nil, false
			}
		case i == 8, in[i] != 0, i == 4 && len(v.Type.Shape) == 1:
			return nil, false
		}
	}
	return make([]int, len(n.Out)), true
}

func multiHeadRef(c *op.Call) error {
	a, room, err := newMultiHead(c)
	if err != nil {
		return err
	}
	dt := c.In[0].DType
	if c.Wants(3) {
		a.scores = make([]float64, a.batch*a.heads*a.seq*a.total)
	}
	num.SetFloats(c.Output(0, dt, a.batch, a.seq, a.heads*a.vsize), a.run())
	for i, side := range []struct {
		v    []float64
		size int
	}{{a.k, a.size}, {a.v, a.vsize}} {
		if !c.Wants(i + 1) {
			continue
		}
		v, length := side.v, a.total
		if room > 0 {
			v, length = within(num.Floats(c.Input(6+i)), room, v, a.total, side.size), room
		}
		num.SetFloats(c.Output(i+1, dt, a.batch, a.heads, length, side.size), v)
	}
	if c.Wants(3) {
		num.SetFloats(c.Output(3, dt, a.batch, a.heads, a.seq, a.total), a.scores)
	}
	return nil
}

// within writes [items, total, size] to the begin of caches, [items, room, size],
// which keep what they hold behind.
func within(cache []float64, room int, v []float64, total, size int) []float64 {
	for i := range len(cache) / max(room*size, 1) {
		copy(cache[i*room*size:], v[i*total*size:][:total*size])
	}
	return cache
}

func factOf(t *tensor.Tensor) op.Fact {
	if t == nil {
		return op.Fact{}
	}
	return op.Fact{Type: ir.TypeOf(t), Present: true}
}

func factsOf(in []*tensor.Tensor) []op.Fact {
	f := make([]op.Fact, len(in))
	for i, t := range in {
		f[i] = factOf(t)
	}
	return f
}

// newMultiHead reads the inputs; room is the length of the caches if they are
// longer than what they hold.
func newMultiHead(c *op.Call) (a *attention, room int, err error) {
	if err := inferMultiHead(&op.Infer{Node: c.Node, In: factsOf(c.In), Out: make([]op.Fact, 4)}); err != nil {
		return nil, 0, err
	}
	q, k, v := c.In[0], c.Input(1), c.Input(2)
	shapeOf := func(t *tensor.Tensor) shape.Shape { return factOf(t).Shape }
	h, err := multiHeadSizes(c.Node, shapeOf(q), shapeOf(k), shapeOf(v))
	if err != nil {
		return nil, 0, err
	}
	get := func(d shape.Dim) int { x, _ := d.Int(); return x }
	heads := c.Node.Int("num_heads")
	a = &attention{batch: get(h.batch), seq: get(h.seq), total: get(h.keys), heads: heads, kvHeads: heads, size: get(h.size), vsize: get(h.vsize)}
	a.scale = scaleAttr(c.Node, a.size)
	if err := a.readHeads(c, q, k, v); err != nil {
		return nil, 0, err
	}
	if room, err = a.readPast(c.Input(6), c.Input(7), c.Input(8)); err != nil {
		return nil, 0, err
	}
	a.bias, err = a.masks(c.Node, c.Input(4), c.Input(5))
	return a, room, err
}

// scaleAttr is the attribute scale, or by default 1/√size.
func scaleAttr(n *ir.Node, size int) float64 {
	if s := n.Float("scale"); s != 0 {
		return float64(s)
	}
	return 1 / math.Sqrt(float64(size))
}

func (a *attention) readHeads(c *op.Call, q, k, v *tensor.Tensor) error {
	keyWidth, valueWidth := a.heads*a.size, a.heads*a.vsize
	var biases [3][]float64
	if t := c.Input(3); t != nil {
		if t.Len() != 2*keyWidth+valueWidth {
			return fmt.Errorf("bias is %s, expected %d numbers", t, 2*keyWidth+valueWidth)
		}
		b := num.Floats(t)
		biases = [3][]float64{b[:keyWidth], b[keyWidth : 2*keyWidth], b[2*keyWidth:]}
	}
	if len(q.Shape) == 5 {
		all := num.Floats(q)
		for i, dst := range []*[]float64{&a.q, &a.k, &a.v} {
			*dst = unpack(all, a.batch, a.seq, a.heads, 3, i, a.size, biases[i])
		}
		return nil
	}
	a.q = splitHeads(num.Floats(q), a.batch, a.seq, keyWidth, 0, a.heads, a.size, biases[0])
	if k.Shape[0] != a.batch {
		return fmt.Errorf("query is %s and key %s, expected as many sequences each", q, k)
	}
	switch len(k.Shape) {
	case 5:
		if k.Shape[4] != a.size {
			return fmt.Errorf("query is %s and key %s, expected heads of %d", q, k, a.size)
		}
		all := num.Floats(k)
		a.k = unpack(all, a.batch, a.total, a.heads, 2, 0, a.size, biases[1])
		a.v = unpack(all, a.batch, a.total, a.heads, 2, 1, a.size, biases[2])
	case 3:
		if k.Shape[2] != keyWidth || v.Shape[0] != a.batch || v.Shape[1] != a.total {
			return fmt.Errorf("query is %s, key %s and value %s, which do not go together", q, k, v)
		}
		a.k = splitHeads(num.Floats(k), a.batch, a.total, keyWidth, 0, a.heads, a.size, biases[1])
		a.v = splitHeads(num.Floats(v), a.batch, a.total, valueWidth, 0, a.heads, a.vsize, biases[2])
	default:
		if k.Shape[1] != a.heads || k.Shape[3] != a.size || v.Shape[0] != a.batch || v.Shape[1] != a.heads || v.Shape[2] != a.total {
			return fmt.Errorf("query is %s, key %s and value %s, which do not go together", q, k, v)
		}
		a.k, a.v = num.Floats(k), num.Floats(v)
	}
	return nil
}

// unpack reads item which of [batch, sequence, heads, items, size].
func unpack(v []float64, batch, seq, heads, items, which, size int, bias []float64) []float64 {
	out := make([]float64, batch*heads*seq*size)
	for at := range out {
		d, i, head, b := at%size, at/size%seq, at/size/seq%heads, at/size/seq/heads
		out[at] = v[(((b*seq+i)*heads+head)*items+which)*size+d]
		if bias != nil {
			out[at] += bias[head*size+d]
		}
	}
	return out
}

// readPast puts the keys and values behind those of the caches, of which all or
// a given number are valid.
func (a *attention) readPast(pastK, pastV, length *tensor.Tensor) (room int, err error) {
	if pastK == nil && pastV == nil {
		return 0, nil
	}
	if pastK == nil || pastV == nil || len(pastK.Shape) != 4 || len(pastV.Shape) != 4 {
		return 0, fmt.Errorf("past_key is %s and past_value %s, expected [%d,%d,*,%d] and [%d,%d,*,%d]", pastK, pastV, a.batch, a.kvHeads, a.size, a.batch, a.kvHeads, a.vsize)
	}
	ks, vs := pastK.Shape, pastV.Shape
	if ks[0] != a.batch || ks[1] != a.kvHeads || ks[3] != a.size || vs[0] != a.batch || vs[1] != a.kvHeads || vs[2] != ks[2] || vs[3] != a.vsize {
		return 0, fmt.Errorf("past_key is %s and past_value %s, expected [%d,%d,*,%d] and [%d,%d,*,%d]", pastK, pastV, a.batch, a.kvHeads, a.size, a.batch, a.kvHeads, a.vsize)
	}
	a.past = ks[2]
	if length != nil {
		if length.DType != dtype.Int32 || length.Len() != 1 {
			return 0, fmt.Errorf("past_sequence_length is %s, expected one int32", length)
		}
		n := int(tensor.Of[int32](length)[0])
		if n < 0 || n+a.total > ks[2] {
			return 0, fmt.Errorf("past_sequence_length is %d, expected 0 to %d, for %d new keys in a cache of %d", n, ks[2]-a.total, a.total, ks[2])
		}
		a.past, room = n, ks[2]
	}
	fresh, items := a.total, a.batch*a.kvHeads
	a.k = joined(num.Floats(pastK), items, ks[2], a.past, a.k, fresh, a.size)
	a.v = joined(num.Floats(pastV), items, ks[2], a.past, a.v, fresh, a.vsize)
	a.total += a.past
	return room, nil
}
