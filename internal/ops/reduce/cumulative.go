package reduce

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	kernels "github.com/salver-ml/salver/internal/kernels/reduce"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/tensor"
)

// cumulative is CumSum or CumProd.
type cumulative struct {
	name     string
	versions []int
	product  bool
}

func init() {
	for _, s := range []cumulative{{"CumSum", []int{11, 14}, false}, {"CumProd", []int{26}, true}} {
		s.register()
	}
}

func (s cumulative) register() {
	op.Register(&op.Op{
		Name: s.name, Versions: s.versions,
		In: op.Ports("x:T", "axis:T2"), Out: op.Ports("y:T"), Types: op.Types{"T": op.Numeric, "T2": op.Indices},
		Attrs: op.Attrs{"exclusive": op.Default(ir.Int(0)), "reverse": op.Default(ir.Int(0))},
		Infer: op.SameAsInput, Ref: s.ref, Compile: wide.Compile(s.compile), InPlace: []int{0}, Rows: rowsCumulative,
		Cases: s,
	})
}

// Cases are those of the operator.
func (s cumulative) Cases() []op.Case {
	x, axis := tensor.FromSlice([]float32{1, 2, 3}), tensor.Scalar[int32](0)
	want := map[bool][3][]float32{false: {{1, 3, 6}, {0, 1, 3}, {5, 3, 0}}, true: {{1, 2, 6}, {1, 1, 2}, {6, 3, 1}}}[s.product]
	in := []*tensor.Tensor{x, axis}
	flags := func(exclusive, reverse int) map[string]*ir.Attr {
		return map[string]*ir.Attr{"exclusive": ir.Int(exclusive), "reverse": ir.Int(reverse)}
	}
	return []op.Case{
		{Name: "forward", In: in, Out: []*tensor.Tensor{tensor.FromSlice(want[0])}},
		{Name: "exclusive", In: in, Attrs: flags(1, 0), Out: []*tensor.Tensor{tensor.FromSlice(want[1])}},
		{Name: "reverse exclusive", In: in, Attrs: flags(1, 1), Out: []*tensor.Tensor{tensor.FromSlice(want[2])}},
		{Name: "middle", In: []*tensor.Tensor{ramp(2, 3, 4), tensor.FromSlice([]int64{-2})}},
		{Name: "columns in order", In: []*tensor.Tensor{ramp(3, 50, 301), tensor.Scalar[int64](1)}, Attrs: flags(0, 1)},
		{Name: "columns", In: []*tensor.Tensor{ramp(3, 50, 150), tensor.Scalar[int64](1)}, Attrs: flags(1, 0)},
		{Name: "columns of int64", In: []*tensor.Tensor{wholeRamp[int64](2, 9, 301), tensor.Scalar[int64](1)}, Attrs: flags(0, 1)},
		{Name: "columns of int32", In: []*tensor.Tensor{wholeRamp[int32](9, 33), tensor.Scalar[int64](0)}},
		{Name: "columns of int32, exclusive", In: []*tensor.Tensor{wholeRamp[int32](9, 33), tensor.Scalar[int64](0)}, Attrs: flags(1, 1)},
		{Name: "rows of integers", In: []*tensor.Tensor{tensor.FromSlice([]int64{1, 0, 1, 1, 0, 1}, 2, 3), tensor.Scalar[int64](1)}, Attrs: flags(0, 1)},
	}
}

// wholeRamp is integers of all magnitudes.
func wholeRamp[T int32 | int64](shape ...int) *tensor.Tensor {
	v := make([]T, tensor.Count(shape))
	for i := range v {
		v[i] = T(i*i+1) << (i % 40)
	}
	return tensor.FromSlice(v, shape...)
}

func rowsCumulative(n *ir.Node, in []int) ([]int, bool) {
	s, axes := n.In[0].Type.Shape, n.In[1].Const
	if in[1] != op.NoRows || s == nil || axes == nil {
		return nil, false
	}
	v, err := axes.Ints()
	if err != nil || len(v) != 1 {
		return nil, false
	}
	axis, err := op.Axis(v[0], len(s))
	return []int{in[0]}, err == nil && axis != in[0]
}

func (s cumulative) ref(c *op.Call) error {
	x := c.In[0]
	axes, err := c.In[1].Ints()
	if err != nil || len(axes) != 1 {
		return fmt.Errorf("axis is %s, expected one integer", c.In[1])
	}
	axis, err := op.Axis(axes[0], len(x.Shape))
	if err != nil {
		return err
	}
	y := c.Output(0, x.DType, x.Shape...)
	exclusive, reverse := c.Node.Bool("exclusive"), c.Node.Bool("reverse")
	if x.DType.IsInt() {
		v := num.Int64s(x)
		scan(v, x.Shape, axis, exclusive, reverse, s.product)
		num.SetInt64s(y, v)
		return nil
	}
	v := num.Floats(x)
	scan(v, x.Shape, axis, exclusive, reverse, s.product)
	num.SetFloats(y, v)
	return nil
}

// scan replaces the numbers along an axis by what has added up until there.
func scan[T int64 | float64](v []T, dims []int, axis int, exclusive, reverse, product bool) {
	n, inner := dims[axis], tensor.Count(dims[axis+1:])
	if len(v) == 0 {
		return
	}
	for o := range tensor.Count(dims[:axis]) {
		for i := range inner {
			line := v[o*n*inner+i:]
			var acc T
			if product {
				acc = 1
			}
			for k := range n {
				if reverse {
					k = n - 1 - k
				}
				x, before := line[k*inner], acc
				if product {
					acc *= x
				} else {
					acc += x
				}
				line[k*inner] = acc
				if exclusive {
					line[k*inner] = before
				}
			}
		}
	}
}

// compile gives nil for a product, for other types than floats, int32 and
// int64, and for an axis that is not constant.
func (s cumulative) compile(p *op.Prep) (op.Kernel, error) {
	axes := p.In[1].Const
	if s.product || axes == nil {
		return nil, nil
	}
	v, err := axes.Ints()
	if err != nil || len(v) != 1 {
		return nil, err
	}
	axis, err := op.Axis(v[0], len(p.InShape(0)))
	if err != nil {
		return nil, err
	}
	switch p.In[0].DType {
	case dtype.Float32:
		k := newSums[float32, float64](p, axis)
		if !k.exclusive {
			k.kernel, k.least = kernels.RunningSums, 2
		}
		return k, nil
	case dtype.Float64:
		return newRowSums[float64](p, axis), nil
	case dtype.Int32:
		return newRowSums[int32](p, axis), nil
	case dtype.Int64:
		return newRowSums[int64](p, axis), nil
	}
	return nil, nil
}

const sumColumns = 256 // that add up together, where the axis is not the last

// sums is CumSum over the middle of outer × n × inner elements, with sums in a
// wider type.
type sums[T, S float32 | float64 | int32 | int64] struct {
	dims               []int
	n, inner           int
	exclusive, reverse bool
	tiles, units       int
	parts              int
	dst, src           []T
	kernel             func(dst, src []T, first, stride, rows, columns int) // nil, or what does it
	least              int                                                  // columns for the kernel
}

func newSums[T, S float32 | float64 | int32 | int64](p *op.Prep, axis int) *sums[T, S] {
	dims := p.InShape(0)
	k := &sums[T, S]{dims: dims, n: dims[axis], inner: tensor.Count(dims[axis+1:]), exclusive: p.Node.Bool("exclusive"), reverse: p.Node.Bool("reverse")}
	k.tiles = (k.inner + sumColumns - 1) / sumColumns
	k.units = tensor.Count(dims[:axis]) * k.tiles
	k.parts = min(split.Parts(tensor.Count(dims), 16384), max(k.units, 1))
	return k
}

// newRowSums adds whole rows, where sums are of the elements' type.
func newRowSums[T float64 | int32 | int64](p *op.Prep, axis int) *sums[T, T] {
	k := newSums[T, T](p, axis)
	if k.exclusive {
		return k
	}
	add := elemwise.Adder(p.In[0].DType)
	k.least = 16
	k.kernel = func(dst, src []T, first, stride, rows, columns int) {
		copy(dst[first:first+columns], src[first:])
		for at := first + stride; rows > 1; rows-- {
			add(tensor.AsBytes(dst[at:at+columns]), tensor.AsBytes(dst[at-stride:at-stride+columns]), tensor.AsBytes(src[at:at+columns]))
			at += stride
		}
	}
	return k
}

// Run adds up.
func (k *sums[T, S]) Run(c *op.Call) error {
	y := c.Output(0, c.In[0].DType, k.dims...)
	k.dst, k.src = tensor.Of[T](y), tensor.Of[T](c.In[0])
	c.Pool.Run(k.parts, k)
	k.dst, k.src = nil, nil
	return nil
}

// Do computes one chunk; it is called by the pool.
func (k *sums[T, S]) Do(part int) {
	lo, hi := split.Range(k.units, k.parts, part)
	for u := lo; u < hi; u++ {
		first := u % k.tiles * sumColumns
		k.columns(u/k.tiles*k.n*k.inner+first, min(sumColumns, k.inner-first))
	}
}

// columns adds up w neighbouring columns, from the element at on.
func (k *sums[T, S]) columns(at, w int) {
	if k.kernel != nil && w >= k.least && k.n > 0 {
		if k.reverse {
			k.kernel(k.dst, k.src, at+(k.n-1)*k.inner, -k.inner, k.n, w)
		} else {
			k.kernel(k.dst, k.src, at, k.inner, k.n, w)
		}
		return
	}
	if w == 1 && k.inner == 1 && !k.reverse && !k.exclusive {
		dst, sum := k.dst[at:][:k.n], S(0)
		for i, x := range k.src[at:][:k.n] {
			sum += S(x)
			dst[i] = T(sum)
		}
		return
	}
	var sums [sumColumns]S
	acc := sums[:w]
	for i := range k.n {
		if k.reverse {
			i = k.n - 1 - i
		}
		src, dst := k.src[at+i*k.inner:][:w], k.dst[at+i*k.inner:][:w]
		if !k.exclusive {
			acc, dst := acc[:len(src)], dst[:len(src)]
			for j, x := range src {
				acc[j] += S(x)
				dst[j] = T(acc[j])
			}
			continue
		}
		for j, x := range src {
			before := acc[j]
			acc[j] += S(x)
			dst[j] = T(before)
		}
	}
}
