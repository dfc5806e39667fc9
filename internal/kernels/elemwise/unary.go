package elemwise

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Op names a function of one argument. A, B and C are its parameters.
type Op uint8

// The functions. The error is the largest of the vector kernels in units in
// the last place; 0 means correctly rounded or exact, and no figure means that
// there is no vector kernel: float64 arithmetic, rounded once.
const (
	Abs             Op = iota // |x|: 0
	Neg                       // -x: 0
	Sign                      // -1, 0 or 1
	Floor                     // 0
	Ceil                      // 0
	Round                     // to the nearest integer, ties to even: 0
	Sqrt                      // 0
	Reciprocal                // 1/x: 0
	Square                    // x·x: 0
	Exp                       // 1.1
	Log                       // 1
	Sin                       // 1.5
	Cos                       // 1.5
	Tan                       // 3.5
	Asin                      // 2
	Acos                      // 2
	Atan                      // 2
	Sinh                      // 2
	Cosh                      // 2
	Asinh                     // 3
	Acosh                     // 3
	Atanh                     // 3
	Tanh                      // 3
	Sigmoid                   // 1/(1+e^-x): 3
	Erf                       // 2
	Gelu                      // x·Φ(x): 4
	GeluTanh                  // x/2·(1+tanh(√(2/π)(x+0.044715x³))): 4
	Silu                      // x·sigmoid(A·x), A = 1 for SiLU and Swish: 4
	HardSigmoid               // max(0, min(1, A·x+B)), each operation rounded
	HardSwish                 // x·max(0, min(1, x/6+1/2)), with x·float32(1/6), each operation rounded
	Mish                      // x·tanh(softplus(x)): 4.5
	Softplus                  // log(1+e^x): 2
	Softsign                  // x/(1+|x|), each operation rounded
	Elu                       // x > 0 ? B·x : A·expm1(C·x); ELU B=C=1; SELU A=γα, B=γ; CELU A=α, C=1/α: 4
	LeakyRelu                 // x < 0 ? A·x : x: 0
	ThresholdedRelu           // x > A ? x : 0
	Relu                      // x < 0 ? 0 : x (keeps -0 and NaN): 0
	Clip                      // min(max(x, A), B); B wins where A > B, NaN stays: 0
	Shrink                    // x < -A ? x+B : x > A ? x-B : 0: 0
	Affine                    // A·x+B, each operation rounded
	numOps
)

var opNames = [numOps]string{"Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Square",
	"Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
	"Tanh", "Sigmoid", "Erf", "Gelu", "GeluTanh", "Silu", "HardSigmoid", "HardSwish", "Mish", "Softplus", "Softsign",
	"Elu", "LeakyRelu", "ThresholdedRelu", "Relu", "Clip", "Shrink", "Affine"}

func (op Op) String() string {
	if op < numOps {
		return opNames[op]
	}
	return fmt.Sprintf("elemwise.Op(%d)", uint8(op))
}

// Params are the parameters A, B and C of an Op that has any.
type Params struct{ A, B, C float32 }

// Func is a float32 row kernel: dst[i] = f(src[i]) for len(dst) elements; src
// is at least as long. dst may be src.
type Func func(dst, src []float32, p Params)

// Float32 is op's row kernel at the current instruction-set level.
func Float32(op Op) Func { return current().unary[op] }

// grain is the least number of elements in a chunk of the cheapest functions,
// which take 1 µs in cache and 5 µs from memory.
const grain = 16384

// grain is the least number of elements in a chunk. Handing a chunk to a thread
// costs about 0.5 µs.
func (op Op) grain() int {
	if op >= Exp && op <= Silu || op == Mish || op == Softplus || op == Elu {
		return grain / 8 // 2048 take 1 µs and more
	}
	return grain
}

// callMax bounds the elements of one call into assembly, which can't be
// preempted: 8192 of the slowest function take about 20 µs.
const callMax = 8192

// block is the number of narrow elements that are widened to float32 at once.
const block = 512

// Unary is a prepared function of one argument.
type Unary struct {
	row      rowFunc1
	params   Params
	size     int
	grain    int
	dst, src []byte
	n, parts int
	scratch  [][]float32 // per chunk, but for float32
}

// rowFunc1 computes n elements.
type rowFunc1 func(dst, src unsafe.Pointer, n int, p Params, scratch []float32)

// NewUnary prepares op for an element type. Integers have Abs, Neg, Sign, Relu,
// Square, and Floor, Ceil and Round, which do nothing. Float16 and bfloat16 go through float32.
func NewUnary(op Op, dt dtype.Type, p Params) (*Unary, error) {
	if op >= numOps {
		return nil, fmt.Errorf("elemwise: no operation %v", op)
	}
	u := &Unary{params: p, size: dt.Bits() / 8, grain: op.grain()}
	switch dt {
	case dtype.Float32:
		u.row = float32Row(current().unary[op])
	case dtype.Float64:
		u.row = doubleRow1(op)
		u.scratch = make([][]float32, split.Most)
	case dtype.Float16, dtype.BFloat16:
		u.row = narrowRow(current().unary[op], narrowCodec(dt))
		u.scratch = make([][]float32, split.Most)
	default:
		u.row = intRow(op, dt)
		u.scratch = make([][]float32, split.Most)
	}
	if u.row == nil {
		return nil, fmt.Errorf("elemwise: %v is not defined for %v", op, dt)
	}
	return u, nil
}

// Run computes dst = op(src), as many elements as dst has.
func (u *Unary) Run(p *pool.Pool, dst, src []byte) {
	u.n = len(dst) / u.size
	if u.n == 0 {
		return
	}
	u.dst, u.src = dst, src[:len(dst)]
	u.parts = split.Parts(u.n, u.grain)
	if u.scratch != nil {
		for i := range u.parts {
			if u.scratch[i] == nil {
				u.scratch[i] = make([]float32, block)
			}
		}
	}
	p.RunFromEnds(u.parts, u)
	u.dst, u.src = nil, nil
}

// Do computes one chunk; it is called by the pool.
func (u *Unary) Do(i int) {
	lo, hi := split.Aligned(u.n, 64, u.parts, i)
	if lo == hi {
		return
	}
	var scratch []float32
	if u.scratch != nil {
		scratch = u.scratch[i]
	}
	u.row(unsafe.Pointer(&u.dst[lo*u.size]), unsafe.Pointer(&u.src[lo*u.size]), hi-lo, u.params, scratch)
}

func float32Row(f Func) rowFunc1 {
	return func(dst, src unsafe.Pointer, n int, p Params, _ []float32) {
		d, s := unsafe.Slice((*float32)(dst), n), unsafe.Slice((*float32)(src), n)
		f(d, s, p)
	}
}

// doubleRow1 is op of float64.
func doubleRow1(op Op) rowFunc1 {
	rest, t := float64Row(exact[op]), &current().typed
	f := t.doubles[op]
	if f == nil {
		f = t.doubleOfTwo(op)
	}
	if op == Sign {
		return sign64
	}
	if f == nil {
		return rest
	}
	if op == Exp || op == Sigmoid || op == Tanh { // not rounded as rest does it
		rest = paddedRow(f, t.rowBytes())
	}
	return wholeUnary(func(dst, src, _ []byte) { f(dst, src) }, t.rowBytes(), 8, rest)
}

// sign64 is without a branch, as sign32.
func sign64(dst, src unsafe.Pointer, n int, _ Params, _ []float32) {
	const signBit, one, inf = 1 << 63, 0x3ff0000000000000, 0x7ff0000000000000
	d := unsafe.Slice((*uint64)(dst), n)
	for i, b := range unsafe.Slice((*uint64)(src), n) {
		y := b&signBit | one
		if b&^signBit-1 >= inf {
			y = b
		}
		d[i] = y
	}
}

// paddedRow is f of less than a register of float64, of so many bytes.
func paddedRow(f func(dst, src []byte), register int) rowFunc1 {
	return func(dst, src unsafe.Pointer, n int, _ Params, scratch []float32) {
		room := bytesAt(unsafe.Pointer(&scratch[0]), register)
		clear(room[copy(room, bytesAt(src, 8*n)):])
		f(room, room)
		copy(bytesAt(dst, 8*n), room)
	}
}

// doubleOfTwo makes op of a function of two rows, one of which repeats a number; nil where there is none.
func (t *typed) doubleOfTwo(op Op) func(dst, src []byte) {
	var with Binary
	var number float64
	switch op {
	case Abs:
		with, number = BitAnd, math.Float64frombits(math.MaxInt64)
	case Neg:
		with, number = BitXor, math.Copysign(0, -1)
	case Relu:
		with, number = Max, 0
	case Reciprocal:
		with, number = Div, 1
	default:
		return nil
	}
	f := t.row(with, dtype.Float64)
	if f == nil {
		return nil
	}
	row := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, math.Float64bits(number)), block/2)
	return func(dst, src []byte) { f(dst, row[:len(src)], src) }
}

func float64Row(f func(x float64, p Params) float64) rowFunc1 {
	return func(dst, src unsafe.Pointer, n int, p Params, _ []float32) {
		d, s := unsafe.Slice((*float64)(dst), n), unsafe.Slice((*float64)(src), n)
		for i, x := range s {
			d[i] = f(x, p)
		}
	}
}

func narrowRow(f Func, c codec) rowFunc1 {
	return func(dst, src unsafe.Pointer, n int, p Params, scratch []float32) {
		d, s := unsafe.Slice((*uint16)(dst), n), unsafe.Slice((*uint16)(src), n)
		for lo := 0; lo < n; lo += block {
			hi := min(lo+block, n)
			t := scratch[:hi-lo]
			c.widen(t, s[lo:hi])
			f(t, t, p)
			c.narrow(d[lo:hi], t)
		}
	}
}
