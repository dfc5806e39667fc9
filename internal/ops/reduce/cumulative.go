package reduce

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
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
	op.Register(op.Op{
		Name: s.name, Versions: s.versions,
		In: op.Ports("x:T", "axis:T2"), Out: op.Ports("y:T"), Types: op.Types{"T": op.Numeric, "T2": op.Indices},
		Attrs: op.Attrs{"exclusive": op.Default(ir.Int(0)), "reverse": op.Default(ir.Int(0))},
		Infer: op.SameAsInput, Ref: s.ref, InPlace: []int{0}, Rows: rowsCumulative,
		Cases: func() []op.Case {
			x, axis := tensor.FromSlice([]float32{1, 2, 3}), tensor.Scalar[int32](0)
			want := map[bool][3][]float32{false: {{1, 3, 6}, {0, 1, 3}, {5, 3, 0}}, true: {{1, 2, 6}, {1, 1, 2}, {6, 3, 1}}}[s.product]
			in := []*tensor.Tensor{x, axis}
			flags := func(exclusive, reverse int) map[string]ir.Attr {
				return map[string]ir.Attr{"exclusive": ir.Int(exclusive), "reverse": ir.Int(reverse)}
			}
			return []op.Case{
				{Name: "forward", In: in, Out: []*tensor.Tensor{tensor.FromSlice(want[0])}},
				{Name: "exclusive", In: in, Attrs: flags(1, 0), Out: []*tensor.Tensor{tensor.FromSlice(want[1])}},
				{Name: "reverse exclusive", In: in, Attrs: flags(1, 1), Out: []*tensor.Tensor{tensor.FromSlice(want[2])}},
				{Name: "middle", In: []*tensor.Tensor{ramp(2, 3, 4), tensor.FromSlice([]int64{-2})}},
			}
		},
	})
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
