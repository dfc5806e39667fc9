package contrib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/nbits"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// floatNBits multiplies by packed integers without rounding A.
type floatNBits struct {
	task    nbits.Task
	dims    []int
	scratch int
}

// compileFloatNBits gives nil where weights or sizes aren't those of the kernels.
func compileFloatNBits(p *op.Prep) (op.Kernel, error) {
	if p.Precision != op.FP32 || !packableNBits(p) || p.Has(3) && p.In[3].Const.DType.IsFloat() {
		return nil, nil
	}
	n := p.Node
	w := nbits.Weights{N: n.Int("N"), K: n.Int("K"), Bits: n.Int("bits"), Block: n.Int("block_size")}
	if p.Has(3) {
		w.Zeros = []byte{}
	}
	dims := p.OutShape(0)
	// A column alone has the order of sums that gemm has for it.
	if w.N < 2 || w.Check() != nil || tensor.Count(dims) == 0 {
		return nil, nil
	}
	packed, err := packFloatNBits(p, &w)
	if err != nil {
		return nil, err
	}
	k := &floatNBits{dims: dims}
	t := &k.task
	t.Packed, t.M, t.StrideX, t.StrideY = packed, tensor.Count(dims)/w.N, w.K, w.N
	k.scratch = t.ScratchSize(p.Threads)
	return k, nil
}

// packFloatNBits packs the constants once for all shapes.
func packFloatNBits(p *op.Prep, w *nbits.Weights) (*nbits.Packed, error) {
	size, err := w.PackedSize()
	if err != nil {
		return nil, err
	}
	data, err := fillNBits(p, "nbits", size, func(dst, codes []byte, scales []float32, zeros []float64) error {
		full := *w
		full.Codes, full.Scales = codes, scales
		if w.Zeros != nil {
			full.Zeros = narrowed[byte](zeros)
		}
		_, err := full.Pack(dst)
		return err
	})
	if err != nil {
		return nil, err
	}
	return w.Prepacked(data)
}

// ScratchBytes is the working memory of a run.
func (k *floatNBits) ScratchBytes() int { return k.scratch }

// Run multiplies.
func (k *floatNBits) Run(c *op.Call) error {
	t := &k.task
	t.Scratch, t.X, t.Y = c.Scratch, tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	if b := c.Input(5); b != nil {
		t.Bias = tensor.Of[float32](b)
	}
	err := t.Run(c.Pool)
	t.Scratch, t.X, t.Y, t.Bias = nil, nil, nil, nil
	return err
}
