package contrib

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
		Domain: op.Microsoft, Name: "Attention", Versions: []int{1},
		Doc: "Self-attention with the projection of queries, keys and values. Not supported: do_rotary, past_present_share_buffer.",
		In:  op.Ports("input:T", "weights:T", "bias:T?", "mask_index:int32?", "past:T?", "attention_bias:T?", "past_sequence_length:int32?"), Out: op.Ports("output:T", "present:T?"),
		Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{
			"num_heads": op.Required(ir.KindInt), "unidirectional": op.Default(ir.Int(0)), "mask_filter_value": op.Default(ir.Float(-10000)), "scale": op.Opt(ir.KindFloat),
			"qkv_hidden_sizes": op.Opt(ir.KindInts), "do_rotary": op.Default(ir.Int(0)), "rotary_embedding_dim": op.Opt(ir.KindInt), "past_present_share_buffer": op.Default(ir.Int(0)),
		},
		Infer: inferAttention, Ref: attentionRef, Compile: compileAttention, Rows: rowsSelfAttention,
		Cases: attentionCases{},
	})
}

type attentionCases struct{}

func (attentionCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{1, 2}, 1, 1, 2)
	w := tensor.FromSlice([]float32{1, 0, 1, 0, 3, 0, 0, 1, 0, 1, 0, 4}, 2, 6)
	attrs := map[string]*ir.Attr{"num_heads": ir.Int(1)}
	return []op.Case{
		{Name: "one token", In: []*tensor.Tensor{x, w, tensor.FromSlice([]float32{0, 0, 0, 0, 1, -1})}, Attrs: attrs, Out: []*tensor.Tensor{tensor.FromSlice([]float32{4, 7}, 1, 1, 2)}},
		{Name: "cache", In: []*tensor.Tensor{wave(2, 3, 4), wave(4, 24), wave(24), tensor.FromSlice([]int32{1, 0, 1, 1, 1, 0, 1, 1, 1, 1}, 2, 5), wave(2, 2, 2, 2, 4), wave(1, 2, 3, 5)}, Attrs: map[string]*ir.Attr{"num_heads": ir.Int(2)}},
		{Name: "values of another size", In: []*tensor.Tensor{wave(2, 3, 4), wave(4, 22), nil, nil, nil, wave(2, 1, 3, 3)}, Attrs: map[string]*ir.Attr{"num_heads": ir.Int(2), "qkv_hidden_sizes": ir.Ints(8, 8, 6), "scale": ir.Float(.4)}, Out: []*tensor.Tensor{nil}},
		{Name: "masked", In: []*tensor.Tensor{wave(2, 3, 4), wave(4, 12), wave(12), tensor.FromSlice([]int32{2, 3})}, Attrs: map[string]*ir.Attr{"num_heads": ir.Int(2), "unidirectional": ir.Int(1)}, Out: []*tensor.Tensor{nil}},
	}
}

// rowsSelfAttention: the input, a mask of flags and a bias of each sequence
// carry the batch first; the past, which has it second, does not.
func rowsSelfAttention(n *ir.Node, in []int) ([]int, bool) {
	if in[0] != 0 || len(n.Out) > 1 && n.Out[1] != nil {
		return nil, false
	}
	for i, a := range in {
		v := n.In[i]
		switch {
		case i == 0 || v == nil:
		case i == 3:
			if a != 0 || len(v.Type.Shape) < 2 {
				return nil, false
			}
		case i == 5 && a == op.NoRows:
			if s := v.Type.Shape; s == nil || len(s) == 4 && !s[0].Is(1) {
				return nil, false
			}
		case i == 5:
			if a != 0 || len(v.Type.Shape) != 4 {
				return nil, false
			}
		case a != op.NoRows || i > 2:
			return nil, false
		}
	}
	return []int{0}, true
}

// hidden gives the widths of queries, keys and values.
func hidden(n *ir.Node, columns int) ([3]int, error) {
	heads := n.Int("num_heads")
	s := n.Ints("qkv_hidden_sizes")
	if len(s) == 0 {
		s = []int{columns / 3, columns / 3, columns / 3}
	}
	if heads < 1 || len(s) != 3 || s[0] != s[1] || s[0]+s[1]+s[2] != columns || s[0]%heads != 0 || s[2]%heads != 0 {
		return [3]int{}, fmt.Errorf("weights have %d columns, qkv_hidden_sizes %v and num_heads %d don't divide them", columns, s, heads)
	}
	return [3]int(s), nil
}

func inferAttention(c *op.Infer) error {
	if c.Node.Bool("do_rotary") || c.Node.Bool("past_present_share_buffer") {
		return fmt.Errorf("do_rotary and past_present_share_buffer are not supported")
	}
	x, w := c.In[0].Shape, c.In[1].Shape
	dt := c.In[0].DType
	if x != nil && len(x) != 3 || w != nil && len(w) != 2 {
		return fmt.Errorf("input has shape %v and weights %v, expected [batch,sequence,hidden] and a matrix", x, w)
	}
	out, present := shape.Unknowns(3), shape.Unknowns(5)
	present[0], present[2] = shape.Const(2), shape.Const(c.Node.Int("num_heads"))
	if x != nil {
		out[0], out[1], present[1], present[3] = x[0], x[1], x[0], x[1]
	}
	if past := c.Input(4); past.Present {
		present[3] = shape.Unknown()
		if len(past.Shape) == 5 && x != nil {
			present[3] = past.Shape[3].Add(x[1])
		}
	}
	if w != nil {
		if n, ok := w[1].Int(); ok {
			s, err := hidden(c.Node, n)
			if err != nil {
				return err
			}
			out[2], present[4] = shape.Const(s[2]), shape.Const(s[0]/c.Node.Int("num_heads"))
		}
	}
	c.Set(0, dt, out)
	c.Set(1, dt, present)
	return nil
}

func attentionRef(c *op.Call) error {
	a, err := newAttention(c)
	if err != nil {
		return err
	}
	num.SetFloats(c.Output(0, c.In[0].DType, a.batch, a.seq, a.heads*a.vsize), a.run())
	if c.Wants(1) {
		total := a.past + a.seq
		present := append(append([]float64{}, a.k...), a.v...)
		num.SetFloats(c.Output(1, c.In[0].DType, 2, a.batch, a.heads, total, a.size), present)
	}
	return nil
}

func newAttention(c *op.Call) (*attention, error) {
	x, w := c.In[0], c.In[1]
	check := &op.Infer{Node: c.Node, In: []op.Fact{{Type: ir.TypeOf(x)}, {Type: ir.TypeOf(w)}}}
	if err := inferAttention(check); err != nil {
		return nil, err
	}
	s, err := hidden(c.Node, w.Shape[1])
	if err != nil {
		return nil, err
	}
	if w.Shape[0] != x.Shape[2] {
		return nil, fmt.Errorf("input is %s and weights are %s: %d numbers against %d rows", x, w, x.Shape[2], w.Shape[0])
	}
	heads := c.Node.Int("num_heads")
	a := &attention{batch: x.Shape[0], seq: x.Shape[1], heads: heads, kvHeads: heads, size: s[0] / heads, vsize: s[2] / heads}
	a.scale = 1 / math.Sqrt(float64(a.size))
	if c.Node.Float("scale") != 0 {
		a.scale = float64(c.Node.Float("scale"))
	}
	past := c.Input(4)
	if past != nil {
		if p := past.Shape; len(p) != 5 || p[0] != 2 || p[1] != a.batch || p[2] != heads || p[4] != a.size || a.size != a.vsize {
			return nil, fmt.Errorf("past is %s, expected [2,%d,%d,*,%d]", past, a.batch, heads, a.size)
		}
		a.past = past.Shape[3]
	}
	if err := a.project(c, s, past); err != nil {
		return nil, err
	}
	a.total = a.past + a.seq
	a.bias, err = a.masks(c.Node, c.Input(3), c.Input(5))
	return a, err
}

// project computes queries, and keys and values behind those of the past, as
// [batch, heads, sequence, size].
func (a *attention) project(c *op.Call, s [3]int, past *tensor.Tensor) error {
	x, w := num.Floats(c.In[0]), num.Floats(c.In[1])
	columns := s[0] + s[1] + s[2]
	bias := make([]float64, columns)
	if t := c.Input(2); t != nil {
		if t.Len() != columns {
			return fmt.Errorf("bias is %s, expected %d numbers", t, columns)
		}
		bias = num.Floats(t)
	}
	var old []float64
	if past != nil {
		old = num.Floats(past)
	}
	width := c.In[0].Shape[2]
	total := a.past + a.seq
	first := 0
	for i, dst := range []*[]float64{&a.q, &a.k, &a.v} {
		before, length := a.past, total
		if i == 0 {
			before, length = 0, a.seq
		}
		size := s[i] / a.heads
		*dst = make([]float64, a.batch*a.heads*length*size)
		for at := range *dst {
			d, t, head, b := at%size, at/size%length, at/size/length%a.heads, at/size/length/a.heads
			if t < before {
				(*dst)[at] = old[((((i-1)*a.batch+b)*a.heads+head)*a.past+t)*size+d]
				continue
			}
			col := first + head*size + d
			sum := bias[col]
			for k, v := range x[(b*a.seq+t-before)*width:][:width] {
				sum += float64(v * w[k*columns+col])
			}
			(*dst)[at] = sum
		}
		first += s[i]
	}
	return nil
}
