package contrib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// multiHeadKernel is MultiHeadAttention in float32 on tiles.
type multiHeadKernel struct {
	heads   headsTask
	mask    *maskTask
	in      [3]int  // inputs that hold queries, keys and values
	biasAt  [3]int  // where each one's bias begins
	wants   [3]bool // keys and values as outputs
	y       []int
	present [3][]int
	scratch int
}

// compileMultiHead gives nil for caches of which a part is valid, the scores as
// an output, and causal attention to another sequence.
func compileMultiHead(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	for i := range p.In {
		if p.Has(i) && (i >= 8 || i != 4 && p.In[i].DType != dtype.Float32) {
			return nil, nil
		}
	}
	if n.Output(3) != nil {
		return nil, nil
	}
	k := &multiHeadKernel{}
	if !k.place(p) {
		return nil, nil
	}
	h := &k.heads
	seq, total := h.src[0].rows, h.src[1].total()
	causal := n.Bool("unidirectional")
	if causal && total != h.src[1].past+seq {
		return nil, nil
	}
	var ok bool
	if k.mask, ok = newMaskTask(p, 4, 5, h.batch, h.heads, seq, total, n.Float("mask_filter_value")); !ok {
		return nil, nil
	}
	h.prepare(float32(scaleAttr(n, h.src[0].size)), causal)
	k.y = []int{h.batch, seq, h.heads * h.src[2].size}
	k.scratch = h.scratch(k.wants) + 4*k.mask.elements()
	return k, nil
}

// place finds the operands; false if shapes don't fit, which the reference
// explains.
func (k *multiHeadKernel) place(p *op.Prep) bool {
	var shapes [3]shape.Shape
	for i := range shapes {
		if p.Has(i) {
			shapes[i] = p.In[i].Shape
		}
	}
	g, err := multiHeadSizes(p.Node, shapes[0], shapes[1], shapes[2])
	if err != nil {
		return false
	}
	get := func(d shape.Dim) int { v, _ := d.Int(); return v }
	heads, size, vsize := p.Node.Int("num_heads"), get(g.size), get(g.vsize)
	h := &k.heads
	h.batch, h.heads = get(g.batch), heads
	rows := [3]int{get(g.seq), get(g.keys), get(g.keys)}
	sizes := [3]int{size, size, vsize}
	k.biasAt = [3]int{0, heads * size, 2 * heads * size}
	items, first := 1, 0 // packed in one input from operand first on
	switch {
	case len(shapes[0]) == 5:
		items = 3
	case len(shapes[1]) == 5:
		items, first = 2, 1
	}
	for i := range h.src {
		s := &h.src[i]
		s.rows, s.size = rows[i], sizes[i]
		switch {
		case items > 1 && i >= first:
			k.in[i] = first
			if !equal(p.InShape(first), []int{h.batch, s.rows, heads, items, s.size}) {
				return false
			}
			s.head, s.offset = items*s.size, (i-first)*s.size
		case i > 0 && len(shapes[1]) == 4:
			k.in[i] = i
			s.head, s.token, s.batch = s.rows*s.size, s.size, heads*s.rows*s.size
			if !equal(p.InShape(i), []int{h.batch, heads, s.rows, s.size}) {
				return false
			}
			continue
		default:
			k.in[i] = i
			s.head = s.size
			if !equal(p.InShape(i), []int{h.batch, s.rows, heads * s.size}) {
				return false
			}
		}
		s.token = heads * s.head
		s.batch = s.rows * s.token
		s.copied = p.Has(3)
	}
	return k.placeCaches(p) && tensor.Count([]int{h.batch, heads, rows[0], rows[1], size, vsize}) > 0 && (!p.Has(3) || tensor.Count(p.InShape(3)) == heads*(2*size+vsize))
}

func (k *multiHeadKernel) placeCaches(p *op.Prep) bool {
	h := &k.heads
	if p.Has(6) != p.Has(7) {
		return false
	}
	for i := 1; i < 3; i++ {
		s := &h.src[i]
		if p.Has(6) {
			past := p.InShape(5 + i)
			if len(past) != 4 || past[2] != p.InShape(6)[2] || !equal(past, []int{h.batch, h.heads, past[2], s.size}) {
				return false
			}
			s.past, s.copied = past[2], true
		}
		if k.wants[i] = p.Node.Output(i) != nil; k.wants[i] {
			s.copied = true
		}
		k.present[i] = []int{h.batch, h.heads, s.total(), s.size}
	}
	return true
}

// ScratchBytes is the working memory of a run.
func (k *multiHeadKernel) ScratchBytes() int { return k.scratch }

// Run computes attention.
func (k *multiHeadKernel) Run(c *op.Call) error {
	h := &k.heads
	y := tensor.Of[float32](c.Output(0, dtype.Float32, k.y...))
	for i := range h.src {
		h.data[i] = tensor.Of[float32](c.In[k.in[i]])
		if b := c.Input(3); b != nil && !(i > 0 && len(c.In[k.in[i]].Shape) == 4) {
			h.bias[i] = tensor.Of[float32](b)[k.biasAt[i]:]
		}
		if k.wants[i] {
			h.dst[i] = tensor.Of[float32](c.Output(i, dtype.Float32, k.present[i]...))
		}
		if h.src[i].past > 0 {
			h.old[i] = tensor.Of[float32](c.In[5+i])
		}
	}
	scratch := tensor.View[float32](c.Scratch)
	mask := scratch[:k.mask.elements()]
	k.mask.set(&h.task.Mask, mask, c.Input(4), c.Input(5))
	return h.run(c, scratch[len(mask):], y)
}
