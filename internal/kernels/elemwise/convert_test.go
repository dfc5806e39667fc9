package elemwise

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// Every 16-bit float widens alike at every level, and narrows as dtype does.
func TestNarrowFloatsAtEveryLevel(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	x := append(kerneltest.Floats(t, 200000, func(i int) float32 { return math.Float32frombits(uint32(i) * 21474) }), special...)
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct {
			dt     dtype.Type
			widen  func(uint16) float32
			narrow func(float32) uint16
		}{{dtype.Float16, dtype.F16ToF32, dtype.F32ToF16}, {dtype.BFloat16, dtype.BF16ToF32, dtype.F32ToBF16}} {
			k := narrowCodec(c.dt)
			wide := make([]float32, len(all))
			k.widen(wide, all)
			for i, v := range wide {
				if want := c.widen(uint16(i)); math.Float32bits(v) != math.Float32bits(want) {
					t.Fatalf("%v %#x: %#x, want %#x", c.dt, i, math.Float32bits(v), math.Float32bits(want))
				}
			}
			small := make([]uint16, len(x))
			k.narrow(small, x)
			for i, h := range small {
				if h != c.narrow(x[i]) {
					t.Fatalf("%v of %v: %#x, want %#x", c.dt, x[i], h, c.narrow(x[i]))
				}
			}
			for n := range 40 {
				d := view[uint16](kerneltest.Guarded(t, 2*n))
				k.narrow(d, kerneltest.Floats(t, n, func(i int) float32 { return x[i] }))
				k.widen(kerneltest.Floats(t, n, nil), d)
			}
		}
	})
}

func TestCast(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	f16 := dtype.F32ToF16
	for _, c := range []struct {
		from, to  dtype.Type
		src, want any
	}{
		{dtype.Float32, dtype.Int32, []float32{1.9, -1.9, 2147483520, nan, inf}, []int32{1, -1, 2147483520, math.MinInt32, math.MinInt32}},
		{dtype.Float64, dtype.Int32, []float64{-2147483648.9, 2147483647.9, 1 << 31, -1e10}, []int32{math.MinInt32, math.MaxInt32, math.MinInt32, math.MinInt32}},
		{dtype.Float32, dtype.Uint32, []float32{-1, 4e9, nan}, []uint32{math.MaxUint32, 4000000000, 0}},
		{dtype.Float32, dtype.Int16, []float32{-1.5, 32768, 1e10}, []int16{-1, -32768, 0}},
		{dtype.Float32, dtype.Int64, []float32{-2.5, nan, inf}, []int64{-2, math.MinInt64, math.MinInt64}},
		{dtype.Float32, dtype.Uint8, []float32{255.9, 256, -1, nan}, []uint8{255, 0, 255, 0}},
		{dtype.Float64, dtype.Uint64, []float64{1 << 63, 3.5}, []uint64{1 << 63, 3}},
		{dtype.Float32, dtype.Bool, []float32{0, float32(math.Copysign(0, -1)), 0.1, nan}, []uint8{0, 0, 1, 1}},
		{dtype.Bool, dtype.Float32, []uint8{0, 1, 9}, []float32{0, 1, 1}},
		{dtype.Bool, dtype.Float16, []uint8{0, 7}, []uint16{0, f16(1)}},
		{dtype.Int64, dtype.Int32, []int64{1 << 32, -1, 7}, []int32{0, -1, 7}},
		{dtype.Int32, dtype.Int64, []int32{-3}, []int64{-3}},
		{dtype.Uint8, dtype.Float32, []uint8{0, 255}, []float32{0, 255}},
		{dtype.Int8, dtype.Uint8, []int8{-1}, []uint8{255}},
		{dtype.Float32, dtype.Float16, []float32{1, 65520, 1e-8}, []uint16{f16(1), 0x7c00, 0}},
		{dtype.Float16, dtype.Int32, []uint16{f16(-3.5)}, []int32{-3}},
		{dtype.Float16, dtype.BFloat16, []uint16{f16(1.5)}, []uint16{dtype.F32ToBF16(1.5)}},
		{dtype.Int64, dtype.Float16, []int64{3}, []uint16{f16(3)}},
		{dtype.Float64, dtype.Float32, []float64{1e300, 0.1}, []float32{inf, 0.1}},
		{dtype.Float64, dtype.Float64, []float64{0.1}, []float64{0.1}},
	} {
		k, err := NewCast(c.from, c.to)
		if err != nil {
			t.Fatal(err)
		}
		want := anyBytes(c.want)
		dst := make([]byte, len(want))
		k.Run(nil, dst, anyBytes(c.src))
		if string(dst) != string(want) {
			t.Errorf("%v to %v of %v: bytes %v, want %v", c.from, c.to, c.src, dst, c.want)
		}
	}
	if _, err := NewCast(dtype.String, dtype.Float32); err == nil {
		t.Error("a cast from string was prepared")
	}
}

// castByDefinition converts one element as Cast says.
func castByDefinition(from, to dtype.Type, src []byte) []byte {
	if from == to {
		return src
	}
	bits := make([]byte, 8)
	copy(bits, src)
	whole := binary.LittleEndian.Uint64(bits)
	shift := 64 - from.Bits()
	var f float64
	switch {
	case from == dtype.Bool:
		whole = min(whole, 1)
		f = float64(whole)
	case from.IsSigned():
		whole = uint64(int64(whole<<shift) >> shift)
		f = float64(int64(whole))
	case from.IsUnsigned():
		f = float64(whole)
	case from == dtype.Float64:
		f = math.Float64frombits(whole)
	case from == dtype.Float32:
		f = float64(math.Float32frombits(uint32(whole)))
	case from == dtype.Float16:
		f = float64(dtype.F16ToF32(uint16(whole)))
	case from == dtype.BFloat16:
		f = float64(dtype.BF16ToF32(uint16(whole)))
	}
	narrow := float32(f)
	if from == dtype.Int64 {
		narrow = float32(int64(whole)) // rounded once
	} else if from == dtype.Uint64 {
		narrow = float32(whole)
	}
	var out uint64
	switch {
	case to == dtype.Bool:
		if from.IsFloat() && f != 0 || !from.IsFloat() && whole != 0 {
			out = 1
		}
	case to == dtype.Float64:
		out = math.Float64bits(f)
	case to == dtype.Float32:
		out = uint64(math.Float32bits(narrow))
	case to == dtype.Float16:
		out = uint64(dtype.F32ToF16(narrow))
	case to == dtype.BFloat16:
		out = uint64(dtype.F32ToBF16(narrow))
	case !from.IsFloat():
		out = whole
	case to.Bits() < 32 || to == dtype.Int32:
		out = uint64(toInt32(f))
	default:
		out = uint64(toInt64(f))
	}
	return binary.LittleEndian.AppendUint64(nil, out)[:to.Bits()/8]
}

func TestCastsAtEveryLevel(t *testing.T) {
	types := []dtype.Type{dtype.Float32, dtype.Float64, dtype.Float16, dtype.BFloat16, dtype.Bool, dtype.Int8, dtype.Uint8, dtype.Int16, dtype.Uint16, dtype.Int32, dtype.Uint32, dtype.Int64, dtype.Uint64}
	rng := rand.New(rand.NewPCG(9, 1))
	double := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -1e300, 1e-310, 5e-324, 2147483647.5, -2147483648.9, 2147483648, -2147483649, 1 << 63, -(1 << 63), 1.5 * (1 << 63), 1 << 64, 0.5, -0.99}
	same := func(to dtype.Type, got, want []byte) bool { // of NaN any
		switch to {
		case dtype.Float32:
			return kerneltest.Same(view[float32](got)[0], view[float32](want)[0])
		case dtype.Float64:
			x, y := view[float64](got)[0], view[float64](want)[0]
			return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y
		}
		return string(got) == string(want)
	}
	kerneltest.Levels(t, func(t *testing.T) {
		for _, from := range types {
			for _, to := range types {
				k, err := NewCast(from, to)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, block, block + 1, 2*block + 37} {
					src := kerneltest.Guarded(t, from.Bytes(n))
					for i := range src {
						src[i] = byte(rng.IntN(256))
					}
					for i := range n {
						size := from.Bits() / 8
						at := src[i*size : (i+1)*size]
						switch r := rng.IntN(3); {
						case r == 0 && from == dtype.Float32:
							view[float32](at)[0] = float32(double[rng.IntN(len(double))])
						case r == 0 && from == dtype.Float64:
							view[float64](at)[0] = double[rng.IntN(len(double))]
						case r == 0 && !from.IsFloat():
							clear(at)
						case r == 1 && from == dtype.Float32:
							view[float32](at)[0] = float32(rng.NormFloat64() * 3000)
						case r == 1 && from == dtype.Float64:
							view[float64](at)[0] = rng.NormFloat64() * 1e6
						}
					}
					got := kerneltest.Guarded(t, to.Bytes(n))
					k.Run(nil, got, src)
					for i := range n {
						in, out := src[from.Bytes(i):from.Bytes(i+1)], got[to.Bytes(i):to.Bytes(i+1)]
						if want := castByDefinition(from, to, in); !same(to, out, want) {
							t.Fatalf("%v to %v of %d elements, element %d, bytes %v: %v, want %v", from, to, n, i, in, out, want)
						}
					}
				}
			}
		}
	})
}

func TestCastThreads(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	x := kerneltest.Floats(t, 100001, nil)
	for _, to := range []dtype.Type{dtype.Float16, dtype.Int8, dtype.Float64} {
		k, err := NewCast(dtype.Float32, to)
		if err != nil {
			t.Fatal(err)
		}
		one, many := make([]byte, to.Bytes(len(x))), make([]byte, to.Bytes(len(x)))
		k.Run(nil, one, bytesOf(x))
		k.Run(p, many, bytesOf(x))
		if string(one) != string(many) {
			t.Errorf("to %v: other bits with threads", to)
		}
	}
}

func TestQuantizeIsPortableAtEveryLevel(t *testing.T) {
	x := append(kerneltest.Floats(t, 3000, func(i int) float32 { return float32(i)/4 - 300 }), special...)
	kerneltest.Levels(t, func(t *testing.T) {
		for _, scale := range []float32{1, 0.5, 0.37, 1e-30, 1e30} {
			for _, zero := range []float32{0, 3, 100} {
				u, wantU := make([]uint8, len(x)), make([]uint8, len(x))
				s, wantS := make([]int8, len(x)), make([]int8, len(x))
				k := current()
				k.quantU8(u, x, scale, zero)
				k.quantS8(s, x, scale, zero)
				quantizeRow(wantU, x, scale, zero)
				quantizeRow(wantS, x, scale, zero)
				for i := range x {
					if u[i] != wantU[i] || s[i] != wantS[i] {
						t.Fatalf("%v/%v+%v: %v and %v, want %v and %v", x[i], scale, zero, u[i], s[i], wantU[i], wantS[i])
					}
				}
				for n := range 20 { // what saturates is in registers of all kinds, and beyond
					from := x[len(x)-len(special)-n*7:]
					k.quantS8(s[:len(from)], from, scale, -zero)
					quantizeRow(wantS[:len(from)], from, scale, -zero)
					for i := range from {
						if s[i] != wantS[i] {
							t.Fatalf("%v/%v-%v: %v, want %v", from[i], scale, zero, s[i], wantS[i])
						}
					}
				}
				a, b := make([]float32, len(u)), make([]float32, len(u))
				k.dequantU8(a, u, scale, int32(zero))
				dequantizeRow(b, u, scale, int32(zero))
				for i := range a {
					if a[i] != b[i] {
						t.Fatalf("(%v-%v)·%v: %v, want %v", u[i], zero, scale, a[i], b[i])
					}
				}
				k.dequantS8(a, s, scale, int32(zero))
				dequantizeRow(b, s, scale, int32(zero))
				for i := range a {
					if a[i] != b[i] {
						t.Fatalf("(%v-%v)·%v: %v, want %v", s[i], zero, scale, a[i], b[i])
					}
				}
			}
		}
		for n := range 70 {
			y := kerneltest.Floats(t, n, nil)
			q := view[uint8](kerneltest.Guarded(t, n))
			current().quantU8(q, y, 0.1, 128)
			current().dequantU8(y, q, 0.1, 128)
			lo, hi := MinMax(y)
			wlo, whi := minMaxRow(y)
			if lo != wlo || hi != whi {
				t.Fatalf("range of %d: %v %v, want %v %v", n, lo, hi, wlo, whi)
			}
		}
	})
}

// TestQuantizeAtTies compares where a quotient's last bit decides: beside every half,
// for scales over all exponents for which there are kernels, and beyond.
func TestQuantizeAtTies(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range 300 {
			scale := math.Float32frombits(0x3f800000 | rng.Uint32()>>9)
			switch i % 3 {
			case 1:
				scale = math.Float32frombits(math.Float32bits(scale) | 0x7ffff0) // nearly a power of two
			case 2:
				scale = float32(math.Ldexp(float64(scale), rng.IntN(200)-100))
			}
			var x []float32
			for half := -130.5; half < 260; half++ {
				at := math.Float32bits(float32(half * float64(scale)))
				for d := range uint32(7) {
					x = append(x, math.Float32frombits(at+d-3))
				}
			}
			u, want := make([]uint8, len(x)), make([]uint8, len(x))
			current().quantU8(u, x, scale, 3)
			quantizeRow(want, x, scale, 3)
			for i := range x {
				if u[i] != want[i] {
					t.Fatalf("%v/%v+3: %v, want %v", x[i], scale, u[i], want[i])
				}
			}
		}
	})
}

func TestQuantizeLinear(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		// ties to even, saturation
		q, _ := NewQuantize(dtype.Uint8, []int{6}, -1, 0)
		dst := make([]byte, 6)
		q.Run(nil, dst, []float32{0, 2, 3, 1000, -254, -1000}, []float32{2}, []byte{128})
		if fmt.Sprint(dst) != "[128 129 130 255 1 0]" {
			t.Error(dst)
		}
		for axis := range 3 {
			shape := []int{3, 5, 40}
			c := shape[axis]
			x := kerneltest.Floats(t, 600, nil)
			scale := kerneltest.Floats(t, c, func(i int) float32 { return 0.01 * float32(i+1) })
			zero := make([]int8, c)
			for i := range zero {
				zero[i] = int8(i - 2)
			}
			q, err := NewQuantize(dtype.Int8, shape, axis, 0)
			if err != nil {
				t.Fatal(err)
			}
			d, err := NewDequantize(dtype.Int8, shape, axis, 0)
			if err != nil {
				t.Fatal(err)
			}
			got, back := make([]int8, 600), make([]float32, 600)
			q.Run(p, bytesOf(got), x, scale, bytesOf(zero))
			d.Run(p, back, bytesOf(got), scale, bytesOf(zero))
			step := []int{200, 40, 1}[axis]
			for i, v := range x {
				ch := i / step % c
				want := math.RoundToEven(float64(v/scale[ch])) + float64(zero[ch])
				want = math.Max(-128, math.Min(127, want))
				if float64(got[i]) != want || back[i] != float32(int32(got[i])-int32(zero[ch]))*scale[ch] {
					t.Fatalf("axis %d element %d: %v and %v, want %v", axis, i, got[i], back[i], want)
				}
			}
		}
	})
}

func TestDynamicQuantize(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct {
			x     []float32
			scale float32
			zero  uint8
			want  string
		}{
			{[]float32{0, 2, -3, -2.5, 1.34, 0.5}, 0.019607844, 153, "[153 255 0 26 221 179]"}, // the specification's example
			{[]float32{-1, -2.1, -1.3, -2.5, -3.34, -4}, 0.015686275, 255, "[191 121 172 96 42 0]"},
			{[]float32{0, 0}, 1, 0, "[0 0]"},
		} {
			q, err := NewDynamicQuantize(len(c.x))
			if err != nil {
				t.Fatal(err)
			}
			dst := make([]byte, len(c.x))
			scale, zero := q.Run(nil, dst, c.x)
			if scale != c.scale || zero != c.zero || fmt.Sprint(dst) != c.want {
				t.Errorf("%v: %v %v %v, want %v %v %v", c.x, scale, zero, dst, c.scale, c.zero, c.want)
			}
		}
		x := kerneltest.Floats(t, 100003, nil)
		q, _ := NewDynamicQuantize(len(x))
		one, many := make([]byte, len(x)), make([]byte, len(x))
		q.Run(nil, one, x)
		q.Run(p, many, x)
		if string(one) != string(many) {
			t.Error("other bits with threads")
		}
		if n := testing.AllocsPerRun(5, func() { q.Run(nil, one, x) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func BenchmarkConvert(b *testing.B) {
	x := kerneltest.Floats(b, 4096, nil)
	h, q := make([]uint16, 4096), make([]uint8, 4096)
	for _, l := range cpu.Levels() {
		restore := cpu.Force(l)
		k := current()
		restore()
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"widenF16", func() { k.f16.widen(x, h) }},
			{"narrowF16", func() { k.f16.narrow(h, x) }},
			{"widenBF16", func() { k.bf16.widen(x, h) }},
			{"narrowBF16", func() { k.bf16.narrow(h, x) }},
			{"quantU8", func() { k.quantU8(q, x, 0.1, 128) }},
			{"dequantU8", func() { k.dequantU8(x, q, 0.1, 128) }},
			{"minMax", func() { k.minMax(x) }},
		} {
			b.Run(fmt.Sprintf("%s/%v", c.name, l), func(b *testing.B) {
				for b.Loop() {
					c.f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/element")
			})
		}
	}
}
