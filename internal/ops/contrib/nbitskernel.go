package contrib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// nbitsInt8 is the value of accuracy_level that allows A to be rounded to 8 bits.
const nbitsInt8 = 4

// nbits multiplies by packed integers, with A rounded to 8 bits in blocks of 32.
type nbits struct {
	task    blockq.Task
	dims    []int
	scratch int
}

// compileIntegerNBits gives nil where weights or sizes aren't those of the kernels.
func compileIntegerNBits(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	if n.Int("accuracy_level") != nbitsInt8 || p.In[0].DType != dtype.Float32 || p.Has(4) || p.In[1].Const == nil || p.In[2].Const == nil {
		return nil, nil
	}
	w := blockq.NBits{N: n.Int("N"), K: n.Int("K"), Bits: n.Int("bits"), Block: n.Int("block_size")}
	if p.Has(3) {
		if p.In[3].Const == nil {
			return nil, nil
		}
		w.Zeros = []float32{}
	}
	dims := p.OutShape(0)
	if w.Check() != nil || tensor.Count(dims) == 0 || len(p.In[1].Const.Shape) == 0 {
		return nil, nil
	}
	packed, err := packNBits(p, &w)
	if err != nil {
		return nil, err
	}
	k := &nbits{dims: dims}
	t := &k.task
	t.Packed, t.M, t.N, t.K = packed, tensor.Count(dims)/w.N, w.N, w.K
	t.StrideX, t.StrideY = w.K, w.N
	k.scratch = t.ScratchSize(p.Threads)
	return k, nil
}

// packNBits packs the constants once for all shapes.
func packNBits(p *op.Prep, w *blockq.NBits) (*blockq.Packed, error) {
	size, err := w.PackedSize()
	if err != nil {
		return nil, err
	}
	p.OnlyPacked(1)
	data := p.Pack("integers", size, func(dst []byte) {
		full := *w
		full.Codes, full.Scales = p.In[1].Const.Data, num.Float32s(p.In[2].Const)
		if w.Zeros != nil {
			var zeros []float64
			if zeros, err = nbitsZeros(p.In[3].Const, w.N, w.K/w.Block, w.Bits); err != nil {
				return
			}
			full.Zeros = make([]float32, len(zeros))
			for i, z := range zeros {
				full.Zeros[i] = float32(z)
			}
		}
		_, err = full.Pack(dst)
	})
	if err != nil {
		return nil, err
	}
	return w.Prepacked(data)
}

// ScratchBytes is the working memory of a run.
func (k *nbits) ScratchBytes() int { return k.scratch }

// Run multiplies.
func (k *nbits) Run(c *op.Call) error {
	t := &k.task
	t.Scratch, t.X, t.Y = c.Scratch, tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	if b := c.Input(5); b != nil {
		t.Bias = tensor.Of[float32](b)
	}
	err := t.Run(c.Pool)
	t.Scratch, t.X, t.Y, t.Bias = nil, nil, nil, nil
	return err
}
