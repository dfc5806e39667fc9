//go:build !noasm

package elemwise

import "math"

//go:generate go -C ../../../tools/asmgen run . typed -out ../../internal/kernels/elemwise/typed_amd64.s

func ints[T any](f func(dst, a, b []T)) func(dst, a, b []byte) {
	return func(dst, a, b []byte) { f(view[T](dst), view[T](a), view[T](b)) }
}

// typedAVX2 is what there is for AVX2.
func typedAVX2() (t typed) {
	t.width, t.notZero, t.isNaN = 8, notZeroAVX2, isNaNAVX2
	t.rows = map[typedOp]func(dst, a, b []byte){
		{Add, 4}: ints(addInt32AVX2), {Sub, 4}: ints(subInt32AVX2), {Mul, 4}: ints(mulInt32AVX2), {Add, 8}: ints(addInt64AVX2), {Sub, 8}: ints(subInt64AVX2),
		{BitAnd, 0}: andBitsAVX2, {BitOr, 0}: orBitsAVX2, {BitXor, 0}: xorBitsAVX2,
		{And, 1}: andTruthAVX2, {Or, 1}: orTruthAVX2, {Xor, 1}: xorTruthAVX2,
	}
	t.compare = map[Binary]compareRows{
		Equal: {equalRRAVX2, equalRVAVX2}, Less: {lessRRAVX2, lessRVAVX2}, LessEqual: {lessEqualRRAVX2, lessEqualRVAVX2},
		Greater: {greaterRRAVX2, greaterRVAVX2}, GreaterEqual: {greaterEqualRRAVX2, greaterEqualRVAVX2},
	}
	return t
}

// typedAVX512 is what there is for AVX512.
func typedAVX512() (t typed) {
	t.width, t.notZero, t.isNaN = 16, notZeroAVX512, isNaNAVX512
	t.rows = map[typedOp]func(dst, a, b []byte){
		{Add, 4}: ints(addInt32AVX512), {Sub, 4}: ints(subInt32AVX512), {Mul, 4}: ints(mulInt32AVX512), {Add, 8}: ints(addInt64AVX512), {Sub, 8}: ints(subInt64AVX512),
		{BitAnd, 0}: andBitsAVX512, {BitOr, 0}: orBitsAVX512, {BitXor, 0}: xorBitsAVX512,
		{And, 1}: andTruthAVX512, {Or, 1}: orTruthAVX512, {Xor, 1}: xorTruthAVX512,
	}
	t.compare = map[Binary]compareRows{
		Equal: {equalRRAVX512, equalRVAVX512}, Less: {lessRRAVX512, lessRVAVX512}, LessEqual: {lessEqualRRAVX512, lessEqualRVAVX512},
		Greater: {greaterRRAVX512, greaterRVAVX512}, GreaterEqual: {greaterEqualRRAVX512, greaterEqualRVAVX512},
	}
	return t
}

// powers is Pow of float32.
type powers struct{ wide bool }

// undonePower are the bits of a NaN that a kernel leaves for what is computed one by one.
const undonePower = 0x7fe5a5a5

func (p powers) compute(dst, a, b []float32) (undone int) {
	if p.wide {
		return powerAVX512(dst, a, b, undonePower)
	}
	return powerAVX2(dst, a, b, undonePower)
}

func (p powers) lanes() int {
	if p.wide {
		return 8
	}
	return 4
}

func (p powers) row(dst, a, b []float32, sa, sb int) {
	if sa == 1 && sb == 0 && len(dst) > 0 && (b[0] == 2 || b[0] == 3) {
		p.products(dst, a, b[0] == 3)
		return
	}
	var x, y, z [block]float32
	lanes := p.lanes()
	for len(dst) > 0 {
		n := min(block, len(dst))
		m := (n + lanes - 1) / lanes * lanes
		fillPower(x[:m], a, n, sa)
		fillPower(y[:m], b, n, sb)
		if p.compute(z[:m], x[:m], y[:m]) > 0 {
			for i, v := range z[:n] {
				if math.Float32bits(v) == undonePower {
					z[i] = pow(x[i], y[i])
				}
			}
		}
		copy(dst, z[:n])
		dst, a, b = dst[n:], a[n*sa:], b[n*sb:]
	}
}

// fillPower copies n elements of src, or as many times the value that it is, and ones after
// them.
func fillPower(dst, src []float32, n, stride int) {
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
func (p powers) products(dst, a []float32, cube bool) {
	var square [block]float32
	for len(dst) > 0 {
		n := min(block, len(dst))
		p.multiply(square[:n], a[:n], a[:n])
		if cube {
			p.multiply(dst[:n], square[:n], a[:n])
		} else {
			copy(dst, square[:n])
		}
		dst, a = dst[n:], a[n:]
	}
}

// multiply calls a kernel by name, so that nothing escapes to the heap.
func (p powers) multiply(dst, a, b []float32) {
	if p.wide {
		mulRRAVX512(dst, a, b)
	} else {
		mulRRAVX2(dst, a, b)
	}
}
