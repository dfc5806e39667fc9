// Package blockquant has operators over weights in GGML's block-quantized
// formats, as language models in GGUF files have them: uint8 tensors of a row of
// blocks for each row of numbers.
package blockquant

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Inputs of BlockMatMul.
const (
	mmX = iota
	mmW
	mmBias
	mmResidual
	mmGenerated
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "BlockMatMul", Versions: []int{1},
		Doc: "x·wᵀ + bias + residual for w of N rows in a block-quantized format, k numbers each. Rows of x are quantized to 8 bits in blocks of 32 where the format has " +
			"kernels (docs/NUMERICS.md); for the other formats w is decoded to float32. In precision bf16, x and a w of plain floats are rounded to bfloat16. " +
			"Generated is how many of x's rows, the first ones, are tokens that were generated: the others are those of prompts, which have an arithmetic of their own on AMX.",
		In:    op.Ports("x:float32", "w:uint8", "bias:float32?", "residual:float32?", "generated:int32?"),
		Out:   op.Ports("y:float32"),
		Attrs: op.Attrs{"format": op.Required(ir.KindString), "k": op.Required(ir.KindInt)},
		Infer: inferMatMul, Ref: matMulRef, Compile: compileMatMul, Rows: rowsMatMul, Flops: flopsMatMul, Cases: matMulCases{},
	})
}

// weights is what the attributes say of w.
type weights struct {
	format    block.Format
	n, k, row int // rows, elements and bytes of a row
}

// weightsOf reads the attributes, and holds w's shape against them. n is -1 where
// the shape is not known.
func weightsOf(n *ir.Node, w shape.Shape) (weights, error) {
	f, err := block.Parse(n.Str("format"))
	if err != nil {
		return weights{}, fmt.Errorf("format: %w", err)
	}
	return formatOf(f, n.Int("k"), w)
}

// formatOf holds the shape of w against a format and a number of columns.
func formatOf(f block.Format, k int, w shape.Shape) (s weights, err error) {
	if !f.Decodes() {
		return weights{}, fmt.Errorf("format is %v, which can't be decoded to numbers", f)
	}
	if k < 1 {
		return weights{}, fmt.Errorf("w has rows of %d numbers, expected at least 1", k)
	}
	s = weights{format: f, n: -1, k: k}
	if s.row, err = f.RowBytes(s.k); err != nil {
		return weights{}, err
	}
	if w == nil {
		return s, nil
	}
	if len(w) != 2 || !w[1:].Compatible(shape.Of(s.row)) {
		return weights{}, fmt.Errorf("w has shape %v, expected rows of %d bytes for %d numbers of %v", w, s.row, s.k, f)
	}
	if rows, ok := w[0].Int(); ok {
		s.n = rows
	}
	return s, nil
}

func inferMatMul(c *op.Infer) error {
	x, w := c.In[mmX].Shape, c.In[mmW].Shape
	s, err := weightsOf(c.Node, w)
	if err != nil {
		return err
	}
	if x != nil && (len(x) == 0 || !x[len(x)-1:].Compatible(shape.Of(s.k))) {
		return fmt.Errorf("x has shape %v, expected %d columns", x, s.k)
	}
	if x == nil || w == nil {
		c.Set(0, dtype.Float32, nil)
		return nil
	}
	y := shape.Join(x[:len(x)-1], w[:1])
	if b := c.Input(mmBias); b.Present && b.Shape != nil && !b.Shape.Compatible(w[:1]) {
		return fmt.Errorf("bias has shape %v, expected %v", b.Shape, w[:1])
	}
	if r := c.Input(mmResidual); r.Present && r.Shape != nil && !r.Shape.Compatible(y) {
		return fmt.Errorf("residual has shape %v, expected %v", r.Shape, y)
	}
	if g := c.Input(mmGenerated); g.Present && g.Shape != nil && !g.Shape.Compatible(shape.Of(1)) {
		return fmt.Errorf("generated has shape %v, expected one number", g.Shape)
	}
	c.Set(0, dtype.Float32, y)
	return nil
}

// rowsMatMul: the batch may be any dimension of x but the last; a residual has
// it in the same place. Where rows have roles, their place in x counts.
func rowsMatMul(n *ir.Node, in []int) ([]int, bool) {
	if n.Input(mmGenerated) != nil {
		return nil, false
	}
	x := n.In[mmX].Type.Shape
	for i, a := range in {
		if i != mmX && i != mmResidual && a != op.NoRows || i == mmResidual && n.In[i] != nil && a != in[mmX] {
			return nil, false
		}
	}
	return in[:1], x != nil && in[mmX] < len(x)-1
}

func flopsMatMul(in, out []op.Fact) float64 {
	x, _ := in[mmX].Shape.Ints()
	y, _ := out[0].Shape.Ints()
	if len(x) == 0 {
		return 0
	}
	return 2 * float64(tensor.Count(y)) * float64(x[len(x)-1])
}

func matMulRef(c *op.Call) error {
	x, w := c.In[mmX], c.In[mmW]
	facts := &op.Infer{Node: c.Node, In: make([]op.Fact, len(c.In)), Out: make([]op.Fact, 1)}
	for i, t := range c.In {
		if t != nil {
			facts.In[i] = op.Fact{Type: ir.TypeOf(t), Present: true}
		}
	}
	if err := inferMatMul(facts); err != nil {
		return err
	}
	s, err := weightsOf(c.Node, shape.Of(w.Shape...))
	if err != nil {
		return err
	}
	y := tensor.Of[float32](c.Output(0, dtype.Float32, append(slices.Clone(x.Shape[:len(x.Shape)-1]), s.n)...))
	m := x.Len() / s.k
	generated, err := generatedOf(c.Input(mmGenerated), m)
	if err != nil {
		return err
	}
	s.rolesRef(y, m, generated, tensor.Of[float32](x), w.Data)
	if bias := floatsOf(c.Input(mmBias)); bias != nil {
		addBias(y, bias)
	}
	if t := c.Input(mmResidual); t != nil {
		for i, v := range tensor.Of[float32](t) {
			y[i] += v
		}
	}
	return nil
}

// rolesRef is the reference of a product of m rows, so many of which are generated tokens.
func (s *weights) rolesRef(y []float32, m, generated int, x []float32, w []byte) {
	if !blockq.PromptsDiffer(s.format) {
		generated = m
	}
	s.multiply(y, generated, x, w)
	s.decoded(y[generated*s.n:], m-generated, x[generated*s.k:], w)
}

func addBias(y, bias []float32) {
	for i := range y {
		y[i] += bias[i%len(bias)]
	}
}

// multiply is the reference of a product.
func (s *weights) multiply(y []float32, m int, x []float32, w []byte) {
	if blockq.Supports(s.format) {
		blockq.Reference(y, s.format, m, s.n, s.k, x, w)
		return
	}
	s.decoded(y, m, x, w)
}

// decoded multiplies rows of W that are decoded to float32.
func (s *weights) decoded(y []float32, m int, x []float32, w []byte) {
	row := make([]float32, s.k)
	for j := range s.n {
		block.Decode(s.format, row, w[j*s.row:(j+1)*s.row])
		for i := range m {
			var sum float64
			for k, v := range row {
				sum += float64(v) * float64(x[i*s.k+k])
			}
			y[i*s.n+j] = float32(sum)
		}
	}
}

// generatedOf is how many of m rows are generated tokens: all, where nothing says so.
func generatedOf(t *tensor.Tensor, m int) (int, error) {
	if t == nil {
		return m, nil
	}
	if t.Len() != 1 {
		return 0, fmt.Errorf("generated is %s, expected one number", t)
	}
	if n := int(tensor.Of[int32](t)[0]); n >= 0 && n <= m {
		return n, nil
	}
	return 0, fmt.Errorf("generated is %d, expected up to as many as x has rows, %d", tensor.Of[int32](t)[0], m)
}

// matMul multiplies on the kernels of blockq.
type matMul struct {
	task    blockq.Task
	prompt  *blockq.Task // nil where prompts have the arithmetic of all rows
	weights *matrices
	rows    int
	dims    []int
	scratch int
}

// nothing is a kernel for no rows, which looks at no weights: a step of a prompt that goes
// on in the next one wants no logits.
func nothing(dims []int) op.Kernel {
	return op.KernelFunc(func(c *op.Call) error {
		c.Output(0, dtype.Float32, dims...)
		return nil
	})
}

// compileMatMul gives nil where the reference has to serve.
func compileMatMul(p *op.Prep) (op.Kernel, error) {
	w := p.In[mmW].Const
	if w == nil {
		return nil, nil
	}
	s, err := weightsOf(p.Node, p.In[mmW].Shape)
	if err != nil {
		return nil, err
	}
	dims := p.OutShape(0)
	if tensor.Count(dims) == 0 {
		p.OnlyPacked(mmW)
		return nothing(dims), nil
	}
	switch {
	case rounds(p, s.format):
		return compileRounded(p, s, dims)
	case s.format == block.F32:
		return compilePlain(p, s, w)
	case !blockq.Supports(s.format):
		return compileDecoded(p, s, dims)
	}
	return newMatMul(p, s, dims)
}

func newMatMul(p *op.Prep, s weights, dims []int) (*matMul, error) {
	k := &matMul{dims: dims}
	t := &k.task
	var err error
	if k.weights, err = pack(p, s, mmW, 1); err != nil {
		return nil, err
	}
	t.Packed = k.weights.packed[0]
	k.rows = tensor.Count(dims) / s.n
	t.M, t.N, t.K = k.rows, s.n, s.k
	t.StrideX, t.StrideY, t.StrideR = s.k, s.n, s.n
	k.scratch = t.ScratchSize(p.Threads)
	if p.Has(mmGenerated) && blockq.PromptsDiffer(s.format) {
		k.prompt = &blockq.Task{Product: t.Product}
		k.prompt.Prompt = true
		k.scratch = max(scratchUpTo(t, p.Threads), k.prompt.ScratchSize(p.Threads))
	}
	return k, nil
}

// scratchUpTo is the working memory of a task of up to so many rows as it has.
func scratchUpTo(t *blockq.Task, threads int) (bytes int) {
	m := t.M
	for ; t.M > 0; t.M = min(t.M-1, fewRows) {
		bytes = max(bytes, t.ScratchSize(threads))
	}
	t.M = m
	return bytes
}

// compilePlain serves weights that are float32.
func compilePlain(p *op.Prep, s weights, w *tensor.Tensor) (op.Kernel, error) {
	p.OnlyPacked(mmW)
	plain := &tensor.Tensor{DType: dtype.Float32, Shape: []int{s.n, s.k}, Data: w.Data}
	inner := *p
	inner.In = slices.Clone(p.In)
	inner.In[mmW] = op.Fact{Type: ir.TypeOf(plain), Present: true, Const: plain}
	inner.Pack = func(key string, bytes int, fill func([]byte)) []byte {
		return p.Pack(key, bytes, func(dst []byte) {
			plain.Data = w.Data // which may not have been there before
			fill(dst)
		})
	}
	spec := linear.Spec{TransB: true}
	if p.Has(mmBias) {
		spec.Bias = mmBias
	}
	if p.Has(mmResidual) {
		spec.Residual = mmResidual
	}
	return linear.Compile(&inner, spec)
}

// ScratchBytes is the working memory of a run.
func (k *matMul) ScratchBytes() int { return k.scratch }

// Run multiplies.
func (k *matMul) Run(c *op.Call) error {
	x, y := tensor.Of[float32](c.In[mmX]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	bias, residual := floatsOf(c.Input(mmBias)), floatsOf(c.Input(mmResidual))
	generated, err := generatedOf(c.Input(mmGenerated), k.rows)
	if err != nil {
		return err
	}
	if k.prompt == nil {
		generated = k.rows
	}
	if err := k.multiply(c, &k.task, 0, generated, x, y, bias, residual); err != nil {
		return err
	}
	return k.multiply(c, k.prompt, generated, k.rows, x, y, bias, residual)
}

// multiply computes rows from and to.
func (k *matMul) multiply(c *op.Call, t *blockq.Task, from, to int, x, y, bias, residual []float32) error {
	if from == to {
		return nil
	}
	t.M, t.Scratch, t.Bias = to-from, c.Scratch, bias
	t.X, t.Y = x[from*t.K:to*t.K], y[from*t.N:to*t.N]
	if residual != nil {
		t.Residual = residual[from*t.N : to*t.N]
	}
	k.weights.prepare(t, c.Pool)
	err := t.Run(c.Pool)
	t.Scratch, t.X, t.Y, t.Bias, t.Residual = nil, nil, nil, nil, nil
	return err
}

func floatsOf(t *tensor.Tensor) []float32 {
	if t == nil {
		return nil
	}
	return tensor.Of[float32](t)
}
