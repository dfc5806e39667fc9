package signal

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func f32s(dims []int, v ...float32) *tensor.Tensor { return tensor.FromSlice(v, dims...) }
func i64(v int64) *tensor.Tensor                   { return tensor.Scalar(v) }
func list(t ...*tensor.Tensor) []*tensor.Tensor    { return t }

type dftCases struct{}

func (dftCases) Cases() []op.Case {
	one := map[string]*ir.Attr{"onesided": ir.Int(1)}
	inverse := map[string]*ir.Attr{"onesided": ir.Int(1), "inverse": ir.Int(1)}
	return []op.Case{
		{Name: "power of two", In: list(f32s([]int{1, 4, 1}, 1, 2, 3, 4)), Out: list(f32s([]int{1, 4, 2}, 10, 0, -2, 2, -2, 0, -2, -2))},
		{Name: "three", In: list(f32s([]int{1, 3, 1}, 1, 0, 0)), Out: list(f32s([]int{1, 3, 2}, 1, 0, 1, 0, 1, 0)), Tol: 1e-6},
		{Name: "one side", Attrs: one, In: list(f32s([]int{1, 4, 1}, 1, 2, 3, 4)), Out: list(f32s([]int{1, 3, 2}, 10, 0, -2, 2, -2, 0))},
		{Name: "back", Attrs: inverse, In: list(f32s([]int{1, 3, 2}, 10, 0, -2, 2, -2, 0)), Out: list(f32s([]int{1, 4, 1}, 1, 2, 3, 4))},
		{Name: "shortened", In: list(f32s([]int{1, 4, 1}, 1, 2, 3, 4), i64(2)), Out: list(f32s([]int{1, 2, 2}, 3, 0, -1, 0))},
	}
}

type stftCases struct{}

func (stftCases) Cases() []op.Case {
	return []op.Case{{Name: "frames", In: list(f32s([]int{2, 3, 1}, 1, 2, 3, 4, 5, 6), i64(1), f32s([]int{2}, 1, 1)),
		Out: list(f32s([]int{2, 2, 2, 2}, 3, 0, -1, 0, 5, 0, -1, 0, 9, 0, -1, 0, 11, 0, -1, 0))},
		{Name: "real signals of two dimensions", In: list(f32s([]int{1, 3}, 1, 2, 3), i64(1), f32s([]int{2}, 1, 1)), Out: list(f32s([]int{1, 2, 2, 2}, 3, 0, -1, 0, 5, 0, -1, 0))}}
}

// windowCases are the numbers of windows of 4 and of 3.
type windowCases struct{ periodic, symmetric []float32 }

func (w windowCases) Cases() []op.Case {
	return []op.Case{
		{Name: "periodic", In: list(i64(4)), Out: list(tensor.FromSlice(w.periodic)), Tol: 1e-6},
		{Name: "symmetric", Attrs: map[string]*ir.Attr{"periodic": ir.Int(0)}, In: list(i64(3)), Out: list(tensor.FromSlice(w.symmetric)), Tol: 1e-6},
	}
}

type melCases struct{}

func (melCases) Cases() []op.Case {
	return []op.Case{{Name: "two bands", In: list(i64(2), i64(8), i64(8000), tensor.Scalar(float32(0)), tensor.Scalar(float32(4000))),
		Out: list(f32s([]int{5, 2}, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0))}}
}
