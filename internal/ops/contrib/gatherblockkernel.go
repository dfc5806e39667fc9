package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// gatherBlock decodes the rows of a table that are asked for, and no others.
type gatherBlock struct {
	table         *blockTable
	rows, cols    int
	blocks        int // of a row
	data          []byte
	scales, zeros []float32
	dims          []int
	parts         int
	indices       *tensor.Tensor
	y             []float32
}

// compileGatherBlock serves tables of two dimensions with rows in blocks, in
// float32; it gives nil for others.
func compileGatherBlock(p *op.Prep) (op.Kernel, error) {
	for i := range p.In {
		if i != 1 && p.Has(i) && p.In[i].Const == nil {
			return nil, nil
		}
	}
	data, scales := p.In[0].Const, p.In[2].Const
	t, err := newBlockTable(p.Node, p.In[0])
	if err != nil {
		return nil, err
	}
	if len(data.Shape) != 2 || t.gather != 0 || t.axis != 1 || scales.DType != dtype.Float32 {
		return nil, nil
	}
	k := &gatherBlock{table: t, rows: data.Shape[0], cols: data.Shape[1], data: data.Data, scales: tensor.Of[float32](scales), dims: p.OutShape(0)}
	if t.packed {
		k.cols *= 8 / t.bits
	}
	k.blocks = (k.cols + t.size - 1) / t.size
	if len(k.scales) != k.rows*k.blocks {
		return nil, fmt.Errorf("scales are %s, expected %v", scales, []int{k.rows, k.blocks})
	}
	k.zeros = make([]float32, len(k.scales))
	for i := range k.zeros {
		if t.packed {
			k.zeros[i] = float32(int(1) << (t.bits - 1))
		}
	}
	if p.Has(3) {
		z, err := t.zeroPoints(p.In[3].Const, []int{k.rows, k.blocks})
		if err != nil {
			return nil, err
		}
		for i, v := range z {
			k.zeros[i] = float32(v)
		}
	}
	return k, nil
}

// Run decodes the rows.
func (k *gatherBlock) Run(c *op.Call) error {
	k.indices = c.In[1]
	for i := range k.indices.Len() {
		if v := k.index(i); v < -int64(k.rows) || v >= int64(k.rows) {
			return fmt.Errorf("index %d is outside [%d, %d), the rows of data", v, -k.rows, k.rows)
		}
	}
	k.y = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	const work = 1 << 14 // elements that are worth a chunk
	k.parts = split.Parts(len(k.y), work)
	c.Pool.Run(k.parts, k)
	k.indices, k.y = nil, nil
	return nil
}

func (k *gatherBlock) index(i int) int64 {
	if k.indices.DType == dtype.Int32 {
		return int64(tensor.Of[int32](k.indices)[i])
	}
	return tensor.Of[int64](k.indices)[i]
}

// Do decodes part i of the rows.
func (k *gatherBlock) Do(i int) {
	from, to := split.Range(k.indices.Len(), k.parts, i)
	for ; from < to; from++ {
		row := int(k.index(from))
		if row < 0 {
			row += k.rows
		}
		k.decode(k.y[from*k.cols:][:k.cols], row)
	}
}

func (k *gatherBlock) decode(y []float32, row int) {
	bits := k.table.bits
	mask := byte(1<<bits - 1)
	for b := range k.blocks {
		at := row*k.blocks + b
		scale, zero := k.scales[at], k.zeros[at]
		from := b * k.table.size
		for j := from; j < min(from+k.table.size, k.cols); j++ {
			bit := (row*k.cols + j) * bits
			q := int(k.data[bit/8] >> (bit % 8) & mask)
			if k.table.signed && q > 7 {
				q -= 16
			}
			y[j] = (float32(q) - zero) * scale
		}
	}
}
