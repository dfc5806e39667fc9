package lm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/token"
)

// graphWeights gives a model's tensors to the builder of its graph. Matrices are
// put in later, stage by stage: here only their shapes count, so that those
// whose rows do not lie in order share bytes that nobody reads.
type graphWeights struct {
	*Model
	index map[string]int
	blank []byte
}

func (g *graphWeights) Weight(name string) (arch.Weight, bool) {
	i, ok := g.index[name]
	if !ok {
		return arch.Weight{}, false
	}
	t := &g.Tensors[i]
	w := arch.Weight{Format: t.Format, Shape: t.Shape}
	switch n := int(t.Bytes()); {
	case len(t.Shape) < 2 || t.data == nil && t.Rows() < 16:
		w.Format, w.Data = block.F32, t.floats()
	case t.data != nil:
		w.Data = t.data
	default:
		if n > len(g.blank) {
			g.blank = make([]byte, n)
		}
		w.Data = g.blank[:n:n]
	}
	return w, true
}

// Name is the same.
func (g *graphWeights) Name(name string) string { return name }

// Rest is nothing: what a file has too much, loading reports.
func (g *graphWeights) Rest() []string { return nil }

// Err is nil: every tensor can be read.
func (g *graphWeights) Err() error { return nil }

// floats are all numbers of a small tensor as bytes of float32.
func (t *Tensor) floats() []byte {
	b, row := make([]byte, 4*t.Elems()), make([]float32, t.Cols())
	for i := range t.Rows() {
		t.Decode(row, i)
		block.Encode(block.F32, b[4*i*len(row):4*(i+1)*len(row)], row)
	}
	return b
}

// meta is the metadata by key.
func (m *Model) meta() map[string]any {
	all := map[string]any{}
	for _, p := range m.Pairs {
		all[p.Key] = p.Value
	}
	return all
}

// tokenizer is the model's.
func (m *Model) tokenizer() (*token.Tokenizer, error) { return token.FromGGUF(m.meta()) }

// graph builds the model's graph for sequences of so many tokens.
func (m *Model) graph(tokens int) (*ir.Graph, *arch.Config, error) {
	meta := m.meta()
	c, err := arch.FromGGUF(meta)
	if err != nil {
		return nil, nil, err
	}
	a, err := arch.Of(c)
	if err != nil {
		return nil, nil, err
	}
	if a.Encoder {
		return nil, nil, fmt.Errorf("%s is an encoder: only models that generate are run on a text", c.Architecture)
	}
	g, err := a.Graph(c, &graphWeights{Model: m, index: m.index()}, arch.Options{Cache: dtype.Float32, Context: c.Context, Blocks: blocksFor(tokens)})
	return g, c, err
}

// index finds tensors by name.
func (m *Model) index() map[string]int {
	index := map[string]int{}
	for i := range m.Tensors {
		index[m.Tensors[i].Name] = i
	}
	return index
}

// matrix is a constant of the graph that is rows of a tensor.
type matrix struct {
	value *ir.Value
	name  string // of the tensor
	from  int    // the first row, counted over all experts
}

// product is a node with matrices, and what it multiplies them with.
type product struct {
	node     *ir.Node
	input    *ir.Value
	matrices []matrix
}

// experts is whether the matrices are those of a mixture, which see only some of
// the tokens.
func (p *product) experts() bool { return p.node.Op == "Experts" }

// productOf recognises a product; nil if the node is none.
func (m *Model) productOf(n *ir.Node) *product {
	p := &product{node: n}
	switch n.Op {
	case "BlockMatMul":
		p.input = n.In[0]
		p.matrices = []matrix{matrixOf(n.In[1])}
	case "Experts":
		p.input = n.In[0]
		for _, v := range n.In[2:] {
			p.matrices = append(p.matrices, m.expertMatrix(v))
		}
	default:
		return nil
	}
	return p
}

// matrixOf reads a constant's name, "NAME" or "NAME[from:to]".
func matrixOf(v *ir.Value) matrix {
	name, rows, ok := strings.Cut(v.Name, "[")
	if !ok {
		return matrix{v, v.Name, 0}
	}
	first, _, _ := strings.Cut(rows, ":")
	from, err := strconv.Atoi(first)
	if err != nil {
		return matrix{v, v.Name, 0}
	}
	return matrix{v, name, from}
}

// expertMatrix reads "blk.0.ffn_up_exp.3.weight", which is a part of
// "blk.0.ffn_up_exps.weight" where the model has that.
func (m *Model) expertMatrix(v *ir.Value) matrix {
	all, ok := expertOf(v.Name)
	if !ok || !m.has(all) {
		return matrixOf(v)
	}
	e, err := strconv.Atoi(strings.Split(v.Name, ".")[3])
	if err != nil {
		return matrixOf(v)
	}
	return matrix{v, all, e * v.Const.Shape[0]}
}

// stored gives rows of a tensor as the constant of a product, in the format that
// the tensor has.
func (t *Tensor) stored(from, rows int) *tensor.Tensor {
	size := int(t.Bytes()) / t.Rows()
	out := &tensor.Tensor{DType: dtype.Uint8, Shape: []int{rows, size}}
	if t.data != nil {
		out.Data = t.data[from*size : (from+rows)*size]
		return out
	}
	out.Data = make([]byte, 0, rows*size)
	for i := range rows {
		out.Data = append(out.Data, t.Row(from+i)...)
	}
	return out
}

// stagesOf cuts a graph behind its products: the nodes of stage 0 depend on none,
// those of stage n on one of stage n-1 at least and on none of a later one. A
// product belongs to the stage that begins with it.
func (m *Model) stagesOf(g *ir.Graph) (stages [][]*ir.Node, products [][]*product) {
	at := map[*ir.Node]int{}
	for _, n := range g.Nodes {
		stage := 0
		for _, v := range n.In {
			if v != nil && v.Producer != nil {
				stage = max(stage, at[v.Producer])
			}
		}
		p := m.productOf(n)
		if p != nil {
			stage++
		}
		at[n] = stage
		for len(stages) <= stage {
			stages, products = append(stages, nil), append(products, nil)
		}
		stages[stage] = append(stages[stage], n)
		if p != nil {
			products[stage] = append(products[stage], p)
		}
	}
	return stages, products
}

// namesOf lists the tensors that products multiply with their input, each once:
// all but the last matrices of a mixture, whose input is within it.
func namesOf(list []*product) (names []string) {
	for _, p := range list {
		for _, m := range p.matrices {
			if !slices.Contains(names, m.name) && !strings.Contains(m.name, ".ffn_down_exp") {
				names = append(names, m.name)
			}
		}
	}
	return names
}
