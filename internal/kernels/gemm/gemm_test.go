package gemm

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// eachLevel runs f at every level of the machine.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	for _, l := range cpu.Levels() {
		t.Run(l.String(), func(t *testing.T) {
			defer cpu.Force(l)()
			f(t)
		})
	}
}

func TestAgainstReference(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		cases := 400
		if testing.Short() {
			cases = 80
		}
		for i := range cases {
			m, n, k := 1+rng.IntN(70), 1+rng.IntN(70), 1+rng.IntN(70)
			var batch []int
			switch i % 8 {
			case 0:
				m = 1
			case 1:
				n = 1
			case 2:
				k = rng.IntN(2) // none or one
			case 3:
				batch = []int{1 + rng.IntN(5)}
			case 4:
				batch = []int{1 + rng.IntN(3), 1 + rng.IntN(3)}
			case 5:
				n = 16 * (1 + rng.IntN(5))
			case 6:
				m, n = 1+rng.IntN(3), 1+rng.IntN(400) // several panels at once
			}
			p := newProblem(t, rng, m, n, k, batch)
			if rng.IntN(2) == 0 {
				p.pack()
			}
			if rng.IntN(2) == 0 {
				p.check(threads)
			} else {
				p.check(nil)
			}
		}
	})
}

// TestLarge has several blocks of K and of columns, and several chunks.
func TestLarge(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		repeats := 3
		if testing.Short() {
			repeats = 1
		}
		for _, s := range [][3]int{{33, 45, 1601}, {1, 2100, 800}, {1, 9001, 137}, {1, 77, 20011}, {1, 64, 64}, {1, 72, 80}, {1, 131, 90}, {300, 70, 40}, {270, 1100, 30}, {19, 900, 770}, {70, 1, 1000}} {
			for range repeats {
				p := newProblem(t, rng, s[0], s[1], s[2], nil)
				if rng.IntN(2) == 0 {
					p.pack()
				}
				p.check(threads)
			}
		}
	})
}

func random(rng *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(rng.NormFloat64())
	}
	return s
}

// TestBits holds the promise of the package: a row has the same bits alone and
// among others, packed or not, transposed or not, on one thread and on several,
// and at every level with fused multiply-add.
func TestBits(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(5, 6))
	for _, s := range [][3]int{{37, 50, 1}, {37, 50, 17}, {40, 33, 777}, {300, 31, 65}, {15, 700, 1100}, {29, 1, 333}, {45, 1, 9000}, {3, 150, 8300}, {5, 100, 96}} {
		m, n, k := s[0], s[1], s[2]
		a, b := random(rng, m*k), random(rng, k*n)
		bias, residual := random(rng, n), random(rng, m*n)
		var fused []float32
		eachLevel(t, func(t *testing.T) {
			base := Product{M: m, N: n, K: k, A: Matrix{Data: a, Stride: k}, B: Matrix{Data: b, Stride: n}}
			base.ColBias.Data = bias
			base.Residual = Matrix{Data: residual, Stride: n}
			base.Act = LeakyReLU
			base.Slope = 0.1
			want := run(t, base, nil)
			same := func(how string, got []float32) {
				t.Helper()
				if i := firstDifference(got, want); i >= 0 {
					t.Errorf("%v %s: element %d is %x, want %x", s, how, i, got[i], want[i])
				}
			}
			same("on 3 threads", run(t, base, threads))
			same("packed", run(t, packed(t, base), threads))
			same("B transposed", run(t, transposedB(base), threads))
			same("A transposed", run(t, transposedA(base), nil))
			same("row by row", rowByRow(t, base))
			same("row by row, packed", rowByRow(t, packed(t, base)))
			same("row by row, B transposed", rowByRow(t, transposedB(base)))
			inPlace := base
			inPlace.C = Matrix{Data: slices.Clone(residual), Stride: n}
			inPlace.Residual = inPlace.C
			same("residual in place", run(t, inPlace, threads))
			if cpu.Level() == cpu.Generic {
				return
			}
			if fused == nil {
				fused = want
			}
			if i := firstDifference(fused, want); i >= 0 {
				t.Errorf("%v: element %d differs between levels: %x, %x", s, i, fused[i], want[i])
			}
		})
	}
}

func run(t *testing.T, x Product, p *pool.Pool) []float32 {
	t.Helper()
	if x.C.Data == nil {
		x.C = Matrix{Data: make([]float32, x.M*x.N), Stride: x.N}
	}
	task := Task{Product: x}
	if err := task.Run(p); err != nil {
		t.Fatal(err)
	}
	return x.C.Data
}

func packed(t *testing.T, x Product) Product {
	t.Helper()
	p, err := PackB(make([]float32, PackedSize(x.K, x.N, 1)), x.B, x.K, x.N, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	x.Packed, x.B = p, Matrix{}
	return x
}

func transposedB(x Product) Product {
	x.B = transposed(x.B, x.K, x.N)
	return x
}

func transposedA(x Product) Product {
	x.A = transposed(x.A, x.M, x.K)
	return x
}

func transposed(m Matrix, rows, cols int) Matrix {
	out := Matrix{Data: make([]float32, rows*cols), Stride: rows, Trans: true}
	for i := range rows {
		for j := range cols {
			out.Data[j*rows+i] = m.Data[i*m.Stride+j]
		}
	}
	return out
}

func rowByRow(t *testing.T, x Product) (out []float32) {
	t.Helper()
	rows := x.M
	a, res := x.A.Data, x.Residual.Data
	x.M = 1
	for i := range rows {
		x.A.Data, x.Residual.Data = a[i*x.K:], res[i*x.N:]
		out = append(out, run(t, x, nil)...)
	}
	return out
}

func firstDifference(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

func TestSpecialValues(t *testing.T) {
	nan, negZero := float32(math.NaN()), float32(math.Copysign(0, -1))
	tests := []struct {
		name     string
		sum      float32
		act      Activation
		lo, hi   float32
		slope    float32
		want     float32
		wantBits bool
	}{
		{"relu keeps NaN", nan, ReLU, 0, 0, 0, nan, false},
		{"clip keeps NaN", nan, Clip, -1, 1, 0, nan, false},
		{"relu of infinity", inf, ReLU, 0, 0, 0, inf, true},
		{"relu of -infinity", -inf, ReLU, 0, 0, 0, 0, true},
		{"relu keeps -0", negZero, ReLU, 0, 0, 0, negZero, true},
		{"clip below", -5, Clip, -1, 1, 0, -1, true},
		{"clip above", 5, Clip, -1, 1, 0, 1, true},
		{"leaky", -4, LeakyReLU, 0, 0, 0.25, -1, true},
		{"leaky positive", 4, LeakyReLU, 0, 0, 0.25, 4, true},
		{"leaky with negative slope", -4, LeakyReLU, 0, 0, -1, 4, true},
	}
	eachLevel(t, func(t *testing.T) {
		for _, tt := range tests {
			for _, n := range []int{1, 3, 32} {
				bias := slices.Repeat([]float32{tt.sum}, n)
				x := Product{M: 2, N: n, K: 0}
				x.ColBias.Data, x.Act, x.Lo, x.Hi, x.Slope = bias, tt.act, tt.lo, tt.hi, tt.slope
				x.Alpha = -1 // 0·-1 = -0, so that -0 remains possible
				for i, got := range run(t, x, nil) {
					if tt.wantBits && math.Float32bits(got) != math.Float32bits(tt.want) || !tt.wantBits && got == got {
						t.Errorf("%s, N=%d: element %d is %v, want %v", tt.name, n, i, got, tt.want)
					}
				}
			}
		}
	})
}

func TestErrors(t *testing.T) {
	ok := func() *Task {
		f := make([]float32, 100)
		return &Task{Product: Product{M: 2, N: 3, K: 4, A: Matrix{Data: f, Stride: 4}, B: Matrix{Data: f, Stride: 3}, C: Matrix{Data: f, Stride: 3}}}
	}
	if err := ok().Check(); err != nil {
		t.Fatal(err)
	}
	small := make([]float32, 5)
	tests := []struct {
		name  string
		spoil func(x *Task)
		want  string
	}{
		{"negative size", func(x *Task) { x.M = -1 }, "none may be negative"},
		{"short A", func(x *Task) { x.A.Data = small }, "A: 5 elements, but 2×4 with stride 4"},
		{"short B", func(x *Task) { x.B.Data = small }, "B: 5 elements"},
		{"short transposed B", func(x *Task) { x.B.Data, x.B.Trans = small, true }, "B: stride 3 is less than its 4 columns"},
		{"short C", func(x *Task) { x.C.Data = small }, "C: 5 elements"},
		{"stride", func(x *Task) { x.C.Stride = 2 }, "C: stride 2 is less than its 3 columns"},
		{"residual", func(x *Task) { x.Residual = Matrix{Data: small, Stride: 3} }, "residual: 5 elements"},
		{"column bias", func(x *Task) { x.ColBias.Data = small[:2] }, "column bias: 2 elements, but 1×3"},
		{"row bias", func(x *Task) { x.RowBias.Data = small[:1] }, "row bias: 1 elements, but 1×2"},
		{"steps", func(x *Task) { x.Batch, x.A.Steps = []int{2}, []int{1, 2} }, "A: 2 steps"},
		{"negative step", func(x *Task) { x.Batch, x.A.Steps = []int{2}, []int{-1} }, "none may be negative"},
		{"batch too far", func(x *Task) { x.Batch, x.A.Steps = []int{3}, []int{60} }, "needs 128"},
		{"C transposed", func(x *Task) { x.C.Trans = true }, "can't be transposed"},
		{"packed size", func(x *Task) { x.Packed = &Packed{kern: &portable, k: 4, n: 4, items: 1} }, "packed as 4×4, this product needs 4×3"},
		{"packed items", func(x *Task) {
			x.Packed, x.Batch, x.B.Steps = &Packed{kern: &portable, k: 4, n: 3, items: 1}, []int{2}, []int{1}
		}, "packed item 1 of 1"},
	}
	for _, tt := range tests {
		x := ok()
		tt.spoil(x)
		if err := x.Run(nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestPackErrors(t *testing.T) {
	f := make([]float32, 12)
	if _, err := PackB(f[:1], Matrix{Data: f, Stride: 3}, 4, 3, 1, 0); err == nil || !strings.Contains(err.Error(), "got 1") {
		t.Errorf("short destination: %v", err)
	}
	dst := make([]float32, PackedSize(4, 3, 2))
	if _, err := PackB(dst, Matrix{Data: f, Stride: 3}, 4, 3, 2, 12); err == nil || !strings.Contains(err.Error(), "needs 24") {
		t.Errorf("short source: %v", err)
	}
}

func TestPrepackedErrors(t *testing.T) {
	if _, err := Prepacked(make([]float32, 11), 4, 3, 1); err == nil || !strings.Contains(err.Error(), "got 11") {
		t.Errorf("short data: %v", err)
	}
}

func TestEmpty(t *testing.T) {
	for _, x := range []Product{{M: 0, N: 3, K: 2}, {M: 3, N: 0, K: 2}, {M: 3, N: 3, K: 3, Batch: []int{0}}} {
		x.A = Matrix{Data: make([]float32, 9), Stride: 3}
		x.B, x.C = x.A, x.A
		task := Task{Product: x}
		if err := task.Run(nil); err != nil {
			t.Errorf("M=%d N=%d batch %v: %v", x.M, x.N, x.Batch, err)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	rng := rand.New(rand.NewPCG(7, 8))
	x := Task{Product: Product{M: 300, N: 100, K: 50, A: Matrix{Data: random(rng, 300*50), Stride: 50},
		B: Matrix{Data: random(rng, 5000), Stride: 50, Trans: true}, C: Matrix{Data: make([]float32, 30000), Stride: 100}}}
	sizes := []int{300, 7, 100}
	if err := x.Run(p); err != nil {
		t.Fatal(err)
	}
	i := 0
	if n := testing.AllocsPerRun(20, func() {
		x.M = sizes[i%3]
		i++
		if err := x.Run(p); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per run, want none", n)
	}
}

// TestTileLayout holds the struct to the offsets in the generator.
func TestTileLayout(t *testing.T) {
	var x tile
	offsets := []uintptr{
		unsafe.Offsetof(x.a), unsafe.Offsetof(x.b), unsafe.Offsetof(x.c),
		unsafe.Offsetof(x.lda), unsafe.Offsetof(x.ldb), unsafe.Offsetof(x.ldc), unsafe.Offsetof(x.k),
		unsafe.Offsetof(x.colBias), unsafe.Offsetof(x.rowBias), unsafe.Offsetof(x.residual), unsafe.Offsetof(x.ldr),
		unsafe.Offsetof(x.mask), unsafe.Offsetof(x.flags), unsafe.Offsetof(x.alpha), unsafe.Offsetof(x.beta),
		unsafe.Offsetof(x.lo), unsafe.Offsetof(x.hi), unsafe.Offsetof(x.slope), unsafe.Offsetof(x.next), unsafe.Offsetof(x.step), unsafe.Offsetof(x.advance), unsafe.Offsetof(x.sums),
		unsafe.Offsetof(x.panels), unsafe.Offsetof(x.panel), unsafe.Offsetof(x.nextStep),
	}
	want := []uintptr{0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 108, 112, 116, 120, 128, 136, 144, 152, 160, 168, 176}
	if unsafe.Sizeof(uintptr(0)) == 8 && !slices.Equal(offsets, want) {
		t.Errorf("offsets %v, the assembly expects %v", offsets, want)
	}
}

// TestTuningKeepsBits cuts products in every way that can be chosen.
func TestTuningKeepsBits(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(7, 8))
	const m, n, k = 61, 170, 1300
	a, b, residual := random(rng, m*k), random(rng, k*n), random(rng, m*n)
	eachLevel(t, func(t *testing.T) {
		base := Product{M: m, N: n, K: k, A: Matrix{Data: a, Stride: k}, B: Matrix{Data: b, Stride: n}}
		base.Residual = Matrix{Data: residual, Stride: n}
		want := run(t, base, nil)
		for _, tuning := range []Tuning{
			{}, {TileRows: 1}, {TileRows: 5}, {DepthRows: 100}, {DepthRows: 5000}, {BlockBytes: 1}, {BlockBytes: 1 << 20, DepthRows: 300},
			{CopyB: tiling.On}, {CopyB: tiling.Off}, {Along: tiling.ByRows}, {Along: tiling.ByColumns, TileRows: 3},
		} {
			for _, x := range []Product{base, packed(t, base)} {
				for _, inPlace := range []bool{false, true} {
					x.C = Matrix{Data: make([]float32, m*n), Stride: n}
					if inPlace {
						copy(x.C.Data, residual)
						x.Residual = x.C
					}
					task := Task{Product: x, Tuning: tuning}
					need := task.ScratchSize(3)
					if err := task.Run(threads); err != nil {
						t.Fatal(err)
					}
					if i := firstDifference(x.C.Data, want); i >= 0 {
						t.Errorf("%+v, packed %v, in place %v: element %d differs", tuning, x.Packed != nil, inPlace, i)
					}
					if used := task.plan.scratch(); used > need {
						t.Errorf("%+v, packed %v, in place %v: %d elements of scratch, %d were announced", tuning, x.Packed != nil, inPlace, used, need)
					}
				}
			}
		}
	})
	bad := Task{Tuning: Tuning{TileRows: -1}}
	if err := bad.Run(nil); err == nil {
		t.Error("a tile of -1 rows is no error")
	}
}
