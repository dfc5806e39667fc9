package reduce

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	kernels "github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// arg is ArgMax or ArgMin.
type arg struct {
	name     string
	float    func(a, b float64) bool // a beats b
	signed   func(a, b int64) bool
	unsigned func(a, b uint64) bool
}

func init() {
	for _, a := range []arg{
		{"ArgMax", greater[float64], greater[int64], greater[uint64]},
		{"ArgMin", less[float64], less[int64], less[uint64]},
	} {
		a.register()
	}
}

type number interface{ float64 | int64 | uint64 }

func greater[T number](a, b T) bool { return a > b }
func less[T number](a, b T) bool    { return a < b }

func (a arg) register() {
	o := op.Op{
		Name: a.name, In: op.Ports("data:T"), Out: op.Ports("reduced:int64"), Types: op.Types{"T": op.Numeric},
		Infer: inferArg, Ref: a.ref, Compile: wide.Compile(a.compile), Rows: rowsArg,
	}
	old := o
	old.Versions = []int{1, 11}
	old.Attrs = op.Attrs{"axis": op.Default(ir.Int(0)), "keepdims": op.Default(ir.Int(1))}
	op.Register(&old)
	o.Versions = []int{12, 13}
	o.Attrs = op.Attrs{"axis": op.Default(ir.Int(0)), "keepdims": op.Default(ir.Int(1)), "select_last_index": op.Default(ir.Int(0))}
	o.Cases = a
	op.Register(&o)
}

// Cases are those of the newer versions.
func (a arg) Cases() []op.Case {
	x := tensor.FromSlice([]float32{2, 2, 3, 1, 3, 1}, 2, 3)
	first, last := []int64{2, 1}, []int64{2, 1}
	if a.name == "ArgMin" {
		first, last = []int64{0, 0}, []int64{1, 2}
	}
	nan := float32(math.NaN())
	unknown := tensor.FromSlice([]float32{2, nan, 3, nan, nan, 7, 8, 0, 2, 1, 0, nan}, 3, 4)
	attrs := func(lastIndex int) map[string]*ir.Attr {
		return map[string]*ir.Attr{"axis": ir.Int(1), "keepdims": ir.Int(0), "select_last_index": ir.Int(lastIndex)}
	}
	return []op.Case{
		{Name: "first", In: []*tensor.Tensor{x}, Attrs: attrs(0), Out: []*tensor.Tensor{tensor.FromSlice(first)}},
		{Name: "last", In: []*tensor.Tensor{x}, Attrs: attrs(1), Out: []*tensor.Tensor{tensor.FromSlice(last)}},
		{Name: "the first NaN", In: []*tensor.Tensor{unknown}, Attrs: attrs(0), Out: []*tensor.Tensor{tensor.FromSlice([]int64{1, 0, 3})}},
		{Name: "the last NaN", In: []*tensor.Tensor{unknown}, Attrs: attrs(1), Out: []*tensor.Tensor{tensor.FromSlice([]int64{3, 0, 3})}},
		{Name: "outer axis", In: []*tensor.Tensor{ramp(3, 4, 5)}},
		{Name: "long", In: []*tensor.Tensor{ramp(3, 517)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(-1)}},
	}
}

func inferArg(c *op.Infer) error {
	s := c.In[0].Shape
	if s == nil {
		c.Set(0, dtype.Int64, nil)
		return nil
	}
	axis, err := op.Axis(c.Node.Int("axis"), len(s))
	if err != nil {
		return err
	}
	out := append(shape.Shape{}, s[:axis]...)
	if c.Node.Bool("keepdims") {
		out = append(out, shape.Const(1))
	}
	c.Set(0, dtype.Int64, append(out, s[axis+1:]...))
	return nil
}

func rowsArg(n *ir.Node, in []int) ([]int, bool) {
	out, ok := op.RowsExceptAxis("axis")(n, in)
	if !ok || in[0] == op.NoRows || n.Bool("keepdims") {
		return out, ok
	}
	if axis, _ := op.Axis(n.Int("axis"), len(n.In[0].Type.Shape)); axis < in[0] {
		out[0]--
	}
	return out, true
}

func (a arg) ref(c *op.Call) error {
	x := c.In[0]
	axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	dims := append([]int{}, x.Shape[:axis]...)
	if c.Node.Bool("keepdims") {
		dims = append(dims, 1)
	}
	if x.Shape[axis] == 0 {
		return fmt.Errorf("axis %d of %s has no elements", axis, x)
	}
	y := c.Output(0, dtype.Int64, append(dims, x.Shape[axis+1:]...)...)
	last := c.Node.Bool("select_last_index")
	switch {
	case x.DType.IsSigned():
		best(tensor.Of[int64](y), num.Int64s(x), x.Shape, axis, last, a.signed)
	case x.DType.IsUnsigned():
		best(tensor.Of[int64](y), num.Uint64s(x), x.Shape, axis, last, a.unsigned)
	default:
		best(tensor.Of[int64](y), num.Floats(x), x.Shape, axis, last, a.float)
	}
	return nil
}

func best[T number](out []int64, v []T, dims []int, axis int, last bool, beats func(a, b T) bool) {
	n, inner := dims[axis], tensor.Count(dims[axis+1:])
	for i := range out {
		line := v[i/inner*n*inner+i%inner:]
		at := 0
		for k := 1; k < n; k++ {
			switch x, best := line[k*inner], line[at*inner]; {
			case best != best: // a NaN is the extremum
				if last && x != x {
					at = k
				}
			case x != x || beats(x, best) || last && x == best:
				at = k
			}
		}
		out[i] = int64(at)
	}
}

type argKernel struct {
	*kernels.Arg
	dims []int
}

func (k *argKernel) Run(c *op.Call) error {
	k.Arg.Run(c.Pool, tensor.Of[int64](c.Output(0, dtype.Int64, k.dims...)), c.In[0].Data)
	return nil
}

func (a arg) compile(p *op.Prep) (op.Kernel, error) {
	k, err := kernels.NewArg(a.name == "ArgMin", p.Node.Bool("select_last_index"), p.In[0].DType, p.InShape(0), p.Node.Int("axis"))
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	return &argKernel{k, p.OutShape(0)}, nil
}
