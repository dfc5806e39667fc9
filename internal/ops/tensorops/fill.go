package tensorops

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// fillGrain is the least number of bytes that a thread writes.
const fillGrain = 128 << 10

// filler writes one element over and over.
type filler struct {
	value, dst []byte
	parts      int
}

func newFiller(value *tensor.Tensor, count int) filler {
	return filler{value: value.Data, parts: split.Parts(count*len(value.Data), fillGrain)}
}

func (k *filler) run(p *pool.Pool, dst []byte) {
	k.dst = dst
	p.Run(k.parts, k)
	k.dst = nil
}

// Do fills one chunk; it is called by the pool.
func (k *filler) Do(part int) {
	lo, hi := split.Range(len(k.dst)/len(k.value), k.parts, part)
	fill(k.dst[lo*len(k.value):hi*len(k.value)], k.value)
}

func fill(dst, value []byte) {
	if zeros(value) {
		clear(dst)
		return
	}
	transpose.Fill(dst, value)
}

func zeros(value []byte) bool {
	for _, b := range value {
		if b != 0 {
			return false
		}
	}
	return true
}

// compileFill leaves strings and packed types to the reference.
func compileFill(p *op.Prep) (op.Kernel, error) {
	v, err := fillValue(p.Node)
	if err != nil {
		return nil, err
	}
	dims := p.OutShape(0)
	if _, ok := byteSize(v.DType); !ok || dims == nil {
		return nil, nil
	}
	k := newFiller(v, tensor.Count(dims))
	return op.KernelFunc(func(c *op.Call) error {
		k.run(c.Pool, c.Output(0, v.DType, dims...).Data)
		return nil
	}), nil
}

func compileEye(p *op.Prep) (op.Kernel, error) {
	dims := p.OutShape(0)
	dt, err := eyeType(p.Node, p.In[0].DType)
	if err != nil || len(dims) != 2 {
		return nil, err
	}
	first, one := min(max(p.Node.Int("k"), -dims[0]), dims[1]), tensor.New(dt, 1)
	num.SetInt64s(one, []int64{1})
	k := newFiller(tensor.New(dt, 1), tensor.Count(dims))
	return op.KernelFunc(func(c *op.Call) error {
		y := c.Output(0, dt, dims...)
		k.run(c.Pool, y.Data)
		for i := max(0, -first); i < dims[0] && i+first < dims[1]; i++ {
			copy(y.Data[(i*dims[1]+i+first)*len(one.Data):], one.Data)
		}
		return nil
	}), nil
}

// trilu keeps a part of each row of matrices.
type trilu struct {
	dims     []int
	size     int // of an element
	upper    bool
	parts    int
	k        int
	dst, src []byte
}

func compileTrilu(p *op.Prep) (op.Kernel, error) {
	dims := p.InShape(0)
	size, ok := byteSize(p.In[0].DType)
	if !ok || len(dims) < 2 {
		return nil, nil
	}
	k := &trilu{dims: dims, size: size, upper: p.Node.Bool("upper")}
	count := tensor.Count(dims)
	k.parts = min(split.Parts(count*size, fillGrain), max(count/max(dims[len(dims)-1], 1), 1))
	return k, nil
}

// Run copies the triangles.
func (k *trilu) Run(c *op.Call) (err error) {
	k.k = 0
	if t := c.Input(1); t != nil && t.DType == dtype.Int64 && t.Len() == 1 { // oneInt allocates
		k.k = int(tensor.Of[int64](t)[0])
	} else if t != nil {
		if k.k, err = oneInt(c, 1); err != nil {
			return err
		}
	}
	k.dst, k.src = c.Output(0, c.In[0].DType, k.dims...).Data, c.In[0].Data
	c.Pool.Run(k.parts, k)
	k.dst, k.src = nil, nil
	return nil
}

// Do copies some rows; it is called by the pool.
func (k *trilu) Do(part int) {
	h, w := k.dims[len(k.dims)-2], k.dims[len(k.dims)-1]
	pitch := w * k.size
	if pitch == 0 {
		return
	}
	lo, hi := split.Range(len(k.src)/pitch, k.parts, part)
	for row := lo; row < hi; row++ {
		from, to := kept(row%h, w, k.k, k.upper)
		dst := k.dst[row*pitch:][:pitch]
		clear(dst[:from*k.size])
		copy(dst[from*k.size:to*k.size], k.src[row*pitch+from*k.size:])
		clear(dst[to*k.size:])
	}
}

// kept is the range of columns of a row that are in the triangle.
func kept(row, w, k int, upper bool) (from, to int) {
	k = min(max(k, -tensor.MaxElements), tensor.MaxElements) // the sum fits
	if upper {
		return min(max(row+k, 0), w), w
	}
	return 0, min(max(row+k+1, 0), w)
}
