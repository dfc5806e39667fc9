package tensorops

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	elements := func(name string, attrs op.Attrs, cases op.Cases, versions ...int) {
		attrs["axis"] = op.Default(ir.Int(0))
		op.Register(&op.Op{
			Name: name, Versions: versions, Doc: "a copy of the data with single elements replaced or combined",
			In: op.Ports("data:T", "indices:Tind", "updates:T"), Out: op.Ports("output:T"),
			Types: op.Types{"T": op.AllTensors, "Tind": op.Indices}, Attrs: attrs,
			Infer: op.SameAsInput, Ref: scatterElementsRef, Compile: compileScatterElements, InPlace: []int{0}, Rows: scatterElementsRows, Cases: cases,
		})
	}
	reduction := op.Default(ir.Str("none"))
	elements("Scatter", op.Attrs{}, nil, 9)
	elements("ScatterElements", op.Attrs{}, nil, 11, 13)
	elements("ScatterElements", op.Attrs{"reduction": reduction}, scatterElementsCases{}, 16, 18)
	nd := func(attrs op.Attrs, cases op.Cases, versions ...int) {
		op.Register(&op.Op{
			Name: "ScatterND", Versions: versions, Doc: "a copy of the data with slices replaced or combined",
			In: op.Ports("data:T", "indices:int64", "updates:T"), Out: op.Ports("output:T"), Types: op.Types{"T": op.AllTensors}, Attrs: attrs,
			Infer: op.SameAsInput, Ref: scatterNDRef, Compile: compileScatterND, InPlace: []int{0}, Rows: noRows, Cases: cases,
		})
	}
	nd(nil, nil, 11, 13)
	nd(op.Attrs{"reduction": reduction}, scatterNDCases{}, 16, 18)
}

func scatterElementsRows(n *ir.Node, in []int) ([]int, bool) {
	if n.In[0].Type.Shape == nil || in[0] != in[1] || in[0] != in[2] || in[0] != op.NoRows && attrAxis("axis")(n, in[0]) {
		return nil, false
	}
	return every(n, in[0]), true
}

func scatterElementsRef(c *op.Call) error {
	x, idx, updates := c.In[0], c.In[1], c.In[2]
	axis, err := op.Axis(c.Node.Int("axis"), x.Rank())
	if err != nil {
		return err
	}
	if !slices.Equal(idx.Shape, updates.Shape) {
		return fmt.Errorf("updates have shape %v, expected %v as the indices", updates.Shape, idx.Shape)
	}
	targets, err := elementTargets(x.Shape, idx, axis)
	if err != nil {
		return err
	}
	return scatter(c, targets, 1)
}

func scatterNDRef(c *op.Call) error {
	x, idx, updates := c.In[0], c.In[1], c.In[2]
	targets, size, err := slicesND(x.Shape, idx, 0)
	if err != nil {
		return err
	}
	last := idx.Rank() - 1
	if want := slices.Concat(idx.Shape[:last], x.Shape[idx.Shape[last]:]); !slices.Equal(updates.Shape, want) {
		return fmt.Errorf("updates have shape %v, expected %v", updates.Shape, want)
	}
	return scatter(c, targets, size)
}

// scatter combines a copy of the data with updates: run i of size elements goes
// to offset targets[i].
func scatter(c *op.Call, targets []int, size int) error {
	x, updates := c.In[0], c.In[2]
	out := c.Output(0, x.DType, x.Shape...)
	if len(out.Data) == 0 || len(x.Data) == 0 || &out.Data[0] != &x.Data[0] { // else in place
		out.CopyElements(0, x, 0, x.Len())
	}
	reduction := c.Node.Str("reduction")
	if reduction == "none" || reduction == "" {
		for i, to := range targets {
			out.CopyElements(to, updates, i*size, size)
		}
		return nil
	}
	switch dt := x.DType; {
	case dt.IsUnsigned() && dt.Bits() >= 8:
		return reduceInto(out, num.Uint64s(out), num.Uint64s(updates), num.SetUint64s, targets, size, reduction)
	case dt.IsSigned() && dt.Bits() >= 8:
		return reduceInto(out, num.Int64s(out), num.Int64s(updates), num.SetInt64s, targets, size, reduction)
	case dt.IsFloat() && dt.Bits() >= 16:
		return reduceInto(out, num.Floats(out), num.Floats(updates), num.SetFloats, targets, size, reduction)
	}
	return fmt.Errorf("reduction %q: expected a numeric type, found %s", reduction, x.DType)
}

func reduceInto[T int64 | uint64 | float64](out *tensor.Tensor, v, updates []T, set func(*tensor.Tensor, []T), targets []int, size int, reduction string) error {
	for i, to := range targets {
		for k := range size {
			a, b := &v[to+k], updates[i*size+k]
			switch reduction {
			case "add":
				*a += b
			case "mul":
				*a *= b
			case "max":
				*a = larger(*a, b)
			case "min":
				*a = smaller(*a, b)
			default:
				return fmt.Errorf("reduction: expected none, add, mul, max or min, found %q", reduction)
			}
		}
	}
	set(out, v)
	return nil
}

// larger is the maximum; NaN if either is.
func larger[T int64 | uint64 | float64](a, b T) T {
	if math.IsNaN(float64(b)) {
		return b
	}
	if b > a {
		return b
	}
	return a
}

func smaller[T int64 | uint64 | float64](a, b T) T {
	if math.IsNaN(float64(b)) {
		return b
	}
	if b < a {
		return b
	}
	return a
}
