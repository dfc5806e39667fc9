// Package reduce registers the operators that combine elements along axes.
package reduce

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	kernels "github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// reduction is one operator of the Reduce family.
type reduction struct {
	name      string
	kernel    kernels.Op
	axesInput int // the opset from which axes are an input
	versions  []int
	types     []dtype.Type
	float     func(v []float64) float64
	signed    func(v []int64) int64 // nil: as floats, truncated
	unsigned  func(v []uint64) uint64
	content   func(acc, d shape.Dim) (shape.Dim, bool) // nil where shape arithmetic stops
	unit      int                                      // content of no elements
	want      float32                                  // of 1, 2, 4
}

func init() {
	most := []int{1, 11, 13}
	for _, r := range []reduction{
		{name: "ReduceSum", kernel: kernels.Sum, axesInput: 13, versions: []int{1, 11}, float: sum, signed: total[int64], unsigned: total[uint64],
			content: func(a, d shape.Dim) (shape.Dim, bool) { return a.Add(d), true }, want: 7},
		{name: "ReduceMean", kernel: kernels.Mean, axesInput: 18, versions: most, float: mean, signed: meanInt[int64], unsigned: meanInt[uint64], want: 7. / 3},
		{name: "ReduceMax", kernel: kernels.Max, axesInput: 18, versions: []int{1, 11, 12, 13}, types: op.NumBool, float: largest, signed: slices.Max[[]int64], unsigned: slices.Max[[]uint64], want: 4},
		{name: "ReduceMin", kernel: kernels.Min, axesInput: 18, versions: []int{1, 11, 12, 13}, types: op.NumBool, float: smallest, signed: slices.Min[[]int64], unsigned: slices.Min[[]uint64], want: 1},
		{name: "ReduceProd", kernel: kernels.Prod, axesInput: 18, versions: most, float: product, signed: times[int64], unsigned: times[uint64],
			content: func(a, d shape.Dim) (shape.Dim, bool) { return a.Mul(d), true }, unit: 1, want: 8},
		{name: "ReduceL1", kernel: kernels.L1, axesInput: 18, versions: most, float: l1, signed: l1Int, unsigned: total[uint64], want: 7},
		{name: "ReduceL2", kernel: kernels.L2, axesInput: 18, versions: most, float: func(v []float64) float64 { return math.Sqrt(squares(v)) }, want: 4.582576},
		{name: "ReduceSumSquare", kernel: kernels.SumSquare, axesInput: 18, versions: most, float: squares, signed: squaresInt[int64], unsigned: squaresInt[uint64], want: 21},
		{name: "ReduceLogSum", kernel: kernels.LogSum, axesInput: 18, versions: most, float: func(v []float64) float64 { return math.Log(sum(v)) }, want: 1.9459101},
		{name: "ReduceLogSumExp", kernel: kernels.LogSumExp, axesInput: 18, versions: most, float: logSumExp, want: 4.169846},
	} {
		r.register()
	}
}

func (r reduction) register() {
	if r.types == nil {
		r.types = op.Numeric
	}
	o := op.Op{
		Name: r.name, Out: op.Ports("reduced:T"), Types: op.Types{"T": r.types},
		Infer: r.infer, Ref: r.ref, Compile: r.compile, Rows: rows,
		Flops: func(in, _ []op.Fact) float64 { n, _ := in[0].Shape.Count().Int(); return float64(n) },
	}
	attr := o
	attr.Versions, attr.In = r.versions, op.Ports("data:T")
	attr.Attrs = op.Attrs{"axes": op.Opt(ir.KindInts), "keepdims": op.Default(ir.Int(1))}
	attr.Cases = attrCases{r.want}
	op.Register(&attr)
	o.Versions, o.In = []int{r.axesInput}, op.Ports("data:T", "axes:int64?")
	if len(r.types) == len(op.NumBool) {
		o.Versions = append(o.Versions, 20)
	}
	o.Attrs = op.Attrs{"keepdims": op.Default(ir.Int(1)), "noop_with_empty_axes": op.Default(ir.Int(0))}
	o.Cases = inputCases{r.want, r.kernel}
	op.Register(&o)
}

// attrCases have their axes as an attribute; want is the result of 1, 2 and 4.
type attrCases struct{ want float32 }

func (r attrCases) Cases() []op.Case {
	return []op.Case{
		{Name: "all", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 4}, 3, 1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{r.want}, 1, 1)}, Tol: 1e-6},
		{Name: "drop", In: []*tensor.Tensor{ramp(3, 4, 5)}, Attrs: map[string]*ir.Attr{"axes": ir.Ints(-1, 0), "keepdims": ir.Int(0)}},
	}
}

// inputCases have their axes as an input.
type inputCases struct {
	want   float32
	kernel kernels.Op
}

func (r inputCases) Cases() []op.Case {
	axes := func(a ...int64) *tensor.Tensor { return tensor.FromSlice(a) }
	flat := map[string]*ir.Attr{"keepdims": ir.Int(0)}
	cases := []op.Case{
		{Name: "all", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 4}, 3, 1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{r.want}, 1, 1)}, Tol: 1e-6},
		{Name: "last", In: []*tensor.Tensor{ramp(3, 4, 37), axes(-1)}}, {Name: "first", In: []*tensor.Tensor{ramp(3, 4, 5), axes(0)}, Attrs: flat},
		{Name: "middle", In: []*tensor.Tensor{ramp(3, 4, 17), axes(1)}}, {Name: "two", In: []*tensor.Tensor{ramp(3, 4, 5, 6), axes(2, 3)}, Attrs: flat},
		{Name: "apart", In: []*tensor.Tensor{ramp(3, 4, 5, 6), axes(1, 3)}},
		{Name: "nothing to do", In: []*tensor.Tensor{ramp(2, 3), axes()}, Attrs: map[string]*ir.Attr{"noop_with_empty_axes": ir.Int(1)}},
		{Name: "scalar", In: []*tensor.Tensor{tensor.Scalar[float32](3)}},
		{Name: "integers", In: []*tensor.Tensor{tensor.FromSlice([]int64{3, 5, 7}), axes(0)}, Attrs: flat},
		{Name: "bytes", In: []*tensor.Tensor{tensor.FromSlice([]int8{3, 5, -7, 2, 1, 4}, 3, 2), axes(0)}, Attrs: flat},
	}
	if r.kernel != kernels.Max && r.kernel != kernels.Min {
		return cases
	}
	limits := []*tensor.Tensor{tensor.FromSlice([]int32{math.MinInt32}), tensor.FromSlice([]int8{math.MinInt8}), tensor.FromSlice([]uint8{0}), tensor.FromSlice([]int64{math.MinInt64})}
	if r.kernel == kernels.Min {
		limits = []*tensor.Tensor{tensor.FromSlice([]int32{math.MaxInt32}), tensor.FromSlice([]int8{math.MaxInt8}), tensor.FromSlice([]uint8{math.MaxUint8}), tensor.FromSlice([]int64{math.MaxInt64})}
	}
	for _, want := range limits {
		cases = append(cases, op.Case{Name: "nothing of " + want.DType.String(), In: []*tensor.Tensor{tensor.New(want.DType, 1, 0), axes(1)}, Attrs: flat, Out: []*tensor.Tensor{want}})
	}
	return cases
}

func ramp(shape ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(shape))
	for i := range v {
		v[i] = float32(i%11+1) / 4
	}
	return tensor.FromSlice(v, shape...)
}

// axesOf gives the reduced axes in order; noop says that the input is given
// back with each element reduced alone. known is false where axes are computed.
func axesOf(n *ir.Node, axes []int, given bool, rank int) (out []int, noop bool, err error) {
	if n.Has("axes") {
		axes, given = n.Ints("axes"), true
	}
	if !given || len(axes) == 0 {
		if n.Bool("noop_with_empty_axes") {
			return nil, true, nil
		}
		for i := range rank {
			out = append(out, i)
		}
		return out, false, nil
	}
	out, err = op.Axes(axes, rank)
	slices.Sort(out)
	return out, false, err
}

func (r reduction) infer(c *op.Infer) error {
	x := c.In[0]
	axes, known := c.Input(1).Ints()
	given := c.Input(1).Present
	rank, ok := x.Rank()
	if !ok || given && !known {
		var s shape.Shape
		if ok && c.Node.Bool("keepdims") {
			s = shape.Unknowns(rank)
		}
		c.Set(0, x.DType, s)
		return nil
	}
	reduced, _, err := axesOf(c.Node, axes, given, rank)
	if err != nil {
		return err
	}
	s := shape.Shape{}
	for i, d := range x.Shape {
		switch {
		case !slices.Contains(reduced, i):
			s = append(s, d)
		case c.Node.Bool("keepdims"):
			s = append(s, shape.Const(1))
		}
	}
	c.Set(0, x.DType, s)
	if dims, ok := x.Dims(); ok && rank == 1 && len(reduced) == 1 && x.DType.IsInt() && r.content != nil {
		acc := shape.Const(r.unit)
		for _, d := range dims {
			acc, _ = r.content(acc, d)
		}
		c.SetContent(0, []shape.Dim{acc})
	}
	return nil
}

func rows(n *ir.Node, in []int) ([]int, bool) {
	s := n.In[0].Type.Shape
	if in[0] == op.NoRows {
		return []int{op.NoRows}, true
	}
	if s == nil {
		return nil, false
	}
	var axes []int
	given := n.Input(1) != nil
	if given {
		if n.In[1].Const == nil {
			return nil, false
		}
		axes, _ = n.In[1].Const.Ints()
	}
	reduced, _, err := axesOf(n, axes, given, len(s))
	if err != nil || slices.Contains(reduced, in[0]) {
		return nil, false
	}
	at := in[0]
	if !n.Bool("keepdims") {
		for _, a := range reduced {
			if a < in[0] {
				at--
			}
		}
	}
	return []int{at}, true
}

// plan resolves a call's axes and output shape.
func plan(c *op.Call) (axes, out []int, err error) {
	x := c.In[0]
	var listed []int
	if t := c.Input(1); t != nil {
		if listed, err = t.Ints(); err != nil {
			return nil, nil, fmt.Errorf("axes: %w", err)
		}
	}
	axes, _, err = axesOf(c.Node, listed, c.Input(1) != nil, x.Rank())
	if err != nil {
		return nil, nil, err
	}
	out = []int{}
	for i, d := range x.Shape {
		switch {
		case !slices.Contains(axes, i):
			out = append(out, d)
		case c.Node.Bool("keepdims"):
			out = append(out, 1)
		}
	}
	return axes, out, nil
}

func (r reduction) ref(c *op.Call) error {
	x := c.In[0]
	axes, shape, err := plan(c)
	if err != nil {
		return err
	}
	y := c.Output(0, x.DType, shape...)
	switch {
	case x.Len() == 0 && !x.DType.IsFloat() && (r.kernel == kernels.Max || r.kernel == kernels.Min):
		fillLimit(y, r.kernel == kernels.Min)
	case x.DType.IsSigned() && r.signed != nil:
		num.SetInt64s(y, each(num.Int64s(x), x.Shape, axes, r.signed))
	case x.DType.IsUnsigned() && r.unsigned != nil:
		num.SetUint64s(y, each(num.Uint64s(x), x.Shape, axes, r.unsigned))
	default:
		num.SetFloats(y, each(num.Floats(x), x.Shape, axes, r.float))
	}
	return nil
}

// fillLimit gives all elements of y, integers or bool, the greatest value of their type, or the least.
func fillLimit(y *tensor.Tensor, greatest bool) {
	low, top := byte(0), byte(0) // bytes of the least
	if y.DType.IsSigned() {
		top = 0x80
	}
	if greatest {
		low, top = ^low, ^top
	}
	if greatest && y.DType == dtype.Bool {
		top = 1
	}
	size := y.DType.Bits() / 8
	for i := range y.Data {
		y.Data[i] = low
		if i%size == size-1 {
			y.Data[i] = top
		}
	}
}

// each gathers the elements that make one result and applies f.
func each[T any](v []T, dims, axes []int, f func([]T) T) []T {
	strides := tensor.Strides(dims)
	var keep, keepStrides, sum, sumStrides []int
	for i, d := range dims {
		if slices.Contains(axes, i) {
			sum, sumStrides = append(sum, d), append(sumStrides, strides[i])
		} else {
			keep, keepStrides = append(keep, d), append(keepStrides, strides[i])
		}
	}
	inner := num.Index(sum, sumStrides)
	line := make([]T, len(inner))
	starts := num.Index(keep, keepStrides)
	out := make([]T, len(starts))
	for i, at := range starts {
		for k, o := range inner {
			line[k] = v[at+o]
		}
		out[i] = f(line)
	}
	return out
}

type kernel struct {
	*kernels.Reduce
	out  dtype.Type
	dims []int
}

func (k *kernel) ScratchBytes() int { return k.Scratch() }

func (k *kernel) Run(c *op.Call) error {
	k.Reduce.Run(c.Pool, c.Output(0, k.out, k.dims...).Data, c.In[0].Data, c.Scratch)
	return nil
}

// compile takes axes that are known when the plan is made.
func (r reduction) compile(p *op.Prep) (op.Kernel, error) {
	dt := p.In[0].DType
	if tensor.Count(p.InShape(0)) == 0 {
		return nil, nil
	}
	var axes []int
	if p.Has(1) {
		v, ok := p.In[1].Ints()
		if !ok {
			return nil, nil
		}
		axes = v
	}
	axes, _, err := axesOf(p.Node, axes, p.Has(1), len(p.InShape(0)))
	if err != nil {
		return nil, err
	}
	k, err := kernels.New(r.kernel, dt, p.InShape(0), axes)
	if err != nil {
		return nil, nil // the reference serves types without a kernel
	}
	return &kernel{k, dt, p.OutShape(0)}, nil
}
