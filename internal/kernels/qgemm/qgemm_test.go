package qgemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

// A problem is a random product, in memory that ends or starts at a guard page.
type problem struct {
	t     testing.TB
	rng   *rand.Rand
	side  guard.Side
	task  Task
	b     Matrix
	zeroB []int32
}

func newProblem(t testing.TB, rng *rand.Rand, m, n, k int, batch []int) *problem {
	p := &problem{t: t, rng: rng, side: guard.Side(rng.IntN(2)), task: Task{Product: Product{M: m, N: n, K: k, Batch: batch}}}
	x := &p.task
	items := x.items()
	x.A = p.matrix(m, k, items)
	p.b = p.matrix(k, n, items)
	if rng.IntN(2) == 0 {
		p.b = p.matrix(n, k, items)
		p.b.Trans = true
	}
	x.ZeroA = p.vector(x.A.Signed, 0, 1, m)
	if rng.IntN(2) == 0 {
		p.fewSpills()
	}
	p.zeroB = p.vector(p.b.Signed, 0, 1, n)
	x.C.Stride = n + rng.IntN(2)*rng.IntN(9)
	size := max(0, (m-1)*x.C.Stride+n)
	if batch != nil {
		x.C.Steps, x.Steps = []int{size}, []int{1}
	} else {
		x.A.Steps = nil
	}
	switch rng.IntN(3) {
	case 0:
		x.C.Int = guard.Slice[int32](t, items*size, p.side)
	case 1:
		x.C.Float = guard.Slice[float32](t, items*size, p.side)
		p.dequant()
	default:
		x.C.Byte = guard.Slice[byte](t, items*size, p.side)
		x.C.Signed = rng.IntN(2) == 0
		x.C.Zero = int32(rng.IntN(128))
		p.dequant()
		// Most results inside of the range, and many halfway between two.
		x.RowScale, x.ColScale, x.ColBias, x.Clip = []float32{0.5}, []float32{1. / 256}, nil, false
	}
	dst := guard.Slice[byte](t, PackedSize(k, n, items), p.side)
	for i := range dst {
		dst[i] = 0x55
	}
	step := 0
	if p.b.Steps != nil {
		step = p.b.Steps[0]
	}
	packed, err := PackB(dst, p.b, p.zeroB, k, n, items, step)
	if err != nil {
		t.Fatal(err)
	}
	x.Packed = packed
	if rng.IntN(2) == 0 {
		if x.Packed, err = Prepacked(dst, p.b.Signed, p.zeroB, k, n, items); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *problem) matrix(rows, cols, items int) Matrix {
	m := Matrix{Stride: cols + p.rng.IntN(2)*p.rng.IntN(9), Signed: p.rng.IntN(2) == 0}
	size := max(0, (rows-1)*m.Stride+cols)
	m.Steps = []int{size}
	m.Data = guard.Slice[byte](p.t, items*size, p.side)
	for i := range m.Data {
		switch m.Data[i] = byte(p.rng.IntN(256)); p.rng.IntN(8) {
		case 0:
			m.Data[i] = 255
		case 1:
			m.Data[i] = 128
		case 2:
			m.Data[i] = 127
		}
	}
	return m
}

// vector is zero points, as many as one of the lengths.
func (p *problem) vector(signed bool, lengths ...int) []int32 {
	v := make([]int32, lengths[p.rng.IntN(len(lengths))])
	for i := range v {
		v[i] = int32(p.rng.IntN(256))
		if signed {
			v[i] -= 128
		}
	}
	return v
}

func (p *problem) dequant() {
	x := &p.task
	floats := func(lengths ...int) []float32 {
		s := guard.Slice[float32](p.t, lengths[p.rng.IntN(len(lengths))], p.side)
		for i := range s {
			s[i] = float32(p.rng.NormFloat64())
		}
		return s
	}
	x.RowScale, x.ColScale, x.ColBias = floats(0, 1, x.M), floats(0, 1, x.N), floats(0, x.N)
	x.Clip, x.Lo, x.Hi = p.rng.IntN(2) == 0, -1000, 2000
}

func (m *Matrix) at(off, i, j int) int64 {
	if m.Trans {
		i, j = j, i
	}
	b := m.Data[off+i*m.Stride+j]
	if m.Signed {
		return int64(int8(b))
	}
	return int64(b)
}

func (p *problem) want(item, i, j int) int32 {
	x := &p.task
	s := int64(0)
	za, zb := int64(pick(x.ZeroA, i, 0)), int64(pick(p.zeroB, j, 0))
	batch := tiling.Batch(x.Batch)
	a := batch.Offset(item, x.A.Steps)
	b := 0
	if x.Batch != nil {
		b = item * p.b.Steps[0]
	}
	for k := range x.K {
		s += (x.A.at(a, i, k) - za) * (p.b.at(b, k, j) - zb)
	}
	return int32(s)
}

func (p *problem) wantFloat(s int32, i, j int) float32 {
	x := &p.task
	scale := float32(pick(x.RowScale, i, 1) * pick(x.ColScale, j, 1))
	f := float32(float32(s) * scale)
	if len(x.ColBias) > 0 {
		f += x.ColBias[j]
	}
	if x.Clip {
		f = min(max(f, x.Lo), x.Hi)
	}
	return f
}

func (p *problem) wantByte(s int32, i, j int) byte {
	c := &p.task.C
	x := math.RoundToEven(float64(p.wantFloat(s, i, j))) + float64(c.Zero)
	if c.Signed {
		return byte(int8(min(max(x, -128), 127)))
	}
	return byte(min(max(x, 0), 255))
}

func (p *problem) check(threads *pool.Pool) {
	p.t.Helper()
	x := &p.task
	x.Scratch = guard.Slice[byte](p.t, x.ScratchSize(threads.Threads()), p.side)
	if err := x.Run(threads); err != nil {
		p.t.Fatal(err)
	}
	if x.own != nil {
		p.t.Errorf("ScratchSize was not enough")
	}
	for item := range x.items() {
		for i := range x.M {
			for j := range x.N {
				at := tiling.Batch(x.Batch).Offset(item, x.C.Steps) + i*x.C.Stride + j
				want := p.want(item, i, j)
				if x.C.Byte != nil {
					if got, want := x.C.Byte[at], p.wantByte(want, i, j); got != want {
						p.t.Fatalf("%v: item %d element %d,%d is byte %d, want %d", p, item, i, j, got, want)
					}
				} else if x.C.Int != nil {
					if got := x.C.Int[at]; got != want {
						p.t.Fatalf("%v: item %d element %d,%d is %d, want %d", p, item, i, j, got, want)
					}
				} else if got, want := x.C.Float[at], p.wantFloat(want, i, j); got != want {
					p.t.Fatalf("%v: item %d element %d,%d is %v, want %v", p, item, i, j, got, want)
				}
			}
		}
	}
}

func (p *problem) String() string {
	x := &p.task
	return fmt.Sprintf("M=%d N=%d K=%d batch %v, A signed %v zero %v, B signed %v trans %v zero %v",
		x.M, x.N, x.K, x.Batch, x.A.Signed, x.ZeroA, p.b.Signed, p.b.Trans, p.zeroB)
}

// TestExact compares with arithmetic in int64, at every level.
func TestExact(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	for _, l := range cpu.Levels() {
		t.Run(l.String(), func(t *testing.T) {
			defer cpu.Force(l)()
			rng := rand.New(rand.NewPCG(1, 2))
			cases := 400
			if testing.Short() {
				cases = 60
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
					k = rng.IntN(2)
				case 3:
					batch = []int{1 + rng.IntN(4)}
				case 4:
					k *= 4
				}
				p := newProblem(t, rng, m, n, k, batch)
				p.task.Tuning = Tuning{BlockBytes: rng.IntN(3) * 2000, Along: tiling.Along(rng.IntN(3))}
				if rng.IntN(2) == 0 {
					p.check(threads)
				} else {
					p.check(nil)
				}
			}
			for _, s := range [][3]int{{65, 300, 700}, {1, 900, 3000}, {200, 40, 129}} {
				newProblem(t, rng, s[0], s[1], s[2], nil).check(threads)
			}
		})
	}
}

// TestExtremes has the products for which saturating instructions fail.
func TestExtremes(t *testing.T) {
	for _, l := range cpu.Levels() {
		t.Run(l.String(), func(t *testing.T) {
			defer cpu.Force(l)()
			for _, b := range []byte{127, 128} {
				p := newProblem(t, rand.New(rand.NewPCG(3, 4)), 15, 33, 64, nil)
				p.task.A.Signed, p.b.Signed = false, true
				for i := range p.task.A.Data {
					p.task.A.Data[i] = 255
				}
				for i := range p.b.Data {
					p.b.Data[i] = b
				}
				p.zeroB = nil
				packed, err := PackB(make([]byte, PackedSize(64, 33, 1)), p.b, nil, 64, 33, 1, 0)
				if err != nil {
					t.Fatal(err)
				}
				p.task.Packed = packed
				p.check(nil)
			}
		})
	}
}

// TestGelu compares kernels that compute the function with it applied after them.
func TestGelu(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	gelu := elemwise.Float32(elemwise.Gelu)
	for _, l := range cpu.Levels() {
		defer cpu.Force(l)()
		rng := rand.New(rand.NewPCG(9, 10))
		for i := range 30 {
			p := newProblem(t, rng, 1+rng.IntN(70), 1+rng.IntN(70), 1+rng.IntN(200), nil)
			x := &p.task
			p.dequant()
			x.RowScale = []float32{float32(math.Pow(10, -float64(2+i%5)))}
			x.C = Output{Float: make([]float32, x.M*x.N), Stride: x.N}
			x.Post = func(s []float32) { gelu(s, s, elemwise.Params{}) }
			if err := x.Run(threads); err != nil {
				t.Fatal(err)
			}
			want := append([]float32(nil), x.C.Float...)
			x.Gelu = true
			if err := x.Run(threads); err != nil {
				t.Fatal(err)
			}
			for i, y := range x.C.Float {
				if math.Abs(float64(y-want[i])) > 3.5e-7*max(1, math.Abs(float64(y))) || y != want[i] && l < cpu.AVX512 {
					t.Fatalf("level %v, %v: element %d is %g, want %g", l, p, i, y, want[i])
				}
			}
		}
	}
}

// TestResidualAndRange compares with what is done after the product.
func TestResidualAndRange(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	for _, l := range cpu.Levels() {
		defer cpu.Force(l)()
		rng := rand.New(rand.NewPCG(11, 12))
		for i := range 40 {
			p := newProblem(t, rng, 1+rng.IntN(200), 1+rng.IntN(200), rng.IntN(200), nil)
			x := &p.task
			p.dequant()
			x.C = Output{Float: guard.Slice[float32](t, x.M*x.N, p.side), Stride: x.N}
			x.Clip = false
			if i%5 == 0 && len(x.ColBias) > 0 {
				x.ColBias[0] = float32(math.NaN())
			}
			if err := x.Run(threads); err != nil {
				t.Fatal(err)
			}
			want := append([]float32(nil), x.C.Float...)
			x.ResidualStride = x.N + rng.IntN(3)
			x.Residual = guard.Slice[float32](t, (x.M-1)*x.ResidualStride+x.N, p.side)
			for i := range x.Residual {
				x.Residual[i] = float32(rng.NormFloat64())
			}
			if i%2 == 0 {
				x.Post = func(row []float32) {
					for i := range row {
						row[i] *= 2
					}
				}
			}
			x.Range = elemwise.MinMax
			for i := range want {
				want[i] += x.Residual[i/x.N*x.ResidualStride+i%x.N]
				if x.Post != nil {
					want[i] *= 2
				}
			}
			if err := x.Run(threads); err != nil {
				t.Fatal(err)
			}
			for i, y := range x.C.Float {
				if math.Float32bits(y) != math.Float32bits(want[i]) && !(y != y && want[i] != want[i]) {
					t.Fatalf("level %v, %v: element %d is %g, want %g", l, p, i, y, want[i])
				}
			}
			if lo, hi := elemwise.MinMax(want); lo != x.Least || hi != x.Most {
				t.Fatalf("level %v, %v: results between %v and %v, want %v and %v", l, p, x.Least, x.Most, lo, hi)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	ok := func() *Task {
		p, err := PackB(make([]byte, PackedSize(4, 3, 1)), Matrix{Data: make([]byte, 12), Stride: 3}, nil, 4, 3, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		return &Task{Product: Product{M: 2, N: 3, K: 4, Packed: p, A: Matrix{Data: make([]byte, 8), Stride: 4},
			C: Output{Int: make([]int32, 6), Stride: 3}}}
	}
	if err := ok().Check(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		spoil func(x *Task)
		want  string
	}{
		{"negative size", func(x *Task) { x.K = -1 }, "none may be negative"},
		{"short A", func(x *Task) { x.A.Data = x.A.Data[:7] }, "A: 7 elements, but 2×4"},
		{"A transposed", func(x *Task) { x.A.Trans = true }, "A can't be transposed"},
		{"short C", func(x *Task) { x.C.Int = x.C.Int[:5] }, "C: 5 elements"},
		{"no C", func(x *Task) { x.C.Int = nil }, "got 0 of them"},
		{"both", func(x *Task) { x.C.Float = make([]float32, 6) }, "got 2 of them"},
		{"zero point", func(x *Task) { x.C = Output{Byte: make([]byte, 6), Stride: 3, Zero: 256} }, "zero point 256"},
		{"no B", func(x *Task) { x.Packed = nil }, "not packed"},
		{"other B", func(x *Task) { x.N = 2 }, "packed as 4×3, this product needs 4×2"},
		{"B item", func(x *Task) { x.Batch, x.Steps = []int{2}, []int{1} }, "packed item 1 of 1"},
		{"zero points", func(x *Task) { x.ZeroA = make([]int32, 3) }, "3 zero points of A for a product of 2×3"},
		{"column bias", func(x *Task) { x.ColBias = make([]float32, 1) }, "1 column bias"},
		{"range", func(x *Task) { x.Range = elemwise.MinMax }, "for a floating-point C"},
		{"residual", func(x *Task) {
			x.C = Output{Float: make([]float32, 6), Stride: 3}
			x.Residual, x.ResidualStride, x.Clip = make([]float32, 6), 3, true
		}, "neither a batch nor Clip"},
		{"short residual", func(x *Task) {
			x.C = Output{Float: make([]float32, 6), Stride: 3}
			x.Residual, x.ResidualStride = make([]float32, 5), 3
		}, "residual: 5 elements"},
	}
	for _, tt := range tests {
		x := ok()
		tt.spoil(x)
		if err := x.Run(nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	b := Matrix{Data: make([]byte, 12), Stride: 3}
	if _, err := PackB(nil, b, nil, 4, 3, 1, 0); err == nil || !strings.Contains(err.Error(), "got 0") {
		t.Errorf("short destination: %v", err)
	}
	if _, err := Prepacked(nil, true, nil, 4, 3, 1); err == nil || !strings.Contains(err.Error(), "got 0") {
		t.Errorf("short packed data: %v", err)
	}
	if _, err := PackB(make([]byte, 4096), b, make([]int32, 2), 4, 3, 1, 0); err == nil || !strings.Contains(err.Error(), "2 zero points") {
		t.Errorf("zero points: %v", err)
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	x := newProblem(t, rand.New(rand.NewPCG(5, 6)), 300, 100, 50, nil)
	run := func() {
		if err := x.task.Run(p); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations per run, want none", n)
	}
}

// TestTileLayout holds the struct to the offsets in the generator.
func TestTileLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("no assembly for this word size")
	}
	var x tile
	var y strip
	var z rowTile
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"a", unsafe.Offsetof(x.a), 0}, {"b", unsafe.Offsetof(x.b), 8}, {"c", unsafe.Offsetof(x.c), 16},
		{"lda", unsafe.Offsetof(x.lda), 24}, {"ldc", unsafe.Offsetof(x.ldc), 40}, {"k", unsafe.Offsetof(x.k), 48},
		{"colBias", unsafe.Offsetof(x.colBias), 56}, {"rowScale", unsafe.Offsetof(x.rowScale), 64},
		{"colScale", unsafe.Offsetof(x.colScale), 72}, {"colSum", unsafe.Offsetof(x.colSum), 80},
		{"mask", unsafe.Offsetof(x.mask), 88}, {"flags", unsafe.Offsetof(x.flags), 96},
		{"lo", unsafe.Offsetof(x.lo), 104}, {"hi", unsafe.Offsetof(x.hi), 108},
		{"colZero", unsafe.Offsetof(x.colZero), 112}, {"rowZero", unsafe.Offsetof(x.rowZero), 120},
		{"rowSum", unsafe.Offsetof(x.rowSum), 128}, {"step", unsafe.Offsetof(x.step), 136},
		{"residual", unsafe.Offsetof(x.residual), 144}, {"ldr", unsafe.Offsetof(x.ldr), 152}, {"panels", unsafe.Offsetof(x.panels), 160},
		{"panel", unsafe.Offsetof(x.panel), 168}, {"nextStep", unsafe.Offsetof(x.nextStep), 176}, {"next", unsafe.Offsetof(x.next), 184},
		{"colInner", unsafe.Offsetof(x.colInner), 200}, {"rowInner", unsafe.Offsetof(x.rowInner), 208},
		{"spilled", unsafe.Offsetof(x.spilled), 216}, {"lds", unsafe.Offsetof(x.lds), 224},
		{"strip.b", unsafe.Offsetof(y.b), 0}, {"strip.c", unsafe.Offsetof(y.c), 8}, {"strip.a", unsafe.Offsetof(y.a), 16},
		{"strip.tiles", unsafe.Offsetof(y.tiles), 24}, {"strip.rowTiles", unsafe.Offsetof(y.rowTiles), 32}, {"strip.steps", unsafe.Offsetof(y.steps), 40},
		{"strip.panels", unsafe.Offsetof(y.panels), 48}, {"strip.columns", unsafe.Offsetof(y.columns), 56}, {"strip.ldc", unsafe.Offsetof(y.ldc), 64},
		{"strip.residual", unsafe.Offsetof(y.residual), 72}, {"strip.ldr", unsafe.Offsetof(y.ldr), 80}, {"strip.colSum", unsafe.Offsetof(y.colSum), 88},
		{"strip.colZero", unsafe.Offsetof(y.colZero), 96}, {"strip.colScale", unsafe.Offsetof(y.colScale), 104}, {"strip.colBias", unsafe.Offsetof(y.colBias), 112},
		{"strip.rowZero", unsafe.Offsetof(y.rowZero), 120}, {"strip.rowScale", unsafe.Offsetof(y.rowScale), 128}, {"strip.rowSum", unsafe.Offsetof(y.rowSum), 136},
		{"strip.sums", unsafe.Offsetof(y.sums), 144}, {"strip.config", unsafe.Offsetof(y.config), 152}, {"strip.next", unsafe.Offsetof(y.next), 160},
		{"strip.nextRuns", unsafe.Offsetof(y.nextRuns), 168}, {"strip.stepRuns", unsafe.Offsetof(y.stepRuns), 176}, {"strip.stepRows", unsafe.Offsetof(y.stepRows), 184},
		{"strip.flags", unsafe.Offsetof(y.flags), 192}, {"strip.ends", unsafe.Offsetof(y.ends), 200}, {"strip.lo", unsafe.Offsetof(y.lo), 208},
		{"strip.hi", unsafe.Offsetof(y.hi), 212}, {"strip.least", unsafe.Offsetof(y.least), 216}, {"strip.most", unsafe.Offsetof(y.most), 220},
		{"strip.zero", unsafe.Offsetof(y.zero), 224}, {"rowTile.lda", unsafe.Offsetof(z.lda), 8}, {"rowTile.rows", unsafe.Offsetof(z.rows), 16},
		{"rowTile.skip", unsafe.Offsetof(z.skip), 24}, {"rowTile.row", unsafe.Offsetof(z.row), 32}, {"rowTile.c", unsafe.Offsetof(z.c), 40},
		{"rowTile.r", unsafe.Offsetof(z.r), 48}, {"rowTile", unsafe.Sizeof(z), 56},
	} {
		if f.got != f.want {
			t.Errorf("tile.%s is at %d, the assembly expects %d", f.name, f.got, f.want)
		}
	}
}

// BenchmarkQgemm multiplies u8 by packed s8 weights and dequantizes.
// BenchmarkQgemm multiplies random numbers, since zeros take less power, by weights that
// come from memory, as a model's do, and by the same ones again and again.
func BenchmarkQgemm(b *testing.B) {
	for _, s := range [][3]int{{128, 3072, 768}, {128, 768, 3072}, {128, 768, 768}, {128, 384, 384}, {1, 3072, 768}} {
		for _, l := range cpu.Levels()[1:] {
			for _, copies := range []int{1, 24} {
				b.Run(fmt.Sprintf("%dx%dx%d/%v/%d", s[0], s[1], s[2], l, copies), func(b *testing.B) {
					defer cpu.Force(l)()
					m, n, k := s[0], s[1], s[2]
					rng := rand.New(rand.NewPCG(1, 2))
					random := func(n int) []byte {
						out := make([]byte, n)
						for i := range out {
							out[i] = byte(rng.Uint32())
						}
						return out
					}
					w := Matrix{Data: random(n * k), Signed: true, Stride: n}
					for i := range w.Data {
						w.Data[i] = byte(int8(min(max(rng.NormFloat64()*38, -128), 127)))
					}
					tasks, a, c := make([]Task, copies), random(m*k), make([]float32, m*n)
					for i := range tasks {
						packed, err := PackB(mmap.Alloc(PackedSize(k, n, 1)).Bytes(), w, nil, k, n, 1, 0)
						if err != nil {
							b.Fatal(err)
						}
						tasks[i] = Task{Product: Product{M: m, N: n, K: k, Packed: packed, A: Matrix{Data: a, Stride: k},
							ZeroA: []int32{128}, C: Output{Float: c, Stride: n}}}
						tasks[i].ColScale, tasks[i].ColBias = make([]float32, n), make([]float32, n)
					}
					best, i := time.Hour, 0
					for b.Loop() {
						start := time.Now()
						if err := tasks[i%copies].Run(nil); err != nil {
							b.Fatal(err)
						}
						best = min(best, time.Since(start))
						i++
					}
					b.ReportMetric(2*float64(m*n*k)/float64(best.Nanoseconds()), "GOP/s")
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "us/op")
				})
			}
		}
	}
}

func TestWiden(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, level := range cpu.Levels() {
		kern := forLevel(level)
		if kern.widen == nil {
			continue
		}
		for _, n := range []int{widenStep, 2 * widenStep, 9 * widenStep} {
			for _, flips := range []byte{0, 128} {
				src, got, want := guard.Slice[byte](t, n, guard.End), guard.Slice[byte](t, 2*n, guard.End), make([]byte, 2*n)
				for i := range src {
					src[i] = byte(rng.Uint32())
				}
				kern.widen(&got[0], &src[0], n, uint64(flips))
				if widen(want, src, flips); string(got) != string(want) {
					t.Fatalf("%v: %d bytes, flips %d: %v of %v", level, n, flips, got, src)
				}
			}
		}
	}
}
