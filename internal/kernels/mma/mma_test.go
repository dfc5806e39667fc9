package mma

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/mmap/guard"
)

func needTiles(t testing.TB) *Kernels {
	t.Helper()
	if k := For(cpu.Level()); k != &portable {
		return k
	}
	t.Skipf("level %v has no tiles", cpu.Level())
	return nil
}

// eachKernels runs a test with the kernels of all levels, and the portable ones that they
// are compared with.
func eachKernels(t *testing.T, run func(t *testing.T, k, twin *Kernels)) {
	for _, level := range cpu.Levels() {
		restore := cpu.Force(level)
		defer restore()
		k, twin := For(level), &portableVectors
		if level >= cpu.AMX {
			twin = &portable
		}
		if k != &portable {
			t.Run(level.String(), func(t *testing.T) { run(t, k, twin) })
		}
	}
}

// A product is a block with the memory that it works on.
type product struct {
	Block
	a, b, c []byte
	offsets []int
}

// newProduct makes a block whose rows of A, panels and C end where memory does.
func newProduct(t testing.TB, rng *rand.Rand, rows, steps, panels int, side guard.Side) *product {
	p := &product{}
	p.SetRows(rows)
	if rng.IntN(3) == 0 {
		p.Configure(NewConfigs(4+4*rng.IntN(16)), rows)
	}
	p.Steps, p.Panels = steps, panels
	p.LDA = steps*StepBytes + 64*rng.IntN(2) + 2*rng.IntN(5)
	p.LDC = 4*Cols + 4*rng.IntN(9)
	p.SkipB = StepB * rng.IntN(2)
	p.Tiles = 1 + rng.IntN(3)
	p.TileC, p.TileA = rows*p.LDC, 64*rng.IntN(3)
	p.PanelC = p.Tiles * p.TileC
	p.Add, p.Narrow = rng.IntN(2), rng.IntN(2)
	p.a = guard.Slice[byte](t, (p.Tiles-1)*p.TileA+(rows-1)*p.LDA+steps*StepBytes, side)
	p.b = guard.Slice[byte](t, panels*(steps*StepB+p.SkipB)-p.SkipB, side)
	p.c = guard.Slice[byte](t, (panels-1)*p.PanelC+(p.Tiles-1)*p.TileC+(rows-1)*p.LDC+4*Cols, side)
	p.offsets = make([]int, steps)
	for i, at := range rng.Perm(steps) {
		p.offsets[i] = at * StepBytes
	}
	p.A, p.B, p.C, p.Offsets = unsafe.Pointer(&p.a[0]), unsafe.Pointer(&p.b[0]), unsafe.Pointer(&p.c[0]), unsafe.Pointer(&p.offsets[0])
	return p
}

// compare runs a kernel and its twin on the same C.
func (p *product) compare(t *testing.T, k, twin *Kernels) {
	t.Helper()
	before := append([]byte(nil), p.c...)
	p.Fetch(p.b, p.Steps*p.Panels*p.Tiles, 1+p.Steps%5)                               // changes nothing
	p.Ahead = [4]Ahead{{uintptr(p.C), 3}, {}, {uintptr(p.B), -5}, {uintptr(p.A), 64}} // nor does this
	p.AheadRuns = p.Steps % 4
	k.Multiply(&p.Block)
	got := append([]byte(nil), p.c...)
	copy(p.c, before)
	twin.Multiply(&p.Block)
	for i := 0; i+4 <= len(got); i += 4 {
		g, w := *(*uint32)(unsafe.Pointer(&got[i])), *(*uint32)(unsafe.Pointer(&p.c[i]))
		if g != w && !(isNaN(g) && isNaN(w)) {
			t.Fatalf("%d rows, %d steps, %d panels, add %d: word %d is %#x (%g), want %#x (%g)", p.rows, p.Steps, p.Panels, p.Add,
				i/4, g, math.Float32frombits(g), w, math.Float32frombits(w))
		}
	}
}

func isNaN(b uint32) bool { f := math.Float32frombits(b); return f != f }

// special are numbers at which arithmetic is decided.
var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0x1p-126, -0x1p-126, 0x1p-127, -0x1p-130, 0x1.8p-126, 0x1p-63, 0x1.fep-64,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32, -math.MaxFloat32, 0x1p-149}

// floats fills bfloat16s: noise, or numbers near to what is flushed, or special ones.
func floats(rng *rand.Rand, kind int) float32 {
	switch {
	case kind == 1:
		return float32(math.Ldexp(rng.NormFloat64(), -62-rng.IntN(4)))
	case kind == 2 && rng.IntN(8) == 0:
		return special[rng.IntN(len(special))]
	case kind == 3:
		return math.Float32frombits(rng.Uint32())
	}
	return float32(rng.NormFloat64())
}

func TestBF16IsItsTwin(t *testing.T) { eachKernels(t, bf16IsItsTwin) }

func bf16IsItsTwin(t *testing.T, k, twin *Kernels) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range cases(300) {
		p := newProduct(t, rng, 1+rng.IntN(32), 1+rng.IntN(5), 1+rng.IntN(3), guard.Side(i&1))
		for _, s := range [][]byte{p.a, p.b} {
			for j := 0; j+2 <= len(s); j += 2 {
				*(*uint16)(unsafe.Pointer(&s[j])) = uint16(math.Float32bits(floats(rng, i%4)) >> 16)
			}
		}
		for j := 0; j+4 <= len(p.c); j += 4 {
			*(*float32)(unsafe.Pointer(&p.c[j])) = floats(rng, i%4)
		}
		p.compare(t, k, twin)
	}
}

func TestRoundIsItsTwin(t *testing.T) {
	k := needTiles(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for n := range 130 {
		src := guard.Slice[float32](t, n, guard.End)
		for kind := range 4 {
			got, want := guard.Slice[uint16](t, n, guard.End), make([]uint16, n)
			for i := range src {
				src[i] = floats(rng, kind)
				if kind == 0 { // a tie
					src[i] = math.Float32frombits(math.Float32bits(src[i])&^0xffff | 0x8000)
				}
			}
			k.Round(got, src)
			portable.Round(want, src)
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("%g (%#x) is rounded to %#x, want %#x", src[i], math.Float32bits(src[i]), got[i], want[i])
				}
			}
		}
	}
}

func TestPairsIsItsTwin(t *testing.T) {
	k := needTiles(t)
	rng := rand.New(rand.NewPCG(7, 8))
	for n := 1; n <= 32; n++ {
		pairs, stride := 1+rng.IntN(20), n+rng.IntN(5)
		src := guard.Slice[float32](t, (2*pairs-1)*stride+n, guard.End)
		for i := range src {
			src[i] = floats(rng, i%4)
		}
		got, want := guard.Slice[uint16](t, 64*pairs, guard.End), make([]uint16, 64*pairs)
		k.Pairs(got, src, stride, pairs, n)
		portable.Pairs(want, src, stride, pairs, n)
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%d columns, %d pairs: element %d is %#x, want %#x", n, pairs, i, got[i], want[i])
			}
		}
	}
}

func TestPixelsAreTheirTwins(t *testing.T) {
	k := needTiles(t)
	rng := rand.New(rand.NewPCG(9, 10))
	noise := func(n int) []float32 {
		s := guard.Slice[float32](t, n, guard.End)
		for i := range s {
			s[i] = floats(rng, i%4)
		}
		return s
	}
	for n := 1; n <= 70; n++ {
		step := 16 * (1 + rng.IntN(3))
		lo, hi := noise((n-1)*step+16), noise((n-1)*step+16)
		if n%3 == 0 {
			hi = nil
		}
		got, want := guard.Slice[uint16](t, 32*n, guard.End), make([]uint16, 32*n)
		k.Blocks(got, lo, hi, n, step)
		portable.Blocks(want, lo, hi, n, step)
		if at, ok := sameNumbers(got, want); !ok {
			t.Fatalf("blocks, %d pixels: element %d is %#x, want %#x", n, at, got[at], want[at])
		}
		planes := [4][]float32{noise(n), noise(n), noise(n), noise(n)}
		for i := range n % 5 {
			planes[3-i%4] = nil
		}
		got, want = guard.Slice[uint16](t, 4*n, guard.End), make([]uint16, 4*n)
		k.Planes(got, &planes, n)
		portable.Planes(want, &planes, n)
		if at, ok := sameNumbers(got, want); !ok {
			t.Fatalf("planes, %d pixels: element %d is %#x, want %#x", n, at, got[at], want[at])
		}
	}
}

func sameNumbers(got, want []uint16) (int, bool) {
	for i := range want {
		if got[i] != want[i] {
			return i, false
		}
	}
	return 0, true
}

func TestFinishIsItsTwin(t *testing.T) {
	k := needTiles(t)
	rng := rand.New(rand.NewPCG(11, 12))
	for i := range 400 {
		n, rows, side := 1+rng.IntN(32), 1+rng.IntN(32), guard.Side(i&1)
		matrix := func(stride int) unsafe.Pointer {
			s := guard.Slice[float32](t, (rows-1)*stride+n, side)
			for j := range s {
				s[j] = floats(rng, i%4)
			}
			return unsafe.Pointer(&s[0])
		}
		src := make([]float32, 32*rows)
		for j := range src {
			src[j] = floats(rng, i%4)
		}
		f := Finish{HalfC: 64, HalfR: 64, Src: unsafe.Pointer(&src[0]), LDC: 4 * (n + rng.IntN(5)), LDR: 4 * (n + rng.IntN(5)), Rows: rows, Mask: 1<<n - 1,
			Alpha: 1, Beta: 1, Slope: .25, Lo: -.5, Hi: .75, Leaky: rng.IntN(2) == 0, Clip: rng.IntN(2) == 0}
		if rng.IntN(2) == 0 {
			f.Alpha, f.Beta = .3, .7
		}
		if rng.IntN(2) == 0 {
			f.Residual = matrix(f.LDR / 4)
		}
		if rng.IntN(2) == 0 {
			f.ColBias = matrix(0)
		}
		if rng.IntN(2) == 0 {
			s := guard.Slice[float32](t, rows, side)
			for j := range s {
				s[j] = floats(rng, i%4)
			}
			f.RowBias = unsafe.Pointer(&s[0])
		}
		f.Dst = matrix(f.LDC / 4)
		k.Finish(&f)
		size := (rows-1)*f.LDC/4 + n
		got := append([]uint32(nil), view[uint32](f.Dst, size)...)
		portable.Finish(&f)
		for j, want := range view[uint32](f.Dst, size) {
			if got[j] != want && !(isNaN(got[j]) && isNaN(want)) {
				t.Fatalf("case %d, %+v: element %d is %#x, want %#x", i, f, j, got[j], want)
			}
		}
	}
}

// TestUnderTheCollector multiplies in 32 goroutines while the collector runs and
// the scheduler preempts.
func TestUnderTheCollector(t *testing.T) {
	k := needTiles(t)
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	end := time.Now().Add(2 * time.Second)
	if testing.Short() {
		end = time.Now().Add(200 * time.Millisecond)
	}
	var wg sync.WaitGroup
	for g := range 32 {
		p := newProduct(t, rand.New(rand.NewPCG(uint64(g), 9)), 32, 6, 20, guard.End)
		p.Add = 0
		for i := range p.a {
			p.a[i] = byte(i * 7 & 0x3f) // no NaN
		}
		for i := range p.b {
			p.b[i] = byte(i * 5 & 0x3f)
		}
		wg.Go(func() {
			k.Multiply(&p.Block)
			want := string(p.c)
			for time.Now().Before(end) {
				clear(p.c)
				k.Multiply(&p.Block)
				if string(p.c) != want {
					t.Errorf("goroutine %d: another result", g)
					return
				}
				_ = make([]byte, 4096)
			}
		})
	}
	for time.Now().Before(end) {
		runtime.GC()
	}
	wg.Wait()
}

// TestLayout holds Block to the offsets in the generator.
func TestLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("no assembly for this word size")
	}
	var b Block
	for i, got := range []uintptr{
		unsafe.Offsetof(b.A), unsafe.Offsetof(b.B), unsafe.Offsetof(b.C), unsafe.Offsetof(b.Offsets), unsafe.Offsetof(b.Steps), unsafe.Offsetof(b.LDA),
		unsafe.Offsetof(b.LDC), unsafe.Offsetof(b.Panels), unsafe.Offsetof(b.SkipB), unsafe.Offsetof(b.PanelC), unsafe.Offsetof(b.Add), unsafe.Offsetof(b.next), unsafe.Offsetof(b.config), unsafe.Offsetof(b.Tiles), unsafe.Offsetof(b.TileA), unsafe.Offsetof(b.TileC), unsafe.Offsetof(b.nextRuns),
		unsafe.Offsetof(b.Narrow), unsafe.Offsetof(b.AheadRuns), unsafe.Offsetof(b.Ahead),
	} {
		if got != uintptr(8*i) {
			t.Errorf("field %d of Block is at %d, the assembly expects %d", i, got, 8*i)
		}
	}
	var f Finish
	for i, got := range []uintptr{
		unsafe.Offsetof(f.Src), unsafe.Offsetof(f.Dst), unsafe.Offsetof(f.Residual), unsafe.Offsetof(f.ColBias), unsafe.Offsetof(f.RowBias), unsafe.Offsetof(f.LDC),
		unsafe.Offsetof(f.LDR), unsafe.Offsetof(f.Rows), unsafe.Offsetof(f.Mask), unsafe.Offsetof(f.flags), unsafe.Offsetof(f.Alpha), unsafe.Offsetof(f.Lo), unsafe.Offsetof(f.Slope), unsafe.Offsetof(f.HalfC), unsafe.Offsetof(f.HalfR),
	} {
		if got != uintptr(8*i) {
			t.Errorf("field %d of Finish is at %d, the assembly expects %d", i, got, 8*i)
		}
	}
	var s Strip
	for i, got := range []uintptr{
		unsafe.Offsetof(s.A), unsafe.Offsetof(s.LDA), unsafe.Offsetof(s.StepA), unsafe.Offsetof(s.B), unsafe.Offsetof(s.Steps), unsafe.Offsetof(s.Panels), unsafe.Offsetof(s.RowTiles),
		unsafe.Offsetof(s.Tiles), unsafe.Offsetof(s.Sums), unsafe.Offsetof(s.next), unsafe.Offsetof(s.nextRuns), unsafe.Offsetof(s.stepRuns), unsafe.Offsetof(s.config), unsafe.Offsetof(s.Dst),
		unsafe.Offsetof(s.LDC), unsafe.Offsetof(s.PanelC), unsafe.Offsetof(s.Residual), unsafe.Offsetof(s.LDR), unsafe.Offsetof(s.ColBias), unsafe.Offsetof(s.RowBias), unsafe.Offsetof(s.Columns),
		unsafe.Offsetof(s.flags), unsafe.Offsetof(s.Alpha), unsafe.Offsetof(s.Lo), unsafe.Offsetof(s.Slope), unsafe.Offsetof(s.stepRows),
	} {
		if got != uintptr(8*i) {
			t.Errorf("field %d of Strip is at %d, the assembly expects %d", i, got, 8*i)
		}
	}
	if s := unsafe.Sizeof(RowTile{}); s != 48 {
		t.Errorf("a row tile has %d bytes, the assembly expects 48", s)
	}
	if s := unsafe.Sizeof(config{}); s != 64 {
		t.Errorf("a configuration has %d bytes, want 64", s)
	}
}

// BenchmarkBlock has A of 32 rows in the first-level cache, and B in the first or
// second.
func BenchmarkBlock(b *testing.B) {
	k := needTiles(b)
	for _, s := range [][2]int{{12, 1}, {12, 2}, {12, 8}, {12, 24}, {24, 4}, {24, 12}, {96, 1}, {96, 4}, {18, 2}, {2, 8}} {
		b.Run(fmt.Sprintf("%dsteps×%dpanels", s[0], s[1]), func(b *testing.B) {
			p := newProduct(b, rand.New(rand.NewPCG(1, 1)), 32, s[0], s[1], guard.End)
			p.SetRows(32)
			p.Tiles = 1
			p.Add, p.Narrow, p.SkipB, p.LDA, p.LDC, p.PanelC = 0, 0, 0, (s[0]|1)*StepBytes, 4*Cols, 128*Rows
			for i := range p.offsets {
				p.offsets[i] = i * StepBytes
			}
			room := mmap.Alloc(Rows*p.LDA + s[0]*s[1]*StepB + s[1]*p.PanelC).Bytes()
			p.A, p.B, p.C = unsafe.Pointer(&room[0]), unsafe.Pointer(&room[Rows*p.LDA]), unsafe.Pointer(&room[Rows*p.LDA+s[0]*s[1]*StepB])
			best := time.Hour
			for b.Loop() {
				start := time.Now()
				for range 20 {
					k.Multiply(&p.Block)
				}
				best = min(best, time.Since(start)/20)
			}
			b.ReportMetric(float64(2*32*32*StepBF16*s[0]*s[1])/float64(best.Nanoseconds()), "Gop/s")
		})
	}
}

// cases is how many of n a test has time for.
func cases(n int) int {
	if testing.Short() {
		return n / 5
	}
	return n
}
