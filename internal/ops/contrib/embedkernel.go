package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/norm"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// embedKernel adds up the embeddings of tokens of float32 and normalizes them.
type embedKernel struct {
	*norm.Layer
	batch, seq, width, parts int
	tables                   [3]embedding // of words, positions and segments
	sum                      []float32
}

// embedding is a table and the rows that are taken of it.
type embedding struct {
	name       string
	ids, table int // inputs
	rows       []float32
	list       []int32 // nil: the row of each place in its sequence; fewer than tokens: all sequences take the same
}

func compileEmbed(p *op.Prep) (op.Kernel, error) {
	ids, word := p.InShape(0), p.InShape(2)
	if p.In[2].DType != dtype.Float32 || len(ids) != 2 || len(word) != 2 || tensor.Count(ids)*word[1] == 0 {
		return nil, nil
	}
	k := &embedKernel{batch: ids[0], seq: ids[1], width: word[1], tables: [3]embedding{{name: "word", ids: 0, table: 2}, {name: "position", ids: 8, table: 3}, {name: "segment", ids: 1, table: 4}}}
	tokens := k.batch * k.seq
	for _, e := range k.tables {
		if !p.Has(e.table) {
			continue
		}
		if s := p.InShape(e.table); len(s) != 2 || s[1] != k.width {
			return nil, nil // the reference says what is wrong
		}
		if !p.Has(e.ids) {
			continue
		}
		if n := tensor.Count(p.InShape(e.ids)); n == 0 || tokens%n != 0 {
			return nil, nil
		}
	}
	if tensor.Count(p.InShape(5)) != k.width || tensor.Count(p.InShape(6)) != k.width || p.Has(7) && tensor.Count(p.InShape(7)) != tokens {
		return nil, nil
	}
	k.Layer = norm.NewLayer(tokens, k.width, p.Node.Float("epsilon"))
	k.parts = min(split.Parts(tokens*k.width, 16384), tokens)
	return k, nil
}

// Run embeds.
func (k *embedKernel) Run(c *op.Call) error {
	dims := []int{k.batch, k.seq, k.width}
	y := tensor.Of[float32](c.Output(0, dtype.Float32, dims...))
	k.sum = y
	if c.Wants(2) {
		k.sum = tensor.Of[float32](c.Output(2, dtype.Float32, dims...))
	}
	for i := range k.tables {
		if err := k.tables[i].read(c, k.seq, k.width); err != nil {
			return err
		}
	}
	c.Pool.Run(k.parts, (*embedSum)(k))
	k.Layer.Run(c.Pool, y, k.sum, tensor.Of[float32](c.In[5]), tensor.Of[float32](c.In[6]))
	for i := range k.tables {
		k.tables[i].rows, k.tables[i].list = nil, nil
	}
	k.sum = nil
	if c.Wants(1) {
		return maskIndex(c, k.batch, k.seq)
	}
	return nil
}

// read takes the inputs of a call and checks the ids.
func (e *embedding) read(c *op.Call, seq, width int) error {
	table, ids := c.Input(e.table), c.Input(e.ids)
	if table == nil || ids == nil && e.name == "segment" {
		return nil
	}
	e.rows = tensor.Of[float32](table)
	if ids == nil {
		if seq > table.Shape[0] {
			return fmt.Errorf("%s embedding: %d places, and the table has %d rows", e.name, seq, table.Shape[0])
		}
		return nil
	}
	e.list = tensor.Of[int32](ids)
	for _, id := range e.list {
		if id < 0 || int(id) >= table.Shape[0] {
			return fmt.Errorf("%s embedding: id %d is outside the table's %d rows", e.name, id, table.Shape[0])
		}
	}
	return nil
}

// embedSum adds up rows of tables.
type embedSum embedKernel

// Do computes the tokens of one chunk; it is called by the pool.
func (k *embedSum) Do(part int) {
	lo, hi := split.Range(k.batch*k.seq, k.parts, part)
	add := elemwise.Row(elemwise.Add)
	for t := lo; t < hi; t++ {
		to := k.sum[t*k.width:][:k.width]
		for i, e := range k.tables {
			if e.rows == nil {
				continue
			}
			row := t % k.seq
			if e.list != nil {
				row = int(e.list[t%len(e.list)])
			}
			from := e.rows[row*k.width:][:k.width]
			if i == 0 {
				copy(to, from)
			} else {
				add(to, to, from, 1, 1)
			}
		}
	}
}
