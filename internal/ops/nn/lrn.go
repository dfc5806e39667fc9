package nn

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/norm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "LRN", Versions: []int{1, 13}, Doc: "Local response normalization across channels (Krizhevsky et al., 2012).",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats},
		Attrs: op.Attrs{"alpha": op.Default(ir.Float(1e-4)), "beta": op.Default(ir.Float(.75)), "bias": op.Default(ir.Float(1)), "size": op.Required(ir.KindInt)},
		Infer: op.SameAsInput, Ref: lrnRef, Compile: wide.Compile(compileLRN), Flops: normFlops, Rows: op.RowsFirst,
		Cases: lrnCases{},
	})
}

type lrnCases struct{}

func (lrnCases) Cases() []op.Case {
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3}, 1, 3, 1)},
			Attrs: map[string]*ir.Attr{"size": ir.Int(3), "alpha": ir.Float(3), "beta": ir.Float(1)},
			Out:   []*tensor.Tensor{tensor.FromSlice([]float32{1. / 6, 2. / 15, 3. / 14}, 1, 3, 1)}},
		{Name: "image", In: []*tensor.Tensor{ramp(2, 7, 24, 23)}, Attrs: map[string]*ir.Attr{"size": ir.Int(5), "alpha": ir.Float(.5), "bias": ir.Float(2)}},
		{Name: "even size", In: []*tensor.Tensor{ramp(1, 5, 9)}, Attrs: map[string]*ir.Attr{"size": ir.Int(4), "beta": ir.Float(.6)}},
	}
}

func lrnRef(c *op.Call) error {
	x := c.In[0]
	size := c.Node.Int("size")
	if len(x.Shape) < 2 || size < 1 {
		return fmt.Errorf("input is %s with size %d, expected at least 2 dimensions and a size of at least 1", x, size)
	}
	alpha, beta, bias := float64(c.Node.Float("alpha")), float64(c.Node.Float("beta")), float64(c.Node.Float("bias"))
	v := num.Floats(x)
	out := make([]float64, len(v))
	channels, area := x.Shape[1], tensor.Count(x.Shape[2:])
	for i := range v {
		ch := i / area % channels
		squares := 0.
		for k := max(0, ch-(size-1)/2); k <= min(channels-1, ch+size/2); k++ {
			y := v[i+(k-ch)*area]
			squares += y * y
		}
		out[i] = v[i] / math.Pow(bias+alpha/float64(size)*squares, beta)
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape...), out)
	return nil
}

// lrnKernel normalizes images of float32.
type lrnKernel struct {
	*norm.LRN
	dims []int
}

func compileLRN(p *op.Prep) (op.Kernel, error) {
	dims, size := p.InShape(0), p.Node.Int("size")
	if p.In[0].DType != dtype.Float32 || len(dims) < 2 || size < 1 || tensor.Count(dims) == 0 {
		return nil, nil
	}
	n := p.Node
	k, err := norm.NewLRN(dims[0], dims[1], tensor.Count(dims[2:]), (size-1)/2, size/2, n.Float("alpha")/float32(size), n.Float("beta"), n.Float("bias"))
	return &lrnKernel{k, dims}, err
}

// ScratchBytes is the working memory of a run.
func (k *lrnKernel) ScratchBytes() int { return 4 * k.Scratch() }

// Run normalizes.
func (k *lrnKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	k.LRN.Run(c.Pool, tensor.Of[float32](y), tensor.Of[float32](c.In[0]), tensor.View[float32](c.Scratch))
	return nil
}
