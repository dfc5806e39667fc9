package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/attn"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// groupKernel is GroupQueryAttention in float32 on tiles. Sequences, whose
// lengths differ, are computed one after the other.
type groupKernel struct {
	groupQuery
	task     attn.Task
	packed   bool // the query holds keys and values too
	rotary   bool
	turns    turner
	copies   int // elements of the rotated queries, in scratch
	k, v     headSource
	position []int64 // position_ids, or nil
	// of a run
	query, rotated []float32
	keys, values   [2][]float32 // of the past, and of the present
	pastRoom       int
}

// headSource is where new keys or values come from: element d of head h of token
// i of sequence b is at ((b·seq+i)·width + first + h·size + d).
type headSource struct {
	data         []float32
	width, first int
}

func (h *headSource) at(k *groupKernel, b, i, head int) []float32 {
	from := (b*k.seq+i)*h.width + h.first + head*k.size
	return h.data[from : from+k.size]
}

// turner rotates pairs of elements in float32.
type turner struct {
	cos, sin    []float32
	half        int
	interleaved bool
}

func (t *turner) turn(v []float32, position int) {
	cos, sin := t.cos[position*t.half:][:t.half], t.sin[position*t.half:][:t.half]
	for k, c := range cos {
		i, j := k, k+t.half
		if t.interleaved {
			i, j = 2*k, 2*k+1
		}
		x, y, s := v[i], v[j], sin[k]
		v[i], v[j] = float32(c*x)-float32(s*y), float32(s*x)+float32(c*y)
	}
}

// compileGroupQuery gives nil for what the kernel lacks: sinks, normalized
// queries, the scores as an output, windows of nothing, and narrow types.
func compileGroupQuery(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	for i := range p.In {
		if p.Has(i) && (i >= 11 || i != 5 && i != 6 && i != 9 && p.In[i].DType != dtype.Float32) {
			return nil, nil
		}
	}
	if n.Int("smooth_softmax") == 1 || n.Output(3) != nil || n.Int("local_window_size") == 0 || n.Float("softcap") < 0 {
		return nil, nil
	}
	dim, err := groupSizes(&op.Infer{Node: n, In: p.In, Out: make([]op.Fact, 4)})
	if err != nil {
		return nil, err
	}
	q := p.InShape(0)
	size, _ := dim.Int()
	if tensor.Count(q) == 0 || size == 0 {
		return nil, nil
	}
	k := &groupKernel{packed: !p.Has(1), rotary: n.Bool("do_rotary")}
	k.batch, k.seq, k.heads, k.kvHeads, k.size = q[0], q[1], n.Int("num_heads"), n.Int("kv_num_heads"), size
	if !k.placeKeys(p) || k.rotary && !k.placeRotation(p) {
		return nil, nil
	}
	k.placeTask(p, q[2])
	return k, nil
}

func (k *groupKernel) placeKeys(p *op.Prep) bool {
	keyWidth := k.kvHeads * k.size
	if k.packed {
		width, first := p.InShape(0)[2], k.heads*k.size
		k.k, k.v = headSource{width: width, first: first}, headSource{width: width, first: first + keyWidth}
		return true
	}
	k.k, k.v = headSource{width: keyWidth}, headSource{width: keyWidth}
	want := []int{k.batch, k.seq, keyWidth}
	return equal(p.InShape(1), want) && equal(p.InShape(2), want)
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i, x := range a {
		if x != b[i] {
			return false
		}
	}
	return true
}

func (k *groupKernel) placeRotation(p *op.Prep) bool {
	if !p.Has(7) || !p.Has(8) || len(p.InShape(7)) != 2 || !equal(p.InShape(7), p.InShape(8)) || p.Has(9) && tensor.Count(p.InShape(9)) != k.batch*k.seq {
		return false
	}
	k.turns.half, k.turns.interleaved = p.InShape(7)[1], p.Node.Bool("rotary_interleaved")
	k.copies = k.batch * k.seq * k.heads * k.size
	return k.turns.half > 0 && 2*k.turns.half <= k.size
}

func (k *groupKernel) placeTask(p *op.Prep, width int) {
	n, t := p.Node, &k.task
	group, size := k.heads/k.kvHeads, k.size
	t.Batch = []int{k.kvHeads, group}
	t.M, t.D, t.DV = k.seq, size, size
	t.Scale, t.Softcap = float32(scaleAttr(n, size)), n.Float("softcap")
	t.ZeroMasked = true
	t.Keys = attn.Keys{Limited: true, Left: -1, Right: -1}
	if w := n.Int("local_window_size"); w > 0 {
		t.Keys.Left = w - 1
	}
	if n.Bool("causal") {
		t.Keys.Right = 0
	}
	t.Q.Stride, t.Q.Steps = width, []int{group * size, size}
	if k.rotary {
		t.Q.Stride = k.heads * size
	}
	t.O.Stride, t.O.Steps = k.heads*size, []int{group * size, size}
	t.K.Stride, t.K.Steps = size, []int{0, 0}
	t.V.Stride, t.V.Steps = size, []int{0, 0}
	t.Mask.Steps = []int{0, 0}
}

// ScratchBytes is the working memory of a run.
func (k *groupKernel) ScratchBytes() int { return 4 * k.copies }

// Run checks lengths and positions, fills the caches and computes.
func (k *groupKernel) Run(c *op.Call) error {
	k.lens, k.before = k.lens[:0], k.before[:0]
	if err := k.readLengths(c.In[5], c.In[6]); err != nil {
		return err
	}
	var err error
	if k.pastRoom, err = k.checkPast(c.Input(3), c.Input(4)); err != nil {
		return err
	}
	k.room = max(k.total, k.pastRoom)
	k.bind(c)
	if err := k.checkPositions(c); err != nil {
		return err
	}
	c.Pool.Run(k.batch*(k.heads+k.kvHeads), (*groupFill)(k))
	err = k.attend(c)
	k.query, k.rotated, k.keys, k.values, k.k.data, k.v.data, k.position, k.turns.cos, k.turns.sin = nil, nil, [2][]float32{}, [2][]float32{}, nil, nil, nil, nil, nil
	return err
}

func (k *groupKernel) bind(c *op.Call) {
	k.query = tensor.Of[float32](c.In[0])
	k.k.data, k.v.data = k.query, k.query
	if !k.packed {
		k.k.data, k.v.data = tensor.Of[float32](c.In[1]), tensor.Of[float32](c.In[2])
	}
	k.keys[1] = tensor.Of[float32](c.Output(1, dtype.Float32, k.batch, k.kvHeads, k.room, k.size))
	k.values[1] = tensor.Of[float32](c.Output(2, dtype.Float32, k.batch, k.kvHeads, k.room, k.size))
	if c.Input(3) != nil {
		k.keys[0], k.values[0] = tensor.Of[float32](c.In[3]), tensor.Of[float32](c.In[4])
	}
	if k.rotary {
		k.rotated = tensor.View[float32](c.Scratch)[:k.copies]
		k.turns.cos, k.turns.sin = tensor.Of[float32](c.In[7]), tensor.Of[float32](c.In[8])
		if t := c.Input(9); t != nil {
			k.position = tensor.Of[int64](t)
		}
	}
}

func (k *groupKernel) place(b, i int) int {
	if k.position != nil {
		return int(k.position[b*k.seq+i])
	}
	return k.before[b] + i
}

func (k *groupKernel) checkPositions(c *op.Call) error {
	if !k.rotary {
		return nil
	}
	rows := len(k.turns.cos) / k.turns.half
	for at := range k.batch * k.seq {
		if p := k.place(at/k.seq, at%k.seq); p < 0 || p >= rows {
			return fmt.Errorf("position %d is outside the caches' %d rows", p, rows)
		}
	}
	return nil
}

// groupFill is the work of one head: of queries, which are rotated, or of keys and
// values, which go behind those of the past.
type groupFill groupKernel

// Do fills for one head; it is called by the pool.
func (f *groupFill) Do(at int) {
	k := (*groupKernel)(f)
	b, head := at/(k.heads+k.kvHeads), at%(k.heads+k.kvHeads)
	if head < k.heads {
		k.rotateQueries(b, head)
		return
	}
	head -= k.heads
	kept, item := k.before[b], b*k.kvHeads+head
	for side, cache := range [2]*[2][]float32{&k.keys, &k.values} {
		row := cache[1][item*k.room*k.size:][:k.room*k.size]
		if kept > 0 {
			copy(row, cache[0][item*k.pastRoom*k.size:][:kept*k.size])
		}
		for i := range k.seq {
			to := row[(kept+i)*k.size:][:k.size]
			if side == 1 {
				copy(to, k.v.at(k, b, i, head))
				continue
			}
			copy(to, k.k.at(k, b, i, head))
			if k.rotary {
				k.turns.turn(to, k.place(b, i))
			}
		}
		clear(row[(kept+k.seq)*k.size:])
	}
}

func (k *groupKernel) rotateQueries(b, head int) {
	if !k.rotary {
		return
	}
	width := k.heads * k.size
	if k.packed {
		width = k.k.width
	}
	for i := range k.seq {
		to := k.rotated[((b*k.seq+i)*k.heads+head)*k.size:][:k.size]
		copy(to, k.query[(b*k.seq+i)*width+head*k.size:])
		k.turns.turn(to, k.place(b, i))
	}
}

func (k *groupKernel) attend(c *op.Call) error {
	t := &k.task
	y := tensor.Of[float32](c.Output(0, dtype.Float32, k.batch, k.seq, k.heads*k.size))
	q := k.query
	if k.rotary {
		q = k.rotated
	}
	bias := c.Input(10)
	if bias != nil {
		if err := k.checkBias(bias); err != nil {
			return err
		}
	}
	for b := range k.batch {
		t.N, t.Keys.Offset = k.lens[b], k.before[b]
		t.Q.Data, t.O.Data = q[b*k.seq*t.Q.Stride:], y[b*k.seq*t.O.Stride:]
		cache := b * k.kvHeads * k.room * k.size
		t.K.Data, t.V.Data = k.keys[1][cache:], k.values[1][cache:]
		t.K.Steps[0], t.V.Steps[0] = k.room*k.size, k.room*k.size
		if bias != nil {
			k.placeBias(bias, b)
		}
		if err := t.Run(c.Pool); err != nil {
			return err
		}
	}
	t.Q.Data, t.K.Data, t.V.Data, t.O.Data, t.Mask.Data = nil, nil, nil, nil, nil
	return nil
}

func (k *groupKernel) placeBias(t *tensor.Tensor, b int) {
	s := t.Shape
	item, head := s[1]*s[2]*s[3], s[2]*s[3]
	if s[0] == 1 {
		item = 0
	}
	if s[1] == 1 {
		head = 0
	}
	m := &k.task.Mask
	m.Data, m.Row, m.Col = tensor.Of[float32](t)[b*item:], s[3], 1
	m.Steps[0], m.Steps[1] = head*(k.heads/k.kvHeads), head
}
