package nn

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "RotaryEmbedding", Versions: []int{23},
		In: op.Ports("X:T", "cos_cache:T", "sin_cache:T", "position_ids:int64?"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"interleaved": op.Default(ir.Int(0)), "num_heads": op.Opt(ir.KindInt), "rotary_embedding_dim": op.Default(ir.Int(0))},
		Infer: inferRotary, Ref: rotaryRef, InPlace: []int{0}, Rows: rowsRotary,
		Cases: rotaryEmbeddingCases{},
	})
}

type rotaryEmbeddingCases struct{}

func (rotaryEmbeddingCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 1, 1, 4)
	cos, sin := tensor.FromSlice([]float32{0, .5}, 1, 1, 2), tensor.FromSlice([]float32{1, 2}, 1, 1, 2)
	return []op.Case{
		{Name: "halves", In: []*tensor.Tensor{x, cos, sin}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-3, -7, 1, 6}, 1, 1, 1, 4)}},
		{Name: "interleaved", In: []*tensor.Tensor{x, cos, sin}, Attrs: map[string]*ir.Attr{"interleaved": ir.Int(1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-2, 1, -6.5, 8}, 1, 1, 1, 4)}},
		{Name: "positions", In: []*tensor.Tensor{ramp(2, 3, 8), ramp(5, 2), ramp(5, 2), tensor.FromSlice([]int64{0, 1, 4, 2, 3, 0}, 2, 3)}, Attrs: map[string]*ir.Attr{"num_heads": ir.Int(2)}},
		{Name: "partly", In: []*tensor.Tensor{ramp(2, 3, 2, 8), ramp(5, 2), ramp(5, 2), tensor.FromSlice([]int64{0, 1, 4, 2}, 2, 2)}, Attrs: map[string]*ir.Attr{"rotary_embedding_dim": ir.Int(4)}},
	}
}

func inferRotary(c *op.Infer) error {
	if s := c.In[0].Shape; s != nil {
		if len(s) != 3 && len(s) != 4 {
			return fmt.Errorf("X has shape %v, expected 3 or 4 dimensions", s)
		}
		if len(s) == 3 && c.Node.Int("num_heads") < 1 {
			return fmt.Errorf("num_heads is %d, expected at least 1 for an input of 3 dimensions", c.Node.Int("num_heads"))
		}
	}
	return op.SameAsInput(c)
}

// rowsRotary: positions, or the caches without them, carry the batch as well.
func rowsRotary(n *ir.Node, in []int) ([]int, bool) {
	if in[0] != 0 {
		return nil, false
	}
	if n.Input(3) != nil {
		return []int{0}, in[1] == op.NoRows && in[2] == op.NoRows && in[3] == 0
	}
	return []int{0}, in[1] == 0 && in[2] == 0
}

func rotaryRef(c *op.Call) error {
	x, ids := c.In[0], c.Input(3)
	check := &op.Infer{Node: c.Node, In: []op.Fact{{Type: ir.TypeOf(x)}}}
	if err := inferRotary(check); err != nil {
		return err
	}
	h := newHeadView(num.Floats(x), x.Shape, c.Node.Int("num_heads"))
	dim := c.Node.Int("rotary_embedding_dim")
	if dim == 0 {
		dim = h.size
	}
	half := dim / 2
	cos, sin := num.Floats(c.In[1]), num.Floats(c.In[2])
	if s := c.In[1].Shape; dim > h.size || len(s) < 2 || s[len(s)-1] != half || len(sin) != len(cos) {
		return fmt.Errorf("caches are %s and %s, expected %d columns for a rotation of %d of %d numbers", c.In[1], c.In[2], half, dim, h.size)
	}
	rows := len(cos) / max(half, 1)
	for b := range h.batch {
		for i := range h.seq {
			p := b*h.seq + i
			if ids != nil {
				if ids.Len() != h.batch*h.seq {
					return fmt.Errorf("position_ids is %s, expected [%d,%d]", ids, h.batch, h.seq)
				}
				p = int(tensor.Of[int64](ids)[p])
			}
			if p < 0 || p >= rows {
				return fmt.Errorf("position %d is outside the caches' %d rows", p, rows)
			}
			for head := range h.heads {
				rotate(h.at(b, head, i), cos[p*half:(p+1)*half], sin[p*half:(p+1)*half], c.Node.Bool("interleaved"))
			}
		}
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape...), h.v)
	return nil
}

// rotate turns pairs of v: neighbours if interleaved, else k and k+half.
func rotate(v, cos, sin []float64, interleaved bool) {
	for k := range cos {
		i, j := k, k+len(cos)
		if interleaved {
			i, j = 2*k, 2*k+1
		}
		v[i], v[j] = cos[k]*v[i]-sin[k]*v[j], sin[k]*v[i]+cos[k]*v[j]
	}
}
