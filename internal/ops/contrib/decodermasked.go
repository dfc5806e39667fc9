package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "DecoderMaskedMultiHeadAttention", Versions: []int{1},
		Doc: "MultiHeadAttention of one new token. Not supported: beams (beam_width, cache_indirection).",
		In:  op.Ports("query:T", "key:T?", "value:T?", "mask_index:int32?", "attention_bias:T?", "past_key:T?", "past_value:T?", "past_sequence_length:int32?", "beam_width:int32?", "cache_indirection:int32?", "bias:T?"),
		Out: op.Ports("output:T", "present_key:T?", "present_value:T?", "qk:QK?"), Types: op.Types{"T": op.Floats, "QK": op.Floats},
		Attrs: op.Attrs{"num_heads": op.Required(ir.KindInt), "mask_filter_value": op.Default(ir.Float(-10000)), "scale": op.Opt(ir.KindFloat), "past_present_share_buffer": op.Default(ir.Int(0)), "output_qk": op.Default(ir.Int(0))},
		Infer: func(c *op.Infer) error {
			if c.Input(8).Present || c.Input(9).Present {
				return fmt.Errorf("beam_width and cache_indirection are not supported")
			}
			var in []op.Fact
			for _, i := range multiHeadOrder(c.Node) {
				in = append(in, c.Input(i))
			}
			return inferMultiHead(&op.Infer{Node: c.Node, In: in, Out: c.Out})
		},
		Ref: func(c *op.Call) error {
			if c.Input(8) != nil || c.Input(9) != nil {
				return fmt.Errorf("beam_width and cache_indirection are not supported")
			}
			var in []*tensor.Tensor
			for _, i := range multiHeadOrder(c.Node) {
				in = append(in, c.Input(i))
			}
			inner := &op.Call{Context: c.Context, Node: c.Node, In: in, Out: c.Out}
			err := multiHeadRef(inner)
			c.Out = inner.Out
			return err
		},
		Cases: decoderMaskedMultiHeadAttentionCases{},
	})
}

type decoderMaskedMultiHeadAttentionCases struct{}

func (decoderMaskedMultiHeadAttentionCases) Cases() []op.Case {
	length := tensor.FromSlice([]int32{2})
	in := []*tensor.Tensor{wave(2, 1, 8), wave(2, 1, 8), wave(2, 1, 8), nil, nil, wave(2, 2, 5, 4), wave(2, 2, 5, 4), length}
	attrs := map[string]*ir.Attr{"num_heads": ir.Int(2), "past_present_share_buffer": ir.Int(1)}
	return []op.Case{{Name: "shared cache", In: in, Attrs: attrs, Out: []*tensor.Tensor{nil, nil, nil}}}
}

// none is past all inputs.
const none = 1 << 10

// multiHeadOrder lists which input stands for each of MultiHeadAttention's.
func multiHeadOrder(n *ir.Node) []int {
	length := none
	if n.Bool("past_present_share_buffer") {
		length = 7
	}
	return []int{0, 1, 2, 10, 3, 4, 5, 6, length}
}
