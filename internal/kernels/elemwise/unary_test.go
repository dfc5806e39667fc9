package elemwise

import (
	"flag"
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

var stride = flag.Uint64("stride", 8191, "measure the functions on every so many float32; 1 takes hours")

// bounds are the errors that the comments of the constants promise; bitwise lists the
// functions that have the same bits at every level.
var bounds = map[Op]float64{
	Exp: 1.1, Log: 1, Tanh: 3, Sigmoid: 3, Erf: 2, Gelu: 4.2, GeluTanh: 4, Silu: 4, Mish: 4.5, Softplus: 2, Elu: 4, Sin: 1.5, Cos: 1.5,
	Tan: 3.5, Asin: 2, Acos: 2, Atan: 2, Sinh: 2, Cosh: 2, Asinh: 3, Acosh: 3, Atanh: 3,
}

var bitwise = []Op{Abs, Neg, Sign, Floor, Ceil, Round, Sqrt, Reciprocal, Square, HardSigmoid, HardSwish, Softsign,
	LeakyRelu, ThresholdedRelu, Relu, Clip, Shrink, Affine}

var paramSets = map[Op][]Params{
	Silu:            {{A: 1}, {A: 1.702}},
	HardSigmoid:     {{A: 0.2, B: 0.5}},
	Elu:             {{A: 1, B: 1, C: 1}, {A: 1.7580993, B: 1.050701, C: 1}, {A: 2, B: 1, C: 0.5}},
	LeakyRelu:       {{A: 0.01}, {A: -0.5}},
	ThresholdedRelu: {{A: 1}},
	Clip:            {{A: 0, B: 6}, {A: 2, B: -2}, {A: float32(math.Inf(-1)), B: 1}},
	Shrink:          {{A: 0.5, B: 0.25}},
	Affine:          {{A: 1.5, B: -0.25}},
}

func paramsOf(op Op) []Params {
	if p := paramSets[op]; p != nil {
		return p
	}
	return []Params{{}}
}

func bytesOf[T any](x []T) []byte {
	var z T
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(z)))
}

var special = func() (x []float32) {
	for _, v := range []float64{0, 1, 0.5, 2, 1e-45, 1e-40, 1.17549435e-38, 1e-30, 1e-8, 0.3465, 0.3466, 1.5, 2.5, 3.5, 8, 10, 14.6, 20, 88, 88.72, 88.73, 89,
		100, 103.9, 104, 1e4, 1e10, 3e38, math.MaxFloat32, math.Inf(1), math.NaN()} {
		x = append(x, float32(v), float32(-v))
	}
	return x
}()

func TestUnaryError(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for op := range numOps {
			for _, p := range paramsOf(op) {
				if bound, ok := bounds[op]; ok {
					measure(t, op, p, bound, *stride)
				}
			}
		}
	})
}

func measure(t *testing.T, op Op, p Params, bound float64, step uint64) {
	const n = 1 << 12
	f := Float32(op)
	x, y := make([]float32, 0, n), make([]float32, n)
	worst, at := 0.0, float32(0)
	check := func() {
		f(y[:len(x)], x, p)
		for i, v := range x {
			want := exact[op](float64(v), p)
			u := kerneltest.ULP(y[i], want)
			if u > worst && !(math.Abs(float64(y[i])-want) <= 0x1p-140) {
				worst, at = u, v
			}
		}
		x = x[:0]
	}
	for b := uint64(0); b < 1<<32; b += step {
		if x = append(x, math.Float32frombits(uint32(b))); len(x) == n {
			check()
		}
	}
	check()
	t.Logf("%-9v %v: %.3f ulp at %v", op, p, worst, at)
	if worst > bound {
		f(y[:1], []float32{at}, p)
		t.Errorf("%v %v: %.3f ulp at %v (%v, want %v); at most %v promised", op, p, worst, at, y[0], exact[op](float64(at), p), bound)
	}
}

func TestUnarySpecialValues(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for op := range numOps {
			for _, p := range paramsOf(op) {
				y := make([]float32, len(special))
				Float32(op)(y, special, p)
				for i, x := range special {
					want := float32(exact[op](float64(x), p))
					odd := want == 0 || want != want || math.IsInf(float64(want), 0)
					if odd && !kerneltest.Same(y[i], want) && !(math.Abs(float64(y[i])) <= 0x1p-140 && want == 0 && math.Signbit(float64(y[i])) == math.Signbit(float64(want))) {
						t.Errorf("%v(%v) %v: %v, want %v", op, x, p, y[i], want)
					}
				}
			}
		}
	})
}

func TestExactOpsAreEqualAtEveryLevel(t *testing.T) {
	x := append(kerneltest.Floats(t, 5000, nil), special...)
	for _, op := range bitwise {
		for _, p := range paramsOf(op) {
			want, got := make([]float32, len(x)), make([]float32, len(x))
			portable.unary[op](want, x, p)
			kerneltest.Levels(t, func(t *testing.T) {
				Float32(op)(got, x, p)
				for i := range x {
					if !kerneltest.Same(got[i], want[i]) {
						t.Fatalf("%v(%v) %v: %v, portable %v", op, x[i], p, got[i], want[i])
					}
				}
			})
		}
	}
}

func TestVectorLevelsAgree(t *testing.T) {
	avx2, avx512 := forLevel(cpu.AVX2), forLevel(cpu.AVX512)
	if avx2 == portable || len(cpu.Levels()) <= int(cpu.AVX512) {
		t.Skip("needs AVX-512")
	}
	x := append(kerneltest.Floats(t, 100000, func(i int) float32 { return math.Float32frombits(uint32(i) * 42949) }), special...)
	a, b := make([]float32, len(x)), make([]float32, len(x))
	for op := range numOps {
		for _, p := range paramsOf(op) {
			avx2.unary[op](a, x, p)
			avx512.unary[op](b, x, p)
			for i := range x {
				if !kerneltest.Same(a[i], b[i]) {
					t.Fatalf("%v(%v): %v with AVX2, %v with AVX-512", op, x[i], a[i], b[i])
				}
			}
		}
	}
}

// Every element is computed alike at any position of rows of any length, up
// to the end of memory and in place.
func TestUnaryPositions(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for op := range numOps {
			f, p := Float32(op), paramsOf(op)[0]
			all := kerneltest.Floats(t, 131, nil)
			want := make([]float32, len(all))
			for i := range all {
				f(want[i:i+1], all[i:i+1], p)
			}
			for n := range len(all) {
				x := kerneltest.Floats(t, n, func(i int) float32 { return all[i] })
				y := kerneltest.Floats(t, n+1, nil)[1:]
				f(y, x, p)
				f(x, x, p)
				for i := range x {
					if !kerneltest.Same(y[i], want[i]) || !kerneltest.Same(x[i], want[i]) {
						t.Fatalf("%v(%v) at %d of %d: %v, in place %v, alone %v", op, all[i], i, n, y[i], x[i], want[i])
					}
				}
			}
		}
	})
}

func TestUnaryThreads(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		x := kerneltest.Floats(t, 100003, nil)
		for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16} {
			src := bytesOf(x)
			if dt == dtype.Float16 {
				src = src[:2*len(x)]
			}
			k, err := NewUnary(Gelu, dt, Params{})
			if err != nil {
				t.Fatal(err)
			}
			one, many := make([]byte, len(src)), make([]byte, len(src))
			k.Run(nil, one, src)
			k.Run(p, many, src)
			if string(one) != string(many) {
				t.Errorf("%v: other bits with threads", dt)
			}
			if n := testing.AllocsPerRun(5, func() { k.Run(nil, one, src) }); n != 0 {
				t.Errorf("%v: %v allocations", dt, n)
			}
		}
	})
}

func TestUnaryOtherTypes(t *testing.T) {
	for _, c := range []struct {
		op        Op
		dt        dtype.Type
		src, want any
	}{
		{Abs, dtype.Int8, []int8{-5, 7, -128}, []int8{5, 7, -128}},
		{Neg, dtype.Int64, []int64{-5, 1 << 60}, []int64{5, -1 << 60}},
		{Sign, dtype.Int32, []int32{-5, 0, 9}, []int32{-1, 0, 1}},
		{Sign, dtype.Uint8, []uint8{0, 200}, []uint8{0, 1}},
		{Exp, dtype.Float64, []float64{0, math.Inf(-1)}, []float64{1, 0}},
		{Sqrt, dtype.BFloat16, []uint16{dtype.F32ToBF16(4)}, []uint16{dtype.F32ToBF16(2)}},
	} {
		k, err := NewUnary(c.op, c.dt, Params{})
		if err != nil {
			t.Fatal(err)
		}
		src, want := anyBytes(c.src), anyBytes(c.want)
		dst := make([]byte, len(src))
		k.Run(nil, dst, src)
		if string(dst) != string(want) {
			t.Errorf("%v of %v %v: got bytes %v, want %v", c.op, c.dt, c.src, dst, c.want)
		}
	}
	if _, err := NewUnary(Exp, dtype.Int32, Params{}); err == nil {
		t.Error("exp of int32 was prepared")
	}
}

func anyBytes(x any) []byte {
	switch x := x.(type) {
	case []int8:
		return bytesOf(x)
	case []uint8:
		return x
	case []bool:
		return bytesOf(x)
	case []int16:
		return bytesOf(x)
	case []uint16:
		return bytesOf(x)
	case []int32:
		return bytesOf(x)
	case []uint32:
		return bytesOf(x)
	case []int64:
		return bytesOf(x)
	case []uint64:
		return bytesOf(x)
	case []float32:
		return bytesOf(x)
	case []float64:
		return bytesOf(x)
	}
	panic(fmt.Sprintf("%T", x))
}

func BenchmarkUnary(b *testing.B) {
	for op := range numOps {
		for _, l := range cpu.Levels() {
			b.Run(fmt.Sprintf("%v/%v", op, l), func(b *testing.B) {
				defer cpu.Force(l)()
				f, p := Float32(op), paramsOf(op)[0]
				x := kerneltest.Floats(b, 4096, nil)
				y := make([]float32, len(x))
				for b.Loop() {
					f(y, x, p)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/element")
			})
		}
	}
}
