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

// packFloats packs constant inputs first to first+count-1 into one buffer.
func packFloats(p *op.Prep, s weights, first, count int) ([]*gemm.Packed, error) {
	var err error
	size := gemm.PackedSize(s.k, s.n, 1)
	for i := range count {
		p.OnlyPacked(first + i)
	}
	numbers := func(b []byte, i int) []float32 {
		return tensor.Of[float32](&tensor.Tensor{Data: b[align(4*size)*i:][:4*size]})
	}
	data := p.Pack(fmt.Sprintf("w%d/%s", first, cpu.ISA()), (count-1)*align(4*size)+4*size, func(dst []byte) {
		for i := range count {
			w := gemm.Matrix{Data: floatsAt(p.In[first+i].Const.Data), Stride: s.k, Trans: true}
			if _, e := gemm.PackB(numbers(dst, i), w, s.k, s.n, 1, 0); e != nil {
				err = e
			}
		}
	})
	if err != nil {
		return nil, err
	}
	list := make([]*gemm.Packed, count)
	for i := range list {
		if list[i], err = gemm.Prepacked(numbers(data, i), s.k, s.n, 1); err != nil {
			return nil, err
		}
	}
	return list, nil
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
	packed, err := packFloats(p, s, first, count)
	if err != nil {
		return nil, err
	}
	k := &floatProduct{matrices: packed}
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
