package tensorops

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	o := op.Op{
		Name: "Slice", Doc: "a range with a step along some axes",
		Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors, "Tind": op.Indices},
		Infer: sliceInfer, Ref: sliceRef, Compile: compileSlice, Parts: sliceParts, Rows: sameAxis(slicesAxis),
	}
	old := o
	old.Versions, old.In = []int{1}, op.Ports("data:T")
	old.Attrs = op.Attrs{"axes": op.Opt(ir.KindInts), "starts": op.Required(ir.KindInts), "ends": op.Required(ir.KindInts)}
	op.Register(&old)
	o.Versions, o.Cases = []int{10, 11, 13}, sliceCases{}
	o.In = op.Ports("data:T", "starts:Tind", "ends:Tind", "axes:Tind?", "steps:Tind?")
	op.Register(&o)
}

// slicing is one axis of a Slice after clamping: indices start, start+step, …
type slicing struct{ start, step, n int }

// sliced clamps a range to a dimension of size d, as Python's slice does.
func sliced(start, end, step, d int) (slicing, error) {
	if step == 0 {
		return slicing{}, fmt.Errorf("slice: step is 0, expected any other number")
	}
	if start < 0 {
		start += d
	}
	if end < 0 {
		end = max(end, math.MinInt+d) + d
	}
	if step > 0 {
		start, end = min(max(start, 0), d), min(max(end, 0), d)
		if start >= end {
			return slicing{step: step}, nil
		}
		return slicing{start, step, (end-start-1)/step + 1}, nil
	}
	start, end = min(max(start, 0), d-1), min(max(end, -1), d)
	if start <= end {
		return slicing{step: step}, nil
	}
	return slicing{start, step, (start-end-1)/-step + 1}, nil
}

// ranges are the operands of a Slice.
type ranges struct{ starts, ends, axes, steps []int }

// check fills in defaults and resolves the axes.
func (r *ranges) check(rank int) (err error) {
	if r.axes == nil {
		for i := range r.starts {
			r.axes = append(r.axes, i)
		}
	}
	if r.steps == nil {
		r.steps = slices.Repeat([]int{1}, len(r.starts))
	}
	if n := len(r.axes); len(r.starts) != n || len(r.ends) != n || len(r.steps) != n {
		return fmt.Errorf("slice: expected as many starts, ends, axes and steps, found %d, %d, %d and %d", len(r.starts), len(r.ends), len(r.axes), len(r.steps))
	}
	r.axes, err = op.Axes(r.axes, rank)
	return err
}

// resolve gives the slicing of each axis of a tensor.
func (r *ranges) resolve(dims []int) ([]slicing, error) {
	if err := r.check(len(dims)); err != nil {
		return nil, err
	}
	out := make([]slicing, len(dims))
	for i, d := range dims {
		out[i] = slicing{0, 1, d}
	}
	for i, a := range r.axes {
		var err error
		if out[a], err = sliced(r.starts[i], r.ends[i], r.steps[i], dims[a]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rangesOfFacts reads the operands that are known; ok is false if axes or steps
// aren't. Unknown bounds are nil.
func rangesOfFacts(c *op.Infer) (starts, ends []shape.Dim, r ranges, ok bool) {
	if len(c.In) == 1 {
		return shape.Of(c.Node.Ints("starts")...), shape.Of(c.Node.Ints("ends")...), ranges{axes: c.Node.Ints("axes")}, true
	}
	starts, _ = c.In[1].Dims()
	ends, _ = c.In[2].Dims()
	n, known := vectorLen(c.In[1])
	if !known {
		n = len(starts)
	}
	ok = known || starts != nil
	if f := c.Input(3); f.Present {
		if r.axes, known = f.Ints(); !known {
			ok = false
		}
	}
	if f := c.Input(4); f.Present {
		if r.steps, known = f.Ints(); !known {
			r.steps = make([]int, n) // 0: not known
		}
	}
	if starts == nil {
		starts = shape.Unknowns(n)
	}
	if ends == nil {
		ends = shape.Unknowns(n)
	}
	return starts, ends, r, ok
}

func sliceInfer(c *op.Infer) error {
	x := c.In[0]
	if x.Shape == nil {
		c.Set(0, x.DType, nil)
		return nil
	}
	starts, ends, r, ok := rangesOfFacts(c)
	if !ok {
		c.Set(0, x.DType, shape.Unknowns(len(x.Shape)))
		return nil
	}
	r.starts, r.ends = make([]int, len(starts)), make([]int, len(ends))
	if err := r.check(len(x.Shape)); err != nil {
		return err
	}
	s := slices.Clone(x.Shape)
	for i, a := range r.axes {
		d, err := slicedDim(starts[i], ends[i], r.steps[i], s[a])
		if err != nil {
			return err
		}
		s[a] = d
	}
	c.Set(0, x.DType, s)
	if elems, ok := content(x); ok && len(x.Shape) == 1 && len(r.axes) == 1 {
		sliceContent(c, elems, starts[0], ends[0], r.steps[0])
	}
	return nil
}

// endless is more than any dimension has; exporters write such bounds for "to
// the end".
const endless = 1 << 27

// slicedDim is the size of a sliced dimension. Bounds that are sizes are taken
// to lie within it: a slice to [:seq] has seq elements.
func slicedDim(start, end shape.Dim, step int, d shape.Dim) (shape.Dim, error) {
	a, aFixed := start.Int()
	b, bFixed := end.Int()
	n, nFixed := d.Int()
	if step != 1 {
		if step != 0 && aFixed && bFixed && nFixed {
			s, err := sliced(a, b, step, n)
			return shape.Const(s.n), err
		}
		whole := step == -1 && aFixed && (a == -1 || a >= endless) && bFixed && b <= -endless
		if whole {
			return d, nil
		}
		return shape.Unknown(), nil
	}
	if aFixed && bFixed && nFixed {
		s, err := sliced(a, b, step, n)
		return shape.Const(s.n), err
	}
	lo, hi := start, end
	switch {
	case aFixed && a < 0:
		lo = d.Add(start)
	case !aFixed && !start.NonNegative():
		return shape.Unknown(), nil
	}
	switch {
	case bFixed && b >= endless:
		hi = d
	case bFixed && b < 0:
		hi = d.Add(end)
	case bFixed && !nFixed && !end.Equal(d): // whether it reaches the end is not known
		if !(aFixed && a == 0 && b == 0) {
			return shape.Unknown(), nil
		}
	case !bFixed && !end.NonNegative():
		return shape.Unknown(), nil
	}
	size := hi.Sub(lo)
	if n, fixed := size.Int(); fixed && n < 0 { // such as from the last to the one before it
		return shape.Const(0), nil
	}
	return size, nil
}

func sliceContent(c *op.Infer, elems []shape.Dim, start, end shape.Dim, step int) {
	a, ok := start.Int()
	b, ok2 := end.Int()
	if !ok || !ok2 || step == 0 {
		return
	}
	s, err := sliced(a, b, step, len(elems))
	if err != nil {
		return
	}
	out := make([]shape.Dim, s.n)
	for i := range out {
		out[i] = elems[s.start+i*s.step]
	}
	c.SetContent(0, out)
}

// slicesAxis reports whether a Slice may change the order or the number of what
// is along an axis.
func slicesAxis(n *ir.Node, axis int) bool {
	if changesSize(n, axis) {
		return true
	}
	v := n.Input(4)
	if v == nil {
		return false
	}
	steps, ok := op.FactOf(v).Ints()
	return !ok || slices.ContainsFunc(steps, func(s int) bool { return s < 0 })
}

func sliceRef(c *op.Call) error {
	x := c.In[0]
	r := ranges{starts: c.Node.Ints("starts"), ends: c.Node.Ints("ends"), axes: c.Node.Ints("axes")}
	if len(c.In) > 1 {
		for i, dst := range []*[]int{&r.starts, &r.ends, &r.axes, &r.steps} {
			v, err := intsOf(c, i+1)
			if err != nil {
				return err
			}
			*dst = v
		}
	}
	by, err := r.resolve(x.Shape)
	if err != nil {
		return err
	}
	dims, strides, base := slicedLayout(x.Shape, by)
	c.Output(0, x.DType, dims...).CopyStrided(x, base, strides)
	return nil
}

func slicedLayout(in []int, by []slicing) (dims, strides []int, base int) {
	strides = tensor.Strides(in)
	dims = make([]int, len(in))
	for i, s := range by {
		base += s.start * strides[i]
		strides[i] *= s.step
		dims[i] = s.n
	}
	return dims, strides, base
}

func compileSlice(p *op.Prep) (op.Kernel, error) {
	if _, ok := byteSize(p.In[0].DType); !ok {
		return nil, nil
	}
	r := ranges{starts: p.Node.Ints("starts"), ends: p.Node.Ints("ends"), axes: p.Node.Ints("axes")}
	if len(p.In) > 1 {
		for i, dst := range []*[]int{&r.starts, &r.ends, &r.axes, &r.steps} {
			if !p.Has(i + 1) {
				continue
			}
			v, known := p.In[i+1].Ints()
			if !known {
				return nil, nil
			}
			*dst = v
		}
	}
	by, err := r.resolve(p.InShape(0))
	if err != nil {
		return nil, err
	}
	dims, strides, base := slicedLayout(p.InShape(0), by)
	return newMoveKernel(p.In[0].DType, dims, strides, base)
}

type sliceCases struct{}

func (sliceCases) Cases() []op.Case {
	i64 := func(v ...int64) *tensor.Tensor { return tensor.FromSlice(v) }
	x := tensor.FromSlice([]int16{0, 1, 2, 3, 4, 5}, 2, 3)
	return []op.Case{
		{Name: "range", In: []*tensor.Tensor{x, i64(1), i64(math.MaxInt64), i64(1)}, Out: []*tensor.Tensor{tensor.FromSlice([]int16{1, 2, 4, 5}, 2, 2)}},
		{Name: "reverse", In: []*tensor.Tensor{x, i64(-1), i64(math.MinInt64), i64(-1), i64(-1)}, Out: []*tensor.Tensor{tensor.FromSlice([]int16{2, 1, 0, 5, 4, 3}, 2, 3)}},
		{Name: "empty", In: []*tensor.Tensor{x, i64(5), i64(9)}, Out: []*tensor.Tensor{tensor.FromSlice([]int16{}, 0, 3)}},
		{Name: "channels", In: []*tensor.Tensor{sequence(2, 8, 5, 3), i64(2, 1), i64(7, -1), i64(1, 2), i64(2, 1)}},
	}
}

// sliceParts: a range of one axis is a range of bytes if the axes before it
// keep one element, and those behind it all.
func sliceParts(n *ir.Node, in, out []op.Fact) ([]int, bool) {
	dims, ok := in[0].Shape.Ints()
	r, known := knownRanges(n, in)
	if !ok || !known {
		return nil, false
	}
	by, err := r.resolve(dims)
	if err != nil {
		return nil, false
	}
	begin, single := 0, true // only single elements of the axes so far
	for i, s := range by {
		whole := s.start == 0 && s.step == 1 && s.n == dims[i]
		if s.step != 1 && s.n > 1 || !whole && !single {
			return nil, false
		}
		begin = begin*dims[i] + s.start
		single = single && s.n == 1
	}
	return []int{begin}, true
}

// knownRanges reads the operands of a Slice whose inputs are constants.
func knownRanges(n *ir.Node, in []op.Fact) (r ranges, ok bool) {
	if len(in) == 1 {
		return ranges{starts: n.Ints("starts"), ends: n.Ints("ends"), axes: n.Ints("axes")}, true
	}
	for i, to := range []*[]int{&r.starts, &r.ends, &r.axes, &r.steps} {
		if i+1 >= len(in) || !in[i+1].Present {
			continue
		}
		ints, ok := in[i+1].Ints()
		if !ok {
			return r, false
		}
		*to = append([]int{}, ints...)
	}
	return r, true
}
