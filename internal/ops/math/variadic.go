package math

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// variadic is an operator that folds any number of inputs with a function.
type variadic struct {
	name, out string
	versions  []int
	types     []dtype.Type
	kernel    elemwise.Binary
	float     func(a, b float64) float64
	signed    func(a, b int64) int64
	unsigned  func(a, b uint64) uint64
	content   func(a, b shape.Dim) (shape.Dim, bool)
	mean      bool // divide the result by the number of inputs
	want      []float32
}

func init() {
	for _, v := range []variadic{
		{name: "Max", out: "max", versions: []int{6, 8, 12, 13}, types: op.Numeric, kernel: elemwise.Max, float: maxOf[float64], signed: maxOf[int64], unsigned: maxOf[uint64],
			content: pick(maxOf[int]), want: []float32{3, 5, 4}},
		{name: "Min", out: "min", versions: []int{6, 8, 12, 13}, types: op.Numeric, kernel: elemwise.Min, float: minOf[float64], signed: minOf[int64], unsigned: minOf[uint64],
			content: pick(minOf[int]), want: []float32{1, 2, 1}},
		{name: "Sum", out: "sum", versions: []int{6, 8, 13}, types: op.Floats, kernel: elemwise.Add, float: add[float64], want: []float32{6, 9, 8}},
		{name: "Mean", out: "mean", versions: []int{6, 8, 13}, types: op.Floats, kernel: elemwise.Add, float: add[float64], mean: true, want: []float32{2, 3, 8. / 3}},
	} {
		v.register()
	}
	legacy() // the files of a package initialize in the order of their names
}

// maxOf and minOf give NaN for a NaN and an infinity, where math.Max and math.Min give the infinity.
func maxOf[T int | int64 | uint64 | float64](a, b T) T { return max(a, b) }
func minOf[T int | int64 | uint64 | float64](a, b T) T { return min(a, b) }

// pick chooses between two dimensions if both are constant or they are equal.
func pick(f func(a, b int) int) func(a, b shape.Dim) (shape.Dim, bool) {
	return func(a, b shape.Dim) (shape.Dim, bool) {
		x, ok := a.Int()
		y, ok2 := b.Int()
		if ok && ok2 {
			return shape.Const(f(x, y)), true
		}
		return a, a.Equal(b)
	}
}

func (v variadic) register() {
	compile := v.compile
	if v.mean { // narrow sums would be rounded before they are divided
		compile = wide.Compile(compile)
	}
	op.Register(&op.Op{
		Name: v.name, Versions: v.versions,
		In: op.Ports("data_0:T..."), Out: op.Ports(v.out + ":T"),
		Types: op.Types{"T": v.types},
		Infer: v.infer, Ref: v.ref, Compile: compile, InPlace: []int{0}, Rows: op.RowsBroadcast, Row: v.row,
		Cases: v,
	})
}

// row is that of two inputs.
func (v variadic) row(n *ir.Node) elemwise.RowFunc {
	if len(n.In) != 2 || v.mean {
		return nil
	}
	return elemwise.BinaryRow(v.kernel)
}

// Cases are those of the operator.
func (v variadic) Cases() []op.Case {
	c := pair("three", []float32{3, 2, 1}, []float32{1, 5, 3}, v.want)
	c.In = append(c.In, tensor.FromSlice([]float32{2, 2, 4}))
	one := op.Case{Name: "one", In: []*tensor.Tensor{tensor.FromSlice([]float32{3, 2, 1})}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{3, 2, 1})}}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	lost := pair("NaN and an infinity", []float32{nan, inf, nan, -inf}, []float32{inf, nan, -inf, nan}, []float32{nan, nan, nan, nan})
	stretch := op.Case{Name: "stretch", In: []*tensor.Tensor{ramp([]int{3, 1}, 1), ramp([]int{2, 1, 4}, .5), ramp([]int{}, 2)}}
	return append(broadcasts(), c, one, lost, stretch)
}

func (v variadic) infer(c *op.Infer) error {
	if err := op.BroadcastInputs(c); err != nil {
		return err
	}
	if v.content != nil && c.In[0].DType.IsInt() {
		c.SetContent(0, pointwise.Content(c.In, v.content))
	}
	return nil
}

func (v variadic) ref(c *op.Call) error {
	shapes := make([][]int, len(c.In))
	for i, t := range c.In {
		shapes[i] = t.Shape
	}
	dims, err := num.BroadcastShape(shapes...)
	if err != nil {
		return err
	}
	y := c.Output(0, c.In[0].DType, dims...)
	switch {
	case y.DType.IsSigned():
		num.SetInt64s(y, fold(num.Int64s, v.signed, c.In, dims))
	case y.DType.IsUnsigned():
		num.SetUint64s(y, fold(num.Uint64s, v.unsigned, c.In, dims))
	default:
		sum := fold(num.Floats, v.float, c.In, dims)
		if v.mean {
			for i := range sum {
				sum[i] /= float64(len(c.In))
			}
		}
		num.SetFloats(y, sum)
	}
	return nil
}

func fold[T any](read func(*tensor.Tensor) []T, f func(a, b T) T, in []*tensor.Tensor, dims []int) []T {
	acc := append([]T{}, num.Broadcast(read(in[0]), in[0].Shape, dims)...)
	for _, t := range in[1:] {
		for i, x := range num.Broadcast(read(t), t.Shape, dims) {
			acc[i] = f(acc[i], x)
		}
	}
	return acc
}

// compile serves one or two inputs, and more of one shape, which is how
// exporters write them.
func (v variadic) compile(p *op.Prep) (op.Kernel, error) {
	dt, dims := p.In[0].DType, p.OutShape(0)
	if len(p.In) < 2 || v.mean && dt != dtype.Float32 {
		return nil, nil
	}
	steps := make([]*elemwise.BinaryKernel, 0, len(p.In)-1)
	for i := range p.In[1:] {
		left := p.InShape(0)
		if i > 0 {
			left = dims
			if s, ok := p.In[0].Shape.Ints(); !ok || tensor.Count(s) != tensor.Count(dims) {
				return nil, nil
			}
		}
		k, err := elemwise.NewBinary(v.kernel, dt, left, p.InShape(i+1))
		if err != nil {
			return nil, nil // the reference serves types without a kernel
		}
		steps = append(steps, k)
	}
	var divide *elemwise.BinaryKernel
	count := tensor.Scalar(float32(len(p.In)))
	if v.mean {
		var err error
		if divide, err = elemwise.NewBinary(elemwise.Div, dt, dims, nil); err != nil {
			return nil, err
		}
	}
	return op.KernelFunc(func(c *op.Call) error {
		y := c.Output(0, c.In[0].DType, dims...)
		left := c.In[0]
		for i, k := range steps {
			k.Run(c.Pool, y.Data, left.Data, c.In[i+1].Data)
			left = y
		}
		if divide != nil {
			divide.Run(c.Pool, y.Data, y.Data, count.Data)
		}
		return nil
	}), nil
}
