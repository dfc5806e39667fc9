package nn

import (
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/attn"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// attendKernel computes Attention on package attn. Caches are joined with new keys and
// values first, in the outputs that hold them or in scratch memory.
type attendKernel struct {
	task    attn.Task
	dims    []int
	k, v    joint
	mask    maskForm
	scratch []int // elements for the task, the mask, K and V
}

func compileAttention(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	for i, f := range p.In {
		if f.Present && f.DType != dtype.Float32 && i != 6 && !(i == 3 && f.DType == dtype.Bool) {
			return nil, nil
		}
	}
	if n.Output(3) != nil || n.Has("softmax_precision") && n.DType("softmax_precision") == dtype.Float64 {
		return nil, nil // scores are never held, and sums are of float32
	}
	q := newHeadShape(p.InShape(0), n.Int("q_num_heads"))
	k := &attendKernel{dims: p.OutShape(0)}
	t := &k.task
	k.k, k.v = newJoint(p, 1, n.Int("kv_num_heads")), newJoint(p, 2, n.Int("kv_num_heads"))
	if !k.k.cached(p) || !k.v.cached(p) || !fits(q, k.k.fresh, k.v.fresh) || k.k.total != k.v.total || k.k.total*q.size*k.v.fresh.size*q.batch*q.seq == 0 {
		return nil, nil // the reference says what is wrong, or gives zeros
	}
	heads := k.k.fresh.heads
	group := q.heads / heads
	t.Batch, t.M, t.N, t.D, t.DV = []int{q.batch, heads, group}, q.seq, k.k.total, q.size, k.v.fresh.size
	t.Q = attn.View{Stride: q.perAt, Steps: []int{q.perBatch, group * q.perHead, q.perHead}}
	t.K, t.V = k.k.view(), k.v.view()
	y := newHeadShape(k.dims, q.heads)
	t.O = attn.View{Stride: y.perAt, Steps: []int{y.perBatch, group * y.perHead, y.perHead}}
	t.BF16 = p.Precision == op.BF16
	t.Scale, t.Softcap, t.ZeroMasked = 1/float32(math.Sqrt(float64(q.size))), n.Float("softcap"), true
	if n.Has("scale") {
		t.Scale = n.Float("scale")
	}
	t.Keys = keysOf(p, k.k.kept)
	if t.Scale == 0 || !k.mask.prepare(p, t) {
		return nil, nil
	}
	k.scratch = []int{t.ScratchSize(p.Threads), k.mask.elements, k.k.elements, k.v.elements}
	return k, nil
}

func keysOf(p *op.Prep, kept int) attn.Keys {
	keys := attn.Keys{Offset: kept, Left: -1, Right: -1}
	if p.Node.Has("left_window_size") {
		keys.Left, keys.Right = p.Node.Int("left_window_size"), p.Node.Int("right_window_size")
	}
	if p.Node.Bool("is_causal") && keys.Right != 0 {
		keys.Right = 0
	}
	keys.Limited = keys.Left >= 0 || keys.Right >= 0 || p.Has(6)
	return keys
}

// headShape is where the elements of a tensor of [batch, heads, sequence, size] or of
// [batch, sequence, heads·size] lie.
type headShape struct {
	batch, heads, seq, size  int
	perBatch, perHead, perAt int
}

func newHeadShape(s []int, heads int) headShape {
	if len(s) == 4 {
		return headShape{s[0], s[1], s[2], s[3], s[1] * s[2] * s[3], s[2] * s[3], s[3]}
	}
	size := s[2] / heads
	return headShape{s[0], heads, s[1], size, s[1] * s[2], size, s[2]}
}

func fits(q, k, v headShape) bool {
	return k.batch == q.batch && v.batch == q.batch && k.size == q.size && k.heads == v.heads && k.heads > 0 && q.heads%k.heads == 0
}

// joint is a cache with what is new after it.
type joint struct {
	in, past, out int // inputs; the output that holds both
	fresh         headShape
	kept, total   int
	dims          []int // of the joined tensor
	present       bool  // the output is wanted
	elements      int   // of scratch, where it is not
}

// cached reports whether the cache, if there is one, fits what is new.
func (j *joint) cached(p *op.Prep) bool {
	if !p.Has(j.past) {
		return true
	}
	h, s := j.fresh, p.InShape(j.past)
	return len(s) == 4 && slices.Equal(s, []int{h.batch, h.heads, j.kept, h.size})
}

func newJoint(p *op.Prep, in, heads int) joint {
	j := joint{in: in, past: in + 3, out: in, fresh: newHeadShape(p.InShape(in), heads), present: p.Node.Output(in) != nil}
	if p.Has(j.past) && len(p.InShape(j.past)) == 4 {
		j.kept = p.InShape(j.past)[2]
	}
	j.total = j.kept + j.fresh.seq
	j.dims = []int{j.fresh.batch, j.fresh.heads, j.total, j.fresh.size}
	if j.kept > 0 && !j.present {
		j.elements = tensor.Count(j.dims)
	}
	return j
}

// view is what attention reads: what is new where it lies, or both together.
func (j *joint) view() attn.View {
	h := j.fresh
	if j.kept > 0 {
		h = newHeadShape(j.dims, h.heads)
	}
	return attn.View{Stride: h.perAt, Steps: []int{h.perBatch, h.perHead, 0}}
}

// join gives what attention reads, and fills the output.
func (j *joint) join(c *op.Call, scratch []float32) []float32 {
	fresh := tensor.Of[float32](c.In[j.in])
	if j.kept == 0 && !j.present {
		return fresh
	}
	all := scratch
	if j.present {
		all = tensor.Of[float32](c.Output(j.out, dtype.Float32, j.dims...))
	}
	var past []float32
	if j.kept > 0 {
		past = tensor.Of[float32](c.In[j.past])
	}
	h := &j.fresh
	for i := range h.batch * h.heads {
		to := all[i*j.total*h.size:]
		copy(to, past[i*j.kept*h.size:(i+1)*j.kept*h.size])
		to = to[j.kept*h.size:]
		from := fresh[i/h.heads*h.perBatch+i%h.heads*h.perHead:]
		for s := range h.seq {
			copy(to[s*h.size:(s+1)*h.size], from[s*h.perAt:])
		}
	}
	if j.kept == 0 {
		return fresh
	}
	return all
}

// maskForm makes a mask of float32 for all keys.
type maskForm struct {
	copied   bool
	rows     int // of the mask as it is given
	from, to int // keys of the mask as given and as used
	elements int
}

func (m *maskForm) prepare(p *op.Prep, t *attn.Task) bool {
	if !p.Has(3) {
		return true
	}
	dims := slices.Clone(p.InShape(3))
	full := shape.Of(t.Batch[0], t.Batch[1]*t.Batch[2], t.M, t.N)
	if len(dims) == 0 || len(dims) > 4 || tensor.Count(dims) == 0 {
		return false
	}
	last := len(dims) - 1
	m.from, m.rows = dims[last], tensor.Count(dims[:last])
	m.copied = p.In[3].DType == dtype.Bool || m.from < t.N
	m.to = max(m.from, t.N)
	if m.from > t.N { // the reference knows what to do with masks beyond the keys
		return false
	}
	if m.copied {
		m.elements = m.rows * m.to
	}
	var stride [4]int
	step := m.to
	stride[3] = 1
	for i := last - 1; i >= 0; i-- {
		at := 4 - len(dims) + i
		if !full[at].Is(dims[i]) && dims[i] != 1 {
			return false
		}
		if dims[i] > 1 {
			stride[at] = step
		}
		step *= dims[i]
	}
	t.Mask = attn.Mask{Row: stride[2], Col: stride[3], Steps: []int{stride[0], stride[1] * t.Batch[2], stride[1]}}
	return true
}

// fill writes the mask that attention adds.
func (m *maskForm) fill(c *op.Call, scratch []float32) []float32 {
	t := c.Input(3)
	if t == nil {
		return nil
	}
	if !m.copied {
		return tensor.Of[float32](t)
	}
	inf := float32(math.Inf(-1))
	for r := range m.rows {
		row := scratch[r*m.to : (r+1)*m.to]
		if t.DType == dtype.Bool {
			for i, shown := range tensor.Of[bool](t)[r*m.from : (r+1)*m.from] {
				row[i] = inf
				if shown {
					row[i] = 0
				}
			}
		} else {
			copy(row, tensor.Of[float32](t)[r*m.from:(r+1)*m.from])
		}
		for i := m.from; i < m.to; i++ {
			row[i] = inf
		}
	}
	return scratch
}

// Precision is that of the products.
func (k *attendKernel) Precision() op.Precision {
	if k.task.BF16 {
		return op.BF16
	}
	return op.FP32
}

// ScratchBytes is the working memory of a run.
func (k *attendKernel) ScratchBytes() int {
	n := 0
	for _, s := range k.scratch {
		n += (s + 15) &^ 15
	}
	return 4 * n
}

// Run computes attention.
func (k *attendKernel) Run(c *op.Call) error {
	rest := tensor.View[float32](c.Scratch)
	take := func(i int) []float32 {
		n := (k.scratch[i] + 15) &^ 15
		s := rest[:n:n]
		rest = rest[n:]
		return s
	}
	t := &k.task
	if lens := c.Input(6); lens != nil {
		n, err := lens.Ints()
		if err != nil || len(n) != t.Batch[0] || slices.Max(n) > t.N || slices.Min(n) < 0 {
			return attentionRef(c) // which says what is wrong
		}
		t.Keys.Lens = n
	}
	y := c.Output(0, dtype.Float32, k.dims...)
	t.Scratch = take(0)
	t.Mask.Data = k.mask.fill(c, take(1))
	t.Q.Data, t.O.Data = tensor.Of[float32](c.In[0]), tensor.Of[float32](y)
	t.K.Data = k.k.join(c, take(2))
	t.V.Data = k.v.join(c, take(3))
	err := t.Run(c.Pool)
	t.Scratch, t.Mask.Data, t.Q.Data, t.K.Data, t.V.Data, t.O.Data = nil, nil, nil, nil, nil, nil
	return err
}
