package blockquant

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/bgemm"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// In precision bf16, products with weights that are plain floats are those of
// package bgemm, which takes both operands as bfloat16. Blocks of integers keep
// their arithmetic.

// rounds reports whether products with a format follow the precision.
func rounds(p *op.Prep, f block.Format) bool {
	return p.Precision == op.BF16 && (f == block.F32 || f == block.F16 || f == block.BF16)
}

// packRounded packs constant input i as bfloat16.
func packRounded(p *op.Prep, s weights, i int) (*bgemm.Packed, error) {
	p.OnlyPacked(i)
	var err error
	data := p.Pack(fmt.Sprintf("w%d/bf16", i), bgemm.PackedSize(s.k, s.n, 1), func(dst []byte) {
		err = s.packPanels(dst, p.In[i].Const.Data)
	})
	if err != nil {
		return nil, err
	}
	return bgemm.Prepacked(data, s.k, s.n, 1)
}

// packPanels decodes a panel of w at a time.
func (s *weights) packPanels(dst, w []byte) error {
	size := bgemm.PackedSize(s.k, mma.Cols, 1)
	rows := make([]float32, min(mma.Cols, s.n)*s.k)
	for j := 0; j < s.n; j += mma.Cols {
		n := min(mma.Cols, s.n-j)
		s.decode(rows[:n*s.k], w[j*s.row:(j+n)*s.row])
		panel := gemm.Matrix{Data: rows[:n*s.k], Stride: s.k, Trans: true}
		if err := bgemm.PackB(dst[j/mma.Cols*size:][:size], panel, s.k, n, 1, 0); err != nil {
			return err
		}
	}
	return nil
}

// decode widens rows of plain floats.
func (s *weights) decode(dst []float32, w []byte) {
	if s.format == block.F16 && uintptr(unsafe.Pointer(unsafe.SliceData(w)))%2 == 0 {
		elemwise.FromFloat16s(dst, tensor.Of[uint16](&tensor.Tensor{Data: w}))
		return
	}
	block.Decode(s.format, dst, w)
}

// newRounded prepares a product of m rows.
func newRounded(s weights, m int, packed *bgemm.Packed) *bgemm.Task {
	t := &bgemm.Task{Weights: packed}
	t.M, t.N, t.K = m, s.n, s.k
	t.A, t.C, t.Residual = gemm.Matrix{Stride: s.k}, gemm.Matrix{Stride: s.n}, gemm.Matrix{Stride: s.n}
	return t
}

// roundedMatMul is BlockMatMul in bfloat16.
type roundedMatMul struct {
	task    *bgemm.Task
	dims    []int
	scratch int
}

func compileRounded(p *op.Prep, s weights, dims []int) (op.Kernel, error) {
	packed, err := packRounded(p, s, mmW)
	if err != nil {
		return nil, err
	}
	k := &roundedMatMul{task: newRounded(s, tensor.Count(dims)/s.n, packed), dims: dims}
	k.scratch = k.task.ScratchSize(p.Threads)
	return k, nil
}

// Precision is that of the operands.
func (k *roundedMatMul) Precision() op.Precision { return op.BF16 }

// ScratchBytes is the working memory of a run.
func (k *roundedMatMul) ScratchBytes() int { return k.scratch }

// Run multiplies.
func (k *roundedMatMul) Run(c *op.Call) error {
	t := k.task
	t.Scratch, t.A.Data, t.C.Data = c.Scratch, tensor.Of[float32](c.In[mmX]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	t.ColBias.Data, t.Residual.Data = floatsOf(c.Input(mmBias)), floatsOf(c.Input(mmResidual))
	err := t.Run(c.Pool)
	t.Scratch, t.A.Data, t.C.Data, t.ColBias.Data, t.Residual.Data = nil, nil, nil, nil, nil
	return err
}

// roundedProduct multiplies by several matrices.
type roundedProduct struct {
	task     *bgemm.Task
	matrices []*bgemm.Packed
	scratch  int
}

func newRoundedProduct(p *op.Prep, s weights, first, count, m int) (product, error) {
	k := &roundedProduct{}
	for i := range count {
		packed, err := packRounded(p, s, first+i)
		if err != nil {
			return nil, err
		}
		k.matrices = append(k.matrices, packed)
	}
	k.task = newRounded(s, m, k.matrices[0])
	k.scratch = k.task.ScratchSize(p.Threads)
	return k, nil
}

func (k *roundedProduct) scratchBytes() int { return k.scratch }

func (k *roundedProduct) run(p *pool.Pool, scratch []byte, i, m int, x, y []float32) error {
	t := k.task
	t.Scratch, t.M, t.Weights, t.A.Data, t.C.Data = scratch, m, k.matrices[i], x, y
	err := t.Run(p)
	t.Scratch, t.A.Data, t.C.Data = nil, nil, nil
	return err
}
