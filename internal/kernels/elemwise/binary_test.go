package elemwise

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

var float32Binaries = []Binary{Add, Sub, Mul, Div, Min, Max, Pow, PRelu, Mod, Fmod, Atan2}

// Vector kernels give the bits of portable code, in every form, length and position.
func TestBinaryIsPortableAtEveryLevel(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, op := range float32Binaries {
			for n := range 131 {
				for _, form := range [][2]int{{1, 1}, {1, 0}, {0, 1}, {0, 0}} {
					size := func(s int) int { return min(n, 1+(n-1)*s) }
					a := kerneltest.Floats(t, size(form[0]), nil)
					b := kerneltest.Floats(t, size(form[1]), func(i int) float32 { return float32(i%7) - 3 })
					checkBinary(t, op, n, a, b, form)
				}
			}
		}
	})
}

func checkBinary(t *testing.T, op Binary, n int, a, b []float32, form [2]int) {
	t.Helper()
	got, want := kerneltest.Floats(t, n, nil), make([]float32, n)
	portable.binary[op](want, a, b, form[0], form[1])
	current().binary[op](got, a, b, form[0], form[1])
	for i := range got {
		if !kerneltest.Same(got[i], want[i]) {
			t.Fatalf("%v of %d, strides %v, element %d: %v, portable %v", op, n, form, i, got[i], want[i])
		}
	}
}

func TestBinarySpecialValues(t *testing.T) {
	n := len(special)
	kerneltest.Levels(t, func(t *testing.T) {
		for _, op := range float32Binaries {
			for shift := range n {
				turned := append(append([]float32(nil), special[shift:]...), special[:shift]...)
				checkBinary(t, op, n, special, turned, [2]int{1, 1})
				checkBinary(t, op, n, special[shift:], special, [2]int{0, 1})
				checkBinary(t, op, n, special, special[shift:], [2]int{1, 0})
			}
		}
	})
}

var broadcastCases = [][2][]int{
	{{}, {}},
	{{7}, {}},
	{{}, {2, 3}},
	{{2, 3}, {3}},
	{{3, 1}, {1, 4}},
	{{2, 3, 4, 5}, {3, 1, 1}},
	{{3, 1, 1}, {2, 3, 4, 5}},
	{{2, 3, 4, 5}, {2, 1, 4, 1}},
	{{1, 5}, {4, 5}},
	{{6, 1, 2, 1}, {1, 5, 1, 3}},
	{{2, 0, 3}, {3}},
	{{40, 64, 33}, {64, 1}},
	{{40, 33}, {40, 33}},
	{{5, 700, 33}, {33}},
	{{3, 4000, 8}, {8}},
	{{3, 1000, 8}, {3, 1, 8}},
	{{8}, {9000, 8}},
	{{9000, 5}, {9000, 1}},
	{{3, 1, 7}, {3, 3000, 1}},
	{{700, 2, 64}, {700, 1, 64}},
	{{900, 85}, {900, 1}},
	{{85}, {900, 85}},
	{{12, 1, 30, 1}, {4, 1, 30}},
	{{4, 1, 16, 1, 32}, {7, 1, 32, 1}},
}

func TestBroadcast(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range broadcastCases {
			for _, dt := range []dtype.Type{dtype.Float32, dtype.Int64, dtype.Float16, dtype.Int8} {
				checkBroadcast(t, p, dt, c[0], c[1])
			}
		}
	})
}

func checkBroadcast(t *testing.T, p *pool.Pool, dt dtype.Type, as, bs []int) {
	k, err := NewBinary(Sub, dt, as, bs)
	if err != nil {
		t.Fatal(err)
	}
	a, b := numbers(dt, count(as), 1), numbers(dt, count(bs), 100)
	dst := kerneltest.Guarded(t, dt.Bytes(k.Len()))
	for _, pl := range []*pool.Pool{nil, p} {
		clear(dst)
		k.Run(pl, dst, a, b)
		got := values(dt, dst)
		for i := range got {
			want := float64(1+at(k.Shape(), as, i)%50) - float64(100+at(k.Shape(), bs, i)%50)
			if dt == dtype.Int8 { // wraps
				want = float64(int8(int(want)))
			}
			if got[i] != want {
				t.Fatalf("%v %v - %v, element %d: %v, want %v", dt, as, bs, i, got[i], want)
			}
		}
	}
}

func count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// numbers are first, first+1, … modulo 50.
func numbers(dt dtype.Type, n, first int) []byte {
	switch dt {
	case dtype.Int64:
		x := make([]int64, n)
		for i := range x {
			x[i] = int64(first + i%50)
		}
		return bytesOf(x)
	case dtype.Int8:
		x := make([]int8, n)
		for i := range x {
			x[i] = int8(first + i%50)
		}
		return bytesOf(x)
	case dtype.Float16:
		x := make([]uint16, n)
		for i := range x {
			x[i] = dtype.F32ToF16(float32(first + i%50))
		}
		return bytesOf(x)
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(first + i%50)
	}
	return bytesOf(x)
}

func values(dt dtype.Type, b []byte) (out []float64) {
	switch dt {
	case dtype.Int64:
		for _, v := range view[int64](b) {
			out = append(out, float64(v))
		}
	case dtype.Int8:
		for _, v := range view[int8](b) {
			out = append(out, float64(v))
		}
	case dtype.Float16:
		for _, v := range view[uint16](b) {
			out = append(out, float64(dtype.F16ToF32(v)))
		}
	default:
		for _, v := range view[float32](b) {
			out = append(out, float64(v))
		}
	}
	return out
}

// at is the input's element for element i of the result.
func at(shape, in []int, i int) int {
	pos, step := 0, 1
	for k := len(shape) - 1; k >= 0; k-- {
		idx := i % shape[k]
		i /= shape[k]
		if j := k - len(shape) + len(in); j >= 0 {
			if in[j] != 1 {
				pos += idx * step
			}
			step *= in[j]
		}
	}
	return pos
}

func TestBroadcastErrors(t *testing.T) {
	for _, c := range [][2][]int{{{2}, {3}}, {{2, 3}, {2}}, {{-1}, {1}}} {
		if _, err := NewBinary(Add, dtype.Float32, c[0], c[1]); err == nil {
			t.Errorf("%v was let through", c)
		}
	}
	for _, c := range []struct {
		op Binary
		dt dtype.Type
	}{{Add, dtype.Bool}, {BitAnd, dtype.Float32}, {And, dtype.Int32}, {Add, dtype.String}} {
		if _, err := NewBinary(c.op, c.dt, nil, nil); err == nil {
			t.Errorf("%v of %v was prepared", c.op, c.dt)
		}
	}
}

// A buffer that is too short panics before anything is read beyond it.
func TestShortBuffers(t *testing.T) {
	k, _ := NewBinary(Add, dtype.Float32, []int{8, 16}, []int{16})
	s, _ := NewSelect(4, []int{16}, []int{16}, []int{16})
	q, _ := NewQuantize(dtype.Uint8, []int{128}, -1, 0)
	b := make([]byte, 512)
	f := view[float32](b)
	for name, run := range map[string]func(){
		"first":    func() { k.Run(nil, b, b[:500:500], b) },
		"second":   func() { k.Run(nil, b, b, b[:60:60]) },
		"target":   func() { k.Run(nil, b[:500:500], b, b) },
		"select":   func() { s.Run(nil, b, b[:15:15], b, b) },
		"quantize": func() { q.Run(nil, b, f[:127:127], f, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			run()
		}()
	}
}

func TestBinaryOtherTypes(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		op         Binary
		dt         dtype.Type
		a, b, want any
	}{
		{Div, dtype.Int32, []int32{7, -7, 5, math.MinInt32}, []int32{2, 2, 0, -1}, []int32{3, -3, 0, math.MinInt32}},
		{Mod, dtype.Int32, []int32{7, -7, 7, -7, 3}, []int32{3, 3, -3, -3, 0}, []int32{1, 2, -2, -1, 0}},
		{Fmod, dtype.Int32, []int32{7, -7, 7, -7, 3}, []int32{3, 3, -3, -3, 0}, []int32{1, -1, 1, -1, 0}},
		{Mod, dtype.Float64, []float64{-7, 7}, []float64{3, -3}, []float64{2, -2}},
		{Pow, dtype.Int64, []int64{2, -3, -1, 2, 1}, []int64{10, 3, -3, -1, -9}, []int64{1024, -27, -1, 0, 1}},
		{Add, dtype.Uint8, []uint8{250}, []uint8{10}, []uint8{4}},
		{Max, dtype.Int8, []int8{-5, 3}, []int8{2, -9}, []int8{2, 3}},
		{BitXor, dtype.Uint16, []uint16{0xff00}, []uint16{0x0ff0}, []uint16{0xf0f0}},
		{ShiftRight, dtype.Uint8, []uint8{128, 1}, []uint8{3, 200}, []uint8{16, 0}},
		{ShiftLeft, dtype.Uint64, []uint64{1}, []uint64{63}, []uint64{1 << 63}},
		{And, dtype.Bool, []uint8{0, 1, 2, 7}, []uint8{1, 1, 255, 0}, []uint8{0, 1, 1, 0}},
		{Xor, dtype.Bool, []uint8{1, 2}, []uint8{0, 1}, []uint8{1, 0}},
		{Equal, dtype.Float32, []float32{1, nan, 0}, []float32{1, nan, float32(math.Copysign(0, -1))}, []uint8{1, 0, 1}},
		{LessEqual, dtype.Int64, []int64{1, 2, 3}, []int64{2, 2, 2}, []uint8{1, 1, 0}},
		{Greater, dtype.Float16, []uint16{dtype.F32ToF16(2)}, []uint16{dtype.F32ToF16(1)}, []uint8{1}},
		{Pow, dtype.BFloat16, []uint16{dtype.F32ToBF16(3)}, []uint16{dtype.F32ToBF16(2)}, []uint16{dtype.F32ToBF16(9)}},
	} {
		a, b, want := anyBytes(c.a), anyBytes(c.b), anyBytes(c.want)
		n := []int{len(a) / (c.dt.Bits() / 8)}
		k, err := NewBinary(c.op, c.dt, n, n)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, len(want))
		k.Run(nil, dst, a, b)
		if string(dst) != string(want) {
			t.Errorf("%v of %v: bytes %v, want %v (%v)", c.op, c.dt, dst, want, c.want)
		}
	}
}

func TestSelect(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	for _, c := range []struct{ cond, a, b []int }{
		{[]int{2, 3}, []int{2, 3}, []int{2, 3}},
		{[]int{3}, []int{2, 1}, []int{}},
		{[]int{2, 1}, []int{3}, []int{2, 3}},
		{[]int{}, []int{5}, []int{1}},
		{[]int{1001}, []int{1001}, []int{}},
		{[]int{1001}, []int{}, []int{}},
		{[]int{30, 1}, []int{30, 101}, []int{}},
		{[]int{30, 1}, []int{101}, []int{30, 101}},
		{[]int{40, 1, 7}, []int{1, 300, 7}, []int{40, 1, 1}},
		{[]int{9000, 3}, []int{3}, []int{9000, 3}},
		{[]int{9000, 1}, []int{9000, 3}, []int{1, 3}},
	} {
		for _, size := range []int{1, 2, 4, 8, 16} {
			for _, pl := range []*pool.Pool{nil, p} {
				checkSelect(t, pl, size, c.cond, c.a, c.b)
			}
		}
	}
}

func checkSelect(t *testing.T, p *pool.Pool, size int, cs, as, bs []int) {
	k, err := NewSelect(size, cs, as, bs)
	if err != nil {
		t.Fatal(err)
	}
	cond, a, b := kerneltest.Guarded(t, count(cs)), kerneltest.Guarded(t, count(as)*size), kerneltest.Guarded(t, count(bs)*size)
	for i := range cond {
		cond[i] = byte(i % 2 * (1 << (i % 8)))
	}
	for i := range a {
		a[i] = byte(i * 7)
	}
	for i := range b {
		b[i] = byte(i*11 + 1)
	}
	dst := kerneltest.Guarded(t, k.Len()*size)
	k.Run(p, dst, cond, a, b)
	for i := range k.Len() {
		want := b[at(k.Shape(), bs, i)*size:][:size]
		if cond[at(k.Shape(), cs, i)] != 0 {
			want = a[at(k.Shape(), as, i)*size:][:size]
		}
		if got := dst[i*size:][:size]; string(got) != string(want) {
			t.Fatalf("%d bytes of %v ? %v : %v, element %d: %v, want %v", size, cs, as, bs, i, got, want)
		}
	}
}

func TestBinaryDoesNotAllocate(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16, dtype.Int32} {
			k, err := NewBinary(Add, dt, []int{4, 50, 30}, []int{50, 1})
			if err != nil {
				t.Fatal(err)
			}
			a := make([]byte, dt.Bytes(6000))
			if n := testing.AllocsPerRun(10, func() { k.Run(nil, a, a, a) }); n != 0 {
				t.Errorf("%v: %v allocations", dt, n)
			}
		}
	})
}

func BenchmarkBinary(b *testing.B) {
	for _, c := range [][2][]int{{{1 << 12}, {1 << 12}}, {{1 << 20}, {1 << 20}}, {{64, 56 * 56}, {64, 1}}, {{128, 768}, {768}}, {{4096}, {}}} {
		for _, op := range []Binary{Add, Max} {
			for _, l := range cpu.Levels() {
				b.Run(fmt.Sprintf("%v/%v%v/%v", op, c[0], c[1], l), func(b *testing.B) {
					defer cpu.Force(l)()
					k, err := NewBinary(op, dtype.Float32, c[0], c[1])
					if err != nil {
						b.Fatal(err)
					}
					x, y := kerneltest.Floats(b, count(c[0]), nil), kerneltest.Floats(b, count(c[1]), nil)
					dst := kerneltest.Guarded(b, 4*k.Len())
					b.SetBytes(int64(4 * (k.Len() + len(x) + len(y))))
					for b.Loop() {
						k.Run(nil, dst, bytesOf(x), bytesOf(y))
					}
				})
			}
		}
	}
}

// The least sizes of a chunk come from here: two threads against one.
func BenchmarkThreads(b *testing.B) {
	p := pool.New(2)
	defer p.Close()
	p.Begin()
	defer p.End()
	for _, n := range []int{4096, 8192, 16384, 32768, 65536, 262144} {
		for _, op := range []Op{Relu, Gelu} {
			u, err := NewUnary(op, dtype.Float32, Params{})
			if err != nil {
				b.Fatal(err)
			}
			x, y := kerneltest.Floats(b, n, nil), kerneltest.Floats(b, n, nil)
			for _, pl := range []*pool.Pool{nil, p} {
				b.Run(fmt.Sprintf("%v/%d/%d", op, n, pl.Threads()), func(b *testing.B) {
					for b.Loop() {
						u.Run(pl, bytesOf(y), bytesOf(x))
					}
				})
			}
		}
	}
}

// TestFmodIsExact compares with math.Mod, which is, in particular where the quotient is almost a whole number.
func TestFmodIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	special := []float32{0, float32(math.Copysign(0, -1)), 1, -1, math.SmallestNonzeroFloat32, math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1 << 25, 3}
	check := func(x, y float32) {
		got, want := float32(fmod(float64(x), float64(y))), float32(math.Mod(float64(x), float64(y)))
		if math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
			t.Fatalf("fmod(%g, %g) is %g, expected %g", x, y, got, want)
		}
	}
	for _, x := range special {
		for _, y := range special {
			check(x, y)
		}
	}
	for range 1_000_000 {
		x, y := math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32())
		check(x, y)
		whole := float32(r.IntN(1<<26)) * y
		check(whole, y)
		check(math.Nextafter32(whole, 0), y)
		check(math.Nextafter32(whole, 1e38), y)
	}
}
