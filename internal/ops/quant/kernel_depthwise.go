package quant

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/norm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/spatial"
	"github.com/salver-ml/salver/internal/tensor"
)

// depthwiseKernel convolves channels one by one. Their sums have so few terms
// that float32 holds them exactly, and its kernels are the fastest there are
// for such windows.
type depthwiseKernel struct {
	scaling
	widen  *elemwise.Dequantize
	conv   op.Kernel
	own    int // bytes of scratch of conv
	affine *norm.Batch
	narrow *elemwise.Quantize
	cast   *elemwise.Cast // of an int32 result
	x, y   tensor.Tensor  // float32
	call   op.Call
	dims   []int
	out    dtype.Type
	unit   [1]float32
	zeroY  [1]byte
}

// fitsFloat reports whether the sums of windows of one channel are exact in
// float32: terms of 255·255 at most, sums below 2²⁴.
func fitsFloat(w *tensor.Tensor) bool {
	return w.Shape[1] == 1 && tensor.Count(w.Shape[2:])*255*255 < 1<<24
}

func newDepthwise(p *op.Prep, g *spatial.Geometry, s scaling) (op.Kernel, error) {
	k := &depthwiseKernel{scaling: s, dims: g.Shape, out: p.Out[0].DType, unit: [1]float32{1}}
	w := tensor.New(dtype.Float32, p.InShape(s.in.w)...)
	zero := zerosOf(p, s.in.zeroW, g.Out)
	q := make([]int32, w.Len())
	widen(q, p.In[s.in.w].Const)
	for i := range q {
		tensor.Of[float32](w)[i] = float32(q[i] - zero[i*g.Out/len(q)])
	}
	fact := func(t *tensor.Tensor) op.Fact { return op.Fact{Type: ir.TypeOf(t), Present: true} }
	k.x, k.y = tensor.Tensor{DType: dtype.Float32, Shape: p.InShape(0)}, tensor.Tensor{DType: dtype.Float32, Shape: g.Shape}
	inner := &op.Prep{Node: p.Node, In: []op.Fact{fact(&k.x), fact(w)}, Out: []op.Fact{fact(&k.y)}, Threads: p.Threads, Precision: p.Precision, Pack: p.Pack}
	inner.In[1].Const = w
	var err error
	if k.conv, err = spatial.CompileConv(inner, spatial.Spec{}); k.conv == nil || err != nil {
		return nil, err
	}
	if s, ok := k.conv.(op.Scratcher); ok {
		k.own = op.Align(s.ScratchBytes())
	}
	k.call.In, k.call.Out = []*tensor.Tensor{&k.x, nil}, []*tensor.Tensor{&k.y}
	return k, k.prepare(p.In[0].DType, g)
}

// prepare makes the conversions before and after the convolution.
func (k *depthwiseKernel) prepare(from dtype.Type, g *spatial.Geometry) (err error) {
	if k.widen, err = elemwise.NewDequantize(from, k.x.Shape, -1, 0); err != nil {
		return err
	}
	if !k.quantized {
		k.cast, err = elemwise.NewCast(dtype.Float32, k.out)
		return err
	}
	if k.affine, err = norm.NewBatch(g.Batch, tensor.Count(g.Shape[2:]), 1, k.scale, k.bias); err != nil {
		return err
	}
	k.narrow, err = elemwise.NewQuantize(k.out, k.dims, -1, 0)
	return err
}

func (k *depthwiseKernel) sizes() (x, y int) { return 4 * k.x.Len(), 4 * k.y.Len() }

// ScratchBytes holds input and output as float32.
func (k *depthwiseKernel) ScratchBytes() int {
	x, y := k.sizes()
	return op.Align(x) + op.Align(y) + k.own
}

// Run convolves.
func (k *depthwiseKernel) Run(c *op.Call) error {
	x, y := k.sizes()
	scratch := op.Memory(c.Scratch)
	k.x.Data, k.y.Data = scratch.Take(x), scratch.Take(y)
	var zero []byte
	if t := c.Input(k.in.zeroX); t != nil {
		zero = t.Data
	}
	k.widen.Run(c.Pool, tensor.Of[float32](&k.x), c.In[0].Data, k.unit[:], zero)
	k.call.Context, k.call.Node, k.call.Pool, k.call.Scratch = c.Context, c.Node, c.Pool, scratch[:k.own]
	if err := k.conv.Run(&k.call); err != nil {
		return err
	}
	out := c.Output(0, k.out, k.dims...)
	if k.cast != nil {
		k.cast.Run(c.Pool, out.Data, k.y.Data)
		return nil
	}
	k.read(c)
	v := tensor.Of[float32](&k.y)
	k.affine.Run(c.Pool, v, v)
	k.zeroY[0] = c.In[k.in.zeroY].Data[0]
	k.narrow.Run(c.Pool, out.Data, v, k.unit[:], k.zeroY[:])
	return nil
}
