package bgemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

// problem is a task with random operands, each before or after a page that
// can't be touched.
func problem(t *testing.T, rng *rand.Rand, m, n, k int, batch []int) *Task {
	t.Helper()
	side := guard.Side(rng.IntN(2))
	floats := func(n int) []float32 {
		s := guard.Slice[float32](t, n, side)
		for i := range s {
			s[i] = float32(rng.NormFloat64())
		}
		return s
	}
	items := 1
	for _, d := range batch {
		items *= d
	}
	matrix := func(rows, cols, items int, trans bool) gemm.Matrix {
		if trans {
			rows, cols = cols, rows
		}
		x := gemm.Matrix{Stride: cols + rng.IntN(2)*rng.IntN(9), Trans: trans}
		size := max(0, (rows-1)*x.Stride+cols)
		if batch != nil {
			x.Steps = []int{size}
			if items == 1 {
				x.Steps = []int{0}
			}
		}
		x.Data = floats(items * size)
		return x
	}
	coin := func() bool { return rng.IntN(2) == 0 }
	x := &Task{Product: gemm.Product{M: m, N: n, K: k, Batch: batch}}
	x.A = matrix(m, k, items, coin())
	x.C = matrix(m, n, items, false)
	if coin() {
		x.Residual = matrix(m, n, items, false)
		x.Beta = 1.5
	}
	if coin() {
		x.ColBias.Data = floats(n)
	}
	if coin() {
		x.RowBias.Data = floats(m)
	}
	if coin() {
		x.Alpha = .3
	}
	switch x.Act = gemm.Activation(rng.IntN(4)); x.Act {
	case gemm.Clip:
		x.Lo, x.Hi = -1, 2
	case gemm.LeakyReLU:
		x.Slope = .1
	}
	if coin() {
		x.Post = func(s []float32) {
			for i := range s {
				s[i] = s[i]*s[i] - 1
			}
		}
	}
	x.B = matrix(k, n, items, coin())
	if coin() {
		step := 0
		if batch != nil {
			step = x.B.Steps[0]
		}
		dst := guard.Slice[byte](t, PackedSize(k, n, items), side)
		if err := PackB(dst, x.B, k, n, items, step); err != nil {
			t.Fatal(err)
		}
		var err error
		if x.Weights, err = Prepacked(dst, k, n, items); err != nil {
			t.Fatal(err)
		}
		x.B = gemm.Matrix{}
		if batch != nil {
			x.B.Steps = []int{1}
		}
	}
	return x
}

// run gives C of a task at a level; other elements of its matrix are zeros.
func run(t *testing.T, x *Task, l cpu.Target, p *pool.Pool) []float32 {
	t.Helper()
	defer cpu.Force(l)()
	y := Task{Product: x.Product}
	if x.Weights != nil {
		w := *x.Weights
		w.level = l
		y.Weights = &w
	}
	y.Scratch = guard.Slice[byte](t, y.ScratchSize(p.Threads()), guard.End)
	clear(y.C.Data)
	if err := y.Run(p); err != nil {
		t.Fatal(err)
	}
	if y.own != nil {
		t.Errorf("ScratchSize was not enough")
	}
	return append([]float32(nil), y.C.Data...)
}

func same(a, b []float32) (int, bool) {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i, false
		}
	}
	return 0, true
}

func describe(x *Task) string {
	return fmt.Sprintf("M=%d N=%d K=%d batch %v, A transposed %v, B packed %v, transposed %v", x.M, x.N, x.K, x.Batch, x.A.Trans, x.Weights != nil, x.B.Trans)
}

// TestLevelsAgree compares the tiles with their portable twins, bit by bit, on 1
// and 3 threads.
func TestLevelsAgree(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 150 {
		m, n, k := 1+rng.IntN(65), 1+rng.IntN(65), 1+rng.IntN(65)
		var batch []int
		switch i % 6 {
		case 0:
			m = 1
		case 1:
			n = 1
		case 2:
			k = rng.IntN(2)
		case 3:
			batch = []int{1 + rng.IntN(3)}
		}
		x := problem(t, rng, m, n, k, batch)
		for _, l := range cpu.Levels() {
			restore := mma.Specify(l)
			want := run(t, x, cpu.Generic, nil)
			restore()
			for _, p := range []*pool.Pool{nil, threads} {
				if at, ok := same(run(t, x, l, p), want); !ok {
					t.Fatalf("%s: level %v differs from generic at %d", describe(x), l, at)
				}
			}
		}
	}
}

// Scratch holds what long sums need, on many threads, whatever lies in which order.
func TestLongSums(t *testing.T) {
	threads := pool.New(8)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(5, 6))
	rounds := 8
	if !mma.Available() {
		rounds = 2 // the twins are slow
	}
	for range rounds {
		x := problem(t, rng, 40, 70, 2048, nil)
		if at, ok := same(run(t, x, cpu.Level(), threads), run(t, x, cpu.Level(), nil)); !ok {
			t.Fatalf("%s: threads change element %d", describe(x), at)
		}
	}
}

// TestValues compares with sums in float64 of rounded operands.
func TestValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		m, n, k := 1+rng.IntN(40), 1+rng.IntN(40), 1+rng.IntN(200)
		x := problem(t, rng, m, n, k, nil)
		b := gemm.Matrix{Data: make([]float32, k*n), Stride: n}
		for i := range b.Data {
			b.Data[i] = float32(rng.NormFloat64())
		}
		x.B, x.Weights = b, nil
		got := run(t, x, cpu.Level(), nil)
		for i := range m {
			for j := range n {
				s := 0.0
				for l := range k {
					a := x.A.Data[at2(&x.A, i, l)]
					s += float64(rounded(a)) * float64(rounded(b.Data[l*n+j]))
				}
				want := float64(finished(x, float32(s), i, j))
				if g := float64(got[i*x.C.Stride+j]); math.Abs(g-want) > 1e-4*math.Sqrt(float64(k)) {
					t.Fatalf("%s: element %d,%d is %g, want %g", describe(x), i, j, g, want)
				}
			}
		}
	}
}

func at2(m *gemm.Matrix, i, j int) int {
	if m.Trans {
		i, j = j, i
	}
	return i*m.Stride + j
}

func rounded(x float32) float32 { return math.Float32frombits(uint32(mma.Round(x)) << 16) }

func finished(x *Task, s float32, i, j int) float32 {
	s *= one(x.Alpha)
	if x.ColBias.Data != nil {
		s += x.ColBias.Data[j]
	}
	if x.RowBias.Data != nil {
		s += x.RowBias.Data[i]
	}
	if x.Residual.Data != nil {
		s += one(x.Beta) * x.Residual.Data[i*x.Residual.Stride+j]
	}
	switch {
	case x.Act == gemm.ReLU && s < 0:
		s = 0
	case x.Act == gemm.Clip:
		s = min(max(s, x.Lo), x.Hi)
	case x.Act == gemm.LeakyReLU && s < 0:
		s *= x.Slope
	}
	if x.Post != nil {
		x.Post(unsafe.Slice(&s, 1))
	}
	return s
}

// TestStoredInBFloat16 compares with the same operands and results in float32.
func TestStoredInBFloat16(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range 60 {
		m, n, k := 1+rng.IntN(100), 1+rng.IntN(70), 1+rng.IntN(100)
		if i%2 == 0 {
			k = 32 * (1 + rng.IntN(15))
		}
		var batch []int
		if i%5 == 0 {
			batch = []int{3}
		}
		x := problem(t, rng, m, n, k, batch)
		if x.A.Trans {
			continue
		}
		want := run(t, x, cpu.Level(), nil)
		y := Task{Product: x.Product, Weights: x.Weights, HalfC: true, C16: guard.Slice[uint16](t, len(x.C.Data), guard.End)}
		if x.Weights != nil {
			y.HalfA, y.A16 = true, guard.Slice[uint16](t, len(x.A.Data), guard.Side(i&1))
			for j, a := range x.A.Data {
				y.A16[j] = mma.Round(a)
			}
			y.A.Data = nil
		}
		y.C.Data = nil
		y.Scratch = guard.Slice[byte](t, y.ScratchSize(3), guard.End)
		if err := y.Run(threads); err != nil {
			t.Fatal(err)
		}
		if y.own != nil {
			t.Error("ScratchSize was not enough")
		}
		for j, c := range want {
			if y.C16[j] != mma.Round(c) {
				t.Fatalf("%s: element %d is %#x, want %g rounded", describe(x), j, y.C16[j], c)
			}
		}
	}
}

// TestGelu compares with the function that follows the product.
func TestGelu(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(17, 18))
	for range 40 {
		x := problem(t, rng, 1+rng.IntN(100), 1+rng.IntN(70), 1+rng.IntN(200), nil)
		x.Post = nil
		sums := run(t, x, cpu.Level(), nil)
		y := Task{Product: x.Product, Weights: x.Weights, Gelu: true}
		if err := y.Check(); err == nil {
			t.Fatal("Gelu is accepted for results in float32")
		}
		y.HalfC, y.C16, y.C.Data = true, guard.Slice[uint16](t, len(x.C.Data), guard.End), nil
		if err := y.Run(threads); err != nil {
			t.Fatal(err)
		}
		for i := range y.M {
			for j := range y.N {
				z := float64(sums[i*y.C.Stride+j])
				want, got := z*math.Erfc(-z/math.Sqrt2)/2, float64(mma.Widen(y.C16[i*y.C.Stride+j]))
				if !(math.Abs(got-want) <= math.Abs(want)/255+3e-6) {
					t.Fatalf("%s: GELU of %g is %g, want %g", describe(x), z, got, want)
				}
			}
		}
	}
}

// TestRowsAreIndependent computes rows of a product alone.
func TestRowsAreIndependent(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		x := problem(t, rng, 70, 1+rng.IntN(70), 1+rng.IntN(300), nil)
		x.A.Trans, x.A.Stride = false, x.K
		x.A.Data = make([]float32, 70*x.K)
		for i := range x.A.Data {
			x.A.Data[i] = float32(rng.NormFloat64())
		}
		x.RowBias.Data, x.Residual = nil, gemm.Matrix{}
		all := run(t, x, cpu.Level(), nil)
		part := Task{Product: x.Product, Weights: x.Weights}
		row := rng.IntN(69)
		part.M, part.A.Data, part.C.Data = 1, x.A.Data[row*x.K:], make([]float32, x.N)
		if at, ok := same(run(t, &part, cpu.Level(), nil), all[row*x.C.Stride:][:x.N]); !ok {
			t.Fatalf("%s: row %d alone differs at %d", describe(x), row, at)
		}
	}
}

func TestErrors(t *testing.T) {
	b := gemm.Matrix{Data: make([]float32, 12), Stride: 3}
	if err := PackB(make([]byte, 1), b, 4, 3, 1, 0); err == nil {
		t.Error("a short destination is accepted")
	}
	if err := PackB(make([]byte, PackedSize(5, 3, 1)), b, 5, 3, 1, 0); err == nil {
		t.Error("a short B is accepted")
	}
	if _, err := Prepacked(make([]byte, 1), 4, 3, 1); err == nil {
		t.Error("short packed data is accepted")
	}
	dst := make([]byte, PackedSize(4, 3, 1))
	if err := PackB(dst, b, 4, 3, 1, 0); err != nil {
		t.Fatal(err)
	}
	w, err := Prepacked(dst, 4, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := &Task{Weights: w, Product: gemm.Product{M: 1, N: 3, K: 4, A: gemm.Matrix{Data: make([]float32, 4), Stride: 4}, C: gemm.Matrix{Data: make([]float32, 3), Stride: 3}}}
	if err := x.Run(nil); err != nil {
		t.Fatal(err)
	}
	x.N = 2
	if err := x.Run(nil); err == nil {
		t.Error("a product of another size is accepted")
	}
	x.N, x.Batch, x.B.Steps, x.C.Steps = 3, []int{2}, []int{1}, []int{0}
	if err := x.Run(nil); err == nil {
		t.Error("an item that isn't packed is accepted")
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	x := problem(t, rand.New(rand.NewPCG(7, 8)), 100, 100, 50, nil)
	x.B, x.Weights = gemm.Matrix{Data: make([]float32, 5000), Stride: 50, Trans: true}, nil
	run := func() {
		if err := x.Run(p); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations per run, want none", n)
	}
}

// BenchmarkBgemm multiplies by packed weights.
func BenchmarkBgemm(b *testing.B) {
	if !mma.Available() {
		b.Skip("no tiles")
	}
	for _, s := range [][3]int{{128, 3072, 768}, {128, 768, 3072}, {128, 768, 768}, {128, 384, 384}, {16, 384, 384}, {1500, 1536, 384}, {1024, 1024, 1024}, {1, 3072, 768}} {
		b.Run(fmt.Sprintf("%dx%dx%d", s[0], s[1], s[2]), func(b *testing.B) {
			m, n, k := s[0], s[1], s[2]
			dst := mmap.Alloc(PackedSize(k, n, 1)).Bytes()
			if err := PackB(dst, gemm.Matrix{Data: make([]float32, k*n), Stride: n}, k, n, 1, 0); err != nil {
				b.Fatal(err)
			}
			w, err := Prepacked(dst, k, n, 1)
			if err != nil {
				b.Fatal(err)
			}
			x := &Task{Weights: w, Product: gemm.Product{M: m, N: n, K: k, A: gemm.Matrix{Data: make([]float32, m*k), Stride: k}, C: gemm.Matrix{Data: make([]float32, m*n), Stride: n}}}
			x.ColBias.Data = make([]float32, n)
			best := time.Hour
			for b.Loop() {
				start := time.Now()
				if err := x.Run(nil); err != nil {
					b.Fatal(err)
				}
				best = min(best, time.Since(start))
			}
			b.ReportMetric(2*float64(m*n*k)/float64(best.Nanoseconds()), "GF")
			b.ReportMetric(float64(best.Nanoseconds())/1000, "best-us/op")
		})
	}
}
