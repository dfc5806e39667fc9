//go:build !noasm

package elemwise

import "math"

//go:generate go -C ../../../tools/asmgen run . typed -out ../../internal/kernels/elemwise/typed_amd64.s

func ints[T any](f func(dst, a, b []T)) func(dst, a, b []byte) {
	return func(dst, a, b []byte) { f(view[T](dst), view[T](a), view[T](b)) }
}

// typedAVX2 is what there is for AVX2.
func typedAVX2() (t typed) {
	t.width, t.notZero, t.isNaN, t.isInf = 8, notZeroAVX2, isNaNAVX2, isInfAVX2
	t.rows = map[typedOp]func(dst, a, b []byte){
		{Add, 4}: ints(addInt32AVX2), {Sub, 4}: ints(subInt32AVX2), {Mul, 4}: ints(mulInt32AVX2), {Add, 8}: ints(addInt64AVX2), {Sub, 8}: ints(subInt64AVX2),
		{Min, 4}: ints(minInt32AVX2), {Max, 4}: ints(maxInt32AVX2), {Min, 8}: ints(minInt64AVX2), {Max, 8}: ints(maxInt64AVX2),
		{ShiftLeft, 4}: ints(shiftLeft32AVX2), {ShiftRight, 4}: ints(shiftRight32AVX2), {ShiftLeft, 8}: ints(shiftLeft64AVX2), {ShiftRight, 8}: ints(shiftRight64AVX2),
		{Add, 1}: addBytesAVX2, {Sub, 1}: subBytesAVX2, {Mul, 1}: mulBytesAVX2, {Equal, 1}: equalBytesAVX2,
		{Min, 1}: minInt8AVX2, {Max, 1}: maxInt8AVX2, {Min, unsignedByte}: minUint8AVX2, {Max, unsignedByte}: maxUint8AVX2,
		{Add, 2}: addInt16AVX2, {Sub, 2}: subInt16AVX2, {Mul, 2}: mulInt16AVX2, {Min, 2}: minInt16AVX2, {Max, 2}: maxInt16AVX2,
		{Add, double}: ints(addDoubleAVX2), {Sub, double}: ints(subDoubleAVX2), {Mul, double}: ints(mulDoubleAVX2), {Div, double}: ints(divDoubleAVX2), {Min, double}: ints(minDoubleAVX2), {Max, double}: ints(maxDoubleAVX2),
		{BitAnd, 0}: andBitsAVX2, {BitOr, 0}: orBitsAVX2, {BitXor, 0}: xorBitsAVX2,
		{And, 1}: andTruthAVX2, {Or, 1}: orTruthAVX2, {Xor, 1}: xorTruthAVX2,
	}
	t.compare = map[Binary]compareRows{
		Equal: {equalRRAVX2, equalRVAVX2}, Less: {lessRRAVX2, lessRVAVX2}, LessEqual: {lessEqualRRAVX2, lessEqualRVAVX2},
		Greater: {greaterRRAVX2, greaterRVAVX2}, GreaterEqual: {greaterEqualRRAVX2, greaterEqualRVAVX2},
	}
	t.compareInts = map[typedOp]func(dst, a, b []byte){
		{Equal, 2}: truthsOf(equalInt16AVX2), {Greater, 2}: truthsOf(greaterInt16AVX2),
		{Equal, 4}: truthsOf(equalInt32AVX2), {Greater, 4}: truthsOf(greaterInt32AVX2), {LessEqual, 4}: truthsOf(lessEqualInt32AVX2),
		{Equal, double}: truthsOf(equalDoubleAVX2), {Less, double}: truthsOf(lessDoubleAVX2), {LessEqual, double}: truthsOf(lessEqualDoubleAVX2),
		{Equal, 8}: truthsOf(equalInt64AVX2), {Greater, 8}: truthsOf(greaterInt64AVX2), {LessEqual, 8}: truthsOf(lessEqualInt64AVX2),
	}
	return t
}

// typedAVX512 is what there is for AVX512.
func typedAVX512() (t typed) {
	t.width, t.notZero, t.isNaN, t.isInf = 16, notZeroAVX512, isNaNAVX512, isInfAVX512
	t.rows = map[typedOp]func(dst, a, b []byte){
		{Add, 4}: ints(addInt32AVX512), {Sub, 4}: ints(subInt32AVX512), {Mul, 4}: ints(mulInt32AVX512), {Add, 8}: ints(addInt64AVX512), {Sub, 8}: ints(subInt64AVX512),
		{Min, 4}: ints(minInt32AVX512), {Max, 4}: ints(maxInt32AVX512), {Min, 8}: ints(minInt64AVX512), {Max, 8}: ints(maxInt64AVX512),
		{ShiftLeft, 4}: ints(shiftLeft32AVX512), {ShiftRight, 4}: ints(shiftRight32AVX512), {ShiftLeft, 8}: ints(shiftLeft64AVX512), {ShiftRight, 8}: ints(shiftRight64AVX512),
		{Add, 1}: addBytesAVX512, {Sub, 1}: subBytesAVX512, {Mul, 1}: mulBytesAVX512, {Equal, 1}: equalBytesAVX512,
		{Min, 1}: minInt8AVX512, {Max, 1}: maxInt8AVX512, {Min, unsignedByte}: minUint8AVX512, {Max, unsignedByte}: maxUint8AVX512,
		{Add, 2}: addInt16AVX512, {Sub, 2}: subInt16AVX512, {Mul, 2}: mulInt16AVX512, {Min, 2}: minInt16AVX512, {Max, 2}: maxInt16AVX512,
		{Add, double}: ints(addDoubleAVX512), {Sub, double}: ints(subDoubleAVX512), {Mul, double}: ints(mulDoubleAVX512), {Div, double}: ints(divDoubleAVX512), {Min, double}: ints(minDoubleAVX512), {Max, double}: ints(maxDoubleAVX512),
		{BitAnd, 0}: andBitsAVX512, {BitOr, 0}: orBitsAVX512, {BitXor, 0}: xorBitsAVX512,
		{And, 1}: andTruthAVX512, {Or, 1}: orTruthAVX512, {Xor, 1}: xorTruthAVX512,
	}
	t.compare = map[Binary]compareRows{
		Equal: {equalRRAVX512, equalRVAVX512}, Less: {lessRRAVX512, lessRVAVX512}, LessEqual: {lessEqualRRAVX512, lessEqualRVAVX512},
		Greater: {greaterRRAVX512, greaterRVAVX512}, GreaterEqual: {greaterEqualRRAVX512, greaterEqualRVAVX512},
	}
	t.compareInts = map[typedOp]func(dst, a, b []byte){
		{Equal, 2}: truthsOf(equalInt16AVX512), {Greater, 2}: truthsOf(greaterInt16AVX512),
		{Equal, 4}: truthsOf(equalInt32AVX512), {Greater, 4}: truthsOf(greaterInt32AVX512), {LessEqual, 4}: truthsOf(lessEqualInt32AVX512),
		{Equal, double}: truthsOf(equalDoubleAVX512), {Less, double}: truthsOf(lessDoubleAVX512), {LessEqual, double}: truthsOf(lessEqualDoubleAVX512),
		{Equal, 8}: truthsOf(equalInt64AVX512), {Greater, 8}: truthsOf(greaterInt64AVX512), {LessEqual, 8}: truthsOf(lessEqualInt64AVX512),
	}
	return t
}

func truthsOf[T any](f func(dst []bool, a, b []T)) func(dst, a, b []byte) {
	return func(dst, a, b []byte) { f(view[bool](dst), view[T](a), view[T](b)) }
}

// mended is a function of float32 whose kernel leaves some elements to portable code.
type mended struct {
	op   Binary
	wide bool
}

// undone are the bits of a NaN that a kernel leaves for what is computed one by one.
const undone = 0x7fe5a5a5

// compute calls a kernel by name, so that nothing escapes to the heap; it returns how many elements are undone.
func (f mended) compute(dst, a, b []float32) int {
	switch {
	case f.op == Pow && f.wide:
		return powerAVX512(dst, a, b, undone)
	case f.op == Pow:
		return powerAVX2(dst, a, b, undone)
	case f.op == Mod && f.wide:
		return modAVX512(dst, a, b, undone)
	case f.op == Mod:
		return modAVX2(dst, a, b, undone)
	case f.wide:
		return fmodAVX512(dst, a, b, undone)
	}
	return fmodAVX2(dst, a, b, undone)
}

// one computes an element that the kernel can't.
func (f mended) one(x, y float32) float32 {
	switch f.op {
	case Pow:
		return pow(x, y)
	case Mod:
		return float32(floorMod(float64(x), float64(y)))
	}
	return float32(fmod(float64(x), float64(y)))
}

// mendedLanes is a multiple of every kernel's step.
const mendedLanes = 16

func (f mended) row(dst, a, b []float32, sa, sb int) {
	if f.op == Pow && sa == 1 && sb == 0 && len(dst) > 0 && (b[0] == 2 || b[0] == 3) {
		f.products(dst, a, b[0] == 3)
		return
	}
	var x, y, z [block]float32
	for len(dst) > 0 {
		n := min(block, len(dst))
		m := (n + mendedLanes - 1) / mendedLanes * mendedLanes
		fillMended(x[:m], a, n, sa)
		fillMended(y[:m], b, n, sb)
		if f.compute(z[:m], x[:m], y[:m]) > 0 {
			for i, v := range z[:n] {
				if math.Float32bits(v) == undone {
					z[i] = f.one(x[i], y[i])
				}
			}
		}
		copy(dst, z[:n])
		dst, a, b = dst[n:], a[n*sa:], b[n*sb:]
	}
}

// fillMended copies n elements of src, or as many times the value that it is, and ones after
// them.
func fillMended(dst, src []float32, n, stride int) {
	if stride != 0 {
		copy(dst, src[:n])
	} else {
		for i := range n {
			dst[i] = src[0]
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = 1
	}
}

// products is a·a, or with cube a·a·a.
func (f mended) products(dst, a []float32, cube bool) {
	var square [block]float32
	for len(dst) > 0 {
		n := min(block, len(dst))
		f.multiply(square[:n], a[:n], a[:n])
		if cube {
			f.multiply(dst[:n], square[:n], a[:n])
		} else {
			copy(dst, square[:n])
		}
		dst, a = dst[n:], a[n:]
	}
}

// multiply calls a kernel by name, so that nothing escapes to the heap.
func (f mended) multiply(dst, a, b []float32) {
	if f.wide {
		mulRRAVX512(dst, a, b)
	} else {
		mulRRAVX2(dst, a, b)
	}
}
