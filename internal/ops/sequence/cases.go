package sequence

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func f32s(dims []int, v ...float32) *tensor.Tensor { return tensor.FromSlice(v, dims...) }
func list(t ...*tensor.Tensor) []*tensor.Tensor    { return t }

// seq makes a sequence.
func seq(items ...*tensor.Tensor) *tensor.Tensor {
	s := tensor.New(dtype.Sequence)
	s.Items = items
	return s
}

func optionalOf(items ...*tensor.Tensor) *tensor.Tensor {
	o := tensor.New(dtype.Optional)
	o.Items = items
	return o
}

var a, b = f32s([]int{1}, 1), f32s([]int{2}, 2, 3)

type constructCases struct{}

func (constructCases) Cases() []op.Case {
	return []op.Case{{Name: "two", In: list(a, b), Out: list(seq(a, b))}}
}

type atCases struct{}

func (atCases) Cases() []op.Case {
	return []op.Case{{Name: "from the end", In: list(seq(a, b), tensor.Scalar(int64(-1))), Out: list(b)}}
}

type insertCases struct{}

func (insertCases) Cases() []op.Case {
	return []op.Case{
		{Name: "end", In: list(seq(a), b), Out: list(seq(a, b))},
		{Name: "front", In: list(seq(a), b, tensor.Scalar(int64(0))), Out: list(seq(b, a))},
		{Name: "first", In: list(seq(), b), Out: list(seq(b))},
	}
}

type eraseCases struct{}

func (eraseCases) Cases() []op.Case {
	return []op.Case{{Name: "last", In: list(seq(a, b)), Out: list(seq(a))}, {Name: "first", In: list(seq(a, b), tensor.Scalar(int64(-2))), Out: list(seq(b))}}
}

type lengthCases struct{}

func (lengthCases) Cases() []op.Case {
	return []op.Case{{Name: "two", In: list(seq(a, b)), Out: list(tensor.Scalar(int64(2)))}}
}

type splitCases struct{}

func (splitCases) Cases() []op.Case {
	x := f32s([]int{3, 1}, 1, 2, 3)
	drop := map[string]*ir.Attr{"keepdims": ir.Int(0)}
	return []op.Case{
		{Name: "ones", In: list(x), Out: list(seq(f32s([]int{1, 1}, 1), f32s([]int{1, 1}, 2), f32s([]int{1, 1}, 3)))},
		{Name: "without the axis", Attrs: drop, In: list(x), Out: list(seq(f32s([]int{1}, 1), f32s([]int{1}, 2), f32s([]int{1}, 3)))},
		{Name: "chunks", In: list(x, tensor.Scalar(int64(2))), Out: list(seq(f32s([]int{2, 1}, 1, 2), f32s([]int{1, 1}, 3)))},
	}
}

type concatCases struct{}

func (concatCases) Cases() []op.Case {
	axis := map[string]*ir.Attr{"axis": ir.Int(0)}
	fresh := map[string]*ir.Attr{"axis": ir.Int(-1), "new_axis": ir.Int(1)}
	return []op.Case{
		{Name: "axis", Attrs: axis, In: list(seq(a, b)), Out: list(f32s([]int{3}, 1, 2, 3))},
		{Name: "new axis", Attrs: fresh, In: list(seq(b, b)), Out: list(f32s([]int{2, 2}, 2, 2, 3, 3))},
	}
}

type getCases struct{}

func (getCases) Cases() []op.Case {
	return []op.Case{{Name: "value", In: list(optionalOf(b)), Out: list(b)}}
}

type hasCases struct{}

func (hasCases) Cases() []op.Case {
	return []op.Case{
		{Name: "value", In: list(optionalOf(b)), Out: list(tensor.Scalar(true))},
		{Name: "none", In: list(optionalOf()), Out: list(tensor.Scalar(false))},
	}
}
