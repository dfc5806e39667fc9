package reduce

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

func bytesOf[T any](x []T) []byte {
	var z T
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(z)))
}

// naive reduces in float64; groups maps a result to its elements in order.
func naive(op Op, groups [][]float32) []float64 {
	out := make([]float64, len(groups))
	for g, xs := range groups {
		sum, prod, hi, lo := 0.0, 1.0, math.Inf(-1), math.Inf(1)
		for _, v := range xs {
			x := float64(v)
			switch op {
			case L1:
				x = math.Abs(x)
			case L2, SumSquare:
				x *= x
			case LogSumExp:
				x = math.Exp(x)
			}
			sum += x
			prod *= x
			hi, lo = math.Max(hi, x), math.Min(lo, x)
		}
		switch op {
		case Sum, L1, SumSquare:
			out[g] = sum
		case Mean:
			out[g] = sum / float64(len(xs))
		case Max:
			out[g] = hi
		case Min:
			out[g] = lo
		case Prod:
			out[g] = prod
		case L2:
			out[g] = math.Sqrt(sum)
		case LogSum, LogSumExp:
			out[g] = math.Log(sum)
		}
	}
	return out
}

func groupsOf(x []float32, shape, axes []int) [][]float32 {
	red := make([]bool, len(shape))
	for _, a := range axes {
		red[a] = true
	}
	count := 1
	for i, d := range shape {
		if !red[i] {
			count *= d
		}
	}
	groups := make([][]float32, count)
	idx := make([]int, len(shape))
	for _, v := range x {
		g := 0
		for i := range shape {
			if !red[i] {
				g = g*shape[i] + idx[i]
			}
		}
		groups[g] = append(groups[g], v)
		for i := len(idx) - 1; i >= 0; i-- {
			if idx[i]++; idx[i] < shape[i] {
				break
			}
			idx[i] = 0
		}
	}
	return groups
}

var reduceCases = []struct{ shape, axes []int }{
	{[]int{1}, []int{0}},
	{[]int{7}, []int{0}},
	{[]int{33}, []int{0}},
	{[]int{4095}, []int{0}},
	{[]int{9001}, []int{0}},
	{[]int{140000}, []int{0}},
	{[]int{3, 130}, []int{1}},
	{[]int{130, 3}, []int{0}},
	{[]int{130, 97}, []int{0}},
	{[]int{5000, 9}, []int{0}},
	{[]int{2, 37, 65}, []int{1}},
	{[]int{2, 3, 5, 7}, []int{0, 2}},
	{[]int{2, 3, 5, 7}, []int{2, 3}},
	{[]int{4, 31, 17}, []int{0, 2}},
	{[]int{2, 3}, []int{}},
	{[]int{3, 0, 2}, []int{0, 2}},
}

func run32(t testing.TB, op Op, shape, axes []int, x []float32, p *pool.Pool) []float32 {
	r, err := New(op, dtype.Float32, shape, axes)
	if err != nil {
		t.Fatal(err)
	}
	n := 1
	for _, d := range r.Shape() {
		n *= d
	}
	out := kerneltest.Floats(t, n, nil)
	scratch := kerneltest.Guarded(t, r.Scratch())
	r.Run(p, bytesOf(out), bytesOf(x), scratch)
	return out
}

func TestFloat32AgainstFloat64(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range reduceCases {
			n := 1
			for _, d := range c.shape {
				n *= d
			}
			for op := range numOps {
				x := kerneltest.Floats(t, n, func(int) float32 { return rand.Float32()*2 - 0.9 })
				if op == Prod || op == LogSum {
					x = kerneltest.Floats(t, n, func(i int) float32 { return 1 + rand.Float32()/1000 })
				}
				got := run32(t, op, c.shape, c.axes, x, nil)
				want := naive(op, groupsOf(x, c.shape, c.axes))
				abs := naive(L1, groupsOf(x, c.shape, c.axes))
				for i := range want {
					tol := 1e-6*math.Abs(want[i]) + 3e-7*math.Sqrt(abs[i])
					if !slices.Contains(c.axes, len(c.shape)-1) { // a chain of up to 4096
						tol += 3e-6 * abs[i]
					}
					if op == Prod {
						tol = 1e-3 * want[i]
					}
					if !(math.Abs(float64(got[i])-want[i]) <= tol) && !kerneltest.Same(got[i], float32(want[i])) {
						t.Errorf("%v %v %v [%d]: got %v want %v", op, c.shape, c.axes, i, got[i], want[i])
						break
					}
				}
				for i, v := range run32(t, op, c.shape, c.axes, x, p) {
					if !kerneltest.Same(v, got[i]) {
						t.Fatalf("%v %v %v [%d]: %v with threads, %v without", op, c.shape, c.axes, i, v, got[i])
					}
				}
			}
		}
	})
}

// A result has the same bits whatever lies beside its elements, and (but for log and exp) at every
// level: those of rows, and those of columns.
func TestOrderDependsOnAxesAndLengthOnly(t *testing.T) {
	for _, k := range []int{1, 2, 5, 32, 33, 100, 4096, 10000} {
		for _, cols := range []int{1, 3, 70} {
			x := kerneltest.Floats(t, k*cols, nil)
			turned := make([]float32, k*cols)
			for i := range k {
				for j := range cols {
					turned[j*k+i] = x[i*cols+j]
				}
			}
			padded := make([]float32, 3*k*cols) // each column beside two others
			for i, v := range x {
				padded[3*i], padded[3*i+1], padded[3*i+2] = 7, v, -5
			}
			for op := range numOps {
				restore := cpu.Force(cpu.Generic)
				rows := run32(t, op, []int{cols, k}, []int{1}, turned, nil)
				columns := run32(t, op, []int{k, cols}, []int{0}, x, nil)
				restore()
				for _, l := range cpu.Levels() {
					restore := cpu.Force(l)
					if op == LogSumExp || op == LogSum {
						rows = run32(t, op, []int{cols, k}, []int{1}, turned, nil)
						columns = run32(t, op, []int{k, cols}, []int{0}, x, nil)
					}
					wide := run32(t, op, []int{k, cols, 3}, []int{0}, padded, nil)
					beside := make([]float32, cols)
					for i := range beside {
						beside[i] = wide[3*i+1]
					}
					for name, c := range map[string]struct{ got, want []float32 }{
						"rows":          {run32(t, op, []int{cols, k}, []int{1}, turned, nil), rows},
						"apart":         {run32(t, op, []int{k, 1, cols, 1}, []int{0, 3}, x, nil), rows},
						"columns":       {run32(t, op, []int{k, cols}, []int{0}, x, nil), columns},
						"columns apart": {run32(t, op, []int{k, cols, 1}, []int{0}, x, nil), columns},
						"turned":        {run32(t, op, []int{cols, k, 1}, []int{1}, turned, nil), columns},
						"beside":        {beside, columns},
					} {
						for i := range c.got {
							if !kerneltest.Same(c.got[i], c.want[i]) {
								t.Fatalf("%v of %d in %s at %v: %v, not %v", op, k, name, l, c.got[i], c.want[i])
							}
						}
					}
					restore()
				}
			}
		}
	}
}

// Running sums have the same bits at every level, forward and back.
func TestRunningSums(t *testing.T) {
	const rows = 5
	for n := range 150 {
		x := kerneltest.Floats(t, rows*n, nil)
		want := make([]float32, rows*n)
		for _, first := range []int{0, (rows - 1) * n} {
			stride := n
			if first > 0 {
				stride = -n
			}
			for i := range n {
				sum := 0.
				for k := range rows {
					at := first + k*stride + i
					sum += float64(x[at])
					want[at] = float32(sum)
				}
			}
			kerneltest.Levels(t, func(t *testing.T) {
				got := kerneltest.Floats(t, rows*n, nil)
				RunningSums(got, x, first, stride, rows, n)
				for i := range got {
					if !kerneltest.Same(got[i], want[i]) {
						t.Fatalf("element %d of %d columns from %d: %v, want %v", i, n, first, got[i], want[i])
					}
				}
			})
		}
	}
}

// Squared distances have the same bits at every level.
func TestSquareDiffRow(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 15, 16, 31, 32, 33, 47, 63, 64, 65, 100, blockLen - 1, blockLen, blockLen + 9} {
		x := kerneltest.Floats(t, n, nil)
		restore := cpu.Force(cpu.Generic)
		want := SquareDiffRow(x, 0.3)
		restore()
		kerneltest.Levels(t, func(t *testing.T) {
			if got := SquareDiffRow(x, 0.3); !kerneltest.Same(got, want) {
				t.Errorf("%d elements: %v, want %v", n, got, want)
			}
		})
	}
}

func TestSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	kerneltest.Levels(t, func(t *testing.T) {
		for n := 1; n < 70; n++ {
			for at := range n {
				x := kerneltest.Floats(t, n, nil)
				x[at] = nan
				for _, op := range []Op{Max, Min, Sum, LogSumExp, L2} {
					if got := run32(t, op, []int{n}, []int{0}, x, nil)[0]; got == got {
						t.Fatalf("%v of %d elements with a NaN at %d: %v", op, n, at, got)
					}
				}
			}
		}
		if got := run32(t, LogSumExp, []int{3}, []int{0}, []float32{-inf, -inf, -inf}, nil)[0]; got != -inf {
			t.Errorf("LogSumExp of -Inf: %v", got)
		}
		for op, want := range map[Op]float32{Sum: 0, Prod: 1, Max: -inf, Min: inf, L2: 0, LogSum: -inf, LogSumExp: -inf, Mean: nan} {
			if got := run32(t, op, []int{0}, []int{0}, nil, nil)[0]; !kerneltest.Same(got, want) {
				t.Errorf("%v of nothing: %v, want %v", op, got, want)
			}
		}
	})
}

func TestOtherTypes(t *testing.T) {
	r, err := New(Mean, dtype.Int8, []int{300}, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 1)
	r.Run(nil, dst, bytesOf(make([]int8, 300)), make([]byte, r.Scratch()))
	if dst[0] != 0 {
		t.Error(dst)
	}
	r, err = New(Max, dtype.Int64, []int{2, 3}, []int{-1})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int64, 2)
	r.Run(nil, bytesOf(out), bytesOf([]int64{-5, -3, -9, 7, 8, 1 << 60}), make([]byte, r.Scratch()))
	if out[0] != -3 || out[1] != 1<<60 {
		t.Error(out)
	}
	r, err = New(Sum, dtype.Float16, []int{4}, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	h := make([]uint16, 1)
	one := dtype.F32ToF16(1.5)
	r.Run(nil, bytesOf(h), bytesOf([]uint16{one, one, one, one}), make([]byte, r.Scratch()))
	if dtype.F16ToF32(h[0]) != 6 {
		t.Error(dtype.F16ToF32(h[0]))
	}
	if _, err := New(Sum, dtype.String, []int{1}, []int{0}); err == nil {
		t.Error("a sum of strings was prepared")
	}
	if _, err := New(Sum, dtype.Float32, []int{2, 2}, []int{0, -2}); err == nil {
		t.Error("an axis named twice was let through")
	}
}

func TestArg(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		least, last bool
		x           []float32
		want        int64
	}{
		{false, false, []float32{1, 3, 2, 3}, 1},
		{false, true, []float32{1, 3, 2, 3}, 3},
		{true, false, []float32{1, 3, 1, 3}, 0},
		{true, true, []float32{1, 3, 1, 3}, 2},
		{false, false, []float32{1, nan, 9, nan}, 1},
		{true, false, []float32{1, nan, -9}, 1},
	} {
		a, err := NewArg(c.least, c.last, dtype.Float32, []int{len(c.x)}, 0)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]int64, 1)
		a.Run(nil, out, bytesOf(c.x))
		if out[0] != c.want {
			t.Errorf("%+v: %d", c, out[0])
		}
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	for op := range numOps {
		r, err := New(op, dtype.Float32, []int{8, 5000}, []int{1})
		if err != nil {
			t.Fatal(err)
		}
		src, dst, scratch := make([]byte, 4*40000), make([]byte, 4*8), make([]byte, r.Scratch())
		if n := testing.AllocsPerRun(10, func() { r.Run(nil, dst, src, scratch) }); n != 0 {
			t.Errorf("%v: %v allocations", op, n)
		}
	}
}

func BenchmarkReduce(b *testing.B) {
	for _, c := range []struct {
		op          Op
		shape, axes []int
	}{
		{Sum, []int{64, 1024}, []int{1}},
		{Max, []int{64, 1024}, []int{1}},
		{SumSquare, []int{64, 1024}, []int{1}},
		{Mean, []int{1, 2048, 7, 7}, []int{2, 3}},
		{Mean, []int{128, 512}, []int{0}},
		{Max, []int{128, 512}, []int{0}},
		{LogSumExp, []int{64, 1024}, []int{1}},
	} {
		for _, l := range cpu.Levels() {
			b.Run(fmt.Sprintf("%v/%v/%v/%v", c.op, c.shape, c.axes, l), func(b *testing.B) {
				defer cpu.Force(l)()
				r, err := New(c.op, dtype.Float32, c.shape, c.axes)
				if err != nil {
					b.Fatal(err)
				}
				n := 4
				for _, d := range c.shape {
					n *= d
				}
				src, dst, scratch := make([]byte, n), make([]byte, n), make([]byte, r.Scratch())
				b.SetBytes(int64(n))
				for b.Loop() {
					r.Run(nil, dst, src, scratch)
				}
			})
		}
	}
}

// TestArgOfShortRows: rows that are searched together give what each alone does.
func TestArgOfShortRows(t *testing.T) {
	x := kerneltest.Floats(t, 300*mostPlaces, nil)
	for i := range x {
		x[i] = float32(i*7919%11) - 5
		switch i % 89 {
		case 0:
			x[i] = float32(math.NaN())
		case 1:
			x[i] = float32(math.Copysign(0, -1))
		case 2:
			x[i] = float32(math.Inf(-1))
		case 3:
			x[i] = float32(math.Copysign(math.NaN(), -1))
		}
	}
	kerneltest.Levels(t, func(t *testing.T) {
		for k := 1; k <= mostPlaces+1; k++ {
			for i := range 4 {
				least, last := i%2 == 1, i > 1
				rows := len(x) / k
				a, err := NewArg(least, last, dtype.Float32, []int{rows, k}, 1)
				if err != nil {
					t.Fatal(err)
				}
				out := make([]int64, rows)
				a.Run(nil, out, bytesOf(x[len(x)-rows*k:]))
				for r, got := range out {
					if want := argRow(x[len(x)-(rows-r)*k:], 1, k, least, last); got != want {
						t.Fatalf("least %v, last %v, %v: %d, want %d", least, last, x[len(x)-(rows-r)*k:][:k], got, want)
					}
				}
			}
		}
	})
}

// TestArgOfColumns: columns that are searched together give what each alone does.
func TestArgOfColumns(t *testing.T) {
	const k, inner = 7, 150
	x := make([]float32, 2*k*inner)
	for i := range x {
		x[i] = float32(i * 7919 % 11)
		if i%97 == 0 {
			x[i] = float32(math.NaN())
		}
	}
	for _, least := range []bool{false, true} {
		for _, last := range []bool{false, true} {
			a, err := NewArg(least, last, dtype.Float32, []int{2, k, inner}, 1)
			if err != nil {
				t.Fatal(err)
			}
			out := make([]int64, 2*inner)
			a.Run(nil, out, bytesOf(x))
			for i, got := range out {
				if want := argRow(x[i/inner*k*inner+i%inner:], inner, k, least, last); got != want {
					t.Fatalf("least %v, last %v, column %d: %d, want %d", least, last, i, got, want)
				}
			}
		}
	}
}
