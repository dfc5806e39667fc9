package contrib

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "GroupQueryAttention", Versions: []int{1},
		Doc: "Causal attention of language models, with a cache of keys and values, [batch, heads, sequence, size], rotary embedding and normalized queries and keys. " +
			"seqlens_k is each sequence's number of keys, the new ones included, less one. Not supported: quantized caches, query_seqlens, sliding_window_cache.",
		In: op.Ports("query:T", "key:T?", "value:T?", "past_key:T?", "past_value:T?", "seqlens_k:int32", "total_sequence_length:int32", "cos_cache:T?", "sin_cache:T?",
			"position_ids:int64?", "attention_bias:T?", "head_sink:T?", "k_scale:float32?", "v_scale:float32?", "q_norm_weight:T?", "k_norm_weight:T?", "query_seqlens:int32?"),
		Out: op.Ports("output:T", "present_key:T?", "present_value:T?", "output_qk:T?"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{
			"num_heads": op.Required(ir.KindInt), "kv_num_heads": op.Required(ir.KindInt), "scale": op.Opt(ir.KindFloat), "softcap": op.Default(ir.Float(0)), "local_window_size": op.Default(ir.Int(-1)),
			"do_rotary": op.Default(ir.Int(0)), "rotary_interleaved": op.Default(ir.Int(0)), "smooth_softmax": op.Default(ir.Int(-1)), "causal": op.Default(ir.Int(1)), "qk_output": op.Default(ir.Int(0)),
			"sliding_window_cache": op.Default(ir.Int(0)), "kv_cache_bit_width": op.Default(ir.Int(0)), "k_quant_type": op.Default(ir.Str("NONE")), "v_quant_type": op.Default(ir.Str("NONE")),
			"qk_norm_epsilon": op.Default(ir.Float(1e-6)), "q_norm_epsilon": op.Opt(ir.KindFloat), "k_norm_epsilon": op.Opt(ir.KindFloat),
		},
		Infer: inferGroupQuery, Ref: groupQueryRef, Compile: compileGroupQuery, SizesOutputs: true, Rows: rowsGroupQuery, Cases: groupQueryCases{},
	})
}

type groupQueryCases struct{}

func (groupQueryCases) Cases() []op.Case {
	attrs := func(more ...any) map[string]*ir.Attr {
		m := map[string]*ir.Attr{"num_heads": ir.Int(4), "kv_num_heads": ir.Int(2)}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1].(*ir.Attr)
		}
		return m
	}
	i32 := func(v ...int32) *tensor.Tensor { return tensor.FromSlice(v) }
	q, k, v := wave(2, 3, 16), wave(2, 3, 8), wave(2, 3, 8)
	total := tensor.Scalar[int32]
	pastK, pastV := wave(2, 2, 5, 4), wave(2, 2, 5, 4)
	return []op.Case{
		{Name: "prompt", In: []*tensor.Tensor{q, k, v, nil, nil, i32(2, 1), total(3)}, Attrs: attrs(), Out: []*tensor.Tensor{nil, nil, nil}},
		{Name: "packed, rotary", In: []*tensor.Tensor{wave(2, 3, 32), nil, nil, nil, nil, i32(2, 2), total(3), wave(9, 2), wave(9, 2)}, Attrs: attrs("do_rotary", ir.Int(1), "softcap", ir.Float(2)), Out: []*tensor.Tensor{nil, nil, nil}},
		{Name: "one token", In: []*tensor.Tensor{wave(2, 1, 16), wave(2, 1, 8), wave(2, 1, 8), pastK, pastV, i32(5, 3), total(6), wave(9, 2), wave(9, 2)}, Attrs: attrs("do_rotary", ir.Int(1), "local_window_size", ir.Int(2)), Out: []*tensor.Tensor{nil, nil, nil}},
		{Name: "bias", In: []*tensor.Tensor{wave(2, 1, 16), wave(2, 1, 8), wave(2, 1, 8), pastK, pastV, i32(5, 3), total(6), nil, nil, nil, wave(2, 4, 1, 6)}, Attrs: attrs(), Out: []*tensor.Tensor{nil, nil, nil}},
		{Name: "one bias, long cache", In: []*tensor.Tensor{wave(2, 2, 16), wave(2, 2, 8), wave(2, 2, 8), pastK, pastV, i32(3, 2), total(4), wave(9, 1), wave(9, 1), tensor.FromSlice([]int64{2, 3, 1, 2}, 2, 2), wave(1, 1, 2, 4)},
			Attrs: attrs("do_rotary", ir.Int(1), "rotary_interleaved", ir.Int(1), "scale", ir.Float(.7)), Out: []*tensor.Tensor{nil, nil, nil}},
		{Name: "sinks and norms", In: []*tensor.Tensor{wave(2, 1, 16), wave(2, 1, 8), wave(2, 1, 8), pastK, pastV, i32(5, 5), total(6), nil, nil, nil, nil, wave(4), nil, nil, wave(4), wave(4)}, Attrs: attrs(), Out: []*tensor.Tensor{nil, nil, nil}},
	}
}

// rowsGroupQuery: all but the lengths and tables that sequences share carry the
// batch first.
func rowsGroupQuery(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		v := n.In[i]
		if v == nil {
			continue
		}
		want := 0
		if i == 6 || i == 7 || i == 8 || i > 10 {
			want = op.NoRows
		}
		shared := i == 10 && a == op.NoRows && len(v.Type.Shape) == 4 && v.Type.Shape[0].Is(1)
		if a != want && !shared {
			return nil, false
		}
	}
	return slices.Repeat([]int{0}, len(n.Out)), true
}

// groupSizes gives the size of a head.
func groupSizes(c *op.Infer) (size shape.Dim, err error) {
	n := c.Node
	heads, kv := n.Int("num_heads"), n.Int("kv_num_heads")
	if heads < 1 || kv < 1 || heads%kv != 0 || heads > 1<<20 {
		return size, fmt.Errorf("num_heads is %d and kv_num_heads %d, expected a multiple", heads, kv)
	}
	if n.Str("k_quant_type") != "NONE" || n.Str("v_quant_type") != "NONE" || n.Int("kv_cache_bit_width") != 0 || c.Input(12).Present || c.Input(13).Present {
		return size, fmt.Errorf("quantized caches are not supported: expected k_quant_type and v_quant_type NONE, and no k_scale and v_scale")
	}
	if n.Bool("sliding_window_cache") || c.Input(16).Present {
		return size, fmt.Errorf("sliding_window_cache and query_seqlens are not supported")
	}
	if m := n.Int("qk_output"); m < 0 || m > 2 {
		return size, fmt.Errorf("qk_output is %d, expected 0 to 2", m)
	}
	if c.Input(1).Present != c.Input(2).Present {
		return size, fmt.Errorf("expected both key and value, or neither")
	}
	q := c.In[0].Shape
	if q == nil {
		return shape.Unknown(), nil
	}
	if len(q) != 3 {
		return size, fmt.Errorf("query has shape %v, expected [batch,sequence,hidden]", q)
	}
	parts := heads
	if !c.Input(1).Present {
		parts += 2 * kv
	}
	if w, ok := q[2].Int(); ok && w%parts != 0 {
		return size, fmt.Errorf("query has %d columns, which do not divide into %d heads", w, parts)
	}
	return q[2].Div(shape.Const(parts)), nil
}

func inferGroupQuery(c *op.Infer) error {
	size, err := groupSizes(c)
	if err != nil {
		return err
	}
	n, dt := c.Node, c.In[0].DType
	out, present := shape.Unknowns(3), shape.Unknowns(4)
	present[1], present[3] = shape.Const(n.Int("kv_num_heads")), size
	out[2] = shape.Const(n.Int("num_heads")).Mul(size)
	if q := c.In[0].Shape; q != nil {
		out[0], out[1], present[0] = q[0], q[1], q[0]
	}
	present[2] = cacheLength(c)
	c.Set(0, dt, out)
	c.Set(1, dt, present)
	c.Set(2, dt, present)
	c.Set(3, dt, shape.Unknowns(4))
	return nil
}

// cacheLength is that of the present: total_sequence_length, or that of the past
// if it has room for more.
func cacheLength(c *op.Infer) shape.Dim {
	total, ok := c.Input(6).Dims()
	if !ok || len(total) != 1 {
		return shape.Unknown()
	}
	past := c.Input(3)
	if !past.Present {
		return total[0]
	}
	if len(past.Shape) != 4 {
		return shape.Unknown()
	}
	n, ok := total[0].Int()
	room, ok2 := past.Shape[2].Int()
	if !ok || !ok2 {
		return shape.Unknown()
	}
	return shape.Const(max(n, room))
}

// groupQuery is one call: attention with sequences of different lengths.
type groupQuery struct {
	attention
	lens   []int // keys of each sequence
	before []int // position of each sequence's first query
	first  bool  // all keys are new: shorter sequences are padded on the right
	room   int   // of the caches
}

func newGroupQuery(c *op.Call) (*groupQuery, error) {
	check := &op.Infer{Node: c.Node, In: factsOf(c.In), Out: make([]op.Fact, 4)}
	dim, err := groupSizes(check)
	if err != nil {
		return nil, err
	}
	n := c.Node
	size, _ := dim.Int()
	s := c.In[0].Shape
	g := &groupQuery{attention: attention{batch: s[0], seq: s[1], heads: n.Int("num_heads"), kvHeads: n.Int("kv_num_heads"), size: size, vsize: size, softcap: float64(n.Float("softcap"))}}
	g.scale = scaleAttr(n, size)
	if err := g.readLengths(c.In[5], c.In[6]); err != nil {
		return nil, err
	}
	if err := g.project(c); err != nil {
		return nil, err
	}
	if err := g.normalize(c); err != nil {
		return nil, err
	}
	if n.Bool("do_rotary") {
		if err := g.rotate(c); err != nil {
			return nil, err
		}
	}
	if err := g.cache(c.Input(3), c.Input(4)); err != nil {
		return nil, err
	}
	return g, g.limits(c)
}

func (g *groupQuery) readLengths(lens, total *tensor.Tensor) error {
	if lens.Len() != g.batch || total.Len() != 1 {
		return fmt.Errorf("seqlens_k is %s and total_sequence_length %s, expected %d numbers and one", lens, total, g.batch)
	}
	g.total = int(tensor.Of[int32](total)[0])
	if g.total < g.seq || g.total > 1<<24 {
		return fmt.Errorf("total_sequence_length is %d, expected at least the %d new tokens", g.total, g.seq)
	}
	g.first = g.total == g.seq
	for b, l := range tensor.Of[int32](lens) {
		n := int(l) + 1
		if n < 1 || n > g.total || !g.first && n < g.seq {
			return fmt.Errorf("seqlens_k of sequence %d is %d, expected less than the %d keys, and at least the %d new ones less one", b, l, g.total, g.seq)
		}
		before := 0
		if !g.first {
			before = n - g.seq
		}
		g.lens, g.before = append(g.lens, n), append(g.before, before)
	}
	return nil
}

// project reads queries, and the new keys and values.
func (g *groupQuery) project(c *op.Call) error {
	q := num.Floats(c.In[0])
	keyWidth := g.kvHeads * g.size
	k, v := c.Input(1), c.Input(2)
	if k == nil {
		width, queryWidth := c.In[0].Shape[2], g.heads*g.size
		g.q = splitHeads(q, g.batch, g.seq, width, 0, g.heads, g.size, nil)
		g.k = splitHeads(q, g.batch, g.seq, width, queryWidth, g.kvHeads, g.size, nil)
		g.v = splitHeads(q, g.batch, g.seq, width, queryWidth+keyWidth, g.kvHeads, g.size, nil)
		return nil
	}
	for _, t := range []*tensor.Tensor{k, v} {
		if len(t.Shape) != 3 || t.Shape[0] != g.batch || t.Shape[1] != g.seq || t.Shape[2] != keyWidth {
			return fmt.Errorf("key is %s and value %s, expected [%d,%d,%d]", k, v, g.batch, g.seq, keyWidth)
		}
	}
	g.q = splitHeads(q, g.batch, g.seq, g.heads*g.size, 0, g.heads, g.size, nil)
	g.k = splitHeads(num.Floats(k), g.batch, g.seq, keyWidth, 0, g.kvHeads, g.size, nil)
	g.v = splitHeads(num.Floats(v), g.batch, g.seq, keyWidth, 0, g.kvHeads, g.size, nil)
	return nil
}

// normalize divides the heads of queries and keys by their root mean square.
func (g *groupQuery) normalize(c *op.Call) error {
	n := c.Node
	for i, v := range [][]float64{g.q, g.k} {
		t := c.Input(14 + i)
		if t == nil {
			continue
		}
		if t.Len() != g.size {
			return fmt.Errorf("%s is %s, expected %d numbers", []string{"q_norm_weight", "k_norm_weight"}[i], t, g.size)
		}
		eps := n.Float("qk_norm_epsilon")
		if own := []string{"q_norm_epsilon", "k_norm_epsilon"}[i]; n.Has(own) {
			eps = n.Float(own)
		}
		normalizeRows(v, max(g.size, 1), float64(eps), true)
		w := num.Floats(t)
		for at := range v {
			v[at] *= w[at%g.size]
		}
	}
	return nil
}

func (g *groupQuery) rotate(c *op.Call) error {
	r, err := newRotation(c.Input(7), c.Input(8), g.size, c.Node.Bool("rotary_interleaved"))
	if err != nil {
		return err
	}
	ids := c.Input(9)
	if ids != nil && ids.Len() != g.batch*g.seq {
		return fmt.Errorf("position_ids is %s, expected [%d,%d]", ids, g.batch, g.seq)
	}
	turn := func(v []float64, heads int) error {
		for at := range g.batch * heads * g.seq {
			i, b := at%g.seq, at/g.seq/heads
			position := g.before[b] + i
			if ids != nil {
				position = int(tensor.Of[int64](ids)[b*g.seq+i])
			}
			if err := r.turn(v[at*g.size:][:g.size], position); err != nil {
				return err
			}
		}
		return nil
	}
	if err := turn(g.q, g.heads); err != nil {
		return err
	}
	return turn(g.k, g.kvHeads)
}

// checkPast checks the caches and gives their length.
func (g *groupQuery) checkPast(pastK, pastV *tensor.Tensor) (room int, err error) {
	if pastK != nil || pastV != nil {
		for _, t := range []*tensor.Tensor{pastK, pastV} {
			if t == nil || pastK == nil || len(t.Shape) != 4 || t.Shape[0] != g.batch || t.Shape[1] != g.kvHeads || t.Shape[2] != pastK.Shape[2] || t.Shape[3] != g.size {
				return 0, fmt.Errorf("past_key is %s and past_value %s, expected [%d,%d,*,%d]", pastK, pastV, g.batch, g.kvHeads, g.size)
			}
		}
		room = pastK.Shape[2]
	}
	for b, kept := range g.before {
		if kept > room {
			return 0, fmt.Errorf("sequence %d has %d old keys, but the cache only %d", b, kept, room)
		}
	}
	return room, nil
}

// cache puts each sequence's new keys and values behind its old ones.
func (g *groupQuery) cache(pastK, pastV *tensor.Tensor) error {
	room, err := g.checkPast(pastK, pastV)
	if err != nil {
		return err
	}
	var old [2][]float64
	if pastK != nil {
		old = [2][]float64{num.Floats(pastK), num.Floats(pastV)}
	}
	g.room = max(g.total, room)
	for i, v := range []*[]float64{&g.k, &g.v} {
		all := make([]float64, g.batch*g.kvHeads*g.room*g.size)
		for at := range g.batch * g.kvHeads {
			kept := g.before[at/g.kvHeads]
			row := all[at*g.room*g.size:][:g.room*g.size]
			if kept > 0 {
				copy(row, old[i][at*room*g.size:][:kept*g.size])
			}
			copy(row[kept*g.size:], (*v)[at*g.seq*g.size:][:g.seq*g.size])
		}
		*v = all
	}
	g.total = g.room
	return nil
}

// limits sets which keys a query sees, the bias and the sinks.
func (g *groupQuery) limits(c *op.Call) error {
	window, causal := c.Node.Int("local_window_size"), c.Node.Bool("causal")
	extra := func(_, _, _, _ int) float64 { return 0 }
	if t := c.Input(10); t != nil {
		if err := g.checkBias(t); err != nil {
			return err
		}
		keys := t.Shape[3]
		v := num.Floats(t)
		s := num.BroadcastStrides(t.Shape, []int{g.batch, g.heads, g.seq, keys})
		extra = func(b, head, i, j int) float64 { return v[b*s[0]+head*s[1]+i*s[2]+j] }
	}
	g.bias = func(b, head, i, j int) float64 {
		at := g.before[b] + i
		if j >= g.lens[b] || causal && j > at || window >= 0 && at-j >= window {
			return math.Inf(-1)
		}
		return extra(b, head, i, j)
	}
	return g.readSinks(c)
}

func (g *groupQuery) checkBias(t *tensor.Tensor) error {
	if len(t.Shape) != 4 || t.Shape[0] != 1 && t.Shape[0] != g.batch || t.Shape[1] != 1 && t.Shape[1] != g.heads || t.Shape[2] != g.seq {
		return fmt.Errorf("attention_bias is %s, expected [1 or %d,1 or %d,%d,keys]", t, g.batch, g.heads, g.seq)
	}
	for _, l := range g.lens {
		if l > t.Shape[3] {
			return fmt.Errorf("attention_bias is %s, which is too short for %d keys", t, l)
		}
	}
	return nil
}

func (g *groupQuery) readSinks(c *op.Call) error {
	if t := c.Input(11); t != nil {
		if t.Len() != g.heads {
			return fmt.Errorf("head_sink is %s, expected %d numbers", t, g.heads)
		}
		g.sinks = num.Floats(t)
	} else if c.Node.Int("smooth_softmax") == 1 {
		g.sinks = make([]float64, g.heads)
	}
	return nil
}

func groupQueryRef(c *op.Call) error {
	g, err := newGroupQuery(c)
	if err != nil {
		return err
	}
	dt := c.In[0].DType
	if c.Wants(3) {
		g.scores, g.keepProbabilities = make([]float64, g.batch*g.heads*g.seq*g.total), c.Node.Int("qk_output") == 2
	}
	num.SetFloats(c.Output(0, dt, g.batch, g.seq, g.heads*g.size), g.run())
	for i, v := range [][]float64{g.k, g.v} {
		if c.Wants(i + 1) {
			num.SetFloats(c.Output(i+1, dt, g.batch, g.kvHeads, g.room, g.size), v)
		}
	}
	if c.Wants(3) {
		num.SetFloats(c.Output(3, dt, g.batch, g.heads, g.seq, g.total), g.scores)
	}
	return nil
}
