package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "LinearAttention", Versions: []int{27},
		Doc: "Attention with a matrix as state, which each token decays, corrects and adds to (gated delta networks, Yang et al., 2024).",
		In:  op.Ports("query:T", "key:T", "value:T", "past_state:S?", "decay:T?", "beta:T?"), Out: op.Ports("output:T", "present_state:S"),
		Types: op.Types{"T": op.Floats, "S": op.Floats},
		Attrs: op.Attrs{"chunk_size": op.Default(ir.Int(64)), "kv_num_heads": op.Required(ir.KindInt), "q_num_heads": op.Required(ir.KindInt),
			"scale": op.Default(ir.Float(0)), "update_rule": op.Default(ir.Str("gated_delta"))},
		Infer: inferLinearAttention, Ref: linearAttentionRef, Rows: rowsAllFirst,
		Cases: linearAttentionCases{},
	})
}

type linearAttentionCases struct{}

func (linearAttentionCases) Cases() []op.Case {
	attrs := func(rule string) map[string]*ir.Attr {
		return map[string]*ir.Attr{"q_num_heads": ir.Int(2), "kv_num_heads": ir.Int(1), "update_rule": ir.Str(rule), "scale": ir.Float(.5)}
	}
	q := tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 1, 4)
	return []op.Case{
		{Name: "linear", In: []*tensor.Tensor{q, tensor.FromSlice([]float32{1, -1}, 1, 1, 2), tensor.FromSlice([]float32{6}, 1, 1, 1)}, Attrs: attrs("linear"),
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{-3, -3}, 1, 1, 2), tensor.FromSlice([]float32{6, -6}, 1, 1, 2, 1)}},
		{Name: "gated delta", In: []*tensor.Tensor{ramp(2, 3, 8), ramp(2, 3, 4), ramp(2, 3, 5), nil, ramp(2, 3, 1), ramp(2, 3, 1)}, Attrs: attrs("gated_delta")},
	}
}

// rowsAllFirst: every input that is there carries the batch first.
func rowsAllFirst(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		if n.In[i] != nil && a != 0 {
			return nil, false
		}
	}
	return make([]int, len(n.Out)), true
}

func inferLinearAttention(c *op.Infer) error {
	qh, kh := c.Node.Int("q_num_heads"), c.Node.Int("kv_num_heads")
	if qh < 1 || kh < 1 || qh%kh != 0 {
		return fmt.Errorf("q_num_heads is %d and kv_num_heads %d, expected a multiple of a number of at least 1", qh, kh)
	}
	rule := c.Node.Str("update_rule")
	gated, delta := rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	if rule != "linear" && !gated && !delta {
		return fmt.Errorf("update_rule is %q, expected linear, gated, delta or gated_delta", rule)
	}
	if c.Input(4).Present != gated || c.Input(5).Present != delta {
		return fmt.Errorf("update_rule %q has decay: %v and beta: %v, found decay: %v and beta: %v", rule, gated, delta, c.Input(4).Present, c.Input(5).Present)
	}
	st := c.In[0].DType
	if past := c.Input(3); past.Present {
		st = past.DType
	}
	q, v := c.In[0].Shape, c.In[2].Shape
	for _, f := range c.In[:3] {
		if f.Shape != nil && len(f.Shape) != 3 {
			return fmt.Errorf("query, key and value have shapes %v, %v and %v, expected 3 dimensions each", q, c.In[1].Shape, v)
		}
	}
	if q == nil || v == nil {
		c.Set(0, c.In[0].DType, shape.Unknowns(3))
		c.Set(1, st, shape.Unknowns(4))
		return nil
	}
	dk, dv := q[2].Div(shape.Const(qh)), v[2].Div(shape.Const(kh))
	c.Set(0, c.In[0].DType, shape.Shape{q[0], q[1], dv.Mul(shape.Const(qh))})
	c.Set(1, st, shape.Shape{q[0], shape.Const(kh), dk, dv})
	return nil
}

func linearAttentionRef(c *op.Call) error {
	check := &op.Infer{Node: c.Node, Out: make([]op.Fact, 2)}
	for _, t := range c.In {
		f := op.Fact{}
		if t != nil {
			f = op.Fact{Type: ir.TypeOf(t), Present: true}
		}
		check.In = append(check.In, f)
	}
	if err := inferLinearAttention(check); err != nil {
		return err
	}
	qh, kh := c.Node.Int("q_num_heads"), c.Node.Int("kv_num_heads")
	q, k, v := newHeadView(num.Floats(c.In[0]), c.In[0].Shape, qh), newHeadView(num.Floats(c.In[1]), c.In[1].Shape, kh), newHeadView(num.Floats(c.In[2]), c.In[2].Shape, kh)
	if q.batch != k.batch || q.batch != v.batch || q.seq != k.seq || q.seq != v.seq || q.size != k.size {
		return fmt.Errorf("query %s, key %s and value %s do not go together", c.In[0], c.In[1], c.In[2])
	}
	decay, err := gates(c.Input(4), q, kh, q.size)
	if err != nil {
		return fmt.Errorf("decay: %w", err)
	}
	beta, err := gates(c.Input(5), q, kh, 1)
	if err != nil {
		return fmt.Errorf("beta: %w", err)
	}
	state := make([]float64, q.batch*kh*q.size*v.size)
	if t := c.Input(3); t != nil {
		if t.Len() != len(state) {
			return fmt.Errorf("past_state is %s, expected [%d,%d,%d,%d]", t, q.batch, kh, q.size, v.size)
		}
		state = num.Floats(t)
	}
	outShape, _ := check.Out[0].Shape.Ints()
	y := newHeadView(make([]float64, tensor.Count(outShape)), outShape, qh)
	scale := float64(c.Node.Float("scale"))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(q.size))
	}
	heads := kh
	if v.size == 0 {
		heads = 0 // however many there are said to be
	}
	for b := range q.batch {
		for head := range heads {
			s := state[(b*kh+head)*q.size*v.size:][:q.size*v.size]
			for t := range q.seq {
				updateState(s, k.at(b, head, t), v.at(b, head, t), decay, beta, b*q.seq+t, head)
				for i := range qh / kh {
					readState(y.at(b, head*(qh/kh)+i, t), s, q.at(b, head*(qh/kh)+i, t), scale)
				}
			}
		}
	}
	num.SetFloats(c.Output(0, c.In[0].DType, outShape...), y.v)
	num.SetFloats(c.Output(1, check.Out[1].DType, q.batch, kh, q.size, v.size), state)
	return nil
}

// gate holds a number, or one per key dimension, for each token and head.
type gate struct {
	v          []float64
	heads, per int
}

// gates reads [batch, sequence, heads·per]; one head stands for all.
func gates(t *tensor.Tensor, q headView, heads, most int) (*gate, error) {
	if t == nil {
		return nil, nil
	}
	if len(t.Shape) != 3 || t.Shape[0] != q.batch || t.Shape[1] != q.seq {
		return nil, fmt.Errorf("found %s, expected [%d,%d,*]", t, q.batch, q.seq)
	}
	switch n := t.Shape[2]; n {
	case heads:
		return &gate{num.Floats(t), heads, 1}, nil
	case heads * most:
		return &gate{num.Floats(t), heads, most}, nil
	case 1:
		return &gate{num.Floats(t), 1, 1}, nil
	}
	return nil, fmt.Errorf("found %s, expected a last dimension of %d or %d", t, heads, heads*most)
}

func (g *gate) at(token, head, i int) float64 {
	return g.v[(token*g.heads+head%g.heads)*g.per+i%g.per]
}

// updateState applies one token to the state [key, value] of a head.
func updateState(s, k, v []float64, decay, beta *gate, token, head int) {
	n := len(v)
	if decay != nil {
		for i := range k {
			f := math.Exp(decay.at(token, head, i))
			for j := range n {
				s[i*n+j] *= f
			}
		}
	}
	add := append([]float64{}, v...)
	if beta != nil {
		for j := range add {
			known := 0.
			for i, x := range k {
				known += x * s[i*n+j]
			}
			add[j] = beta.at(token, head, 0) * (v[j] - known)
		}
	}
	for i, x := range k {
		for j, a := range add {
			s[i*n+j] += float64(x * a)
		}
	}
}

func readState(out, s, q []float64, scale float64) {
	for i, x := range q {
		for j := range out {
			out[j] += float64(x * s[i*len(out)+j])
		}
	}
	for j := range out {
		out[j] *= scale
	}
}
