package tensorops

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	register := func(in []op.Port, attrs op.Attrs, cases op.Cases, versions ...int) {
		attrs["axis"] = op.Default(ir.Int(-1))
		op.Register(&op.Op{
			Name: "TopK", Versions: versions, Doc: "the k largest or smallest along an axis, sorted; of equal ones the first",
			In: in, Out: op.Ports("Values:T", "Indices:int64"), Types: op.Types{"T": op.Numeric}, Attrs: attrs,
			Infer: topKInfer, Ref: topKRef, Compile: wide.Compile(compileTopK), Rows: sameAxis(attrAxis("axis")), Cases: cases,
		})
	}
	register(op.Ports("X:T"), op.Attrs{"k": op.Required(ir.KindInt)}, nil, 1)
	withK := op.Ports("X:T", "K:int64")
	register(withK, op.Attrs{}, nil, 10)
	register(withK, op.Attrs{"largest": op.Default(ir.Int(1)), "sorted": op.Default(ir.Int(1))}, topKCases{}, 11, 24)
}

func topKInfer(c *op.Infer) error {
	x := c.In[0]
	c.Set(0, x.DType, nil)
	c.Set(1, dtype.Int64, nil)
	if x.Shape == nil {
		return nil
	}
	axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
	if err != nil {
		return err
	}
	k := shape.Const(c.Node.Int("k"))
	if f := c.Input(1); f.Present {
		k = shape.Unknown()
		if d, ok := f.Dims(); ok && len(d) == 1 {
			k = d[0]
		}
	}
	s := slices.Clone(x.Shape)
	n, fixed := s[axis].Int()
	if want, ok := k.Int(); ok && (want < 0 || fixed && want > n) {
		return fmt.Errorf("k is %d, expected 0 to %v, the size of axis %d", want, s[axis], axis)
	}
	s[axis] = k
	c.Set(0, x.DType, s)
	c.Set(1, dtype.Int64, s)
	return nil
}

func topKRef(c *op.Call) error {
	x := c.In[0]
	axis, err := op.Axis(c.Node.Int("axis"), x.Rank())
	if err != nil {
		return err
	}
	k := c.Node.Int("k")
	if c.Input(1) != nil {
		if k, err = oneInt(c, 1); err != nil {
			return err
		}
	}
	n := x.Shape[axis]
	if k < 0 || k > n {
		return fmt.Errorf("k is %d, expected 0 to %d, the size of axis %d", k, n, axis)
	}
	dims := slices.Clone(x.Shape)
	dims[axis] = k
	values, indices := c.Output(0, x.DType, dims...), c.Output(1, dtype.Int64, dims...)
	compare := elementOrder(x)
	if c.Node.Bool("largest") || !c.Node.Has("largest") {
		up := compare
		compare = func(a, b int) int { return up(b, a) }
	}
	inner := tensor.Count(x.Shape[axis+1:])
	order := make([]int, n)
	for o := range tensor.Count(x.Shape[:axis]) {
		for i := range inner {
			for j := range order {
				order[j] = (o*n+j)*inner + i
			}
			slices.SortStableFunc(order, compare)
			for j, at := range order[:k] {
				to := (o*k+j)*inner + i
				values.CopyElements(to, x, at, 1)
				tensor.Of[int64](indices)[to] = int64(at / inner % n)
			}
		}
	}
	return nil
}

// elementOrder compares elements of t by their indices, in their own type; NaN
// is larger than every number, and equal to itself.
func elementOrder(t *tensor.Tensor) func(a, b int) int {
	switch dt := t.DType; {
	case dt == dtype.String:
		return func(a, b int) int { return cmp.Compare(t.Strings[a], t.Strings[b]) }
	case dt.IsUnsigned() && dt.Bits() >= 8:
		return orderOf(num.Uint64s(t))
	case dt.IsSigned() && dt.Bits() >= 8 || dt == dtype.Bool:
		return orderOf(num.Int64s(t))
	case dt.Bits() < 8 && !dt.IsFloat():
		return orderOf(unpacked(t))
	}
	v := floats(t)
	return func(a, b int) int {
		nanA, nanB := v[a] != v[a], v[b] != v[b]
		if nanA || nanB {
			return cmp.Compare(truth(nanA), truth(nanB))
		}
		return cmp.Compare(v[a], v[b])
	}
}

func orderOf[T cmp.Ordered](v []T) func(a, b int) int {
	return func(a, b int) int { return cmp.Compare(v[a], v[b]) }
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
