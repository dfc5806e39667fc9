package blockquant

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Inputs of Experts.
const (
	exX = iota
	exRouter
	exWeights
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "Experts", Versions: []int{1},
		Doc: "A mixture of experts: y[t] = Σ p[t,e]·down_e·(silu(gate_e·x[t]) ∘ up_e·x[t]) over the used experts e of the largest p, in the order of their numbers; among equals, those with " +
			"lower numbers. With normalize their p are divided by their sum. x is [tokens, k], router [tokens, experts]; weights are the gates of all experts, [ffn, k], then their ups, " +
			"then their downs, [k, ffn], rows in the formats of BlockMatMul.",
		In:  op.Ports("x:float32", "router:float32", "weights:uint8..."),
		Out: op.Ports("y:float32"),
		Attrs: op.Attrs{"used": op.Required(ir.KindInt), "normalize": op.Default(ir.Int(0)), "k": op.Required(ir.KindInt), "ffn": op.Required(ir.KindInt),
			"gate_format": op.Required(ir.KindString), "up_format": op.Required(ir.KindString), "down_format": op.Required(ir.KindString)},
		Infer: inferExperts, Ref: expertsRef, Compile: compileExperts, Flops: flopsExperts, Cases: expertsCases{},
		Rows: func(n *ir.Node, in []int) ([]int, bool) { return in[:1], in[exX] == 0 && in[exRouter] == 0 },
	})
}

// mixture is what attributes and shapes say of a node.
type mixture struct {
	experts, used  int
	normalize      bool
	gate, up, down weights
}

// mixtureOf reads attributes, and holds the weights' shapes against them.
func mixtureOf(n *ir.Node, shapes []shape.Shape) (*mixture, error) {
	x := &mixture{experts: (len(shapes) - exWeights) / 3, used: n.Int("used"), normalize: n.Bool("normalize")}
	if x.experts < 1 || len(shapes) != exWeights+3*x.experts {
		return nil, fmt.Errorf("%d matrices, expected three of each expert", len(shapes)-exWeights)
	}
	if x.used < 1 || x.used > x.experts {
		return nil, fmt.Errorf("used is %d, expected 1 to %d, the number of experts", x.used, x.experts)
	}
	k, ffn := n.Int("k"), n.Int("ffn")
	for i, m := range []struct {
		w          *weights
		attr       string
		rows, cols int
	}{{&x.gate, "gate_format", ffn, k}, {&x.up, "up_format", ffn, k}, {&x.down, "down_format", k, ffn}} {
		f, err := block.Parse(n.Str(m.attr))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.attr, err)
		}
		for e := range x.experts {
			if *m.w, err = formatOf(f, m.cols, shapes[exWeights+i*x.experts+e]); err != nil {
				return nil, fmt.Errorf("expert %d: %w", e, err)
			}
			if m.w.n >= 0 && m.w.n != m.rows {
				return nil, fmt.Errorf("expert %d: a matrix has %d rows, expected %d", e, m.w.n, m.rows)
			}
			m.w.n = m.rows
		}
	}
	return x, nil
}

func shapesOf(in []op.Fact) (s []shape.Shape) {
	for _, f := range in {
		s = append(s, f.Shape)
	}
	return s
}

func inferExperts(c *op.Infer) error {
	m, err := mixtureOf(c.Node, shapesOf(c.In))
	if err != nil {
		return err
	}
	for i, width := range []int{m.gate.k, m.experts} {
		if s := c.In[i].Shape; s != nil && (len(s) != 2 || !s[1:].Compatible(shape.Of(width))) {
			return fmt.Errorf("%s has shape %v, expected [tokens,%d]", []string{"x", "router"}[i], s, width)
		}
	}
	if x, router := c.In[exX].Shape, c.In[exRouter].Shape; x != nil && router != nil && !x[:1].Compatible(router[:1]) {
		return fmt.Errorf("x has %v tokens and router %v, expected as many", x[0], router[0])
	}
	return op.SameAsInput(c)
}

func flopsExperts(in, out []op.Fact) float64 {
	y, _ := out[0].Shape.Ints()
	w, _ := in[len(in)-1].Shape.Ints()
	if len(y) == 0 || len(w) == 0 {
		return 0
	}
	return 6 * float64(tensor.Count(y)) * float64(w[1]) // of one expert: how many are used is not told
}

// choice is an expert of a token with its weight.
type choice struct {
	expert int
	weight float32
}

// choose gives the experts of a token with the largest probabilities, in the
// order of these, in list, which has as many elements as are used.
func (m *mixture) choose(list []choice, p []float32) {
	n := 0
	for e, v := range p {
		if n == m.used && !(v > list[n-1].weight) {
			continue
		}
		if n < m.used {
			n++
		}
		i := n - 1
		for ; i > 0 && v > list[i-1].weight; i-- {
			list[i] = list[i-1]
		}
		list[i] = choice{e, v}
	}
	if !m.normalize {
		return
	}
	var sum float32
	for _, c := range list {
		sum += c.weight
	}
	for i := range list {
		list[i].weight /= sum
	}
}

// expertsRef computes each token alone.
func expertsRef(c *op.Call) error {
	var shapes []shape.Shape
	for _, t := range c.In {
		shapes = append(shapes, shape.Of(t.Shape...))
	}
	m, err := mixtureOf(c.Node, shapes)
	if err != nil {
		return err
	}
	x, router := c.In[exX], c.In[exRouter]
	if len(x.Shape) != 2 || x.Shape[1] != m.gate.k || len(router.Shape) != 2 || router.Shape[0] != x.Shape[0] || router.Shape[1] != m.experts {
		return fmt.Errorf("x is %s and router %s, expected [tokens,%d] and [tokens,%d]", x, router, m.gate.k, m.experts)
	}
	y := tensor.Of[float32](c.Output(0, dtype.Float32, x.Shape...))
	clear(y)
	list, weight := make([]choice, m.used), make([]float32, m.experts)
	used := make([]bool, m.experts)
	gate, up, down := make([]float32, m.gate.n), make([]float32, m.up.n), make([]float32, m.down.n)
	for t := range x.Shape[0] {
		row, out := tensor.Of[float32](x)[t*m.gate.k:][:m.gate.k], y[t*m.down.n:][:m.down.n]
		m.choose(list, tensor.Of[float32](router)[t*m.experts:][:m.experts])
		clear(used)
		for _, c := range list {
			used[c.expert], weight[c.expert] = true, c.weight
		}
		for e, ok := range used {
			if !ok {
				continue
			}
			w := c.In[exWeights:]
			m.gate.multiply(gate, 1, row, w[e].Data)
			m.up.multiply(up, 1, row, w[m.experts+e].Data)
			for i, g := range gate {
				gate[i] = float32(silu(float64(g)) * float64(up[i]))
			}
			m.down.multiply(down, 1, gate, w[2*m.experts+e].Data)
			for i, v := range down {
				out[i] += float32(weight[e] * v)
			}
		}
	}
	return nil
}
