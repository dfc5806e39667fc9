package tensorops

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// compileGatherND serves elements of whole bytes.
func compileGatherND(p *op.Prep) (op.Kernel, error) {
	x, idx, batch := p.InShape(0), p.InShape(1), p.Node.Int("batch_dims")
	size, ok := byteSize(p.In[0].DType)
	if !ok || len(idx) == 0 {
		return nil, nil
	}
	depth := idx[len(idx)-1]
	if err := checkND(len(x), len(idx), depth, batch); err != nil {
		return nil, err
	}
	for d := range batch {
		if x[d] != idx[d] {
			return nil, nil
		}
	}
	k := &gatherNDKernel{
		dt: p.In[0].DType, dims: p.OutShape(0), limits: x[batch : batch+depth], n: tensor.Count(idx[:len(idx)-1]),
		perBatch: max(tensor.Count(idx[batch:len(idx)-1]), 1), block: tensor.Count(x[batch:]) * size, bytes: tensor.Count(x[batch+depth:]) * size,
	}
	if depth == 0 && k.bytes == 0 { // neither an index nor an element
		k.n = 0
	}
	for _, s := range tensor.Strides(x)[batch : batch+depth] {
		k.strides = append(k.strides, s*size)
	}
	k.parts = split.Parts(k.n*(k.bytes+16), 1<<17)
	return k, nil
}

// gatherNDKernel copies slices of so many bytes, one for each tuple of indices.
type gatherNDKernel struct {
	dt              dtype.Type
	dims            []int
	limits, strides []int // of a tuple's indices; strides in bytes
	n, perBatch     int   // tuples
	block, bytes    int   // of a batch of the data, of a slice
	parts           int

	dst, src []byte
	ids      []int64
	errs     split.Errors
}

func (k *gatherNDKernel) Run(c *op.Call) error {
	k.dst, k.src, k.ids = c.Output(0, k.dt, k.dims...).Data, c.In[0].Data, tensor.Of[int64](c.In[1])
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.ids = nil, nil, nil
	return k.errs.First()
}

// Do gathers one chunk; it is called by the pool.
func (k *gatherNDKernel) Do(part int) {
	lo, hi := split.Range(k.n, k.parts, part)
	depth := len(k.limits)
	for i := lo; i < hi; i++ {
		from := i / k.perBatch * k.block
		for d, id := range k.ids[i*depth : (i+1)*depth] {
			at, err := element(int(id), k.limits[d])
			if err != nil {
				k.errs[part] = err
				return
			}
			from += at * k.strides[d]
		}
		copy(k.dst[i*k.bytes:(i+1)*k.bytes], k.src[from:from+k.bytes])
	}
}
