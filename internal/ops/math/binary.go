package math

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	pointwise.Binary{Name: "Add", Versions: []int{7, 13, 14}, Types: op.Numeric,
		Kernel: always(elemwise.Add), Float: anyNode(add[float64]), Signed: add[int64], Unsigned: add[uint64],
		Content: func(a, b shape.Dim) (shape.Dim, bool) { return a.Add(b), true },
		Cases:   addCases{},
	}.Register()
	pointwise.Binary{Name: "Sub", Versions: []int{7, 13, 14}, Types: op.Numeric,
		Kernel: always(elemwise.Sub), Float: anyNode(sub[float64]), Signed: sub[int64], Unsigned: sub[uint64],
		Content: func(a, b shape.Dim) (shape.Dim, bool) { return a.Sub(b), true },
		Cases:   subCases{},
	}.Register()
	pointwise.Binary{Name: "Mul", Versions: []int{7, 13, 14}, Types: op.Numeric,
		Kernel: always(elemwise.Mul), Float: anyNode(mul[float64]), Signed: mul[int64], Unsigned: mul[uint64],
		Content: func(a, b shape.Dim) (shape.Dim, bool) { return a.Mul(b), true },
		Cases:   mulCases{},
	}.Register()
	pointwise.Binary{Name: "Div", Versions: []int{7, 13, 14}, Types: op.Numeric,
		Doc:    "Integer quotients truncate towards zero; a division by zero gives 0.",
		Kernel: always(elemwise.Div), Float: anyNode(func(a, b float64) float64 { return a / b }), Signed: divInt[int64], Unsigned: divInt[uint64],
		Content: divDim,
		Cases:   divCases{},
	}.Register()
	pointwise.Binary{Name: "Mod", Versions: []int{10, 13}, Types: op.Numeric,
		Doc:   "The remainder has the divisor's sign, or the dividend's with fmod=1. A remainder of zero is 0 for integers.",
		Attrs: op.Attrs{"fmod": op.Default(ir.Int(0))},
		Kernel: func(n *ir.Node) elemwise.Binary {
			if n.Bool("fmod") {
				return elemwise.Fmod
			}
			return elemwise.Mod
		},
		Float: func(n *ir.Node) func(a, b float64) float64 {
			if n.Bool("fmod") {
				return math.Mod
			}
			return floorMod
		},
		SignedOf: modInt, Unsigned: modUint,
		Cases: modCases{},
	}.Register()
	pointwise.Binary{Name: "PRelu", Versions: []int{7, 9, 16}, Types: op.Numeric, In: [2]string{"X", "slope"}, Out: "Y", OneWay: true,
		Kernel: always(elemwise.PRelu), Float: anyNode(prelu[float64]), Signed: prelu[int64], Unsigned: prelu[uint64],
		Cases: pReluCases{},
	}.Register()
}

type addCases struct{}

func (addCases) Cases() []op.Case {
	return append(broadcasts(), pair("floats", []float32{1, 2, 3}, []float32{.5, -2, 1e10}, []float32{1.5, 0, 1e10}),
		pair("wraps", []int8{127, -128}, []int8{1, -1}, []int8{-128, 127}))
}

type subCases struct{}

func (subCases) Cases() []op.Case {
	return append(broadcasts(), pair("floats", []float32{1, 2, 3}, []float32{.5, -2, 3}, []float32{.5, 4, 0}),
		pair("wraps", []uint8{0, 9}, []uint8{1, 4}, []uint8{255, 5}))
}

type mulCases struct{}

func (mulCases) Cases() []op.Case {
	return append(broadcasts(), pair("floats", []float32{1, 2, 3}, []float32{.5, -2, 3}, []float32{.5, -4, 9}),
		pair("int64", []int64{1 << 62, -3}, []int64{4, 5}, []int64{0, -15}))
}

type divCases struct{}

func (divCases) Cases() []op.Case {
	return append(broadcasts(), pair("floats", []float32{1, 2, 3}, []float32{.5, -2, 4}, []float32{2, -1, .75}),
		pair("truncates", []int32{7, -7, 5}, []int32{2, 2, 0}, []int32{3, -3, 0}), pair("unsigned", []uint64{1 << 63}, []uint64{2}, []uint64{1 << 62}))
}

type modCases struct{}

func (modCases) Cases() []op.Case {
	c := pair("fmod", []int64{-4, 7, 5, 4, -7, 8}, []int64{2, -3, 8, -2, 3, 5}, []int64{0, 1, 5, 0, -1, 3})
	c.Attrs = map[string]*ir.Attr{"fmod": ir.Int(1)}
	f := pair("float fmod", []float32{-4.3, 7.2}, []float32{2.1, -3.4}, []float32{-.1, .4})
	f.Attrs = c.Attrs
	return []op.Case{pair("sign of the divisor", []int64{-4, 7, 5, 4, -7, 8}, []int64{2, -3, 8, -2, 3, 5}, []int64{0, -2, 5, 0, 2, 3}), c, f}
}

type pReluCases struct{}

func (pReluCases) Cases() []op.Case {
	return []op.Case{pair("values", []float32{1, -2, 3}, []float32{.5, .5, 3}, []float32{1, -1, 3})}
}

type number interface{ float64 | int64 | uint64 }

func add[T number](a, b T) T { return a + b }
func sub[T number](a, b T) T { return a - b }
func mul[T number](a, b T) T { return a * b }

func prelu[T number](x, slope T) T {
	if x < 0 {
		return x * slope
	}
	return x
}

func divInt[T int64 | uint64](a, b T) T {
	if b == 0 {
		return 0
	}
	return a / b
}

// divDim divides sizes: a quotient of something symbolic is one of numbers
// that are not negative, where truncation is the floor.
func divDim(a, b shape.Dim) (shape.Dim, bool) {
	x, xOK := a.Int()
	y, yOK := b.Int()
	switch {
	case yOK && y == 0:
		return shape.Dim{}, false
	case xOK && yOK:
		return shape.Const(x / y), true
	case yOK && y < 0:
		return shape.Dim{}, false
	}
	return a.Div(b), true
}

func floorMod(a, b float64) float64 {
	r := math.Mod(a, b)
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r
}

func modInt(n *ir.Node) func(a, b int64) int64 {
	trunc := n.Bool("fmod")
	return func(a, b int64) int64 {
		if b == 0 {
			return 0
		}
		r := a % b
		if !trunc && r != 0 && (r < 0) != (b < 0) {
			r += b
		}
		return r
	}
}

func modUint(a, b uint64) uint64 {
	if b == 0 {
		return 0
	}
	return a % b
}

func always(k elemwise.Binary) func(*ir.Node) elemwise.Binary {
	return func(*ir.Node) elemwise.Binary { return k }
}

func anyNode(f func(a, b float64) float64) func(*ir.Node) func(a, b float64) float64 {
	return func(*ir.Node) func(a, b float64) float64 { return f }
}

func pair[T tensor.Element](name string, a, b, want []T) op.Case {
	return op.Case{Name: name, In: []*tensor.Tensor{tensor.FromSlice(a), tensor.FromSlice(b)}, Out: []*tensor.Tensor{tensor.FromSlice(want)}}
}

// broadcasts are shapes that stretch either side, on which kernels are compared
// with the reference.
func broadcasts() []op.Case {
	var cases []op.Case
	for _, s := range [][2][]int{{{2, 3, 33}, {33}}, {{7}, {3, 1, 1}}, {{2, 1, 5}, {1, 4, 1}}, {{}, {2, 2}}, {{0, 3}, {1, 3}}} {
		cases = append(cases, op.Case{Name: "broadcast", In: []*tensor.Tensor{ramp(s[0], 1), ramp(s[1], .5)}})
	}
	return cases
}

func ramp(shape []int, step float32) *tensor.Tensor {
	v := make([]float32, tensor.Count(shape))
	for i := range v {
		v[i] = step * float32(i%23+1)
	}
	return tensor.FromSlice(v, append([]int{}, shape...)...)
}
