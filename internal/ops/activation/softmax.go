package activation

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

// normalizer is an operator of the softmax family: it works on the elements
// along one axis, or, before opset 13, on those from an axis on.
type normalizer struct {
	name string
	line func(v []float64)
	want []float32 // of [1 2 3]
}

func init() {
	for _, s := range []normalizer{
		{"Softmax", softmaxLine, []float32{.09003057, .24472848, .66524094}},
		{"LogSoftmax", logSoftmaxLine, []float32{-2.4076059, -1.4076059, -.40760595}},
		{"Hardmax", hardmaxLine, []float32{0, 0, 1}},
	} {
		s.register()
	}
}

func (s normalizer) register() {
	o := op.Op{
		Name: s.name, In: op.Ports("input:T"), Out: op.Ports("output:T"), Types: op.Types{"T": op.Floats},
		Infer: op.SameAsInput, InPlace: []int{0},
		Flops: func(in, _ []op.Fact) float64 { n, _ := in[0].Shape.Count().Int(); return 12 * float64(n) },
	}
	old := o
	old.Versions = []int{1, 11}
	old.Doc = "The axes from axis on are treated as one."
	old.Attrs = op.Attrs{"axis": op.Default(ir.Int(1))}
	old.Ref = func(c *op.Call) error { return s.ref(c, fromAxis) }
	old.Compile = wide.Compile(func(p *op.Prep) (op.Kernel, error) { return s.compile(p, fromAxis) })
	old.Rows = rowsBeforeAxis
	old.Cases = coercedCases{s}
	op.Register(&old)
	o.Versions = []int{13}
	o.Attrs = op.Attrs{"axis": op.Default(ir.Int(-1))}
	o.Ref = func(c *op.Call) error { return s.ref(c, alongAxis) }
	o.Compile = wide.Compile(func(p *op.Prep) (op.Kernel, error) { return s.compile(p, alongAxis) })
	o.Rows = op.RowsExceptAxis("axis")
	o.Cases = axisCases{s}
	op.Register(&o)
}

// coercedCases are those of axes that are treated as one.
type coercedCases struct{ s normalizer }

func (c coercedCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{1, 2, 3, 3, 2, 1}, 1, 2, 3)
	return []op.Case{{Name: "from axis 1", In: []*tensor.Tensor{x}}, c.s.values(), {Name: "rows", In: []*tensor.Tensor{wave(3, 4, 5)}}}
}

// axisCases are those along one axis.
type axisCases struct{ s normalizer }

func (c axisCases) Cases() []op.Case {
	return []op.Case{c.s.values(), {Name: "last axis", In: []*tensor.Tensor{wave(3, 4, 37)}},
		{Name: "middle axis", In: []*tensor.Tensor{wave(2, 5, 7)}, Attrs: map[string]*ir.Attr{"axis": ir.Int(1)}},
		{Name: "large numbers", In: []*tensor.Tensor{tensor.FromSlice([]float32{1000, 1001, -1000}, 1, 3)}}, {Name: "long lines", In: []*tensor.Tensor{wave(33, 2077)}}}
}

func (s normalizer) values() op.Case {
	return op.Case{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3}, 1, 3)}, Out: []*tensor.Tensor{tensor.FromSlice(s.want, 1, 3)}, Tol: 1e-6}
}

func wave(shape ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(shape))
	for i := range v {
		v[i] = float32(3 * math.Sin(float64(i)))
	}
	return tensor.FromSlice(v, shape...)
}

// A layout says how many lines there are before and after the elements of one
// line, given the axis.
type layout func(shape []int, axis int) (outer, n, inner int)

func alongAxis(shape []int, axis int) (outer, n, inner int) {
	return tensor.Count(shape[:axis]), shape[axis], tensor.Count(shape[axis+1:])
}

func fromAxis(shape []int, axis int) (outer, n, inner int) {
	return tensor.Count(shape[:axis]), tensor.Count(shape[axis:]), 1
}

// rowsBeforeAxis lets a batch pass that stands before the coerced axes.
func rowsBeforeAxis(n *ir.Node, in []int) ([]int, bool) {
	s := n.In[0].Type.Shape
	if in[0] == op.NoRows {
		return []int{op.NoRows}, true
	}
	if s == nil {
		return nil, false
	}
	axis, err := op.Axis(n.Int("axis"), len(s))
	return []int{in[0]}, err == nil && in[0] < axis
}

func resolve(n *ir.Node, shape []int) (int, error) {
	if len(shape) == 0 { // a scalar is a line of one
		return 0, nil
	}
	return op.Axis(n.Int("axis"), len(shape))
}

func (s normalizer) ref(c *op.Call, split layout) error {
	x := c.In[0]
	axis, err := resolve(c.Node, x.Shape)
	if err != nil {
		return err
	}
	dims := x.Shape
	if len(dims) == 0 {
		dims = []int{1}
	}
	outer, n, inner := split(dims, axis)
	v := num.Floats(x)
	if n == 0 {
		outer = 0
	}
	line := make([]float64, n)
	for o := range outer {
		for i := range inner {
			at := v[o*n*inner+i:]
			for k := range line {
				line[k] = at[k*inner]
			}
			s.line(line)
			for k := range line {
				at[k*inner] = line[k]
			}
		}
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape...), v)
	return nil
}

func softmaxLine(v []float64) {
	top, sum := math.Inf(-1), 0.
	for _, x := range v {
		top = max(top, x)
	}
	for i, x := range v {
		v[i] = math.Exp(x - top)
		sum += v[i]
	}
	for i := range v {
		v[i] /= sum
	}
}

func logSoftmaxLine(v []float64) {
	top, sum := math.Inf(-1), 0.
	for _, x := range v {
		top = max(top, x)
	}
	for _, x := range v {
		sum += math.Exp(x - top)
	}
	log := math.Log(sum) + top
	for i := range v {
		v[i] -= log
	}
}

// hardmaxLine marks the first of the largest.
func hardmaxLine(v []float64) {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	clear(v)
	if len(v) > 0 {
		v[best] = 1
	}
}

// softmaxKernel works on lines of a float32 tensor.
type softmaxKernel struct {
	*softmax.Softmax
	dims []int
}

func (k *softmaxKernel) ScratchBytes() int { return 4 * k.Scratch() }

func (k *softmaxKernel) Run(c *op.Call) error {
	y := c.Output(0, dtype.Float32, k.dims...)
	scratch := tensor.Tensor{Data: c.Scratch}
	k.Softmax.Run(c.Pool, tensor.Of[float32](y), tensor.Of[float32](c.In[0]), tensor.Of[float32](&scratch))
	return nil
}

func (s normalizer) compile(p *op.Prep, split layout) (op.Kernel, error) {
	if s.name == "Hardmax" {
		return compileHardmax(p, split)
	}
	kind, ok := map[string]softmax.Kind{"Softmax": softmax.Plain, "LogSoftmax": softmax.Log}[s.name]
	dims := p.InShape(0)
	if !ok || p.In[0].DType != dtype.Float32 || len(dims) == 0 {
		return nil, nil
	}
	axis, err := resolve(p.Node, dims)
	if err != nil {
		return nil, err
	}
	outer, n, inner := split(dims, axis)
	k, err := softmax.New(kind, []int{outer, n, inner}, 1)
	return &softmaxKernel{k, dims}, err
}
