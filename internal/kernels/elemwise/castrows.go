package elemwise

import (
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// castFunc converts n elements. scratch has castStages blocks where the conversion has stages.
type castFunc func(dst, src unsafe.Pointer, n int, scratch []float32)

// castPair is from what a cast converts, and to what.
type castPair struct{ from, to dtype.Type }

// The stages that a conversion may go through, each with a block of scratch.
const (
	asFloat32 = iota // from and to 16-bit floats
	asInt32          // from and to integers of 8 and 16 bits
	asByte           // from bool: 0 or 1
	castStages
)

// castRow chooses a conversion: one that there is a loop for, or one in stages of a block. It is nil where there is
// none.
func castRow(from, to dtype.Type) (row castFunc, staged bool) {
	if f := current().casts[castPair{from, to}]; f != nil {
		return f, false
	}
	bits := to.Bits()
	switch whole := to.IsInt() && bits >= 8; {
	case from.Bits() < 8 || bits < 8:
		return nil, false
	case from == to || from.IsInt() && whole && from.Bits() == bits:
		return copyCast(bits / 8), false
	case isNarrow(from) || isNarrow(to):
		return through(from, dtype.Float32, to, asFloat32)
	case from == dtype.Bool && whole && bits == 8, to == dtype.Bool && from.IsInt() && from.Bits() == 8:
		return truthBytes, false
	case from == dtype.Bool:
		return through(from, dtype.Uint8, to, asByte)
	case to.IsUnsigned(): // the same bits
		return castRow(from, signedOf(bits))
	case (from == dtype.Uint32 || from == dtype.Uint64) && (whole || to == dtype.Bool):
		return castRow(signedOf(from.Bits()), to)
	case from != dtype.Int32 && to != dtype.Int32:
		return through(from, dtype.Int32, to, asInt32)
	}
	return nil, false
}

func isNarrow(t dtype.Type) bool { return t == dtype.Float16 || t == dtype.BFloat16 }

func signedOf(bits int) dtype.Type {
	switch bits {
	case 8:
		return dtype.Int8
	case 16:
		return dtype.Int16
	case 32:
		return dtype.Int32
	}
	return dtype.Int64
}

// through converts in two steps, a block at a time.
func through(from, middle, to dtype.Type, stage int) (row castFunc, staged bool) {
	first, _ := castRow(from, middle)
	second, _ := castRow(middle, to)
	if first == nil || second == nil {
		return nil, false
	}
	sizeSrc, sizeDst := from.Bits()/8, to.Bits()/8
	return func(dst, src unsafe.Pointer, n int, scratch []float32) {
		room := unsafe.Pointer(&scratch[stage*block])
		for lo := 0; lo < n; lo += block {
			m := min(block, n-lo)
			first(room, unsafe.Add(src, lo*sizeSrc), m, scratch)
			second(unsafe.Add(dst, lo*sizeDst), room, m, scratch)
		}
	}, true
}

func copyCast(size int) castFunc {
	return func(dst, src unsafe.Pointer, n int, _ []float32) { copy(bytesAt(dst, n*size), bytesAt(src, n*size)) }
}

// truthBytes makes 0 or 1 of bytes.
func truthBytes(dst, src unsafe.Pointer, n int, _ []float32) {
	bools(bytesAt(dst, n), bytesAt(src, n), And, 0)
}

// narrowCasts adds the conversions of the 16-bit floats to casts.
func (t *kernels) narrowCasts() {
	for dt, c := range map[dtype.Type]codec{dtype.Float16: t.f16, dtype.BFloat16: t.bf16} {
		t.casts[castPair{dt, dtype.Float32}] = castOf(c.widen)
		t.casts[castPair{dtype.Float32, dt}] = castOf(c.narrow)
	}
}

// castOf is f over memory.
func castOf[D, S any](f func(dst []D, src []S)) castFunc {
	return func(dst, src unsafe.Pointer, n int, _ []float32) {
		f(unsafe.Slice((*D)(dst), n), unsafe.Slice((*S)(src), n))
	}
}

// portableCasts has what all other conversions can be made of.
func portableCasts() map[castPair]castFunc {
	return map[castPair]castFunc{
		{dtype.Int8, dtype.Int32}: direct[int32, int8], {dtype.Uint8, dtype.Int32}: direct[int32, uint8],
		{dtype.Int16, dtype.Int32}: direct[int32, int16], {dtype.Uint16, dtype.Int32}: direct[int32, uint16],
		{dtype.Int32, dtype.Int8}: direct[int8, int32], {dtype.Int32, dtype.Int16}: direct[int16, int32],
		{dtype.Int32, dtype.Int64}: direct[int64, int32], {dtype.Int64, dtype.Int32}: direct[int32, int64], {dtype.Uint32, dtype.Int64}: direct[int64, uint32],
		{dtype.Int32, dtype.Bool}: toBool[int32], {dtype.Int64, dtype.Bool}: toBool[int64],
		{dtype.Float32, dtype.Bool}: toBool[float32], {dtype.Float64, dtype.Bool}: toBool[float64],
		{dtype.Uint8, dtype.Float32}: direct[float32, uint8], {dtype.Bool, dtype.Float32}: fromTruth,
		{dtype.Int32, dtype.Float32}: direct[float32, int32], {dtype.Int32, dtype.Float64}: direct[float64, int32],
		{dtype.Int64, dtype.Float32}: direct[float32, int64], {dtype.Int64, dtype.Float64}: direct[float64, int64],
		{dtype.Uint32, dtype.Float32}: direct[float32, uint32], {dtype.Uint32, dtype.Float64}: direct[float64, uint32],
		{dtype.Uint64, dtype.Float32}: direct[float32, uint64], {dtype.Uint64, dtype.Float64}: direct[float64, uint64],
		{dtype.Float32, dtype.Float64}: direct[float64, float32], {dtype.Float64, dtype.Float32}: direct[float32, float64],
		{dtype.Float32, dtype.Int32}: truncated[int32, float32], {dtype.Float64, dtype.Int32}: truncated[int32, float64],
		{dtype.Float32, dtype.Int64}: truncated[int64, float32], {dtype.Float64, dtype.Int64}: truncated[int64, float64],
		{dtype.Float32, dtype.Uint32}: truncated[uint32, float32], {dtype.Float64, dtype.Uint32}: truncated[uint32, float64],
	}
}

func direct[D, S number](dst, src unsafe.Pointer, n int, _ []float32) {
	d, s := unsafe.Slice((*D)(dst), n), unsafe.Slice((*S)(src), n)
	for i, x := range s {
		d[i] = D(x)
	}
}

func toBool[S number](dst, src unsafe.Pointer, n int, _ []float32) {
	d, s := unsafe.Slice((*bool)(dst), n), unsafe.Slice((*S)(src), n)
	for i, x := range s {
		d[i] = x != 0
	}
}

// fromTruth reads bytes of which any but 0 is true.
func fromTruth(dst, src unsafe.Pointer, n int, _ []float32) {
	d := unsafe.Slice((*float32)(dst), n)
	for i, x := range bytesAt(src, n) {
		d[i] = float32(min(x, 1))
	}
}

func truncated[D integer, S ~float32 | ~float64](dst, src unsafe.Pointer, n int, _ []float32) {
	d, s := unsafe.Slice((*D)(dst), n), unsafe.Slice((*S)(src), n)
	if signed := ^D(0) < 0; signed && unsafe.Sizeof(D(0)) == 4 {
		for i, x := range s {
			d[i] = D(toInt32(float64(x)))
		}
		return
	}
	for i, x := range s {
		v := int64(x)
		if v == math.MinInt64 || v == math.MaxInt64 || x != x { // what processors make of numbers that they can't convert; ARM's make 0 of NaN
			v = toInt64(float64(x))
		}
		d[i] = D(v)
	}
}

// toInt32 truncates; NaN and what int32 can't hold give its least value.
func toInt32(x float64) int32 {
	if x > -1<<31-1 && x < 1<<31 {
		return int32(x)
	}
	return -1 << 31
}

// toInt64 truncates; NaN and what int64 can't hold give its least value, and
// values between 2^63 and 2^64 their unsigned bits.
func toInt64(x float64) int64 {
	switch {
	case x >= -1<<63 && x < 1<<63:
		return int64(x)
	case x >= 1<<63 && x < 1<<64:
		return int64(uint64(x))
	}
	return -1 << 63
}
