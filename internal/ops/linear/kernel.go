package linear

import (
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/bgemm"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/tensor"
)

// Spec says what a node that multiplies inputs 0 and 1 computes:
//
//	activation(Alpha·op(A)·op(B) + bias + Beta·residual)
type Spec struct {
	TransA, TransB bool    // of the last two dimensions
	Alpha, Beta    float32 // 0 stands for 1
	Bias           int     // input of N or M numbers, or of one for all; 0 is none
	RowBias        bool    // the bias has a number for each row
	BiasScale      float32 // multiplies the bias, each number rounded; 0 stands for 1
	Residual       int     // input of the output's shape; 0 is none
	Activation     *pointwise.Activation
}

// Add takes beta times input i of shape c into a product of shape [M, N], to which c has to
// broadcast. Each way gives the same bits: beta times the number, rounded, is added.
func (s *Spec) Add(i int, c, y []int, beta float32) bool {
	if slices.Equal(c, y) {
		s.Residual, s.Beta = i, beta
		return true
	}
	if full, err := num.BroadcastShape(c, y); err != nil || !slices.Equal(full, y) {
		return false
	}
	s.Bias, s.BiasScale = i, beta
	s.RowBias = len(c) == 2 && c[0] > 1 // since it is no whole matrix
	return true
}

// Stored says which tensors of a product of float32 numbers are stored in bfloat16
// between nodes that compute in precision bf16.
type Stored struct{ A, Y bool }

// StoredOf reads it from the types of a node whose input 1 is of float32.
func StoredOf(p *op.Prep) Stored {
	if p.In[1].DType != dtype.Float32 {
		return Stored{}
	}
	return Stored{p.In[0].DType == dtype.BFloat16, p.Out[0].DType == dtype.BFloat16}
}

// kernel is a product of float32 matrices.
type kernel struct {
	spec          Spec
	*gemm.Product // of task or rounded
	stored        Stored
	task          *gemm.Task  // nil: rounded
	rounded       *bgemm.Task // computes in bfloat16
	dims          []int
	bias          []float32 // what is made of the input in each run where that does not do as it is
	scratch       int
}

// Compile prepares the product, with packed weights where input 1 is constant.
// It gives nil where the reference has to serve.
func Compile(p *op.Prep, s Spec) (op.Kernel, error) {
	stored := StoredOf(p)
	if p.In[1].DType != dtype.Float32 || stored != (Stored{}) && p.Precision != op.BF16 || stored.A && (s.TransA || p.In[1].Const == nil) {
		return nil, nil
	}
	a, b := swapped(p.InShape(0), s.TransA), swapped(p.InShape(1), s.TransB)
	m, err := NewMatMul(a, b)
	if err != nil {
		return nil, err
	}
	if m.K == 0 || m.M*m.N == 0 {
		return nil, nil // nothing to multiply: the reference fills in zeros
	}
	k := &kernel{spec: s, stored: stored, dims: p.OutShape(0)}
	if p.Precision == op.BF16 {
		k.rounded = &bgemm.Task{HalfA: stored.A, HalfC: stored.Y}
		k.Product = &k.rounded.Product
	} else {
		k.task = &gemm.Task{}
		k.Product = &k.task.Product
	}
	k.place(m, a, b)
	k.epilogue(s)
	k.bias = madeBias(p, s, m)
	if k.task != nil {
		k.task.Tuning = tuning(p, k.Product)
	}
	if w := p.In[1].Const; w != nil {
		if err := k.pack(p, w, b); err != nil {
			return nil, err
		}
	}
	if k.rounded != nil {
		k.scratch = k.rounded.ScratchSize(p.Threads)
	} else {
		k.scratch = 4 * k.task.ScratchSize(p.Threads)
	}
	return k, nil
}

// Precision is bf16 where operands are rounded.
func (k *kernel) Precision() op.Precision {
	if k.rounded != nil {
		return op.BF16
	}
	return op.FP32
}

func swapped(s []int, trans bool) []int {
	if !trans || len(s) < 2 {
		return s
	}
	t := append([]int{}, s...)
	n := len(t)
	t[n-1], t[n-2] = t[n-2], t[n-1]
	return t
}

// place sets sizes, strides and the batch. Products that share B are one of
// more rows.
func (k *kernel) place(m *MatMul, a, b []int) {
	t := k.Product
	t.M, t.N, t.K = m.M, m.N, m.K
	t.A = gemm.Matrix{Stride: m.K}
	if k.spec.TransA && m.M > 1 { // a single column is a row
		t.A.Trans, t.A.Stride = true, m.M
	}
	t.B = gemm.Matrix{Stride: m.N, Trans: k.spec.TransB}
	if k.spec.TransB {
		t.B.Stride = m.K
	}
	t.C = gemm.Matrix{Stride: m.N}
	if k.spec.Residual > 0 {
		t.Residual = gemm.Matrix{Stride: m.N}
	}
	batchA, batchB := batchOf(a), batchOf(b)
	if tensor.Count(batchB) == 1 && !k.spec.TransA && !k.spec.RowBias {
		t.M *= tensor.Count(batchA)
		return
	}
	batch, _ := num.BroadcastShape(batchA, batchB) // NewMatMul has checked it
	t.Batch = batch
	t.A.Steps = scaled(num.BroadcastStrides(batchA, batch), m.M*m.K)
	t.B.Steps = scaled(num.BroadcastStrides(batchB, batch), m.K*m.N)
	t.C.Steps = scaled(tensor.Strides(batch), m.M*m.N)
	t.Residual.Steps = t.C.Steps
}

func batchOf(s []int) []int {
	if len(s) <= 2 {
		return nil
	}
	return s[:len(s)-2]
}

func (k *kernel) epilogue(s Spec) {
	t := k.Product
	t.Alpha, t.Beta = s.Alpha, s.Beta
	if s.Activation == nil {
		return
	}
	p := s.Activation.Params
	switch s.Activation.Op {
	case elemwise.Relu:
		t.Act = gemm.ReLU
	case elemwise.Clip:
		t.Act, t.Lo, t.Hi = gemm.Clip, p.A, p.B
	case elemwise.LeakyRelu:
		t.Act, t.Slope = gemm.LeakyReLU, p.A
	default:
		if k.rounded != nil && k.rounded.HalfC && s.Activation.Op == elemwise.Gelu {
			k.rounded.Gelu = true
			return
		}
		t.Post = s.Activation.Row()
	}
}

// madeBias has room for a bias that is scaled or one number for all, nil where there is none.
func madeBias(p *op.Prep, s Spec, m *MatMul) []float32 {
	if s.Bias == 0 {
		return nil
	}
	want := m.N
	if s.RowBias {
		want = m.M
	}
	if (s.BiasScale == 0 || s.BiasScale == 1) && tensor.Count(p.InShape(s.Bias)) == want {
		return nil
	}
	return make([]float32, want)
}

// biasOf gives the bias that is added.
func (k *kernel) biasOf(in []float32) []float32 {
	if k.bias == nil {
		return in
	}
	scale := k.spec.BiasScale
	if scale == 0 {
		scale = 1
	}
	for i := range k.bias {
		x := in[0]
		if len(in) > 1 {
			x = in[i]
		}
		k.bias[i] = scale * x
	}
	return k.bias
}

// pack keeps B in the order of the kernels. Steps count packed matrices then.
func (k *kernel) pack(p *op.Prep, w *tensor.Tensor, b []int) (err error) {
	t := k.Product
	items := tensor.Count(batchOf(b))
	p.OnlyPacked(1)
	from := t.B
	from.Data, from.Steps = nil, nil
	if k.rounded != nil {
		k.rounded.Weights, err = packRounded(p, w, from, t.K, t.N, items)
	} else {
		k.task.Packed, err = packFloats(p, w, from, t.K, t.N, items)
	}
	if t.B.Steps != nil {
		t.B.Steps = num.BroadcastStrides(batchOf(b), t.Batch)
	}
	return err
}

func packFloats(p *op.Prep, w *tensor.Tensor, m gemm.Matrix, k, n, items int) (*gemm.Packed, error) {
	var err error
	data := p.Pack("B/"+cpu.ISA(), 4*gemm.PackedSize(k, n, items), func(dst []byte) {
		m.Data = tensor.Of[float32](w)
		_, err = gemm.PackB(tensor.View[float32](dst), m, k, n, items, k*n)
	})
	if err != nil {
		return nil, err
	}
	return gemm.Prepacked(tensor.View[float32](data), k, n, items)
}

func packRounded(p *op.Prep, w *tensor.Tensor, m gemm.Matrix, k, n, items int) (*bgemm.Packed, error) {
	var err error
	data := p.Pack("B/bf16", bgemm.PackedSize(k, n, items), func(dst []byte) {
		m.Data = tensor.Of[float32](w)
		err = bgemm.PackB(dst, m, k, n, items, k*n)
	})
	if err != nil {
		return nil, err
	}
	return bgemm.Prepacked(data, k, n, items)
}

// ScratchBytes is the working memory of a run.
func (k *kernel) ScratchBytes() int { return k.scratch }

// Run computes the product.
func (k *kernel) Run(c *op.Call) error {
	t := k.Product
	if k.stored.A {
		k.rounded.A16 = tensor.Of[uint16](c.In[0])
	} else {
		t.A.Data = tensor.Of[float32](c.In[0])
	}
	if k.stored.Y {
		k.rounded.C16 = tensor.Of[uint16](c.Output(0, dtype.BFloat16, k.dims...))
	} else {
		t.C.Data = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	}
	if !k.packed() {
		t.B.Data = tensor.Of[float32](c.In[1])
	}
	if i := k.spec.Bias; i > 0 {
		bias := gemm.Vector{Data: k.biasOf(tensor.Of[float32](c.In[i]))}
		if k.spec.RowBias {
			t.RowBias = bias
		} else {
			t.ColBias = bias
		}
	}
	if i := k.spec.Residual; i > 0 {
		t.Residual.Data = tensor.Of[float32](c.In[i])
	}
	err := k.multiply(c)
	t.A.Data, t.B.Data, t.C.Data, t.Residual.Data = nil, nil, nil, nil
	t.ColBias.Data, t.RowBias.Data = nil, nil
	return err
}

// packed reports whether B is.
func (k *kernel) packed() bool {
	return k.task != nil && k.task.Packed != nil || k.rounded != nil && k.rounded.Weights != nil
}

func (k *kernel) multiply(c *op.Call) error {
	if k.rounded != nil {
		k.rounded.Scratch = c.Scratch
		err := k.rounded.Run(c.Pool)
		k.rounded.Scratch, k.rounded.A16, k.rounded.C16 = nil, nil, nil
		return err
	}
	k.task.Scratch = tensor.View[float32](c.Scratch)
	err := k.task.Run(c.Pool)
	k.task.Scratch = nil
	return err
}
