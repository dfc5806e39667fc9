package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "QAttention", Versions: []int{1}, Doc: "Attention of a quantized input with quantized weights, which may have a scale and zero point for each column",
		In:    op.Ports("input:T1", "weight:T2", "bias:T3", "input_scale:T3", "weight_scale:T3", "mask_index:int32?", "input_zero_point:T1?", "weight_zero_point:T2?", "past:T3?"),
		Out:   op.Ports("output:T3", "present:T3?"),
		Types: op.Types{"T1": bytes8, "T2": bytes8, "T3": op.Floats},
		Attrs: op.Attrs{"num_heads": op.Required(ir.KindInt), "unidirectional": op.Default(ir.Int(0)), "mask_filter_value": op.Default(ir.Float(-10000)), "scale": op.Opt(ir.KindFloat),
			"do_rotary": op.Default(ir.Int(0)), "past_present_share_buffer": op.Default(ir.Int(0))},
		Infer: func(c *op.Infer) error {
			x, w := c.In[0], c.In[1]
			x.DType, w.DType = c.In[2].DType, c.In[2].DType
			inner := &op.Infer{Node: c.Node, In: []op.Fact{x, w, c.In[2], c.Input(5), c.Input(8)}, Out: c.Out}
			return inferAttention(inner)
		},
		Ref: qattentionRef, Compile: compileQAttention, Rows: rowsQAttention,
		Cases: qAttentionCases{},
	})
}

type qAttentionCases struct{}

func (qAttentionCases) Cases() []op.Case {
	in := []*tensor.Tensor{bytesWave[uint8](2, 3, 4), bytesWave[int8](4, 12), wave(12), scalar32(.01), scalar32(.02), tensor.FromSlice([]int32{2, 3}), tensor.Scalar[uint8](120), tensor.Scalar[int8](3)}
	heads := map[string]*ir.Attr{"num_heads": ir.Int(2)}
	columns := []*tensor.Tensor{bytesWave[int8](2, 3, 8), bytesWave[int8](8, 24), wave(24), scalar32(.01), wave(24), tensor.FromSlice([]int32{1, 0, 1, 1, 1, 0, 1, 1, 1, 1}, 2, 5), nil, nil, wave(2, 2, 2, 2, 4)}
	return []op.Case{{Name: "masked", In: in, Attrs: heads, Out: []*tensor.Tensor{nil}}, {Name: "scale of each column, cache", In: columns, Attrs: heads, Tol: 1e-4}}
}

func qattentionRef(c *op.Call) error {
	x, err := dequantized(c.In[0], c.In[3], c.Input(6))
	if err != nil {
		return fmt.Errorf("input: %w", err)
	}
	w, err := dequantizedColumns(c.In[1], c.In[4], c.Input(7))
	if err != nil {
		return fmt.Errorf("weight: %w", err)
	}
	in := []*tensor.Tensor{ofType(x, c.In[2].DType), ofType(w, c.In[2].DType), c.In[2], c.Input(5), c.Input(8)}
	inner := &op.Call{Context: c.Context, Node: c.Node, In: in}
	if err := attentionRef(inner); err != nil {
		return err
	}
	for i, t := range inner.Out {
		give(c, i, t)
	}
	return nil
}

// rowsQAttention: the input and a mask of flags carry the batch.
func rowsQAttention(n *ir.Node, in []int) ([]int, bool) {
	if in[0] != 0 || len(n.Out) > 1 && n.Out[1] != nil {
		return nil, false
	}
	for i, a := range in[1:] {
		v := n.In[i+1]
		switch {
		case v == nil:
		case i+1 == 5:
			if a != 0 || len(v.Type.Shape) < 2 {
				return nil, false
			}
		case a != op.NoRows || i+1 == 8:
			return nil, false
		}
	}
	return []int{0}, true
}

// compileQAttention serves float32 with constant weights.
func compileQAttention(p *op.Prep) (op.Kernel, error) {
	in := attentionInputs{bias: 2, mask: 5, past: 8, scores: absent, product: []int{0, 1, 3, 4, 6, 7, 2}} // of MatMulIntegerToFloat
	if p.Has(in.past) && p.In[in.past].DType != dtype.Float32 || !p.Has(in.bias) {
		return nil, nil
	}
	return newAttentionKernel(p, in, compileIntegerToFloat)
}

// dequantizedColumns reads a matrix with one scale and zero point, or one for
// each column.
func dequantizedColumns(t, scale, zero *tensor.Tensor) (*tensor.Tensor, error) {
	if len(t.Shape) != 2 {
		return nil, fmt.Errorf("%s, expected a matrix", t)
	}
	n := t.Shape[1]
	s, err := columns("scale", scale, n)
	if err != nil {
		return nil, err
	}
	z, err := columns("zero point", zero, n)
	if err != nil {
		return nil, err
	}
	v := num.Floats(t)
	for i := range v {
		v[i] = (v[i] - z[i%n]) * s[i%n]
	}
	y := tensor.New(dtype.Float32, t.Shape...)
	num.SetFloats(y, v)
	return y, nil
}

// ofType converts floats.
func ofType(t *tensor.Tensor, dt dtype.Type) *tensor.Tensor {
	if t.DType == dt {
		return t
	}
	y := tensor.New(dt, t.Shape...)
	num.SetFloats(y, num.Floats(t))
	return y
}
