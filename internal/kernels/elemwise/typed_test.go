package elemwise

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
)

// operand is guarded memory for n elements of a type, full of random bytes; floats are some of
// the special ones.
func operand(t *testing.T, rng *rand.Rand, dt dtype.Type, n int) []byte {
	b := kerneltest.Guarded(t, n*dt.Bits()/8)
	for i := range b {
		b[i] = byte(rng.IntN(256))
		if dt == dtype.Bool && rng.IntN(2) == 0 {
			b[i] = 0
		}
	}
	size := dt.Bits() / 8
	for i := range n { // small numbers are equal more often, and shift by what leaves something
		if dt.IsInt() && rng.IntN(2) == 0 {
			clear(b[i*size+1 : (i+1)*size])
			b[i*size] &= 15
		}
	}
	if dt == dtype.Float64 {
		for i := range n {
			if rng.IntN(3) > 0 {
				*(*float64)(unsafe.Pointer(&b[8*i])) = float64(special[rng.IntN(len(special))])
			}
		}
	}
	if dt == dtype.Float32 {
		for i := range n {
			*(*float32)(unsafe.Pointer(&b[4*i])) = special[rng.IntN(len(special))]
		}
	}
	return b
}

// sameDoubles takes any NaN for another.
func sameDoubles(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool {
		return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y
	})
}

// Functions of float64 have the portable bits in every length.
func TestDoublesArePortable(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 3))
	kerneltest.Levels(t, func(t *testing.T) {
		for _, op := range []Op{Abs, Neg, Relu, Reciprocal, Sqrt, Floor, Ceil, Round} {
			for _, n := range []int{1, 3, 7, 8, 9, 16, 31, 255, 256, 257, 700} {
				src, got, want := operand(t, rng, dtype.Float64, n), kerneltest.Guarded(t, 8*n), make([]byte, 8*n)
				u, err := NewUnary(op, dtype.Float64, Params{})
				if err != nil {
					t.Fatal(err)
				}
				u.Run(nil, got, src)
				float64Row(exact[op])(unsafe.Pointer(&want[0]), unsafe.Pointer(&src[0]), n, Params{}, nil)
				if !sameDoubles(view[float64](got), view[float64](want)) {
					t.Fatalf("%v of %v: %v, want %v", op, view[float64](src), view[float64](got), view[float64](want))
				}
			}
		}
	})
}

// Transcendental functions of float64 are within two units of the last place, and have the same bits wherever an element is.
func TestDoubleFunctions(t *testing.T) {
	special := []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 5e-324, -1e-310, 1e-9, 0.625, -0.625, 709.78, 709.79, -708.4, -745.13, -745.14, 1e300, -1e300, 19.5, -37}
	rng := rand.New(rand.NewPCG(8, 5))
	kerneltest.Levels(t, func(t *testing.T) {
		for _, op := range []Op{Exp, Sigmoid, Tanh} {
			src := kerneltest.Guarded(t, 8*4001)
			for i, x := range view[float64](src) {
				if x = special[i%len(special)]; i >= len(special) {
					x = rng.NormFloat64() * []float64{1e-5, .3, 3, 30, 300}[i%5]
				}
				view[float64](src)[i] = x
			}
			u, err := NewUnary(op, dtype.Float64, Params{})
			if err != nil {
				t.Fatal(err)
			}
			got, one := kerneltest.Guarded(t, len(src)), make([]byte, 8)
			u.Run(nil, got, src)
			for i, y := range view[float64](got) {
				x := view[float64](src)[i]
				want := exact[op](x, Params{})
				unit := math.Max(math.Abs(math.Nextafter(want, 0)-want), 5e-324)
				if !(math.Abs(y-want) <= 2*unit) && y != want && (y == y || want == want) {
					t.Fatalf("%v of %v is %v, want %v", op, x, y, want)
				}
				if want == 0 && math.Signbit(y) != math.Signbit(want) {
					t.Fatalf("%v of %v is %v, want %v", op, x, y, want)
				}
				u.Run(nil, one, src[8*i:8*i+8])
				if !bytes.Equal(one, got[8*i:8*i+8]) {
					t.Fatalf("%v of %v is %v among others, and %v alone", op, x, y, view[float64](one)[0])
				}
			}
		}
	})
}

// Comparisons, integers, bits and truths have the portable bytes in every form and length.
func TestTypedRowsArePortable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	types := []dtype.Type{dtype.Float32, dtype.Float64, dtype.Bool, dtype.Int8, dtype.Uint8, dtype.Int16, dtype.Uint16, dtype.Int32, dtype.Uint32, dtype.Int64, dtype.Uint64}
	kerneltest.Levels(t, func(t *testing.T) {
		for _, op := range []Binary{Add, Sub, Mul, Div, Min, Max, Pow, BitAnd, BitOr, BitXor, ShiftLeft, ShiftRight, And, Or, Xor, Equal, Less, LessEqual, Greater, GreaterEqual} {
			for _, dt := range types {
				f := binaryRow(op, dt)
				want := plainRow(op, dt)
				if dt == dtype.Float32 && op.Compares() {
					want = rowOf(compareLoop[float32](op))
				}
				if f == nil || dt == dtype.Float32 && !op.Compares() {
					continue
				}
				size := dt.Bits() / 8
				out := size
				if op.Compares() {
					out = 1
				}
				for _, n := range []int{1, 3, 7, 8, 15, 16, 17, 31, 63, 64, 65, 100, 129, 1000, 2*callMax + 5} {
					for _, form := range [][2]int{{1, 1}, {1, 0}, {0, 1}, {0, 0}} {
						a, b := operand(t, rng, dt, 1+(n-1)*form[0]), operand(t, rng, dt, 1+(n-1)*form[1])
						x, y := kerneltest.Guarded(t, n*out), make([]byte, n*out)
						f(unsafe.Pointer(&x[0]), unsafe.Pointer(&a[0]), unsafe.Pointer(&b[0]), n, form[0], form[1], make([]float32, 3*block))
						want(unsafe.Pointer(&y[0]), unsafe.Pointer(&a[0]), unsafe.Pointer(&b[0]), n, form[0], form[1], nil)
						if !bytes.Equal(x, y) && (dt != dtype.Float64 || op.Compares() || !sameDoubles(view[float64](x), view[float64](y))) {
							t.Fatalf("%v of %d %v, strides %v: differs from portable code", op, n, dt, form)
						}
					}
				}
			}
		}
	})
}

// Remainders have the bits of math.Mod's, rounded once, at every level.
func TestRemainders(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	number := func(int) float32 {
		switch rng.IntN(4) {
		case 0:
			return float32(rng.IntN(41) - 20)
		case 1:
			return special[rng.IntN(len(special))]
		case 2:
			return math.Float32frombits(rng.Uint32())
		}
		return float32(rng.NormFloat64())
	}
	kerneltest.Levels(t, func(t *testing.T) {
		for _, op := range []Binary{Mod, Fmod} {
			f := current().binary[op]
			for range 400 {
				n := 1 + rng.IntN(2*block)
				a, b := kerneltest.Floats(t, n, number), kerneltest.Floats(t, n, number)
				if rng.IntN(3) == 0 { // quotients next to whole numbers
					for i, y := range b {
						a[i] = float32(rng.IntN(9999)) * y
						a[i] = math.Float32frombits(math.Float32bits(a[i]) + uint32(rng.IntN(3)) - 1)
					}
				}
				got := kerneltest.Floats(t, n, nil)
				f(got, a, b, 1, 1)
				for i, x := range a {
					m := math.Mod(float64(x), float64(b[i]))
					if op == Mod && m != 0 && (m < 0) != (b[i] < 0) {
						m += float64(b[i])
					}
					if !kerneltest.Same(got[i], float32(m)) {
						t.Fatalf("%v of %v and %v: %v, want %v", op, x, b[i], got[i], float32(m))
					}
				}
			}
		}
	})
}

// Powers are within a unit in the last place, and depend on nothing but their operands.
func TestPowers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	kerneltest.Levels(t, func(t *testing.T) {
		f := current().binary[Pow]
		for round := range 300 {
			n := 1 + rng.IntN(2*block)
			b := kerneltest.Floats(t, n, func(int) float32 {
				switch rng.IntN(4) {
				case 0:
					return float32(rng.IntN(9) - 4)
				case 1:
					return special[rng.IntN(len(special))]
				}
				return float32(rng.NormFloat64() * math.Exp(3*rng.NormFloat64()))
			})
			a := kerneltest.Floats(t, n, func(int) float32 {
				if rng.IntN(20) == 0 {
					return special[rng.IntN(len(special))]
				}
				return float32(rng.NormFloat64() * math.Exp(4*rng.NormFloat64()))
			})
			if round%3 == 0 {
				for i := range a {
					a[i] = float32(math.Exp(rng.NormFloat64() / 50)) // near 1
				}
			}
			got, one := make([]float32, n), make([]float32, n)
			f(got, a, b, 1, 1)
			for i := range got {
				want := math.Pow(float64(a[i]), float64(b[i]))
				if e := kerneltest.ULP(got[i], want); e > 1 && b[i] != 3 {
					t.Fatalf("%v to the %v: %v, want %v: %.2f units off", a[i], b[i], got[i], want, e)
				}
			}
			f(one, a, b[:1], 1, 0)
			for i, x := range one {
				if f(got[:1], a[i:i+1], b[:1], 1, 1); !kerneltest.Same(x, got[0]) {
					t.Fatalf("%v to the %v: %v in a row, %v alone", a[i], b[0], x, got[0])
				}
			}
			f(got, a, b, 1, 1)
			f(a, a, b, 1, 1)
			for i := range got {
				if !kerneltest.Same(got[i], a[i]) {
					t.Fatalf("element %d in place: %v, want %v", i, a[i], got[i])
				}
			}
		}
	})
}

func TestTruths(t *testing.T) {
	for n := range 30 {
		src := make([]byte, n)
		for i := range src {
			src[i] = []byte{0, 1, 2, 128, 255}[i*i%5]
		}
		dst := kerneltest.Guarded(t, n)
		Not(dst, src)
		for i, x := range src {
			if want := fmt.Sprint(x == 0); fmt.Sprint(dst[i] == 1) != want || dst[i] > 1 {
				t.Fatalf("not %d is %d", x, dst[i])
			}
		}
	}
	kerneltest.Levels(t, func(t *testing.T) {
		for n := range 70 {
			src := kerneltest.Floats(t, n, func(i int) float32 { return special[i%len(special)] })
			dst := make([]bool, n)
			IsNaN(dst, src)
			for i, x := range src {
				if dst[i] != (x != x) {
					t.Fatalf("IsNaN(%v) is %v", x, dst[i])
				}
			}
			for signs := range 4 {
				positive, negative := signs&1 != 0, signs&2 != 0
				IsInf(positive, negative)(dst, src)
				for i, x := range src {
					if want := positive && math.IsInf(float64(x), 1) || negative && math.IsInf(float64(x), -1); dst[i] != want {
						t.Fatalf("IsInf(%v, %v, %v) is %v", x, positive, negative, dst[i])
					}
				}
			}
		}
	})
}

// Functions of integers have the portable bytes in every length, in place too.
func TestIntRowsArePortable(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	kerneltest.Levels(t, func(t *testing.T) {
		for _, op := range []Op{Abs, Neg, Sign, Relu, Square} {
			for _, dt := range []dtype.Type{dtype.Int8, dtype.Uint8, dtype.Int16, dtype.Uint16, dtype.Int32, dtype.Uint32, dtype.Int64, dtype.Uint64} {
				f, want, size := intRow(op, dt), plainIntRow(op, dt), dt.Bits()/8
				for _, n := range []int{1, 7, 8, 16, 31, 32, 63, 64, 65, 129, 1000, 4*block + 5} {
					a := operand(t, rng, dt, n)
					x, y := kerneltest.Guarded(t, n*size), make([]byte, n*size)
					want(unsafe.Pointer(&y[0]), unsafe.Pointer(&a[0]), n, Params{}, nil)
					f(unsafe.Pointer(&x[0]), unsafe.Pointer(&a[0]), n, Params{}, make([]float32, block))
					f(unsafe.Pointer(&a[0]), unsafe.Pointer(&a[0]), n, Params{}, make([]float32, block))
					if !bytes.Equal(x, y) || !bytes.Equal(a, y) {
						t.Fatalf("%v of %d %v: differs from portable code", op, n, dt)
					}
				}
			}
		}
	})
}
