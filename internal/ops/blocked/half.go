package blocked

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/bconv"
	"github.com/salver-ml/salver/internal/kernels/bdepth"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// stored are the types that a blocked tensor may be stored in: float32, or bfloat16
// between operators that compute in precision bf16. There a number is rounded once,
// as it is written.
var stored = []dtype.Type{dtype.Float32, dtype.BFloat16}

// storedAs is the type of a node's result.
func storedAs(n *ir.Node) dtype.Type {
	if n.Bool("bf16") {
		return dtype.BFloat16
	}
	return dtype.Float32
}

func isBF16(f op.Fact) bool { return f.DType == dtype.BFloat16 }

// widened are the numbers of t in float32.
func widened(t *tensor.Tensor) []float32 {
	if t.DType == dtype.Float32 {
		return tensor.Of[float32](t)
	}
	wide := make([]float32, t.Len())
	for i, x := range tensor.Of[uint16](t) {
		wide[i] = mma.Widen(x)
	}
	return wide
}

// roundInto rounds t's numbers into dst.
func roundInto(dst, t *tensor.Tensor) {
	for i, x := range tensor.Of[float32](t) {
		tensor.Of[uint16](dst)[i] = mma.Round(x)
	}
}

// narrowed is t in bfloat16.
func narrowed(t *tensor.Tensor) *tensor.Tensor {
	n := tensor.New(dtype.BFloat16, t.Shape...)
	roundInto(n, t)
	return n
}

// halfConv runs convolutions in bfloat16, one after the other: the phases of a
// transposed one, or a single one.
type halfConv struct {
	runs    []*bconv.Runner
	weights [][]byte
	n       int
	scratch int
}

// newHalfConv prepares plans whose packed weights follow each other.
func newHalfConv(n int, packed []byte, threads int, plans ...*bconv.Plan) *halfConv {
	k := &halfConv{n: n}
	for _, pl := range plans {
		size := pl.PackedSize()
		k.runs, k.weights = append(k.runs, pl.NewRunner()), append(k.weights, packed[:size])
		k.scratch = max(k.scratch, pl.ScratchSize(threads))
		packed = packed[size:]
	}
	return k
}

func (k *halfConv) ScratchBytes() int { return k.scratch }

// Precision says that inputs and weights are rounded.
func (k *halfConv) Precision() op.Precision { return op.BF16 }

func (k *halfConv) Run(c *op.Call) error {
	o := bconv.Operands{N: k.n, In: c.In[0].Data, Out: c.Out[0].Data, Scratch: c.Scratch}
	if z := c.Input(3); z != nil {
		o.Residual = z.Data
	}
	for i, r := range k.runs {
		o.Packed = k.weights[i]
		if err := r.Run(c.Pool, o); err != nil {
			return err
		}
	}
	return nil
}

// depth runs a prepared depthwise convolution of tensors that are stored in bfloat16.
// It computes in float32.
type depth struct {
	run     *bdepth.Runner
	weights []byte
	n       int
	scratch int
}

func (k *depth) ScratchBytes() int { return k.scratch }

func (k *depth) Run(c *op.Call) error {
	return k.run.Run(c.Pool, bdepth.Operands{N: k.n, In: c.In[0].Data, Packed: k.weights, Out: c.Out[0].Data, Scratch: c.Scratch})
}

// compileDepth prepares it for n images of the given spatial size.
func compileDepth(p *op.Prep, prm conv.Params, n int, size []int) (op.Kernel, error) {
	plan, err := conv.NewDepth(prm, size, cpu.Level())
	if err != nil {
		return nil, err
	}
	var bias []float32
	if p.Has(2) {
		bias = tensor.Of[float32](p.In[2].Const)
	}
	p.OnlyPacked(1)
	packed := p.Pack("depthwise", plan.PackedSize(), func(b []byte) { err = plan.Pack(b, tensor.Of[float32](p.In[1].Const), bias) })
	if err != nil {
		return nil, err
	}
	return &depth{plan.NewRunner(), packed, n, plan.ScratchSize(p.Threads)}, nil
}
