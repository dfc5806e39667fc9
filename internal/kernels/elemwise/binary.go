package elemwise

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Binary names a function of two arguments.
type Binary uint8

// The functions. Arithmetic on integers wraps; an integer division by zero
// gives 0, as do shifts by the width or more.
const (
	Add        Binary = iota
	Sub               //
	Mul               //
	Div               // integers truncate
	Min               // NaN if either is NaN
	Max               // NaN if either is NaN
	Pow               // floats: through float64, except exponents 2, 3 and 1/2 (≤ 1 ulp); integers wrap, negative exponents truncate
	PRelu             // a < 0 ? a·b : a
	Mod               // the sign of the divisor, as Python's %
	Fmod              // the sign of the dividend, as C's %
	Atan2             // floats
	BitAnd            // integers
	BitOr             // integers
	BitXor            // integers
	ShiftLeft         // integers
	ShiftRight        // integers, arithmetic if signed
	And               // bool
	Or                // bool
	Xor               // bool
	Equal             // to bool, and the others below
	Less
	LessEqual
	Greater
	GreaterEqual
	numBinary
)

var binaryNames = [numBinary]string{"Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "PRelu", "Mod", "Fmod", "Atan2",
	"BitAnd", "BitOr", "BitXor", "ShiftLeft", "ShiftRight", "And", "Or", "Xor", "Equal", "Less", "LessEqual", "Greater", "GreaterEqual"}

func (op Binary) String() string {
	if op < numBinary {
		return binaryNames[op]
	}
	return fmt.Sprintf("elemwise.Binary(%d)", uint8(op))
}

// Compares reports whether op's result is bool.
func (op Binary) Compares() bool { return op >= Equal }

// rowFunc2 computes n elements; sa and sb are 1, or 0 for one value against
// a row (both may be 0).
type rowFunc2 func(dst, a, b unsafe.Pointer, n, sa, sb int, scratch []float32)

// BinaryKernel is a prepared function of two arguments.
type BinaryKernel struct {
	*Broadcast
	row          rowFunc2
	sizeIn, size int
	dst, a, b    []byte
	parts, n     int
	sa, sb       int
	scratch      []float32 // for narrow floats, values against rows of integers and float64, and short rows
	perPart      int       // floats of it
}

// NewBinary prepares op for inputs of one type and two shapes.
func NewBinary(op Binary, dt dtype.Type, a, b []int) (*BinaryKernel, error) {
	if op >= numBinary {
		return nil, fmt.Errorf("elemwise: no operation %v", op)
	}
	bc, err := NewBroadcast(a, b)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", op, err)
	}
	k := &BinaryKernel{Broadcast: bc, sizeIn: dt.Bits() / 8, size: dt.Bits() / 8}
	if op.Compares() {
		k.size = 1
	}
	k.row = binaryRow(op, dt)
	if k.row == nil {
		return nil, fmt.Errorf("elemwise: %v is not defined for %v", op, dt)
	}
	n, s := bc.row()
	k.n, k.sa, k.sb = n, s[0], s[1]
	k.parts = split.Parts(bc.n, grain)
	switch dt {
	case dtype.Float32:
	case dtype.Float16, dtype.BFloat16:
		k.perPart = 3 * block
	default:
		k.perPart = block
	}
	if k.joins() {
		k.perPart += 2 * joinBlock
	}
	k.scratch = make([]float32, k.parts*k.perPart)
	return k, nil
}

// Run computes dst = a op b. The lengths must be those of the shapes.
func (k *BinaryKernel) Run(p *pool.Pool, dst, a, b []byte) {
	if k.Broadcast.n == 0 {
		return
	}
	k.dst, k.a, k.b = dst[:k.Broadcast.n*k.size], a[:k.need[0]*k.sizeIn], b[:k.need[1]*k.sizeIn]
	p.RunFromEnds(k.parts, k)
	k.dst, k.a, k.b = nil, nil, nil
}

// Do computes one chunk; it is called by the pool.
func (k *BinaryKernel) Do(i int) {
	lo, hi := split.Aligned(k.Broadcast.n, 64, k.parts, i)
	scratch := k.scratch[i*k.perPart:][:k.perPart]
	if k.joins() {
		k.doJoined(lo, hi, scratch)
		return
	}
	for c := k.seek(lo); lo < hi; k.next(&c) {
		n := min(k.n-c.in, hi-lo)
		a, b := c.off[0]+c.in*k.sa, c.off[1]+c.in*k.sb
		k.row(unsafe.Pointer(&k.dst[lo*k.size]), unsafe.Pointer(&k.a[a*k.sizeIn]), unsafe.Pointer(&k.b[b*k.sizeIn]), n, k.sa, k.sb, scratch)
		lo += n
	}
}

// binaryRow chooses the row function; nil where op is not defined for dt.
func binaryRow(op Binary, dt dtype.Type) rowFunc2 {
	rest := plainRow(op, dt)
	if f := typedRow(op, dt, rest); f != nil {
		return f
	}
	return rest
}

func plainRow(op Binary, dt dtype.Type) rowFunc2 {
	switch dt {
	case dtype.Float32:
		if op.Compares() {
			return rowOf(floatCompare(op))
		}
		return rowOf(current().binary[op])
	case dtype.Float64:
		if op.Compares() {
			return rowOf(compareLoop[float64](op))
		}
		return rowOf(floatLoop[float64](op))
	case dtype.Float16, dtype.BFloat16:
		return narrowBinary(op, narrowCodec(dt))
	case dtype.Bool:
		return boolRow(op)
	case dtype.Int8:
		return intBinary[int8](op)
	case dtype.Int16:
		return intBinary[int16](op)
	case dtype.Int32:
		return intBinary[int32](op)
	case dtype.Int64:
		return intBinary[int64](op)
	case dtype.Uint8:
		return intBinary[uint8](op)
	case dtype.Uint16:
		return intBinary[uint16](op)
	case dtype.Uint32:
		return intBinary[uint32](op)
	case dtype.Uint64:
		return intBinary[uint64](op)
	}
	return nil
}

func intBinary[T integer](op Binary) rowFunc2 {
	if op.Compares() {
		return rowOf(compareLoop[T](op))
	}
	return rowOf(intLoop[T](op))
}

// rowOf turns a typed loop into one over memory.
func rowOf[R, T any](f func(dst []R, a, b []T, sa, sb int)) rowFunc2 {
	if f == nil {
		return nil
	}
	return func(dst, a, b unsafe.Pointer, n, sa, sb int, _ []float32) {
		f(unsafe.Slice((*R)(dst), n), unsafe.Slice((*T)(a), 1+(n-1)*sa), unsafe.Slice((*T)(b), 1+(n-1)*sb), sa, sb)
	}
}

// narrowBinary widens a block of each input, computes in float32, and narrows.
func narrowBinary(op Binary, c codec) rowFunc2 {
	compare, compute := floatCompare(op), current().binary[op]
	if compare == nil && compute == nil {
		return nil
	}
	return func(dst, a, b unsafe.Pointer, n, sa, sb int, scratch []float32) {
		as, bs := unsafe.Slice((*uint16)(a), 1+(n-1)*sa), unsafe.Slice((*uint16)(b), 1+(n-1)*sb)
		fa, fb, fd := scratch[:block], scratch[block:2*block], scratch[2*block:]
		for lo := 0; lo < n; lo += block {
			m := min(block, n-lo)
			wa, wb := 1+(m-1)*sa, 1+(m-1)*sb
			c.widen(fa[:wa], as[lo*sa:lo*sa+wa])
			c.widen(fb[:wb], bs[lo*sb:lo*sb+wb])
			if compare != nil {
				compare(unsafe.Slice((*bool)(unsafe.Add(dst, lo)), m), fa[:wa], fb[:wb], sa, sb)
				continue
			}
			compute(fd[:m], fa[:wa], fb[:wb], sa, sb)
			c.narrow(unsafe.Slice((*uint16)(unsafe.Add(dst, 2*lo)), m), fd[:m])
		}
	}
}

// Row computes dst = a op b over a row of float32 on this goroutine, where sa
// and sb are 1, or 0 for one value against the row. dst may be a or b. Nil
// for operations that float32 lacks.
func Row(op Binary) func(dst, a, b []float32, sa, sb int) { return current().binary[op] }
