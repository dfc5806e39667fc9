package blocked

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/amx"
	"github.com/salver-ml/salver/internal/kernels/bconv"
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
		wide[i] = amx.Widen(x)
	}
	return wide
}

// roundInto rounds t's numbers into dst.
func roundInto(dst, t *tensor.Tensor) {
	for i, x := range tensor.Of[float32](t) {
		tensor.Of[uint16](dst)[i] = amx.Round(x)
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
