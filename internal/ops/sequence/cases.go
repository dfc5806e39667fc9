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

func constructCases() []op.Case {
	return []op.Case{{Name: "two", In: list(a, b), Out: list(seq(a, b))}}
}

func atCases() []op.Case {
	return []op.Case{{Name: "from the end", In: list(seq(a, b), tensor.Scalar(int64(-1))), Out: list(b)}}
}

func insertCases() []op.Case {
	return []op.Case{
		{Name: "end", In: list(seq(a), b), Out: list(seq(a, b))},
		{Name: "front", In: list(seq(a), b, tensor.Scalar(int64(0))), Out: list(seq(b, a))},
		{Name: "first", In: list(seq(), b), Out: list(seq(b))},
	}
}

func eraseCases() []op.Case {
	return []op.Case{{Name: "last", In: list(seq(a, b)), Out: list(seq(a))}, {Name: "first", In: list(seq(a, b), tensor.Scalar(int64(-2))), Out: list(seq(b))}}
}

func lengthCases() []op.Case {
	return []op.Case{{Name: "two", In: list(seq(a, b)), Out: list(tensor.Scalar(int64(2)))}}
}

func splitCases() []op.Case {
	x := f32s([]int{3, 1}, 1, 2, 3)
	drop := map[string]ir.Attr{"keepdims": ir.Int(0)}
	return []op.Case{
		{Name: "ones", In: list(x), Out: list(seq(f32s([]int{1, 1}, 1), f32s([]int{1, 1}, 2), f32s([]int{1, 1}, 3)))},
		{Name: "without the axis", Attrs: drop, In: list(x), Out: list(seq(f32s([]int{1}, 1), f32s([]int{1}, 2), f32s([]int{1}, 3)))},
		{Name: "chunks", In: list(x, tensor.Scalar(int64(2))), Out: list(seq(f32s([]int{2, 1}, 1, 2), f32s([]int{1, 1}, 3)))},
	}
}

func concatCases() []op.Case {
	axis := map[string]ir.Attr{"axis": ir.Int(0)}
	fresh := map[string]ir.Attr{"axis": ir.Int(-1), "new_axis": ir.Int(1)}
	return []op.Case{
		{Name: "axis", Attrs: axis, In: list(seq(a, b)), Out: list(f32s([]int{3}, 1, 2, 3))},
		{Name: "new axis", Attrs: fresh, In: list(seq(b, b)), Out: list(f32s([]int{2, 2}, 2, 2, 3, 3))},
	}
}

func getCases() []op.Case {
	return []op.Case{{Name: "value", In: list(optionalOf(b)), Out: list(b)}}
}

func hasCases() []op.Case {
	return []op.Case{
		{Name: "value", In: list(optionalOf(b)), Out: list(tensor.Scalar(true))},
		{Name: "none", In: list(optionalOf()), Out: list(tensor.Scalar(false))},
	}
}
