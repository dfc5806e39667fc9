//go:build !noasm

package elemwise

import "github.com/salver-ml/salver/internal/dtype"

//go:generate go -C ../../../tools/asmgen run . elemwise_typed -out ../../internal/kernels/elemwise/typed_amd64.s

func onRows[T any](f func(dst, a, b []T)) func(dst, a, b []byte) {
	return func(dst, a, b []byte) { f(view[T](dst), view[T](a), view[T](b)) }
}

func onRow[T any](f func(dst, src []T)) func(dst, src []byte) {
	return func(dst, src []byte) { f(view[T](dst), view[T](src)) }
}

// typedAVX2 is what there is for AVX2.
func typedAVX2() (t typed) {
	t.width, t.notZero, t.isNaN, t.isInf = 8, notZeroAVX2, isNaNAVX2, isInfAVX2
	t.rows = map[typedOp]func(dst, a, b []byte){
		{Add, dtype.Int8}: addBytesAVX2, {Sub, dtype.Int8}: subBytesAVX2, {Mul, dtype.Int8}: mulBytesAVX2, {Equal, dtype.Int8}: equalBytesAVX2,
		{Min, dtype.Int8}: minInt8AVX2, {Max, dtype.Int8}: maxInt8AVX2, {Min, dtype.Uint8}: minUint8AVX2, {Max, dtype.Uint8}: maxUint8AVX2,
		{Add, dtype.Int16}: addInt16AVX2, {Sub, dtype.Int16}: subInt16AVX2, {Mul, dtype.Int16}: mulInt16AVX2, {Min, dtype.Int16}: minInt16AVX2, {Max, dtype.Int16}: maxInt16AVX2,
		{Add, dtype.Int32}: onRows(addInt32AVX2), {Sub, dtype.Int32}: onRows(subInt32AVX2), {Mul, dtype.Int32}: onRows(mulInt32AVX2), {Min, dtype.Int32}: onRows(minInt32AVX2), {Max, dtype.Int32}: onRows(maxInt32AVX2),
		{Add, dtype.Int64}: onRows(addInt64AVX2), {Sub, dtype.Int64}: onRows(subInt64AVX2), {Min, dtype.Int64}: onRows(minInt64AVX2), {Max, dtype.Int64}: onRows(maxInt64AVX2),
		{Add, dtype.Float64}: onRows(addDoubleAVX2), {Sub, dtype.Float64}: onRows(subDoubleAVX2), {Mul, dtype.Float64}: onRows(mulDoubleAVX2), {Div, dtype.Float64}: onRows(divDoubleAVX2), {Min, dtype.Float64}: onRows(minDoubleAVX2), {Max, dtype.Float64}: onRows(maxDoubleAVX2),
		{ShiftLeft, dtype.Int32}: onRows(shiftLeft32AVX2), {ShiftRight, dtype.Uint32}: onRows(shiftRight32AVX2), {ShiftLeft, dtype.Int64}: onRows(shiftLeft64AVX2), {ShiftRight, dtype.Uint64}: onRows(shiftRight64AVX2),
		{BitAnd, anyBits}: andBitsAVX2, {BitOr, anyBits}: orBitsAVX2, {BitXor, anyBits}: xorBitsAVX2,
		{And, dtype.Bool}: andTruthAVX2, {Or, dtype.Bool}: orTruthAVX2, {Xor, dtype.Bool}: xorTruthAVX2,
	}
	t.doubles = map[Op]func(dst, src []byte){
		Sqrt: onRow(sqrtDoubleAVX2), Floor: onRow(floorDoubleAVX2), Ceil: onRow(ceilDoubleAVX2), Round: onRow(roundDoubleAVX2),
		Exp: onRow(expDoubleAVX2), Sigmoid: onRow(sigmoidDoubleAVX2), Tanh: onRow(tanhDoubleAVX2),
	}
	t.compareFloats = map[Binary]compareRows{
		Equal: {equalRRAVX2, equalRVAVX2}, Less: {lessRRAVX2, lessRVAVX2}, LessEqual: {lessEqualRRAVX2, lessEqualRVAVX2},
		Greater: {greaterRRAVX2, greaterRVAVX2}, GreaterEqual: {greaterEqualRRAVX2, greaterEqualRVAVX2},
	}
	t.compare = map[typedOp]func(dst, a, b []byte){
		{Equal, dtype.Int16}: truthsOf(equalInt16AVX2), {Greater, dtype.Int16}: truthsOf(greaterInt16AVX2),
		{Equal, dtype.Int32}: truthsOf(equalInt32AVX2), {Greater, dtype.Int32}: truthsOf(greaterInt32AVX2), {LessEqual, dtype.Int32}: truthsOf(lessEqualInt32AVX2),
		{Equal, dtype.Int64}: truthsOf(equalInt64AVX2), {Greater, dtype.Int64}: truthsOf(greaterInt64AVX2), {LessEqual, dtype.Int64}: truthsOf(lessEqualInt64AVX2),
		{Equal, dtype.Float64}: truthsOf(equalDoubleAVX2), {Less, dtype.Float64}: truthsOf(lessDoubleAVX2), {LessEqual, dtype.Float64}: truthsOf(lessEqualDoubleAVX2),
	}
	return t
}

// typedAVX512 is what there is for AVX512.
func typedAVX512() (t typed) {
	t.width, t.notZero, t.isNaN, t.isInf = 16, notZeroAVX512, isNaNAVX512, isInfAVX512
	t.rows = map[typedOp]func(dst, a, b []byte){
		{Add, dtype.Int8}: addBytesAVX512, {Sub, dtype.Int8}: subBytesAVX512, {Mul, dtype.Int8}: mulBytesAVX512, {Equal, dtype.Int8}: equalBytesAVX512,
		{Min, dtype.Int8}: minInt8AVX512, {Max, dtype.Int8}: maxInt8AVX512, {Min, dtype.Uint8}: minUint8AVX512, {Max, dtype.Uint8}: maxUint8AVX512,
		{Add, dtype.Int16}: addInt16AVX512, {Sub, dtype.Int16}: subInt16AVX512, {Mul, dtype.Int16}: mulInt16AVX512, {Min, dtype.Int16}: minInt16AVX512, {Max, dtype.Int16}: maxInt16AVX512,
		{Add, dtype.Int32}: onRows(addInt32AVX512), {Sub, dtype.Int32}: onRows(subInt32AVX512), {Mul, dtype.Int32}: onRows(mulInt32AVX512), {Min, dtype.Int32}: onRows(minInt32AVX512), {Max, dtype.Int32}: onRows(maxInt32AVX512),
		{Add, dtype.Int64}: onRows(addInt64AVX512), {Sub, dtype.Int64}: onRows(subInt64AVX512), {Min, dtype.Int64}: onRows(minInt64AVX512), {Max, dtype.Int64}: onRows(maxInt64AVX512),
		{Add, dtype.Float64}: onRows(addDoubleAVX512), {Sub, dtype.Float64}: onRows(subDoubleAVX512), {Mul, dtype.Float64}: onRows(mulDoubleAVX512), {Div, dtype.Float64}: onRows(divDoubleAVX512), {Min, dtype.Float64}: onRows(minDoubleAVX512), {Max, dtype.Float64}: onRows(maxDoubleAVX512),
		{ShiftLeft, dtype.Int32}: onRows(shiftLeft32AVX512), {ShiftRight, dtype.Uint32}: onRows(shiftRight32AVX512), {ShiftLeft, dtype.Int64}: onRows(shiftLeft64AVX512), {ShiftRight, dtype.Uint64}: onRows(shiftRight64AVX512),
		{BitAnd, anyBits}: andBitsAVX512, {BitOr, anyBits}: orBitsAVX512, {BitXor, anyBits}: xorBitsAVX512,
		{And, dtype.Bool}: andTruthAVX512, {Or, dtype.Bool}: orTruthAVX512, {Xor, dtype.Bool}: xorTruthAVX512,
	}
	t.doubles = map[Op]func(dst, src []byte){
		Sqrt: onRow(sqrtDoubleAVX512), Floor: onRow(floorDoubleAVX512), Ceil: onRow(ceilDoubleAVX512), Round: onRow(roundDoubleAVX512),
		Exp: onRow(expDoubleAVX512), Sigmoid: onRow(sigmoidDoubleAVX512), Tanh: onRow(tanhDoubleAVX512),
	}
	t.compareFloats = map[Binary]compareRows{
		Equal: {equalRRAVX512, equalRVAVX512}, Less: {lessRRAVX512, lessRVAVX512}, LessEqual: {lessEqualRRAVX512, lessEqualRVAVX512},
		Greater: {greaterRRAVX512, greaterRVAVX512}, GreaterEqual: {greaterEqualRRAVX512, greaterEqualRVAVX512},
	}
	t.compare = map[typedOp]func(dst, a, b []byte){
		{Equal, dtype.Int16}: truthsOf(equalInt16AVX512), {Greater, dtype.Int16}: truthsOf(greaterInt16AVX512),
		{Equal, dtype.Int32}: truthsOf(equalInt32AVX512), {Greater, dtype.Int32}: truthsOf(greaterInt32AVX512), {LessEqual, dtype.Int32}: truthsOf(lessEqualInt32AVX512),
		{Equal, dtype.Int64}: truthsOf(equalInt64AVX512), {Greater, dtype.Int64}: truthsOf(greaterInt64AVX512), {LessEqual, dtype.Int64}: truthsOf(lessEqualInt64AVX512),
		{Equal, dtype.Float64}: truthsOf(equalDoubleAVX512), {Less, dtype.Float64}: truthsOf(lessDoubleAVX512), {LessEqual, dtype.Float64}: truthsOf(lessEqualDoubleAVX512),
	}
	return t
}

func truthsOf[T any](f func(dst []bool, a, b []T)) func(dst, a, b []byte) {
	return func(dst, a, b []byte) { f(view[bool](dst), view[T](a), view[T](b)) }
}
