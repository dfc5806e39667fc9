package blockquant

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Inputs of BlockProducts.
const (
	pX = iota
	pBias
	pGenerated
	pWeights
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "BlockProducts", Versions: []int{1},
		Doc: "x·wᵀ for several w, each as BlockMatMul has it, with the same bits: x is quantized once, and no thread waits between two products. bias has the biases of all rows, one w after " +
			"the other. With an activation there are two w, and one result: activation(x·w₀ᵀ) ∘ x·w₁ᵀ.",
		In:    op.Ports("x:float32", "bias:float32?", "generated:int32?", "weights:uint8..."),
		Out:   op.Ports("y:float32..."),
		Attrs: op.Attrs{"formats": op.Required(ir.KindStrings), "k": op.Required(ir.KindInt), "activation": op.Default(ir.Str(""))},
		Infer: inferProducts, Ref: productsRef, Compile: compileProducts, Rows: rowsProducts, Flops: flopsProducts, Cases: productsCases{},
	})
}

// gates is the vocabulary of the attribute activation.
var gates = map[string]*pointwise.Activation{
	"relu": {Op: elemwise.Relu, Float: func(x float64, _ elemwise.Params) float64 { return max(x, 0) }},
	"silu": {Op: elemwise.Silu, Params: elemwise.Params{A: 1}, Float: func(x float64, _ elemwise.Params) float64 { return silu(x) }},
	"gelu": {Op: elemwise.Gelu, Float: func(x float64, _ elemwise.Params) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 }},
	"gelu_tanh": {Op: elemwise.GeluTanh, Float: func(x float64, _ elemwise.Params) float64 {
		return x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) / 2
	}},
}

// HasGate reports whether BlockProducts knows an activation.
func HasGate(name string) bool { return gates[name] != nil }

// productsOf reads the attributes, and holds the weights' shapes against them.
func productsOf(n *ir.Node, w []shape.Shape) (all []weights, gate *pointwise.Activation, err error) {
	formats := n.Strs("formats")
	if len(w) == 0 || len(formats) != len(w) {
		return nil, nil, fmt.Errorf("%d matrices of %d formats, expected at least one, and as many", len(w), len(formats))
	}
	for i, name := range formats {
		f, err := block.Parse(name)
		if err != nil {
			return nil, nil, fmt.Errorf("formats: %w", err)
		}
		s, err := formatOf(f, n.Int("k"), w[i])
		if err != nil {
			return nil, nil, fmt.Errorf("matrix %d: %w", i, err)
		}
		all = append(all, s)
	}
	name := n.Str("activation")
	if name == "" {
		return all, nil, nil
	}
	if gate = gates[name]; gate == nil {
		return nil, nil, fmt.Errorf("activation %q is unknown, expected relu, silu, gelu or gelu_tanh", name)
	}
	if len(all) != 2 || all[0].format != all[1].format || all[0].n >= 0 && all[1].n >= 0 && all[0].n != all[1].n {
		return nil, nil, fmt.Errorf("formats %v of matrices %v with an activation, expected two of the same", formats, w)
	}
	return all, gate, nil
}

func inferProducts(c *op.Infer) error {
	all, gate, err := productsOf(c.Node, shapesOf(c.In[pWeights:]))
	if err != nil {
		return err
	}
	results := len(all)
	if gate != nil {
		results = 1
	}
	if len(c.Out) != results {
		return fmt.Errorf("%d results, expected %d", len(c.Out), results)
	}
	x := c.In[pX].Shape
	if x != nil && (len(x) == 0 || !x[len(x)-1:].Compatible(shape.Of(all[0].k))) {
		return fmt.Errorf("x has shape %v, expected %d columns", x, all[0].k)
	}
	if n, ok := rowsOf(all); ok {
		if b := c.Input(pBias); b.Present && b.Shape != nil && !b.Shape.Compatible(shape.Of(n)) {
			return fmt.Errorf("bias has shape %v, expected %d numbers", b.Shape, n)
		}
	}
	if g := c.Input(pGenerated); g.Present && g.Shape != nil && !g.Shape.Compatible(shape.Of(1)) {
		return fmt.Errorf("generated has shape %v, expected one number", g.Shape)
	}
	for i := range results {
		w := c.In[pWeights+i].Shape
		if x == nil || w == nil {
			c.Set(i, dtype.Float32, nil)
			continue
		}
		c.Set(i, dtype.Float32, shape.Join(x[:len(x)-1], w[:1]))
	}
	return nil
}

// rowsOf is how many rows all matrices have, where that is known.
func rowsOf(all []weights) (n int, ok bool) {
	for _, s := range all {
		if s.n < 0 {
			return 0, false
		}
		n += s.n
	}
	return n, true
}

func rowsProducts(n *ir.Node, in []int) (out []int, ok bool) {
	x := n.In[pX].Type.Shape
	if n.Input(pGenerated) != nil || x == nil || in[pX] >= len(x)-1 {
		return nil, false
	}
	for _, a := range in[1:] {
		if a != op.NoRows {
			return nil, false
		}
	}
	for range n.Out {
		out = append(out, in[pX])
	}
	return out, true
}

func flopsProducts(in, out []op.Fact) (sum float64) {
	x, _ := in[pX].Shape.Ints()
	for _, f := range in[pWeights:] {
		if w, _ := f.Shape.Ints(); len(w) > 0 {
			sum += 2 * float64(tensor.Count(x)) * float64(w[0])
		}
	}
	return sum
}

func productsRef(c *op.Call) error {
	facts := &op.Infer{Node: c.Node, In: make([]op.Fact, len(c.In)), Out: make([]op.Fact, len(c.Node.Out))}
	for i, t := range c.In {
		if t != nil {
			facts.In[i] = op.Fact{Type: ir.TypeOf(t), Present: true}
		}
	}
	if err := inferProducts(facts); err != nil {
		return err
	}
	all, gate, err := productsOf(c.Node, shapesOf(facts.In[pWeights:]))
	if err != nil {
		return err
	}
	x, bias := c.In[pX], floatsOf(c.Input(pBias))
	m := x.Len() / all[0].k
	generated, err := generatedOf(c.Input(pGenerated), m)
	if err != nil {
		return err
	}
	var first []float32
	for i, s := range all {
		y := make([]float32, m*s.n)
		if gate == nil || i == 0 {
			y = tensor.Of[float32](c.Output(i, dtype.Float32, append(slices.Clone(x.Shape[:len(x.Shape)-1]), s.n)...))
		}
		s.rolesRef(y, m, generated, tensor.Of[float32](x), c.In[pWeights+i].Data)
		if bias != nil {
			addBias(y, bias[:s.n])
			bias = bias[s.n:]
		}
		switch {
		case gate == nil:
		case i == 0:
			first = y
		default:
			for j, v := range first {
				first[j] = float32(gate.Float(float64(v), gate.Params)) * y[j]
			}
		}
	}
	return nil
}

// products computes BlockProducts on the kernels of blockq.
type products struct {
	all     *blockq.Group
	prompt  *blockq.Group // nil where prompts have the arithmetic of all rows
	weights []*matrices
	dims    [][]int // of the results
	rows    int
	second  int // bytes of the second product's results, which only the gate reads
	scratch int
}

// compileProducts gives nil where the reference has to serve.
func compileProducts(p *op.Prep) (op.Kernel, error) {
	all, activation, err := productsOf(p.Node, shapesOf(p.In[pWeights:]))
	if err != nil {
		return nil, err
	}
	for i, s := range all {
		if p.In[pWeights+i].Const == nil || s.n == 0 || !blockq.Quantizes(s.format) || blockq.PromptsDiffer(s.format) != blockq.PromptsDiffer(all[0].format) {
			return nil, nil
		}
	}
	k := &products{all: &blockq.Group{}}
	for i := range p.Node.Out {
		k.dims = append(k.dims, p.OutShape(i))
	}
	if k.rows = tensor.Count(p.InShape(pX)) / all[0].k; k.rows == 0 {
		for i := range all {
			p.OnlyPacked(pWeights + i)
		}
		return op.KernelFunc(k.none), nil
	}
	if p.Has(pGenerated) && blockq.PromptsDiffer(all[0].format) {
		k.prompt = &blockq.Group{}
	}
	for i, s := range all {
		w, err := pack(p, s, pWeights+i, 1)
		if err != nil {
			return nil, err
		}
		k.weights = append(k.weights, w)
		t := blockq.Product{M: k.rows, N: s.n, K: s.k, Packed: w.packed[0], StrideX: s.k, StrideY: s.n}
		k.all.Tasks = append(k.all.Tasks, &blockq.Task{Product: t})
		if k.prompt != nil {
			t.Prompt = true
			k.prompt.Tasks = append(k.prompt.Tasks, &blockq.Task{Product: t})
		}
	}
	if activation != nil {
		k.second = align(4 * k.rows * all[1].n)
		k.gate(activation)
	}
	k.scratch = k.second + k.groupScratch(p.Threads)
	return k, nil
}

func (k *products) gate(a *pointwise.Activation) {
	f, mul := a.Row(), elemwise.Row(elemwise.Mul)
	gate := func(y, z []float32) {
		f(y)
		mul(y, y, z, 1, 1)
	}
	k.all.Gate = gate
	if k.prompt != nil {
		k.prompt.Gate = gate
	}
}

// groupScratch is the working memory of products of up to so many rows, of any roles.
func (k *products) groupScratch(threads int) (bytes int) {
	for m := k.rows; m > 0; m = min(m-1, fewRows) {
		for _, t := range k.all.Tasks {
			t.M = m
		}
		bytes = max(bytes, k.all.ScratchSize(threads))
	}
	if k.prompt != nil {
		bytes = max(bytes, k.prompt.ScratchSize(threads))
	}
	return bytes
}

// ScratchBytes is the working memory of a run.
func (k *products) ScratchBytes() int { return k.scratch }

// none gives results without rows.
func (k *products) none(c *op.Call) error {
	for i, dims := range k.dims {
		c.Output(i, dtype.Float32, dims...)
	}
	return nil
}

// Run multiplies.
func (k *products) Run(c *op.Call) error {
	generated, err := generatedOf(c.Input(pGenerated), k.rows)
	if err != nil {
		return err
	}
	if k.prompt == nil {
		generated = k.rows
	}
	if err := k.multiply(c, k.all, 0, generated); err != nil {
		return err
	}
	return k.multiply(c, k.prompt, generated, k.rows)
}

// multiply computes rows from and to.
func (k *products) multiply(c *op.Call, g *blockq.Group, from, to int) error {
	if from == to {
		return nil
	}
	x, bias := tensor.Of[float32](c.In[pX]), floatsOf(c.Input(pBias))
	for i, t := range g.Tasks {
		t.M, t.X = to-from, x[from*t.K:to*t.K]
		if bias != nil {
			t.Bias, bias = bias[:t.N], bias[t.N:]
		}
		y := c.Scratch[:k.second]
		if i < len(k.dims) {
			y = c.Output(i, dtype.Float32, k.dims[i]...).Data
		}
		t.Y = tensor.Of[float32](&tensor.Tensor{Data: y})[from*t.N : to*t.N]
		k.weights[i].prepare(t, c.Pool)
	}
	g.Scratch = c.Scratch[k.second:]
	err := g.Run(c.Pool)
	g.Scratch = nil
	for _, t := range g.Tasks {
		t.X, t.Y, t.Bias = nil, nil, nil
	}
	return err
}
