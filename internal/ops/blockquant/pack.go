package blockquant

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
)

// matrices are weights of one format and size.
type matrices struct {
	packed  []*blockq.Packed
	waiting *op.Packing // they may not be packed yet; nil: they are
	parts
	done int // parts that the matrices know of
}

// parts are what matrices are packed by between steps: some panels of one, about
// partBytes. The tokens of an answer should not wait for more.
type parts struct{ each, panels int } // of a matrix

const partBytes = 4 << 20

func newParts(size, n int) parts {
	panels := blockq.Panels(n)
	return parts{each: max(1, min(size/partBytes, panels)), panels: panels}
}

// of gives the panels of matrix i among parts from and to.
func (p parts) of(i, from, to int) (first, last int) {
	from, to = min(max(from-i*p.each, 0), p.each), min(max(to-i*p.each, 0), p.each)
	return from * p.panels / p.each, to * p.panels / p.each
}

// pack packs constant inputs first to first+count-1 into one buffer.
func pack(p *op.Prep, s weights, first, count int) (*matrices, error) {
	size, err := blockq.PackedSize(s.format, s.n, s.k)
	if err != nil {
		return nil, err
	}
	step := align(size)
	for i := range count {
		p.OnlyPacked(first + i)
	}
	key, bytes := fmt.Sprintf("w%d", first), (count-1)*step+size
	m := &matrices{packed: make([]*blockq.Packed, count), parts: newParts(size, s.n)}
	fill := func(dst []byte, from, to int) error {
		for i := range count {
			panel, end := m.of(i, from, to)
			if panel == end {
				continue
			}
			w, err := blockq.Prepacked(dst[i*step:][:size], s.format, s.n, s.k)
			if err == nil {
				err = w.PackPanels(p.In[first+i].Const.Data, panel, end)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	all := count * m.each
	if p.Later != nil {
		m.waiting = p.Later(key, bytes, all, func(dst []byte, from, to int) {
			if err := fill(dst, from, to); err != nil {
				panic(err) // it stays unfilled, and a run that needs it fails
			}
		})
	}
	var data []byte
	if m.waiting != nil {
		data = m.waiting.Data
	} else {
		data = p.Pack(key, bytes, func(dst []byte) { err = fill(dst, 0, all) })
	}
	if err != nil {
		return nil, err
	}
	for i := range m.packed {
		if m.packed[i], err = blockq.Prepacked(data[i*step:][:size], s.format, s.n, s.k); err != nil {
			return nil, err
		}
		if m.waiting != nil {
			if err := m.packed[i].Stream(p.In[first+i].Const.Data); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// prepare is called before a product by one of the matrices: what has been packed
// meanwhile is used, and what the product can't do without is packed now.
func (m *matrices) prepare(t *blockq.Task, p *pool.Pool) {
	if m.waiting == nil {
		return
	}
	all, done := len(m.packed)*m.each, m.waiting.Done()
	if !m.waiting.Filled() && !t.Streams(p.Threads()) {
		m.waiting.Fill()
	}
	if m.waiting.Filled() { // perhaps at once, by another kernel, and not in as many parts
		done = all
	}
	if done == m.done {
		return
	}
	for i, w := range m.packed {
		_, ready := m.of(i, 0, done)
		w.Ready(ready)
	}
	if m.done = done; done == all {
		m.waiting = nil
	}
}

// align rounds up to cache lines.
func align(n int) int { return (n + 63) &^ 63 }
