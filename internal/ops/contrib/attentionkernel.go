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

func compileAttention(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	for i := range p.In {
		if p.Has(i) && i != 3 && (i > 5 || p.In[i].DType != dtype.Float32) {
			return nil, nil
		}
	}
	x, w := p.InShape(0), p.InShape(1)
	s, err := hidden(n, w[1])
	if err != nil {
		return nil, err
	}
	heads := n.Int("num_heads")
	if tensor.Count(x)*w[1] == 0 || s[0] == 0 || s[2] == 0 || w[0] != x[2] || p.Has(2) && tensor.Count(p.InShape(2)) != w[1] {
		return nil, nil
	}
	k := &attentionKernel{wants: n.Output(1) != nil, y: []int{x[0], x[1], s[2]}}
	h := &k.heads
	h.batch, h.heads = x[0], heads
	first := 0
	for i := range h.src {
		size := s[i] / heads
		h.src[i] = source{offset: first, batch: x[1] * w[1], token: w[1], head: size, rows: x[1], size: size, copied: i > 0 && (k.wants || p.Has(4))}
		first += s[i]
	}
	if p.Has(4) {
		past := p.InShape(4)
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
	if k.mask, ok = newMaskTask(p, 3, 5, x[0], heads, x[1], total, n.Float("mask_filter_value")); !ok {
		return nil, nil
	}
	h.prepare(float32(scaleAttr(n, h.src[0].size)), n.Bool("unidirectional"))
	k.present = []int{2, x[0], heads, total, h.src[1].size}
	if err := k.compileProduct(p, x, w); k.project == nil || err != nil {
		return nil, err
	}
	k.scratch = k.own + op.Align(4*tensor.Count(k.projected.Shape)) + h.scratch([3]bool{false, k.wants, k.wants}) + 4*k.mask.elements()
	return k, nil
}

// compileProduct prepares X·W + bias.
func (k *attentionKernel) compileProduct(p *op.Prep, x, w []int) error {
	k.projected = tensor.Tensor{DType: dtype.Float32, Shape: []int{x[0], x[1], w[1]}}
	inner := *p
	inner.In = p.In[:min(len(p.In), 3)]
	inner.Out = []op.Fact{{Type: ir.Type{DType: dtype.Float32, Shape: shape.Of(k.projected.Shape...)}, Present: true}}
	spec := linear.Spec{}
	if p.Has(2) {
		spec.Bias = 2
	}
	var err error
	if k.project, err = linear.Compile(&inner, spec); err != nil || k.project == nil {
		return err
	}
	if s, ok := k.project.(op.Scratcher); ok {
		k.own = op.Align(s.ScratchBytes())
	}
	k.call = op.Call{Node: p.Node, In: make([]*tensor.Tensor, 3), Out: []*tensor.Tensor{&k.projected}}
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
	copy(k.call.In, c.In)
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
	if t := c.Input(4); t != nil {
		past := tensor.Of[float32](t)
		h.old[1], h.old[2] = past[:len(past)/2], past[len(past)/2:]
	}
	for i := range h.data {
		h.data[i] = data
	}
	scratch := tensor.View[float32](c.Scratch[k.own+op.Align(size):])
	mask := scratch[:k.mask.elements()]
	k.mask.set(&h.task.Mask, mask, c.Input(3), c.Input(5))
	err := h.run(c, scratch[len(mask):], y)
	k.projected.Data, k.call.Scratch, k.call.Context, k.call.Pool = nil, nil, nil, nil
	clear(k.call.In)
	return err
}
