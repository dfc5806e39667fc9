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
		Domain: "", Name: "CausalConvWithState", Versions: []int{27},
		Doc: "Depthwise convolution over the current and the last k-1 elements, which the state carries from call to call.",
		In:  op.Ports("input:T", "weight:T", "bias:T?", "past_state:T?"), Out: op.Ports("output:T", "present_state:T"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"activation": op.Default(ir.Str("none"))},
		Infer: inferCausalConv, Ref: causalConvRef, Rows: rowsCausalConv,
		Cases: causalConvWithStateCases{},
	})
}

type causalConvWithStateCases struct{}

func (causalConvWithStateCases) Cases() []op.Case {
	x, w := tensor.FromSlice([]float32{1, 2, 3}, 1, 1, 3), tensor.FromSlice([]float32{10, 1}, 1, 1, 2)
	return []op.Case{
		{Name: "no past", In: []*tensor.Tensor{x, w}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 12, 23}, 1, 1, 3), tensor.FromSlice([]float32{3}, 1, 1, 1)}},
		{Name: "past", In: []*tensor.Tensor{x, w, tensor.FromSlice([]float32{.5}), tensor.FromSlice([]float32{4}, 1, 1, 1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{41.5, 12.5, 23.5}, 1, 1, 3), tensor.FromSlice([]float32{3}, 1, 1, 1)}},
		{Name: "silu", In: []*tensor.Tensor{ramp(2, 3, 5), ramp(3, 1, 4)}, Attrs: map[string]*ir.Attr{"activation": ir.Str("silu")}},
	}
}

func rowsCausalConv(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		want := op.NoRows
		if i == 0 || i == 3 {
			want = 0
		}
		if n.In[i] != nil && a != want {
			return nil, false
		}
	}
	return make([]int, len(n.Out)), true
}

func inferCausalConv(c *op.Infer) error {
	x, w := c.In[0].Shape, c.In[1].Shape
	if x != nil && len(x) != 3 || w != nil && len(w) != 3 {
		return fmt.Errorf("input has shape %v and weight %v, expected [batch,channels,length] and [channels,1,k]", x, w)
	}
	switch a := c.Node.Str("activation"); a {
	case "none", "silu", "swish":
	default:
		return fmt.Errorf("activation is %q, expected none, silu or swish", a)
	}
	c.Set(0, c.In[0].DType, x)
	state := shape.Unknowns(3)
	if x != nil {
		state[0], state[1] = x[0], x[1]
	}
	if w != nil {
		state[2] = w[2].Sub(shape.Const(1))
	}
	c.Set(1, c.In[0].DType, state)
	return nil
}

func causalConvRef(c *op.Call) error {
	x, w := c.In[0], c.In[1]
	if len(x.Shape) != 3 || len(w.Shape) != 3 || w.Shape[0] != x.Shape[1] || w.Shape[1] != 1 || w.Shape[2] < 1 {
		return fmt.Errorf("input is %s and weight %s, expected [batch,channels,length] and [channels,1,k]", x, w)
	}
	batch, channels, length, k := x.Shape[0], x.Shape[1], x.Shape[2], w.Shape[2]
	past := make([]float64, batch*channels*(k-1))
	if t := c.Input(3); t != nil {
		if t.Len() != len(past) {
			return fmt.Errorf("past_state is %s, expected [%d,%d,%d]", t, batch, channels, k-1)
		}
		past = num.Floats(t)
	}
	bias := make([]float64, channels)
	if t := c.Input(2); t != nil {
		if t.Len() != channels {
			return fmt.Errorf("bias is %s, expected %d numbers", t, channels)
		}
		bias = num.Floats(t)
	}
	in, filter := num.Floats(x), num.Floats(w)
	out := make([]float64, 0, len(in))
	state := make([]float64, 0, len(past))
	for i := range batch * channels {
		ch := i % channels
		all := append(append([]float64{}, past[i*(k-1):(i+1)*(k-1)]...), in[i*length:(i+1)*length]...)
		for t := range length {
			v := bias[ch] + dotProduct(all[t:t+k], filter[ch*k:])
			if c.Node.Str("activation") != "none" {
				v /= 1 + math.Exp(-v)
			}
			out = append(out, v)
		}
		state = append(state, all[length:]...)
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape...), out)
	num.SetFloats(c.Output(1, x.DType, batch, channels, k-1), state)
	return nil
}
