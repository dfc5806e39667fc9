package quant

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/qgemm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/linear"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// matMulKernel multiplies 8-bit matrices into int32. B is packed when the
// kernel is made, if it and its zero points are constant, and else in every run.
type matMulKernel struct {
	task      qgemm.Task
	b         int // inputs
	zeroA     int
	zeroB     int
	za, zb    []int32
	weights   qgemm.Matrix
	items     int
	packed    qgemm.Packed
	packBytes int // of scratch, if B is packed in every run
	scratch   int
	dims      []int
	out       dtype.Type // int32, or a type of 8 bits
	scale     []float32  // of the 8-bit result: one, or one per column
}

// newMatMulKernel gives nil for operands of other types than 8-bit integers.
func newMatMulKernel(p *op.Prep, b, zeroA, zeroB int) (*matMulKernel, error) {
	as, bs := p.InShape(0), p.InShape(b)
	if !p.In[0].DType.IsInt() || !p.In[b].DType.IsInt() {
		return nil, nil
	}
	m, err := linear.NewMatMul(as, bs)
	if err != nil {
		return nil, err
	}
	if m.M*m.N*m.K == 0 || tensor.Count(p.OutShape(0)) == 0 || p.Has(zeroA) && tensor.Count(p.InShape(zeroA)) != 1 {
		return nil, nil
	}
	zb := 1
	if p.Has(zeroB) {
		if zb = tensor.Count(p.InShape(zeroB)); zb != 1 && zb != m.N || len(p.InShape(zeroB)) > 1 {
			return nil, nil
		}
	}
	k := &matMulKernel{b: b, zeroA: zeroA, zeroB: zeroB, dims: p.OutShape(0), out: dtype.Int32, za: make([]int32, 1), zb: make([]int32, zb)}
	t := &k.task
	t.M, t.N, t.K = m.M, m.N, m.K
	t.A = qgemm.Matrix{Signed: p.In[0].DType == dtype.Int8, Stride: m.K}
	k.weights = qgemm.Matrix{Signed: p.In[b].DType == dtype.Int8, Stride: m.N}
	t.C.Stride = m.N
	k.batch(m, as, bs)
	if err := k.pack(p); err != nil {
		return nil, err
	}
	t.Tuning = linear.TuneIntegers(p)
	k.scratch = op.Align(t.ScratchSize(p.Threads))
	return k, nil
}

// batch sets the steps of a batch; products that share B are one of more rows.
func (k *matMulKernel) batch(m *linear.MatMul, as, bs []int) {
	t := &k.task
	batchA, batchB := as[:max(len(as)-2, 0)], bs[:max(len(bs)-2, 0)]
	k.items = tensor.Count(batchB)
	if k.items == 1 {
		t.M *= tensor.Count(batchA)
		return
	}
	batch, _ := num.BroadcastShape(batchA, batchB) // NewMatMul has checked it
	t.Batch = batch
	t.Steps = num.BroadcastStrides(batchB, batch)
	t.A.Steps, t.C.Steps = num.BroadcastStrides(batchA, batch), tensor.Strides(batch)
	for i := range batch {
		t.A.Steps[i] *= m.M * m.K
		t.C.Steps[i] *= m.M * m.N
	}
}

func (k *matMulKernel) pack(p *op.Prep) error {
	t := &k.task
	w := p.In[k.b].Const
	size := qgemm.PackedSize(t.K, t.N, k.items)
	if w == nil || p.Has(k.zeroB) && p.In[k.zeroB].Const == nil {
		// Sizes and sums of a packed matrix, for the plan; its contents come later.
		k.packBytes = op.Align(size)
		k.weights.Data = make([]byte, k.items*t.K*t.N)
		err := k.packed.Repack(make([]byte, size), k.weights, k.zb, t.K, t.N, k.items, t.K*t.N)
		k.weights.Data, t.Packed = nil, &k.packed
		return err
	}
	if p.Has(k.zeroB) {
		widen(k.zb, p.In[k.zeroB].Const)
	}
	b := k.weights
	b.Data = w.Data
	var err error
	data := p.Pack("B/"+cpu.ISA(), size, func(dst []byte) {
		_, err = qgemm.PackB(dst, b, k.zb, t.K, t.N, k.items, t.K*t.N)
	})
	if err == nil {
		t.Packed, err = qgemm.Prepacked(data, b.Signed, k.zb, t.K, t.N, k.items)
	}
	return err
}

// widen reads 8-bit integers into dst; zeros if there are none.
func widen(dst []int32, t *tensor.Tensor) {
	clear(dst)
	if t == nil {
		return
	}
	for i := range dst {
		dst[i] = int32(t.Data[i])
		if t.DType == dtype.Int8 {
			dst[i] = int32(int8(t.Data[i]))
		}
	}
}

// ScratchBytes is the working memory of a run.
func (k *matMulKernel) ScratchBytes() int {
	return k.packBytes + k.scratch
}

// Run multiplies.
func (k *matMulKernel) Run(c *op.Call) error {
	t := &k.task
	scratch := c.Scratch
	y := c.Output(0, k.out, k.dims...)
	if k.out == dtype.Int32 {
		t.C.Int = tensor.Of[int32](y)
	} else {
		k.setScale(c)
		t.C.Byte = y.Data
	}
	if k.packBytes > 0 {
		k.weights.Data = c.In[k.b].Data
		widen(k.zb, c.Input(k.zeroB))
		if err := k.packed.Repack(scratch[:k.packBytes], k.weights, k.zb, t.K, t.N, k.items, t.K*t.N); err != nil {
			return err
		}
		scratch = scratch[k.packBytes:]
	}
	widen(k.za, c.Input(k.zeroA))
	t.ZeroA, t.A.Data, t.Scratch = k.za, c.In[0].Data, scratch[:k.scratch]
	err := t.Run(c.Pool)
	t.A.Data, t.C.Int, t.C.Byte, t.Scratch, k.weights.Data = nil, nil, nil, nil, nil
	return err
}

// setScale reads QLinearMatMul's inputs 1, 4, 6 and 7: the scales of A, B and Y
// and Y's zero point.
func (k *matMulKernel) setScale(c *op.Call) {
	scaleInto(k.scale, tensor.Of[float32](c.In[1])[0], tensor.Of[float32](c.In[4]), tensor.Of[float32](c.In[6])[0])
	var zero [1]int32
	widen(zero[:], c.In[7])
	k.task.C.Zero = zero[0]
}

// scaleInto sets what an accumulator of products is multiplied with.
func scaleInto(dst []float32, a float32, b []float32, y float32) {
	for i := range dst {
		dst[i] = float32(a*b[i]) / y
	}
}

func compileMatMulInteger(p *op.Prep) (op.Kernel, error) {
	k, err := newMatMulKernel(p, 1, 2, 3)
	if k == nil || err != nil {
		return nil, err
	}
	return k, nil
}

// compileQLinearMatMul takes one scale for A and for Y, and one or one per
// column for B.
func compileQLinearMatMul(p *op.Prep) (op.Kernel, error) {
	for _, i := range []int{1, 4, 6} {
		if p.In[i].DType != dtype.Float32 {
			return nil, nil
		}
	}
	y := p.OutShape(0)
	for _, i := range []int{1, 6, 7} {
		if tensor.Count(p.InShape(i)) != 1 {
			return nil, nil
		}
	}
	scales := tensor.Count(p.InShape(4))
	if len(y) == 0 || scales != 1 && scales != y[len(y)-1] || len(p.InShape(4)) > 1 || !p.Out[0].DType.IsInt() {
		return nil, nil
	}
	k, err := newMatMulKernel(p, 3, 2, 5)
	if k == nil || err != nil {
		return nil, err
	}
	k.out, k.scale = p.Out[0].DType, make([]float32, scales)
	k.task.ColScale, k.task.C.Signed = k.scale, k.out == dtype.Int8
	return k, nil
}
