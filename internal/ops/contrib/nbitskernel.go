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

// integerNBits multiplies by packed integers, with A rounded to 8 bits in blocks of 32.
type integerNBits struct {
	task    blockq.Task
	dims    []int
	scratch int
}

// compileIntegerNBits gives nil where weights or sizes aren't those of the kernels.
func compileIntegerNBits(p *op.Prep) (op.Kernel, error) {
	n := p.Node
	if n.Int("accuracy_level") != nbitsInt8 || !packableNBits(p) {
		return nil, nil
	}
	w := blockq.NBits{N: n.Int("N"), K: n.Int("K"), Bits: n.Int("bits"), Block: n.Int("block_size")}
	if p.Has(3) {
		w.Zeros = []float32{}
	}
	dims := p.OutShape(0)
	if w.Check() != nil || tensor.Count(dims) == 0 {
		return nil, nil
	}
	packed, err := packNBits(p, &w)
	if err != nil {
		return nil, err
	}
	k := &integerNBits{dims: dims}
	t := &k.task
	t.Packed, t.M, t.N, t.K = packed, tensor.Count(dims)/w.N, w.N, w.K
	t.StrideX, t.StrideY = w.K, w.N
	k.scratch = t.ScratchSize(p.Threads)
	return k, nil
}

// packableNBits reports whether rows are float32, and weights constants of the sizes that
// attributes say.
func packableNBits(p *op.Prep) bool {
	if p.In[0].DType != dtype.Float32 || p.Has(4) || p.In[1].Const == nil || p.In[2].Const == nil || p.Has(3) && p.In[3].Const == nil {
		return false
	}
	const most = 1 << 30 // of an attribute, so that no product overflows
	n := p.Node
	rows, k, block := n.Int("N"), n.Int("K"), n.Int("block_size")
	if rows < 1 || k < 1 || block < 1 || max(rows, k, block) > most {
		return false
	}
	blocks := (k + block - 1) / block
	return rows <= most/blocks && p.In[2].Const.Len() == rows*blocks && len(p.In[1].Const.Data)/rows == blocks*block*n.Int("bits")/8 && len(p.In[1].Const.Data)%rows == 0
}

// packNBits packs the constants once for all shapes.
func packNBits(p *op.Prep, w *blockq.NBits) (*blockq.Packed, error) {
	size, err := w.PackedSize()
	if err != nil {
		return nil, err
	}
	data, err := fillNBits(p, "integers", size, func(dst, codes []byte, scales []float32, zeros []float64) error {
		full := *w
		full.Codes, full.Scales = codes, scales
		if w.Zeros != nil {
			full.Zeros = narrowed[float32](zeros)
		}
		_, err := full.Pack(dst)
		return err
	})
	if err != nil {
		return nil, err
	}
	return w.Prepacked(data)
}

// fillNBits packs the constants of MatMulNBits, which are codes, scales and zero points, with
// fill.
func fillNBits(p *op.Prep, name string, size int, fill func(dst, codes []byte, scales []float32, zeros []float64) error) (data []byte, err error) {
	p.OnlyPacked(1)
	data = p.Pack(name, size, func(dst []byte) {
		var t *tensor.Tensor
		if p.Has(3) {
			t = p.In[3].Const
		}
		n, k, block := p.Node.Int("N"), p.Node.Int("K"), p.Node.Int("block_size")
		zeros, bad := nbitsZeros(t, n, (k+block-1)/block, p.Node.Int("bits"))
		if err = bad; err == nil {
			err = fill(dst, p.In[1].Const.Data, num.Float32s(p.In[2].Const), zeros)
		}
	})
	return data, err
}

func narrowed[T float32 | byte](v []float64) []T {
	out := make([]T, len(v))
	for i, x := range v {
		out[i] = T(x)
	}
	return out
}

// ScratchBytes is the working memory of a run.
func (k *integerNBits) ScratchBytes() int { return k.scratch }

// Run multiplies.
func (k *integerNBits) Run(c *op.Call) error {
	t := &k.task
	t.Scratch, t.X, t.Y = c.Scratch, tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	if b := c.Input(5); b != nil {
		t.Bias = tensor.Of[float32](b)
	}
	err := t.Run(c.Pool)
	t.Scratch, t.X, t.Y, t.Bias = nil, nil, nil, nil
	return err
}
