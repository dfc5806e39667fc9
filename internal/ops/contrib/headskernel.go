package contrib

import (
	"github.com/salver-ml/salver/internal/kernels/attn"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// source says where the queries, keys or values of heads are: element d of head h
// of token i of sequence b is at offset + b·batch + i·token + h·head + d.
type source struct {
	offset, batch, token, head int
	rows, size                 int  // tokens, and elements of a head
	copied                     bool // to [batch, heads, tokens, size], with a bias or behind a past
	past                       int  // tokens before those of the source
}

func (s *source) total() int { return s.past + s.rows }

// headsTask is attention of float32 heads wherever they are.
type headsTask struct {
	batch, heads int
	src          [3]source // of queries, keys and values
	task         attn.Task
	// of a run
	data, bias, dst, old [3][]float32
}

// prepare sets the geometry of the tiles.
func (h *headsTask) prepare(scale float32, causal bool) {
	t := &h.task
	t.Batch, t.M, t.N, t.D, t.DV = []int{h.batch, h.heads}, h.src[0].rows, h.src[1].total(), h.src[0].size, h.src[2].size
	t.Scale, t.ZeroMasked = scale, true
	if causal {
		t.Keys = attn.Keys{Limited: true, Offset: h.src[1].past, Left: -1, Right: 0}
	}
	for i, v := range []*attn.View{&t.Q, &t.K, &t.V} {
		s := &h.src[i]
		v.Stride, v.Steps = s.token, []int{s.batch, s.head}
		if s.copied {
			v.Stride, v.Steps = s.size, []int{h.heads * s.total() * s.size, s.total() * s.size}
		}
	}
	t.O.Stride, t.O.Steps = h.heads*t.DV, []int{h.heads * t.DV * t.M, t.DV}
}

// elements is the size of a copy of operand i.
func (h *headsTask) elements(i int) int {
	return h.batch * h.heads * h.src[i].total() * h.src[i].size
}

// scratch is the bytes that copies take for which no output is wanted.
func (h *headsTask) scratch(outputs [3]bool) (bytes int) {
	for i := range h.src {
		if h.src[i].copied && !outputs[i] {
			bytes += 4 * h.elements(i)
		}
	}
	return bytes
}

// run copies what must be and computes attention into y. Copies go to dst where
// it is set, else to scratch.
func (h *headsTask) run(c *op.Call, scratch, y []float32) error {
	copies := false
	for i := range h.src {
		if !h.src[i].copied {
			continue
		}
		copies = true
		if h.dst[i] == nil {
			h.dst[i], scratch = scratch[:h.elements(i)], scratch[h.elements(i):]
		}
	}
	if copies {
		c.Pool.Run(3*h.batch*h.heads, (*headsCopy)(h))
	}
	t := &h.task
	for i, v := range []*attn.View{&t.Q, &t.K, &t.V} {
		v.Data = h.dst[i]
		if !h.src[i].copied {
			v.Data = h.data[i][h.src[i].offset:]
		}
	}
	t.O.Data = y
	err := t.Run(c.Pool)
	t.Q.Data, t.K.Data, t.V.Data, t.O.Data, t.Mask.Data = nil, nil, nil, nil, nil
	h.data, h.bias, h.dst, h.old = [3][]float32{}, [3][]float32{}, [3][]float32{}, [3][]float32{}
	return err
}

// headsCopy copies one head of one operand.
type headsCopy headsTask

// Do is called by the pool.
func (h *headsCopy) Do(at int) {
	s := &h.src[at%3]
	if !s.copied {
		return
	}
	item := at / 3
	b, head := item/h.heads, item%h.heads
	to := h.dst[at%3][item*s.total()*s.size:][:s.total()*s.size]
	if s.past > 0 {
		copy(to, h.old[at%3][item*s.past*s.size:][:s.past*s.size])
	}
	bias := h.bias[at%3]
	for i := range s.rows {
		row := to[(s.past+i)*s.size:][:s.size]
		copy(row, h.data[at%3][s.offset+b*s.batch+i*s.token+head*s.head:])
		if bias == nil {
			continue
		}
		for d, x := range bias[head*s.size:][:s.size] {
			row[d] += x
		}
	}
}

// maskForm is how a mask of integers is given.
type maskForm uint8

const (
	noMask    maskForm = iota
	lengths            // the keys of each sequence
	ends               // their ends, and then their starts
	keyFlags           // a flag for each key
	pairFlags          // a flag for each query and key
)

// maskTask makes the tensor that is added to the scores from a mask of integers
// and a bias.
type maskTask struct {
	form                     maskForm
	batch, heads, seq, total int
	filter                   float32
	dims                     [4]int // of what is made; all 0 if the bias serves as it is
	bias                     [4]int // its shape, ones in front; all 0 if there is none
}

// newMaskTask gives false for shapes that don't fit.
func newMaskTask(p *op.Prep, mask, bias int, batch, heads, seq, total int, filter float32) (*maskTask, bool) {
	m := &maskTask{batch: batch, heads: heads, seq: seq, total: total, filter: filter}
	if p.Has(mask) {
		switch s := p.InShape(mask); {
		case equal(s, []int{batch}):
			m.form = lengths
		case equal(s, []int{2 * batch}):
			m.form = ends
		case equal(s, []int{batch, total}):
			m.form = keyFlags
		case equal(s, []int{batch, seq, total}):
			m.form = pairFlags
		default:
			return nil, false
		}
	}
	if p.Has(bias) {
		s := p.InShape(bias)
		if len(s) > 4 {
			return nil, false
		}
		m.bias = [4]int{1, 1, 1, 1}
		copy(m.bias[4-len(s):], s)
		for i, full := range []int{batch, heads, seq, total} {
			if m.bias[i] != 1 && m.bias[i] != full {
				return nil, false
			}
		}
	}
	if m.form == noMask {
		return m, true
	}
	m.dims = [4]int{batch, max(m.bias[1], 1), max(m.bias[2], 1), total}
	if m.form == pairFlags {
		m.dims[2] = seq
	}
	return m, true
}

// elements is the size of what is made.
func (m *maskTask) elements() int { return m.dims[0] * m.dims[1] * m.dims[2] * m.dims[3] }

// set makes the mask in dst and gives it to the task.
func (m *maskTask) set(t *attn.Mask, dst []float32, mask, bias *tensor.Tensor) {
	var extra []float32
	if bias != nil {
		extra = tensor.Of[float32](bias)
	}
	from := m.dims
	if m.form == noMask {
		dst, from = extra, m.bias
	} else {
		m.fill(dst, tensor.Of[int32](mask), extra)
	}
	if dst == nil {
		return
	}
	s := strides4(from)
	t.Data, t.Row, t.Col = dst, s[2], s[3]
	if t.Steps == nil {
		t.Steps = make([]int, 2)
	}
	t.Steps[0], t.Steps[1] = s[0], s[1]
}

// strides4 are 0 along dimensions of one.
func strides4(dims [4]int) (s [4]int) {
	step := 1
	for i := 3; i >= 0; i-- {
		if dims[i] != 1 {
			s[i] = step
		}
		step *= dims[i]
	}
	return s
}

func (m *maskTask) fill(dst []float32, flags []int32, extra []float32) {
	s := strides4(m.bias)
	at := 0
	for b := range m.dims[0] {
		for h := range m.dims[1] {
			for i := range m.dims[2] {
				row := dst[at : at+m.total]
				at += m.total
				for j := range row {
					row[j] = 0
					if extra != nil {
						row[j] = extra[b*s[0]+h*s[1]+i*s[2]+j*s[3]]
					}
					if !m.open(flags, b, i, j) {
						row[j] += m.filter
					}
				}
			}
		}
	}
}

func (m *maskTask) open(flags []int32, b, i, j int) bool {
	switch m.form {
	case lengths:
		return j < int(flags[b])
	case ends:
		return j < int(flags[b]) && j >= int(flags[m.batch+b])
	case keyFlags:
		return flags[b*m.total+j] != 0
	}
	return flags[(b*m.seq+i)*m.total+j] != 0
}
