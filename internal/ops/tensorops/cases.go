package tensorops

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// Cases of the operators whose files are short of them.

func f32s(dims []int, v ...float32) *tensor.Tensor { return tensor.FromSlice(v, dims...) }
func i64s(dims []int, v ...int64) *tensor.Tensor   { return tensor.FromSlice(v, dims...) }
func vec(v ...int64) *tensor.Tensor                { return tensor.FromSlice(v, len(v)) }
func list(t ...*tensor.Tensor) []*tensor.Tensor    { return t }

// attr makes attributes from name, value pairs.
func attr(pairs ...any) map[string]*ir.Attr {
	m := map[string]*ir.Attr{}
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case int:
			m[pairs[i].(string)] = ir.Int(v)
		case string:
			m[pairs[i].(string)] = ir.Str(v)
		case []int:
			m[pairs[i].(string)] = ir.Ints(v...)
		}
	}
	return m
}

type flattenCases struct{}

func (flattenCases) Cases() []op.Case {
	x := sequence(2, 3, 4)
	return []op.Case{
		{Name: "default", In: list(x), Out: list(x.Reshape(2, 12))},
		{Name: "axis 0", Attrs: attr("axis", 0), In: list(x), Out: list(x.Reshape(1, 24))},
		{Name: "last", Attrs: attr("axis", -1), In: list(x), Out: list(x.Reshape(6, 4))},
	}
}

type squeezeCases struct{}

func (squeezeCases) Cases() []op.Case {
	x := sequence(3, 1, 2, 1)
	return []op.Case{
		{Name: "all", In: list(x), Out: list(x.Reshape(3, 2))},
		{Name: "axes", In: list(x, vec(-1)), Out: list(x.Reshape(3, 1, 2))},
	}
}

type unsqueezeCases struct{}

func (unsqueezeCases) Cases() []op.Case {
	x := sequence(3, 2)
	return []op.Case{{Name: "unsorted axes", In: list(x, vec(-1, 1)), Out: list(x.Reshape(3, 1, 2, 1))}}
}

type identityCases struct{}

func (identityCases) Cases() []op.Case {
	return []op.Case{{Name: "packed", In: list(packed(dtype.Int4, 3, 0x21, 0x0f)), Out: list(packed(dtype.Int4, 3, 0x21, 0x0f))}}
}

// packed makes a vector of a sub-byte type.
func packed(dt dtype.Type, n int, data ...byte) *tensor.Tensor {
	t := tensor.New(dt, n)
	copy(t.Data, data)
	return t
}

type shapeCases struct{}

func (shapeCases) Cases() []op.Case {
	x := sequence(2, 3, 4)
	return []op.Case{
		{Name: "all", In: list(x), Out: list(vec(2, 3, 4))},
		{Name: "range", Attrs: attr("start", -2, "end", 9), In: list(x), Out: list(vec(3, 4))},
		{Name: "empty", Attrs: attr("start", 2, "end", 1), In: list(x), Out: list(vec())},
	}
}

type sizeCases struct{}

func (sizeCases) Cases() []op.Case {
	return []op.Case{{Name: "matrix", In: list(sequence(2, 3)), Out: list(tensor.Scalar(int64(6)))}}
}

type castLikeCases struct{}

func (castLikeCases) Cases() []op.Case {
	return []op.Case{{Name: "float", In: list(vec(1, -2), f32s([]int{1}, 0)), Out: list(f32s([]int{2}, 1, -2))}}
}

type narrowCastCases struct{}

func (narrowCastCases) Cases() []op.Case {
	x := f32s([]int{5}, -1.5, 0.1, 7, 448, 1e9)
	f8 := tensor.New(dtype.Float8E4M3FN, 5)
	copy(f8.Data, []byte{0xbc, 0x1d, 0x4e, 0x7e, 0x7e})
	return []op.Case{
		{Name: "float8", Opset: 19, Attrs: attr("to", int(dtype.Float8E4M3FN)), In: list(x), Out: list(f8)},
		{Name: "uint4", Opset: 21, Attrs: attr("to", int(dtype.Uint4)), In: list(vec(1, 2, 15)), Out: list(packed(dtype.Uint4, 3, 0x21, 0x0f))},
		{Name: "from int4", Opset: 21, Attrs: attr("to", int(dtype.Int64)), In: list(packed(dtype.Int4, 3, 0x21, 0x0f)), Out: list(vec(1, 2, -1))},
	}
}

type bitCastCases struct{}

func (bitCastCases) Cases() []op.Case {
	return []op.Case{{Name: "float bits", Attrs: attr("to", int(dtype.Uint32)), In: list(f32s([]int{2}, 1, -2)), Out: list(tensor.FromSlice([]uint32{0x3f800000, 0xc0000000}))}}
}

type gatherNDCases struct{}

func (gatherNDCases) Cases() []op.Case {
	x := sequence(2, 3, 2)
	return []op.Case{
		{Name: "slices", In: list(x, i64s([]int{2, 2}, 0, 1, -1, 0)), Out: list(f32s([]int{2, 2}, 2, 3, 6, 7))},
		{Name: "pairs", In: list(noise(40, 30, 50), indices(-30, 30, 7, 40, 2))},
		{Name: "pairs of a batch", Attrs: attr("batch_dims", 1), In: list(noise(4, 30, 20, 9), indices(-20, 20, 4, 60, 2))},
		{Name: "batch", Attrs: attr("batch_dims", 1), In: list(x, i64s([]int{2, 1}, 2, 0)), Out: list(f32s([]int{2, 2}, 4, 5, 6, 7))},
	}
}

type scatterElementsCases struct{}

func (scatterElementsCases) Cases() []op.Case {
	x := f32s([]int{2, 3}, 1, 2, 3, 4, 5, 6)
	idx, up := i64s([]int{2, 2}, 0, -1, 1, 1), f32s([]int{2, 2}, 10, 20, 30, 40)
	many, alike := indices(-5, 5, 9, 60, 70), indices(-5, 5, 540, 70)
	for i, ids := 0, tensor.Of[int64](alike); i < len(ids); i++ {
		ids[i] = ids[i/70*70]
	}
	return []op.Case{
		{Name: "columns", Attrs: attr("axis", 1, "reduction", "add"), In: list(sequence(9, 5, 70), many, noise(9, 60, 70))},
		{Name: "few columns", Attrs: attr("reduction", "max"), In: list(noise(5, 70), many.Reshape(540, 70), noise(540, 70))},
		{Name: "no columns", In: list(noise(5, 2, 0), indices(0, 5, 3, 2, 0), noise(3, 2, 0))},
		{Name: "one index a row", Attrs: attr("reduction", "add"), In: list(noise(9, 70), alike, noise(540, 70))},
		{Name: "fewer lines", Attrs: attr("axis", 2, "reduction", "min"), In: list(noise(9, 61, 5), many, noise(9, 60, 70))},
		{Name: "integers", Attrs: attr("axis", 2), In: list(indices(0, 100, 9, 60, 5), many, indices(0, 100, 9, 60, 70))},
		{Name: "replace", Attrs: attr("axis", 1), In: list(x, idx, up), Out: list(f32s([]int{2, 3}, 10, 2, 20, 4, 40, 6))},
		{Name: "add", Attrs: attr("axis", 1, "reduction", "add"), In: list(x, idx, up), Out: list(f32s([]int{2, 3}, 11, 2, 23, 4, 75, 6))},
		{Name: "max", Attrs: attr("axis", 1, "reduction", "max"), In: list(x, idx, up), Out: list(f32s([]int{2, 3}, 10, 2, 20, 4, 40, 6))},
	}
}

type scatterNDCases struct{}

func (scatterNDCases) Cases() []op.Case {
	x := f32s([]int{3, 2}, 1, 2, 3, 4, 5, 6)
	return []op.Case{
		{Name: "rows", In: list(x, i64s([]int{2, 1}, 2, 0), f32s([]int{2, 2}, 10, 20, 30, 40)), Out: list(f32s([]int{3, 2}, 30, 40, 3, 4, 10, 20))},
		{Name: "wide rows", Attrs: attr("reduction", "max"), In: list(noise(3, 5, 300), indices(-3, 3, 80, 1), noise(80, 5, 300))},
		{Name: "pairs", Attrs: attr("reduction", "add"), In: list(indices(0, 9, 3, 3, 40), indices(-3, 3, 80, 2), indices(0, 9, 80, 40))},
		{Name: "multiply", Attrs: attr("reduction", "mul"), In: list(x, i64s([]int{2, 2}, 0, 1, 0, 1), f32s([]int{2}, 10, 2)), Out: list(f32s([]int{3, 2}, 1, 40, 3, 4, 5, 6))},
	}
}

func nan32() float32 { return float32(math.NaN()) }

// noise makes numbers in no order, with repetitions.
func noise(dims ...int) *tensor.Tensor {
	t := sequence(dims...)
	for i, v := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = float32(int(v)*7919%101) - 50
	}
	return t
}

// indices makes numbers from lo to below hi in no order.
func indices(lo, hi int64, dims ...int) *tensor.Tensor {
	t := tensor.New(dtype.Int64, dims...)
	for i := range tensor.Of[int64](t) {
		tensor.Of[int64](t)[i] = lo + int64(i)*7919%101%(hi-lo)
	}
	return t
}

// withNaN has some elements that are none.
func withNaN(t *tensor.Tensor) *tensor.Tensor {
	v := tensor.Of[float32](t)
	for i := 3; i < len(v); i += 130 {
		v[i] = nan32()
	}
	return t
}

type topKCases struct{}

func (topKCases) Cases() []op.Case {
	x := f32s([]int{2, 4}, 1, 3, 3, 2, 0, -1, 5, 5)
	var cases []op.Case
	for _, dt := range []dtype.Type{dtype.Int8, dtype.Uint8, dtype.Int16, dtype.Uint16, dtype.Int32, dtype.Uint32, dtype.Int64, dtype.Uint64, dtype.Float64} {
		v := tensor.New(dt, 2, 90, 3)
		size := dt.Bits() / 8
		for i := range v.Data {
			if v.Data[i] = byte(i * i * 31 >> 3); dt == dtype.Float64 && i%size > 5 && i%64 > 7 { // NaN are few
				v.Data[i] = byte(i%5) + 0x3d + 128*byte(i&16>>4)
			}
		}
		cases = append(cases, op.Case{Name: "of " + dt.String(), Attrs: attr("axis", 1), In: list(v, vec(9))}, op.Case{Name: "all of " + dt.String(), Attrs: attr("axis", 1, "largest", 0), In: list(v, vec(90))},
			op.Case{Name: "smallest of " + dt.String(), Attrs: attr("axis", 2, "largest", 0), In: list(v, vec(2))})
	}
	return append(cases, []op.Case{
		{Name: "largest", In: list(x, vec(2)), Out: list(f32s([]int{2, 2}, 3, 3, 5, 5), i64s([]int{2, 2}, 1, 2, 2, 3))},
		{Name: "smallest", Attrs: attr("largest", 0), In: list(x, vec(1)), Out: list(f32s([]int{2, 1}, 1, -1), i64s([]int{2, 1}, 0, 1))},
		{Name: "NaN and ties", In: list(f32s([]int{7}, 1, nan32(), 2, nan32(), 2, -1, 0), vec(4)), Out: list(f32s([]int{4}, nan32(), nan32(), 2, 2), vec(1, 3, 2, 4))},
		{Name: "middle axis", Attrs: attr("axis", 1, "largest", 0), In: list(noise(3, 50, 4), vec(7))},
		{Name: "all", In: list(noise(2, 33), vec(33))},
		{Name: "long", In: list(withNaN(noise(2, 700)), vec(3))},
		{Name: "long, smallest", Attrs: attr("largest", 0), In: list(withNaN(noise(2, 700)), vec(3))},
		{Name: "few of short rows", In: list(withNaN(noise(7, 60)), vec(6))},
		{Name: "few of short rows, smallest", Attrs: attr("largest", 0), In: list(withNaN(noise(7, 60)), vec(2))},
		{Name: "few of two pieces", In: list(withNaN(noise(3, 131)), vec(16))},
		{Name: "few, all equal", Attrs: attr("largest", 0), In: list(tensor.New(dtype.Float32, 2, 200), vec(5))},
		{Name: "few of NaN", In: list(nothingButNaN(3, 150), vec(4))},
		{Name: "one", In: list(noise(5, 700), vec(1))},
		{Name: "one, smallest", Attrs: attr("largest", 0), In: list(withNaN(noise(5, 700)), vec(1))},
		{Name: "a part", In: list(withNaN(noise(3, 700)), vec(100))},
		{Name: "a part, smallest", Attrs: attr("largest", 0), In: list(withNaN(noise(3, 700)), vec(301))},
		{Name: "a part, all equal", In: list(tensor.New(dtype.Float32, 2, 300), vec(100))},
		{Name: "first axis", Attrs: attr("axis", 0), In: list(x, vec(1)), Out: list(f32s([]int{1, 4}, 1, 3, 5, 5), i64s([]int{1, 4}, 0, 0, 1, 1))},
	}...)
}

type uniqueCases struct{}

func (uniqueCases) Cases() []op.Case {
	x := f32s([]int{5}, 2, 1, 1, 3, 2)
	return []op.Case{
		{Name: "sorted", In: list(x), Out: list(f32s([]int{3}, 1, 2, 3), vec(1, 0, 3), vec(1, 0, 0, 2, 1), vec(2, 2, 1))},
		{Name: "as they come", Attrs: attr("sorted", 0), In: list(x), Out: list(f32s([]int{3}, 2, 1, 3), vec(0, 1, 3), vec(0, 1, 1, 2, 0), vec(2, 2, 1))},
		{Name: "of both signs", In: list(vec(300, -7, 300, 1<<40, -7)), Out: list(vec(-7, 300, 1<<40), vec(1, 0, 3), vec(1, 0, 1, 2, 0), vec(2, 2, 1))},
		{Name: "NaN and zeros", In: list(f32s([]int{5}, nan32(), 0, -1/inf32(), nan32(), -2)), Out: list(f32s([]int{3}, -2, 0, nan32()), vec(4, 1, 0), vec(2, 1, 1, 2, 0), vec(1, 2, 2))},
		{Name: "rows", Attrs: attr("axis", 0), In: list(f32s([]int{3, 2}, 1, 0, 0, 1, 1, 0)), Out: list(f32s([]int{2, 2}, 0, 1, 1, 0), vec(1, 0), vec(1, 0, 1), vec(1, 2))},
	}
}

type nonZeroCases struct{}

func (nonZeroCases) Cases() []op.Case {
	return []op.Case{{Name: "matrix", In: list(f32s([]int{2, 2}, 1, 0, 1, 1)), Out: list(i64s([]int{2, 3}, 0, 1, 1, 0, 0, 1))},
		{Name: "zeros and a NaN", In: list(f32s([]int{3}, -1/inf32(), nan32(), 0)), Out: list(i64s([]int{1, 1}, 1))},
		{Name: "volume of bool", In: list(tensor.FromSlice([]bool{true, false, false, true, false, false, true, true}, 2, 2, 2)),
			Out: list(i64s([]int{3, 4}, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1))},
		{Name: "scalar", In: list(tensor.Scalar(int64(7))), Out: list(i64s([]int{0, 1}))},
		{Name: "none", In: list(tensor.FromSlice([]int64{0, 0})), Out: list(i64s([]int{1, 0}))}}
}

type compressCases struct{}

func (compressCases) Cases() []op.Case {
	x := f32s([]int{3, 2}, 1, 2, 3, 4, 5, 6)
	return []op.Case{
		{Name: "rows", Attrs: attr("axis", 0), In: list(x, tensor.FromSlice([]bool{false, true, true})), Out: list(f32s([]int{2, 2}, 3, 4, 5, 6))},
		{Name: "elements", In: list(x, tensor.FromSlice([]bool{false, true})), Out: list(f32s([]int{1}, 2))},
	}
}

type triluCases struct{}

func (triluCases) Cases() []op.Case {
	x := f32s([]int{2, 3}, 1, 2, 3, 4, 5, 6)
	return []op.Case{
		{Name: "upper", In: list(x), Out: list(f32s([]int{2, 3}, 1, 2, 3, 0, 5, 6))},
		{Name: "lower", Attrs: attr("upper", 0), In: list(x, tensor.Scalar(int64(-1))), Out: list(f32s([]int{2, 3}, 0, 0, 0, 4, 0, 0))},
		{Name: "beyond", In: list(x, tensor.Scalar(int64(9))), Out: list(f32s([]int{2, 3}, 0, 0, 0, 0, 0, 0))},
		{Name: "matrices", Attrs: attr("upper", 0), In: list(sequence(3, 150, 170), tensor.Scalar(int64(2)))},
	}
}

type oneHotCases struct{}

func (oneHotCases) Cases() []op.Case {
	values := f32s([]int{2}, -1, 1)
	return []op.Case{
		{Name: "last", In: list(vec(1, -1, 7), tensor.Scalar(int64(3)), values), Out: list(f32s([]int{3, 3}, -1, 1, -1, -1, -1, 1, -1, -1, -1))},
		{Name: "first", Attrs: attr("axis", 0), In: list(vec(0, 1), tensor.Scalar(int64(2)), values), Out: list(f32s([]int{2, 2}, 1, -1, -1, 1))},
	}
}

type reverseSequenceCases struct{}

func (reverseSequenceCases) Cases() []op.Case {
	x := f32s([]int{3, 2}, 0, 1, 2, 3, 4, 5)
	return []op.Case{
		{Name: "time first", In: list(x, vec(3, 2)), Out: list(f32s([]int{3, 2}, 4, 3, 2, 1, 0, 5))},
		{Name: "batch first", Attrs: attr("batch_axis", 0, "time_axis", 1), In: list(x, vec(2, 1, 2)), Out: list(f32s([]int{3, 2}, 1, 0, 2, 3, 5, 4))},
		{Name: "vectors, time first", In: list(sequence(5, 4, 3), vec(3, 3, 0, 5))},
		{Name: "vectors, batch first", Attrs: attr("batch_axis", 0, "time_axis", 1), In: list(sequence(4, 5, 3), vec(3, 1, 0, 5))},
	}
}

type eyeCases struct{}

func (eyeCases) Cases() []op.Case {
	return []op.Case{{Name: "above", Attrs: attr("k", 1), In: list(sequence(2, 3)), Out: list(f32s([]int{2, 3}, 0, 1, 0, 0, 0, 1))},
		{Name: "below", Attrs: attr("k", -2), In: list(sequence(5, 2)), Out: list(f32s([]int{5, 2}, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0))}}
}

type isNaNCases struct{}

func (isNaNCases) Cases() []op.Case {
	x := f32s([]int{3}, 1, nan32(), inf32())
	return []op.Case{{Name: "float32", In: list(x), Out: list(tensor.FromSlice([]bool{false, true, false}))}}
}

type isInfCases struct{}

func (isInfCases) Cases() []op.Case {
	x := f32s([]int{3}, nan32(), inf32(), -inf32())
	return []op.Case{
		{Name: "both", In: list(x), Out: list(tensor.FromSlice([]bool{false, true, true}))},
		{Name: "negative", Attrs: attr("detect_positive", 0), In: list(x), Out: list(tensor.FromSlice([]bool{false, false, true}))},
	}
}

type upsampleCases struct{}

func (upsampleCases) Cases() []op.Case {
	x := f32s([]int{1, 1, 1, 2}, 1, 2)
	return []op.Case{
		{Name: "nearest", In: list(x, f32s([]int{4}, 1, 1, 2, 2)), Out: list(f32s([]int{1, 1, 2, 4}, 1, 1, 2, 2, 1, 1, 2, 2))},
		{Name: "linear", Attrs: attr("mode", "linear"), In: list(x, f32s([]int{4}, 1, 1, 1, 2)), Out: list(f32s([]int{1, 1, 1, 4}, 1, 1.5, 2, 2))},
	}
}

func nothingButNaN(dims ...int) *tensor.Tensor {
	t := tensor.New(dtype.Float32, dims...)
	for i := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = nan32()
	}
	return t
}
