package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "EmbedLayerNormalization", Versions: []int{1}, Doc: "The normalized sum of the embeddings of words, positions and segments.",
		In:  op.Ports("input_ids:int32", "segment_ids:int32?", "word_embedding:T", "position_embedding:T", "segment_embedding:T?", "gamma:T", "beta:T", "mask:int32?", "position_ids:int32?"),
		Out: op.Ports("output:T", "mask_index:int32?", "embedding_sum:T?"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"epsilon": op.Default(ir.Float(1e-12)), "mask_index_type": op.Default(ir.Int(1))},
		Infer: inferEmbed, Ref: embedRef, Compile: wide.Compile(compileEmbed), Rows: rowsEmbed,
		Cases: embedLayerNormalizationCases{},
	})
}

type embedLayerNormalizationCases struct{}

func (embedLayerNormalizationCases) Cases() []op.Case {
	word, pos := tensor.FromSlice([]float32{1, 2, 5, 1}, 2, 2), tensor.FromSlice([]float32{0, 1, 2, 0}, 2, 2)
	ids := tensor.FromSlice([]int32{3, 0, 2, 1, 1, 3}, 2, 3)
	segments := []*tensor.Tensor{ids, tensor.FromSlice([]int32{0, 0, 1, 0, 1, 1}, 2, 3), wave(4, 70), wave(5, 70), wave(2, 70), wave(70), wave(70), nil, tensor.FromSlice([]int32{4, 0, 2}, 1, 3)}
	return []op.Case{{Name: "segments and positions", In: segments, Out: []*tensor.Tensor{nil, nil, nil}}, {Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]int32{0, 1}, 1, 2), nil, word, pos, nil, tensor.FromSlice([]float32{1, 1}), tensor.FromSlice([]float32{0, 3}), tensor.FromSlice([]int32{1, 0}, 1, 2)},
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{-1, 4, 1, 2}, 1, 2, 2), tensor.FromSlice([]int32{1})}}}
}

func inferEmbed(c *op.Infer) error {
	ids, word := c.In[0].Shape, c.In[2].Shape
	if ids != nil && len(ids) != 2 || word != nil && len(word) != 2 {
		return fmt.Errorf("input_ids has shape %v and word_embedding %v, expected matrices", ids, word)
	}
	out, mask := shape.Unknowns(3), shape.Unknowns(1)
	if ids != nil {
		out[0], out[1], mask[0] = ids[0], ids[1], ids[0]
	}
	if word != nil {
		out[2] = word[1]
	}
	c.Set(0, c.In[2].DType, out)
	c.Set(1, dtype.Int32, mask)
	c.Set(2, c.In[2].DType, out)
	return nil
}

// rowsEmbed: words and the mask have a row for each sequence; segments and
// positions do too, or have one row for all.
func rowsEmbed(n *ir.Node, in []int) ([]int, bool) {
	for i, a := range in {
		switch v := n.Input(i); {
		case v == nil:
		case i == 0 || i == 7:
			if a != 0 {
				return nil, false
			}
		case i == 1 || i == 8:
			if s := v.Type.Shape; a != 0 && (a != op.NoRows || len(s) != 2 || !s[0].Is(1)) {
				return nil, false
			}
		case a != op.NoRows:
			return nil, false
		}
	}
	return []int{0, 0, 0}, true
}

func embedRef(c *op.Call) error {
	ids, word := c.In[0], c.In[2]
	if len(ids.Shape) != 2 || len(word.Shape) != 2 {
		return fmt.Errorf("input_ids is %s and word_embedding %s, expected matrices", ids, word)
	}
	if word.Shape[1] == 0 {
		return fmt.Errorf("word_embedding is %s, expected at least one column", word)
	}
	batch, seq, width := ids.Shape[0], ids.Shape[1], word.Shape[1]
	v := make([]float64, batch*seq*width)
	positions := c.Input(8)
	if positions == nil {
		positions = tensor.New(dtype.Int32, batch, seq)
		for i := range tensor.Of[int32](positions) {
			tensor.Of[int32](positions)[i] = int32(i % seq)
		}
	}
	for _, e := range []struct {
		name       string
		ids, table *tensor.Tensor
	}{{"word", ids, word}, {"position", positions, c.In[3]}, {"segment", c.Input(1), c.Input(4)}} {
		if e.ids == nil || e.table == nil {
			continue
		}
		if err := addEmbedding(v, e.ids, e.table, width); err != nil {
			return fmt.Errorf("%s embedding: %w", e.name, err)
		}
	}
	dims := []int{batch, seq, width}
	if c.Wants(2) {
		num.SetFloats(c.Output(2, word.DType, dims...), v)
	}
	normalizeRows(v, max(width, 1), float64(c.Node.Float("epsilon")), false)
	gamma, beta := num.Floats(c.In[5]), num.Floats(c.In[6])
	if len(gamma) != width || len(beta) != width {
		return fmt.Errorf("gamma is %s and beta %s, expected %d numbers each", c.In[5], c.In[6], width)
	}
	for i := range v {
		v[i] = v[i]*gamma[i%width] + beta[i%width]
	}
	num.SetFloats(c.Output(0, word.DType, dims...), v)
	if c.Wants(1) {
		return maskIndex(c, batch, seq)
	}
	return nil
}

// addEmbedding adds row ids[i] of a table to row i of v; one row of ids may
// stand for all sequences.
func addEmbedding(v []float64, ids, table *tensor.Tensor, width int) error {
	if len(table.Shape) != 2 || table.Shape[1] != width || ids.Len() == 0 || len(v)/max(width, 1)%ids.Len() != 0 {
		return fmt.Errorf("ids are %s and the table %s, expected %d columns", ids, table, width)
	}
	rows := num.Floats(table)
	list := tensor.Of[int32](ids)
	for i := range len(v) / width {
		id := int(list[i%len(list)])
		if id < 0 || id >= table.Shape[0] {
			return fmt.Errorf("id %d is outside the table's %d rows", id, table.Shape[0])
		}
		for k, x := range rows[id*width:][:width] {
			v[i*width+k] += x
		}
	}
	return nil
}

// maskIndex counts the keys of each sequence; zeros without a mask.
func maskIndex(c *op.Call, batch, seq int) error {
	out := tensor.Of[int32](c.Output(1, dtype.Int32, batch))
	clear(out)
	m := c.Input(7)
	if m == nil {
		return nil
	}
	if m.Len() != batch*seq {
		return fmt.Errorf("mask is %s, expected [%d,%d]", m, batch, seq)
	}
	for i, x := range tensor.Of[int32](m) {
		if x == 1 {
			out[i/seq]++
		}
	}
	return nil
}
