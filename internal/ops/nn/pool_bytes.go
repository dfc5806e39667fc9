package nn

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

// bytePool is MaxPool of 8-bit integers in one or two dimensions. Signed
// numbers are compared as unsigned ones with the top bit flipped.
type bytePool struct {
	y, x   window.Dim
	planes int
	flip   byte
	dt     dtype.Type
	dims   []int

	in, out []byte
	parts   int
}

// compileBytePool gives nil where the reference has to serve.
func compileBytePool(c *op.Prep, dims []window.Dim) op.Kernel {
	if len(dims) > 2 || c.Node.Output(1) != nil || tensor.Count(c.InShape(0)) == 0 {
		return nil
	}
	one := window.Dim{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	k := &bytePool{y: one, x: dims[len(dims)-1], planes: tensor.Count(c.InShape(0)[:2]), dt: c.In[0].DType, dims: c.OutShape(0)}
	if len(dims) == 2 {
		k.y = dims[0]
	}
	if k.dt == dtype.Int8 {
		k.flip = 0x80
	}
	work := tensor.Count(spatial.Sizes(dims)) * k.x.Kernel * k.y.Kernel
	k.parts = min(split.Parts(k.planes*work, 16384), k.planes)
	return k
}

// Run pools.
func (k *bytePool) Run(c *op.Call) error {
	k.in, k.out = c.In[0].Data, c.Output(0, k.dt, k.dims...).Data
	c.Pool.Run(k.parts, k)
	k.in, k.out = nil, nil
	return nil
}

// Do pools the planes of one chunk; it is called by the pool.
func (k *bytePool) Do(i int) {
	lo, hi := split.Range(k.planes, k.parts, i)
	for p := lo; p < hi; p++ {
		in, out := k.in[p*k.y.In*k.x.In:], k.out[p*k.y.Out*k.x.Out:]
		for oy := range k.y.Out {
			k.row(out[oy*k.x.Out:][:k.x.Out], in, oy)
		}
	}
}

func (k *bytePool) row(out, in []byte, oy int) {
	clear(out)
	k0, k1 := k.y.Taps(oy)
	for ky := k0; ky < k1; ky++ {
		row := in[(k.y.First(oy)+ky*k.y.Dilation)*k.x.In:][:k.x.In]
		for kx := range k.x.Kernel {
			k.tap(out, row, kx*k.x.Dilation-k.x.Begin)
		}
	}
	if k.flip != 0 {
		for i := range out {
			out[i] ^= k.flip
		}
	}
}

// tap takes in the numbers from an offset on, a stride apart, that lie inside.
func (k *bytePool) tap(out, row []byte, from int) {
	stride := k.x.Stride
	lo := (max(-from, 0) + stride - 1) / stride
	hi := len(out)
	if last := len(row) - 1 - from; last < 0 {
		hi = 0
	} else {
		hi = min(hi, last/stride+1)
	}
	if lo >= hi {
		return
	}
	row = row[lo*stride+from:]
	for o := range out[lo:hi] {
		out[lo+o] = max(out[lo+o], row[o*stride]^k.flip)
	}
}
