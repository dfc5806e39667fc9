package blockquant

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// Weights in float32 are packed for the kernels of gemm, since reading them where
// they are takes five times as long for one row.

// packFloats packs constant input i.
func packFloats(p *op.Prep, s weights, i int) (*gemm.Packed, error) {
	p.OnlyPacked(i)
	var err error
	data := p.Pack(fmt.Sprintf("w%d/%s", i, cpu.ISA()), 4*gemm.PackedSize(s.k, s.n, 1), func(dst []byte) {
		w := gemm.Matrix{Data: floatsAt(p.In[i].Const.Data), Stride: s.k, Trans: true}
		_, err = gemm.PackB(tensor.Of[float32](&tensor.Tensor{Data: dst}), w, s.k, s.n, 1, 0)
	})
	if err != nil {
		return nil, err
	}
	return gemm.Prepacked(tensor.Of[float32](&tensor.Tensor{Data: data}), s.k, s.n, 1)
}

// floatsAt views the bytes of a file as numbers, or copies them where they begin
// at an odd address.
func floatsAt(b []byte) []float32 {
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%4 == 0 {
		return tensor.Of[float32](&tensor.Tensor{Data: b})
	}
	v := make([]float32, len(b)/4)
	block.Decode(block.F32, v, b)
	return v
}

// newFloats prepares a product of up to m rows.
func newFloats(s weights, m int, packed *gemm.Packed) *gemm.Task {
	t := &gemm.Task{}
	t.M, t.N, t.K, t.Packed = m, s.n, s.k, packed
	t.A, t.C, t.Residual = gemm.Matrix{Stride: s.k}, gemm.Matrix{Stride: s.n}, gemm.Matrix{Stride: s.n}
	return t
}

// floatProduct multiplies by several matrices.
type floatProduct struct {
	task     *gemm.Task
	matrices []*gemm.Packed
	scratch  int
}

func newFloatProduct(p *op.Prep, s weights, first, count, m int) (product, error) {
	k := &floatProduct{}
	for i := range count {
		packed, err := packFloats(p, s, first+i)
		if err != nil {
			return nil, err
		}
		k.matrices = append(k.matrices, packed)
	}
	k.task = newFloats(s, m, k.matrices[0])
	k.scratch = k.task.ScratchSize(p.Threads)
	return k, nil
}

func (k *floatProduct) scratchBytes() int { return 4 * k.scratch }

func (k *floatProduct) run(p *pool.Pool, scratch []byte, i, m int, x, y []float32) error {
	t := k.task
	t.Scratch = tensor.Of[float32](&tensor.Tensor{Data: scratch})
	t.M, t.Packed, t.A.Data, t.C.Data = m, k.matrices[i], x, y
	err := t.Run(p)
	t.Scratch, t.A.Data, t.C.Data = nil, nil, nil
	return err
}
