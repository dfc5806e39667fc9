package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "RotaryEmbedding", Versions: []int{1},
		Doc: "Rotates pairs of each head's elements by angles of their position. One position_ids is the position of the first token of all sequences. Not supported: scale other than 1.",
		In:  op.Ports("input:T", "position_ids:int64", "cos_cache:T", "sin_cache:T"), Out: op.Ports("output:T"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"interleaved": op.Default(ir.Int(0)), "num_heads": op.Default(ir.Int(0)), "rotary_embedding_dim": op.Default(ir.Int(0)), "scale": op.Default(ir.Float(1)), "is_packed_batching": op.Default(ir.Int(0))},
		Infer: inferRotary, Ref: rotaryRef, Compile: wide.Compile(compileRotary), InPlace: []int{0}, Rows: rowsRotary,
		Cases: rotaryEmbeddingCases{},
	})
}

type rotaryEmbeddingCases struct{}

func (rotaryEmbeddingCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{1, 2, 3, 4}, 1, 1, 4)
	cos, sin := tensor.FromSlice([]float32{1, 1, 0, .5}, 2, 2), tensor.FromSlice([]float32{0, 0, 1, 2}, 2, 2)
	return []op.Case{
		{Name: "halves", In: []*tensor.Tensor{x, tensor.FromSlice([]int64{1}), cos, sin}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-3, -7, 1, 6}, 1, 1, 4)}},
		{Name: "interleaved", In: []*tensor.Tensor{x, tensor.FromSlice([]int64{1}), cos, sin}, Attrs: map[string]*ir.Attr{"interleaved": ir.Int(1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{-2, 1, -6.5, 8}, 1, 1, 4)}},
		{Name: "heads first", In: []*tensor.Tensor{wave(2, 3, 2, 8), tensor.FromSlice([]int64{0, 1, 4, 2}, 2, 2), wave(5, 4), wave(5, 4)}},
		{Name: "partly", In: []*tensor.Tensor{wave(2, 3, 16), tensor.FromSlice([]int64{1}), wave(5, 2), wave(5, 2)}, Attrs: map[string]*ir.Attr{"num_heads": ir.Int(2), "rotary_embedding_dim": ir.Int(4)}},
	}
}

func inferRotary(c *op.Infer) error {
	n := c.Node
	if s := c.In[0].Shape; s != nil && len(s) != 3 && len(s) != 4 {
		return fmt.Errorf("input has shape %v, expected [batch,sequence,hidden] or [batch,heads,sequence,size]", s)
	}
	if n.Float("scale") != 1 {
		return fmt.Errorf("scale is %v, expected 1", n.Float("scale"))
	}
	if h, d := n.Int("num_heads"), n.Int("rotary_embedding_dim"); h < 0 || d < 0 || d%2 != 0 || d > 0 && h < 1 && len(c.In[0].Shape) == 3 {
		return fmt.Errorf("num_heads is %d and rotary_embedding_dim %d, expected an even dimension, and the number of heads with it", h, d)
	}
	return op.SameAsInput(c)
}

// rowsRotary: positions carry the batch as well, or are one for all.
func rowsRotary(n *ir.Node, in []int) ([]int, bool) {
	s := n.In[1].Type.Shape
	if in[0] != 0 || in[2] != op.NoRows || in[3] != op.NoRows || s == nil {
		return nil, false
	}
	return []int{0}, in[1] == 0 && len(s) == 2 || in[1] == op.NoRows && s.Count().Is(1)
}

// rotation turns pairs of elements of heads.
type rotation struct {
	cos, sin    []float64 // [positions, half]
	half        int
	interleaved bool
}

// newRotation reads the caches, [positions, half] each, for heads of size.
func newRotation(cos, sin *tensor.Tensor, size int, interleaved bool) (*rotation, error) {
	if cos == nil || sin == nil || len(cos.Shape) != 2 || len(sin.Shape) != 2 || cos.Len() != sin.Len() || cos.Shape[1] != sin.Shape[1] || 2*cos.Shape[1] > size {
		return nil, fmt.Errorf("caches are %s and %s, expected as many rows of at most %d numbers each", cos, sin, size/2)
	}
	return &rotation{num.Floats(cos), num.Floats(sin), cos.Shape[1], interleaved}, nil
}

// turn rotates one head at a position.
func (r *rotation) turn(v []float64, position int) error {
	if rows := len(r.cos) / max(r.half, 1); position < 0 || position >= rows {
		return fmt.Errorf("position %d is outside the caches' %d rows", position, rows)
	}
	for k := range r.half {
		i, j := k, k+r.half
		if r.interleaved {
			i, j = 2*k, 2*k+1
		}
		cos, sin := r.cos[position*r.half+k], r.sin[position*r.half+k]
		v[i], v[j] = float64(cos*v[i])-float64(sin*v[j]), float64(sin*v[i])+float64(cos*v[j])
	}
	return nil
}

func rotaryRef(c *op.Call) error {
	x, ids := c.In[0], tensor.Of[int64](c.In[1])
	n := c.Node
	if err := inferRotary(&op.Infer{Node: n, In: factsOf(c.In), Out: make([]op.Fact, 1)}); err != nil {
		return err
	}
	s := x.Shape
	batch, seq, heads, size := s[0], s[1], n.Int("num_heads"), 0
	if len(s) == 4 {
		heads, seq, size = s[1], s[2], s[3]
	} else {
		if heads == 0 && len(c.In[2].Shape) == 2 {
			heads = s[2] / max(2*c.In[2].Shape[1], 1)
		}
		if heads < 1 || s[2]%heads != 0 {
			return fmt.Errorf("input is %s, which does not divide into %d heads", x, heads)
		}
		size = s[2] / heads
	}
	r, err := newRotation(c.In[2], c.In[3], size, n.Bool("interleaved"))
	if err != nil {
		return err
	}
	if d := n.Int("rotary_embedding_dim"); d > 0 && d != 2*r.half {
		return fmt.Errorf("rotary_embedding_dim is %d, expected twice the caches' %d columns", d, r.half)
	}
	if len(ids) != 1 && len(ids) != batch*seq {
		return fmt.Errorf("position_ids is %s, expected one number or [%d,%d]", c.In[1], batch, seq)
	}
	v := num.Floats(x)
	for at := range batch * seq * heads {
		h, i, b := at%heads, at/heads%seq, at/heads/seq
		from := ((b*seq+i)*heads + h) * size
		if len(s) == 4 {
			from = ((b*heads+h)*seq + i) * size
		}
		position := i + int(ids[0])
		if len(ids) > 1 {
			position = int(ids[b*seq+i])
		}
		if err := r.turn(v[from:from+size], position); err != nil {
			return err
		}
	}
	num.SetFloats(c.Output(0, x.DType, s...), v)
	return nil
}
