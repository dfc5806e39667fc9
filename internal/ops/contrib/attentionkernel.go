package contrib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// attentionKernel is Attention in float32: the product of queries, keys and
// values, and attention on tiles.
type attentionKernel struct {
	in         attentionInputs
	project    op.Kernel
	call       op.Call
	projected  tensor.Tensor // its data is scratch memory during a run
	heads      headsTask
	mask       *maskTask
	wants      bool // the keys and values as an output
	y, present []int
	own        int // bytes of the product's scratch
	scratch    int
}

// attentionInputs are the numbers of an operator's inputs beside the input itself
// and the weights.
type attentionInputs struct {
	bias, mask, past, scores int
	product                  []int // the product's inputs
}

// absent is the number of an input that an operator doesn't have.
const absent = 1 << 16

func compileAttention(p *op.Prep) (op.Kernel, error) {
	for i := range p.In {
		if p.Has(i) && i != 3 && (i > 5 || p.In[i].DType != dtype.Float32) {
			return nil, nil
		}
	}
	return newAttentionKernel(p, attentionInputs{bias: 2, mask: 3, past: 4, scores: 5, product: []int{0, 1, 2}}, func(inner *op.Prep) (op.Kernel, error) {
		spec := linear.Spec{}
		if inner.Has(2) {
			spec.Bias = 2
		}
		return linear.Compile(inner, spec)
	})
}

// newAttentionKernel serves operators that differ in the product, which compile makes.
func newAttentionKernel(p *op.Prep, in attentionInputs, compile func(*op.Prep) (op.Kernel, error)) (op.Kernel, error) {
	n := p.Node
	x, w := p.InShape(0), p.InShape(1)
	s, err := hidden(n, w[1])
	if err != nil {
		return nil, err
	}
	heads := n.Int("num_heads")
	if tensor.Count(x)*w[1] == 0 || s[0] == 0 || s[2] == 0 || w[0] != x[2] || p.Has(in.bias) && tensor.Count(p.InShape(in.bias)) != w[1] {
		return nil, nil
	}
	k := &attentionKernel{in: in, wants: n.Output(1) != nil, y: []int{x[0], x[1], s[2]}}
	h := &k.heads
	h.batch, h.heads = x[0], heads
	first := 0
	for i := range h.src {
		size := s[i] / heads
		h.src[i] = source{offset: first, batch: x[1] * w[1], token: w[1], head: size, rows: x[1], size: size, copied: i > 0 && (k.wants || p.Has(in.past))}
		first += s[i]
	}
	if p.Has(in.past) {
		past := p.InShape(in.past)
		if len(past) != 5 || s[0] != s[2] || !equal(past, []int{2, x[0], heads, past[3], s[0] / heads}) {
			return nil, nil
		}
		h.src[1].past, h.src[2].past = past[3], past[3]
	}
	if k.wants && s[0] != s[2] {
		return nil, nil
	}
	total := h.src[1].total()
	var ok bool
	if k.mask, ok = newMaskTask(p, in.mask, in.scores, x[0], heads, x[1], total, n.Float("mask_filter_value")); !ok {
		return nil, nil
	}
	h.prepare(float32(scaleAttr(n, h.src[0].size)), n.Bool("unidirectional"))
	k.present = []int{2, x[0], heads, total, h.src[1].size}
	if err := k.compileProduct(p, x, w, compile); k.project == nil || err != nil {
		return nil, err
	}
	k.scratch = k.own + op.Align(4*tensor.Count(k.projected.Shape)) + h.scratch([3]bool{false, k.wants, k.wants}) + 4*k.mask.elements()
	return k, nil
}

// compileProduct prepares the product of x and w.
func (k *attentionKernel) compileProduct(p *op.Prep, x, w []int, compile func(*op.Prep) (op.Kernel, error)) (err error) {
	k.projected = tensor.Tensor{DType: dtype.Float32, Shape: []int{x[0], x[1], w[1]}}
	inner := *p
	inner.In = make([]op.Fact, len(k.in.product))
	for i, from := range k.in.product {
		if p.Has(from) {
			inner.In[i] = p.In[from]
		}
	}
	inner.Out = []op.Fact{{Type: ir.Type{DType: dtype.Float32, Shape: shape.Of(k.projected.Shape...)}, Present: true}}
	if k.project, err = compile(&inner); err != nil || k.project == nil {
		return err
	}
	if s, ok := k.project.(op.Scratcher); ok {
		k.own = op.Align(s.ScratchBytes())
	}
	k.call = op.Call{Node: p.Node, In: make([]*tensor.Tensor, len(k.in.product)), Out: []*tensor.Tensor{&k.projected}}
	return nil
}

// Precision is that of the product; attention itself is of float32.
func (k *attentionKernel) Precision() op.Precision { return op.PrecisionOf(k.project) }

// ScratchBytes is the working memory of a run.
func (k *attentionKernel) ScratchBytes() int { return k.scratch }

// Run computes attention.
func (k *attentionKernel) Run(c *op.Call) error {
	h := &k.heads
	y := tensor.Of[float32](c.Output(0, dtype.Float32, k.y...))
	size := 4 * tensor.Count(k.projected.Shape)
	k.projected.Data = c.Scratch[k.own : k.own+size]
	for i, from := range k.in.product {
		k.call.In[i] = c.Input(from)
	}
	k.call.Context, k.call.Pool, k.call.Scratch = c.Context, c.Pool, c.Scratch[:k.own]
	if err := k.project.Run(&k.call); err != nil {
		return err
	}
	data := tensor.Of[float32](&k.projected)
	half := h.elements(1)
	if k.wants {
		present := tensor.Of[float32](c.Output(1, dtype.Float32, k.present...))
		h.dst[1], h.dst[2] = present[:half], present[half:]
	}
	if t := c.Input(k.in.past); t != nil {
		past := tensor.Of[float32](t)
		h.old[1], h.old[2] = past[:len(past)/2], past[len(past)/2:]
	}
	for i := range h.data {
		h.data[i] = data
	}
	scratch := tensor.View[float32](c.Scratch[k.own+op.Align(size):])
	mask := scratch[:k.mask.elements()]
	k.mask.set(&h.task.Mask, mask, c.Input(k.in.mask), c.Input(k.in.scores))
	err := h.run(c, scratch[len(mask):], y)
	k.projected.Data, k.call.Scratch, k.call.Context, k.call.Pool = nil, nil, nil, nil
	clear(k.call.In)
	return err
}
