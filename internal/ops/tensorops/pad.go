package tensorops

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	o := op.Op{
		Name: "Pad", Doc: "adds (or with negative pads removes) elements at the ends of dimensions; modes constant, reflect, edge and wrap",
		Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors, "Tind": op.Indices},
		Infer: padInfer, Ref: padRef, Compile: compilePad, Rows: sameAxis(padsAxis),
	}
	mode := op.Default(ir.Str("constant"))
	old := o
	old.Versions, old.In = []int{2}, op.Ports("data:T")
	old.Types = op.Types{"T": op.Floats}
	old.Attrs = op.Attrs{"mode": mode, "pads": op.Required(ir.KindInts), "value": op.Default(ir.Float(0))}
	op.Register(&old)
	inputs := o
	inputs.Versions, inputs.Attrs = []int{11, 13}, op.Attrs{"mode": mode}
	inputs.In = op.Ports("data:T", "pads:int64", "constant_value:T?")
	op.Register(&inputs)
	o.Versions, o.Attrs, o.Cases = []int{18, 19, 21, 23, 24, 25}, inputs.Attrs, padCases{}
	o.In = op.Ports("data:T", "pads:int64", "constant_value:T?", "axes:Tind?")
	op.Register(&o)
}

// padding is the pads of each dimension.
type padding struct{ before, after []int }

// paddingOf spreads pads, all beginnings and then all ends, over the axes.
func paddingOf(pads, axes []int, rank int) (padding, error) {
	p := padding{make([]int, rank), make([]int, rank)}
	if axes == nil {
		for i := range rank {
			axes = append(axes, i)
		}
	}
	axes, err := op.Axes(axes, rank)
	if err != nil {
		return p, err
	}
	if len(pads) != 2*len(axes) {
		return p, fmt.Errorf("pads %v: expected %d numbers, two for each of %d axes", pads, 2*len(axes), len(axes))
	}
	for i, a := range axes {
		p.before[a], p.after[a] = pads[i], pads[i+len(axes)]
		if max(pads[i], pads[i+len(axes)]) > tensor.MaxElements || min(pads[i], pads[i+len(axes)]) < -tensor.MaxElements {
			return p, fmt.Errorf("pads %v: expected at most %d elements", pads, tensor.MaxElements)
		}
	}
	return p, nil
}

func padInfer(c *op.Infer) error {
	x := c.In[0]
	if x.Shape == nil {
		c.Set(0, x.DType, nil)
		return nil
	}
	pads, known := c.Node.Ints("pads"), true
	if len(c.In) > 1 {
		pads, known = c.In[1].Ints()
	}
	var axes []int
	if f := c.Input(3); f.Present {
		var ok bool
		axes, ok = f.Ints()
		known = known && ok
	}
	if !known {
		return padUnknown(c, x, axes)
	}
	p, err := paddingOf(pads, axes, len(x.Shape))
	if err != nil {
		return err
	}
	s := slices.Clone(x.Shape)
	for i, d := range s {
		s[i] = d.Add(shape.Const(p.before[i] + p.after[i]))
		if n, fixed := s[i].Int(); fixed && n < 0 {
			return fmt.Errorf("pads %v remove more than the input of shape %v has", pads, x.Shape)
		}
	}
	return setSized(c, x.DType, s)
}

// padUnknown uses pads whose elements are known in part.
func padUnknown(c *op.Infer, x op.Fact, axes []int) error {
	s := shape.Unknowns(len(x.Shape))
	if dims, ok := c.In[1].Dims(); ok && axes == nil && !c.Input(3).Present && len(dims) == 2*len(s) {
		for i := range s {
			s[i] = x.Shape[i].Add(dims[i]).Add(dims[i+len(s)])
		}
	}
	c.Set(0, x.DType, s)
	return nil
}

// padsAxis reports whether a Pad may move what is along an axis.
func padsAxis(n *ir.Node, axis int) bool {
	pads, known := n.Ints("pads"), true
	if v := n.Input(1); v != nil {
		pads, known = op.FactOf(v).Ints()
	}
	var axes []int
	if v := n.Input(3); v != nil {
		var ok bool
		axes, ok = op.FactOf(v).Ints()
		known = known && ok
	}
	if !known {
		return true
	}
	p, err := paddingOf(pads, axes, len(n.In[0].Type.Shape))
	return err != nil || p.before[axis] != 0 || p.after[axis] != 0
}

func padRef(c *op.Call) error {
	x := c.In[0]
	pads, err := callPads(c)
	if err != nil {
		return err
	}
	axes, err := intsOf(c, 3)
	if err != nil {
		return err
	}
	p, err := paddingOf(pads, axes, x.Rank())
	if err != nil {
		return err
	}
	sources, dims, err := p.sources(x.Shape, c.Node.Str("mode"))
	if err != nil {
		return err
	}
	fill, err := padValue(c)
	if err != nil {
		return err
	}
	out := c.Output(0, x.DType, dims...)
	strides := tensor.Strides(x.Shape)
	at := make([]int, len(dims))
	for i := range out.Len() {
		from, inside := 0, true
		for d, k := range at {
			s := sources[d][k]
			inside = inside && s >= 0
			from += s * strides[d]
		}
		if inside {
			out.CopyElements(i, x, from, 1)
		} else {
			out.CopyElements(i, fill, 0, 1)
		}
		advance(at, dims)
	}
	return nil
}

// advance steps a coordinate through a shape in row-major order.
func advance(at, dims []int) {
	for d := len(dims) - 1; d >= 0; d-- {
		if at[d]++; at[d] < dims[d] {
			return
		}
		at[d] = 0
	}
}

func callPads(c *op.Call) ([]int, error) {
	if len(c.In) > 1 {
		return intsOf(c, 1)
	}
	return c.Node.Ints("pads"), nil
}

// padValue is the element that constant mode fills in.
func padValue(c *op.Call) (*tensor.Tensor, error) {
	if v := c.Input(2); v != nil {
		if v.Len() != 1 {
			return nil, fmt.Errorf("constant_value: expected one element, found %s", v)
		}
		return v, nil
	}
	v := tensor.New(c.In[0].DType, 1)
	if f := c.Node.Float("value"); f != 0 && v.DType != dtype.String {
		num.SetFloats(v, []float64{float64(f)})
	}
	return v, nil
}

// sources gives, for each dimension, the input's index of each output index, or
// -1 for the fill value.
func (p padding) sources(in []int, mode string) (src [][]int, dims []int, err error) {
	for d, n := range in {
		size := p.before[d] + n + p.after[d]
		if size < 0 {
			return nil, nil, fmt.Errorf("pads %d and %d remove more than the %d elements of dimension %d", p.before[d], p.after[d], n, d)
		}
		if n == 0 && size > 0 && mode != "constant" {
			return nil, nil, fmt.Errorf("mode %s cannot pad dimension %d, which is empty", mode, d)
		}
		dims = append(dims, size)
		if err := tensor.CheckSize(dims); err != nil {
			return nil, nil, err
		}
	}
	src = make([][]int, len(in))
	if tensor.Count(dims) == 0 { // other dimensions may be long, as they cost nothing
		return src, dims, nil
	}
	for d, n := range in {
		src[d] = make([]int, dims[d])
		for i := range src[d] {
			if src[d][i], err = padSource(i-p.before[d], n, mode); err != nil {
				return nil, nil, err
			}
		}
	}
	return src, dims, nil
}

// padSource is the index that an index beyond [0, n) stands for.
func padSource(i, n int, mode string) (int, error) {
	if i >= 0 && i < n {
		return i, nil
	}
	switch mode {
	case "constant":
		return -1, nil
	case "edge":
		return min(max(i, 0), n-1), nil
	case "wrap":
		return (i%n + n) % n, nil
	case "reflect":
		if n == 1 {
			return 0, nil
		}
		period := 2 * (n - 1)
		i = (i%period + period) % period
		return min(i, period-i), nil
	}
	return 0, fmt.Errorf("mode %q: expected constant, edge, reflect or wrap", mode)
}

type padCases struct{}

func (padCases) Cases() []op.Case {
	i64 := func(v ...int64) *tensor.Tensor { return tensor.FromSlice(v) }
	mode := func(m string) map[string]*ir.Attr { return map[string]*ir.Attr{"mode": ir.Str(m)} }
	x := tensor.FromSlice([]float32{1, 2, 3}, 1, 3)
	return []op.Case{
		{Name: "constant", In: []*tensor.Tensor{x, i64(0, 1, 1, 0), tensor.Scalar(float32(9))}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{9, 1, 2, 3, 9, 9, 9, 9}, 2, 4)}},
		{Name: "crop", In: []*tensor.Tensor{x, i64(0, -1, 0, 1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{2, 3, 0}, 1, 3)}},
		{Name: "reflect", Attrs: mode("reflect"), In: []*tensor.Tensor{x, i64(2, 1), nil, i64(1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{3, 2, 1, 2, 3, 2}, 1, 6)}},
		{Name: "edge", Attrs: mode("edge"), In: []*tensor.Tensor{x, i64(1, 2), nil, i64(-1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 1, 2, 3, 3, 3}, 1, 6)}},
		{Name: "wrap", Attrs: mode("wrap"), In: []*tensor.Tensor{x, i64(1, 2), nil, i64(-1)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{3, 1, 2, 3, 1, 2}, 1, 6)}},
		{Name: "images reflected", Attrs: mode("reflect"), In: []*tensor.Tensor{sequence(2, 30, 9, 40), i64(0, 0, 1, 2, 0, 0, 2, 1)}},
		{Name: "rows at the edge", Attrs: mode("edge"), In: []*tensor.Tensor{sequence(2, 30, 9, 40), i64(0, 2, 3, 0, 0, 1, 2, 0)}},
		{Name: "wrapped and cropped", Attrs: mode("wrap"), In: []*tensor.Tensor{sequence(2, 3, 9, 4), i64(0, -1, 12, -1, 0, 2, -3, 2)}},
		{Name: "image", In: []*tensor.Tensor{sequence(2, 3, 5, 7), i64(0, 0, 1, 2, 0, 0, 2, 1)}},
	}
}
