package blockquant

import (
	"cmp"
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
)

// matrices are weights of one format and size.
type matrices struct {
	packed  []*blockq.Packed
	waiting *op.Packing // they may not be packed yet; nil: they are
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
	fill := func(dst []byte) (failed error) {
		for i := range count {
			_, err := blockq.Pack(dst[i*step:][:size], s.format, s.n, s.k, p.In[first+i].Const.Data)
			failed = cmp.Or(failed, err)
		}
		return failed
	}
	m := &matrices{packed: make([]*blockq.Packed, count)}
	if p.Later != nil {
		m.waiting = p.Later(key, bytes, func(dst []byte) {
			if err := fill(dst); err != nil {
				panic(err) // it stays unfilled, and a run that needs it fails
			}
		})
	}
	var data []byte
	if m.waiting != nil {
		data = m.waiting.Data
	} else {
		data = p.Pack(key, bytes, func(dst []byte) { err = fill(dst) })
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
	if m.waiting == nil || !m.waiting.Filled() && t.Streams(p.Threads()) {
		return
	}
	m.waiting.Fill()
	m.waiting = nil
	for _, w := range m.packed {
		w.EndStream()
	}
}

// align rounds up to cache lines.
func align(n int) int { return (n + 63) &^ 63 }
