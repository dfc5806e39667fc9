package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	attrs := func(more ...string) op.Attrs {
		a := op.Attrs{
			"is_causal": op.Default(ir.Int(0)), "kv_num_heads": op.Opt(ir.KindInt), "q_num_heads": op.Opt(ir.KindInt), "qk_matmul_output_mode": op.Default(ir.Int(0)),
			"scale": op.Opt(ir.KindFloat), "softcap": op.Default(ir.Float(0)), "softmax_precision": op.Opt(ir.KindInt),
		}
		for _, name := range more {
			a[name] = op.Default(ir.Int(-1))
		}
		return a
	}
	in := []string{"Q:T1", "K:T1", "V:T2", "attn_mask:U?", "past_key:T1?", "past_value:T2?", "nonpad_kv_seqlen:int64?"}
	o := op.Op{
		Name: "Attention", Doc: "Causal masks and windows are aligned at the end of the keys; a query that may attend no key gives zeros.",
		Out:   op.Ports("Y:T1", "present_key:T1?", "present_value:T2?", "qk_matmul_output:T1?"),
		Types: op.Types{"T1": op.Floats, "T2": op.Floats, "U": op.NumBool},
		Infer: inferAttention, Ref: attentionRef, Compile: wide.Compile(compileAttention), Rows: rowsAttention,
	}
	for _, v := range []struct {
		since int
		in    []string
		attrs op.Attrs
		cases op.Cases
	}{
		{23, in[:6], attrs(), attentionCases{}}, {24, in, attrs(), nil}, {25, in, attrs("left_window_size", "right_window_size"), nil},
	} {
		o.Versions, o.In, o.Attrs, o.Cases = []int{v.since}, op.Ports(v.in...), v.attrs, v.cases
		op.Register(&o)
	}
}

type attentionCases struct{}

func (attentionCases) Cases() []op.Case {
	mask := tensor.New(dtype.Bool, 4, 6)
	for i := range 4 {
		for j := range 6 {
			tensor.Of[bool](mask)[i*6+j] = (i+j)%3 != 0
		}
	}
	heads := map[string]*ir.Attr{"q_num_heads": ir.Int(2), "kv_num_heads": ir.Int(2)}
	one := []*tensor.Tensor{nil}
	return []op.Case{
		{Name: "one key", In: []*tensor.Tensor{ramp(1, 1, 2, 3), ramp(1, 1, 1, 3), ramp(1, 1, 1, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 1, 2}, 1, 1, 2, 2)}},
		{Name: "heads", In: []*tensor.Tensor{ramp(2, 3, 4, 8), ramp(2, 3, 6, 8), ramp(2, 3, 6, 5)}, Out: one},
		{Name: "packed", In: []*tensor.Tensor{ramp(2, 4, 16), ramp(2, 6, 16), ramp(2, 6, 10)}, Attrs: heads, Out: one},
		{Name: "grouped queries", In: []*tensor.Tensor{ramp(1, 4, 4, 8), ramp(1, 2, 6, 8), ramp(1, 2, 6, 8)}, Attrs: map[string]*ir.Attr{"is_causal": ir.Int(1)}, Out: one},
		{Name: "boolean mask", In: []*tensor.Tensor{ramp(2, 3, 4, 8), ramp(2, 3, 6, 8), ramp(2, 3, 6, 5), mask}, Out: one},
		{Name: "cache and its outputs", In: []*tensor.Tensor{ramp(2, 3, 16), ramp(2, 3, 16), ramp(2, 3, 10), nil, ramp(2, 2, 5, 8), ramp(2, 2, 5, 5)}, Attrs: heads, Out: []*tensor.Tensor{nil, nil, nil}},
		{Name: "short mask and softcap", In: []*tensor.Tensor{ramp(1, 4, 4, 8), ramp(1, 2, 6, 8), ramp(1, 2, 6, 8), ramp(4, 4, 5)}, Attrs: map[string]*ir.Attr{"softcap": ir.Float(2), "scale": ir.Float(.3)}, Out: one},
		{Name: "cache", In: []*tensor.Tensor{ramp(1, 2, 1, 8), ramp(1, 2, 1, 8), ramp(1, 2, 1, 8), nil, ramp(1, 2, 5, 8), ramp(1, 2, 5, 8)}},
	}
}

// rowsAttention: Q, K, V and the caches carry the batch first; a mask only if
// it has all four dimensions.
func rowsAttention(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		v := n.In[i]
		if v == nil {
			continue
		}
		switch {
		case i == 3 && a == op.NoRows:
			if v.Type.Shape == nil || len(v.Type.Shape) == 4 && !v.Type.Shape[0].Is(1) {
				return nil, false
			}
		case a != 0 || i == 3 && len(v.Type.Shape) != 4:
			return nil, false
		}
	}
	return make([]int, len(n.Out)), true
}

func inferAttention(c *op.Infer) error {
	q, k, v := c.In[0].Shape, c.In[1].Shape, c.In[2].Shape
	if q == nil || k == nil || v == nil {
		for i := range c.Out {
			c.Set(i, c.In[i%3].DType, nil)
		}
		return nil
	}
	if len(q) != len(k) || len(q) != len(v) || len(q) != 3 && len(q) != 4 {
		return fmt.Errorf("Q, K and V have shapes %v, %v and %v, expected 3 or 4 dimensions each", q, k, v)
	}
	qh, kh := c.Node.Int("q_num_heads"), c.Node.Int("kv_num_heads")
	if len(q) == 3 && (qh < 1 || kh < 1) {
		return fmt.Errorf("q_num_heads and kv_num_heads are %d and %d, expected at least 1 for inputs of 3 dimensions", qh, kh)
	}
	var err error
	if q, err = splitHeads(q, qh); err != nil {
		return fmt.Errorf("Q: %w", err)
	}
	if k, err = splitHeads(k, kh); err != nil {
		return fmt.Errorf("K: %w", err)
	}
	if v, err = splitHeads(v, kh); err != nil {
		return fmt.Errorf("V: %w", err)
	}
	total := k[2]
	if past := c.Input(4); past.Present {
		if len(past.Shape) == 4 {
			total = total.Add(past.Shape[2])
		} else {
			total = shape.Unknown()
		}
	}
	y := shape.Shape{q[0], q[1], q[2], v[3]}
	if len(c.In[0].Shape) == 3 {
		y = shape.Shape{q[0], q[2], q[1].Mul(v[3])}
	}
	c.Set(0, c.In[0].DType, y)
	c.Set(1, c.In[1].DType, shape.Shape{k[0], k[1], total, k[3]})
	c.Set(2, c.In[2].DType, shape.Shape{v[0], v[1], total, v[3]})
	c.Set(3, c.In[0].DType, shape.Shape{q[0], q[1], q[2], total})
	return nil
}

// splitHeads gives [batch, heads, sequence, size] of a packed shape.
func splitHeads(s shape.Shape, heads int) (shape.Shape, error) {
	if len(s) == 4 {
		return s, nil
	}
	if n, ok := s[2].Int(); ok && n%heads != 0 {
		return nil, fmt.Errorf("shape %v does not divide into %d heads", s, heads)
	}
	return shape.Shape{s[0], shape.Const(heads), s[1], s[2].Div(shape.Const(heads))}, nil
}

// headView is a tensor seen as [batch, heads, sequence, size].
type headView struct {
	v                        []float64
	batch, heads, seq, size  int
	perBatch, perHead, perAt int
}

func newHeadView(v []float64, s []int, heads int) headView {
	if len(s) == 4 {
		return headView{v, s[0], s[1], s[2], s[3], s[1] * s[2] * s[3], s[2] * s[3], s[3]}
	}
	size := s[2] / heads
	return headView{v, s[0], heads, s[1], size, s[1] * s[2], size, s[2]}
}

func (h headView) at(b, head, i int) []float64 {
	o := b*h.perBatch + head*h.perHead + i*h.perAt
	return h.v[o : o+h.size]
}

// joined puts h after a cache of the same heads, as [batch, heads, total, size].
func (h headView) joined(past *tensor.Tensor) (headView, error) {
	kept := 0
	var old headView
	if past != nil {
		if s := past.Shape; len(s) != 4 || s[0] != h.batch || s[1] != h.heads || s[3] != h.size {
			return h, fmt.Errorf("cache is %s, expected [%d,%d,*,%d]", past, h.batch, h.heads, h.size)
		}
		old = newHeadView(num.Floats(past), past.Shape, h.heads)
		kept = old.seq
	}
	s := []int{h.batch, h.heads, kept + h.seq, h.size}
	all := newHeadView(make([]float64, tensor.Count(s)), s, h.heads)
	for b := range h.batch {
		for head := range h.heads {
			for i := range all.seq {
				if i < kept {
					copy(all.at(b, head, i), old.at(b, head, i))
				} else {
					copy(all.at(b, head, i), h.at(b, head, i-kept))
				}
			}
		}
	}
	return all, nil
}

func (h headView) shape() []int { return []int{h.batch, h.heads, h.seq, h.size} }

func attentionRef(c *op.Call) error {
	n := c.Node
	check := &op.Infer{Node: n, Out: make([]op.Fact, 4)}
	for _, t := range c.In {
		f := op.Fact{}
		if t != nil {
			f = op.Fact{Type: ir.TypeOf(t), Present: true}
		}
		check.In = append(check.In, f)
	}
	if err := inferAttention(check); err != nil {
		return err
	}
	qh, kh := n.Int("q_num_heads"), n.Int("kv_num_heads")
	q := newHeadView(num.Floats(c.In[0]), c.In[0].Shape, qh)
	k, err := newHeadView(num.Floats(c.In[1]), c.In[1].Shape, kh).joined(c.Input(4))
	if err != nil {
		return fmt.Errorf("past_key: %w", err)
	}
	v, err := newHeadView(num.Floats(c.In[2]), c.In[2].Shape, kh).joined(c.Input(5))
	if err != nil {
		return fmt.Errorf("past_value: %w", err)
	}
	if k.seq != v.seq || k.heads != v.heads || k.size != q.size || k.batch != q.batch || v.batch != q.batch || k.heads < 1 || q.heads%k.heads != 0 {
		return fmt.Errorf("Q %s, K %s and V %s do not go together", c.In[0], c.In[1], c.In[2])
	}
	bias, err := newAttentionBias(c, q, k)
	if err != nil {
		return err
	}
	yShape, _ := check.Out[0].Shape.Ints()
	y := newHeadView(make([]float64, tensor.Count(yShape)), yShape, q.heads)
	scores := attend(n, q, k, v, y, bias)
	num.SetFloats(c.Output(0, c.In[0].DType, yShape...), y.v)
	for i, h := range []headView{k, v} {
		if c.Wants(1 + i) {
			num.SetFloats(c.Output(1+i, c.In[1+i].DType, h.shape()...), h.v)
		}
	}
	if c.Wants(3) {
		num.SetFloats(c.Output(3, c.In[0].DType, q.batch, q.heads, q.seq, k.seq), scores)
	}
	return nil
}

// attend computes y and gives the scores at the stage that
// qk_matmul_output_mode names.
func attend(n *ir.Node, q, k, v, y headView, bias *attentionBias) []float64 {
	scale := 1 / math.Sqrt(float64(q.size))
	if n.Has("scale") {
		scale = float64(n.Float("scale"))
	}
	softcap, mode := float64(n.Float("softcap")), n.Int("qk_matmul_output_mode")
	var stages []float64
	row := make([]float64, k.seq)
	for b := range q.batch {
		for head := range q.heads {
			kv := head / (q.heads / k.heads)
			for i := range q.seq {
				var shown [4][]float64
				show := func(stage int) {
					if stage == mode {
						shown[stage] = append([]float64{}, row...)
					}
				}
				for j := range row {
					row[j] = scale * dotProduct(q.at(b, head, i), k.at(b, kv, j))
				}
				show(0)
				if softcap > 0 {
					for j := range row {
						row[j] = softcap * math.Tanh(row[j]/softcap)
					}
				}
				show(1)
				open := false
				for j := range row {
					m := bias.at(b, head, i, j)
					open = open || !math.IsInf(m, -1)
					row[j] += m
				}
				show(2)
				if open {
					softmax(row)
				} else {
					clear(row)
				}
				show(3)
				for j, p := range row {
					if p == 0 {
						continue
					}
					out := y.at(b, head, i)
					for d, x := range v.at(b, kv, j) {
						out[d] += p * x
					}
				}
				stages = append(stages, shown[min(max(mode, 0), 3)]...)
			}
		}
	}
	return stages
}

func dotProduct(a, b []float64) (s float64) {
	for i, x := range a {
		s += float64(x * b[i])
	}
	return s
}

func softmax(v []float64) {
	top, sum := largest(v, 0), 0.
	for i, x := range v {
		v[i] = math.Exp(x - top)
		sum += v[i]
	}
	for i := range v {
		v[i] /= sum
	}
}

// attentionBias is what masks add to a score: the mask, the causal frontier,
// the window, and the length of the valid keys.
type attentionBias struct {
	mask                []float64
	strides             []int // of the mask read as [batch, heads, queries, keys]
	maskKeys            int
	causal              bool
	left, right, offset int
	lens                []int // valid keys of each sequence; nil: all
	queries             int
}

func newAttentionBias(c *op.Call, q, k headView) (*attentionBias, error) {
	b := &attentionBias{causal: c.Node.Bool("is_causal"), left: -1, right: -1, queries: q.seq}
	if c.Node.Has("left_window_size") {
		b.left, b.right = c.Node.Int("left_window_size"), c.Node.Int("right_window_size")
	}
	if past := c.Input(4); past != nil {
		b.offset = past.Shape[2]
	}
	if t := c.Input(6); t != nil {
		lens, err := t.Ints()
		if err != nil || len(lens) != q.batch {
			return nil, fmt.Errorf("nonpad_kv_seqlen is %s, expected %d lengths", t, q.batch)
		}
		b.lens = lens
	}
	m := c.Input(3)
	if m == nil {
		return b, nil
	}
	if len(m.Shape) == 0 || m.Shape[len(m.Shape)-1] > k.seq && k.seq != 1 {
		return nil, fmt.Errorf("attn_mask is %s, expected at most %d keys", m, k.seq)
	}
	b.maskKeys = m.Shape[len(m.Shape)-1]
	full := []int{q.batch, q.heads, q.seq, b.maskKeys}
	if s, err := num.BroadcastShape(m.Shape, full); err != nil || tensor.Count(s) != tensor.Count(full) {
		return nil, fmt.Errorf("attn_mask is %s, which does not broadcast to %v", m, full)
	}
	b.strides = num.BroadcastStrides(m.Shape, full)
	if b.maskKeys == 1 {
		b.strides[3] = 0
	}
	b.mask = num.Floats(m)
	if m.DType == dtype.Bool {
		for i, x := range b.mask {
			b.mask[i] = math.Inf(-1)
			if x != 0 {
				b.mask[i] = 0
			}
		}
	}
	return b, nil
}

func (b *attentionBias) at(batch, head, i, j int) float64 {
	offset := b.offset
	if b.lens != nil {
		if j >= b.lens[batch] {
			return math.Inf(-1)
		}
		offset = b.lens[batch] - b.queries
	}
	back := i + offset - j // how far key j lies behind query i
	if b.causal && back < 0 || b.left >= 0 && back > b.left || b.right >= 0 && -back > b.right {
		return math.Inf(-1)
	}
	if b.mask == nil {
		return 0
	}
	if j >= b.maskKeys {
		return math.Inf(-1)
	}
	return b.mask[batch*b.strides[0]+head*b.strides[1]+i*b.strides[2]+j*b.strides[3]]
}
