package gemm

import (
	"fmt"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
)

func floatsOf(n int) []float32 {
	s := mmap.Alloc(4 * n).Float32s()
	for i := range s {
		s[i] = float32(i%7) - 3
	}
	return s
}

// benchmark reports the fastest run: other processes only ever slow one down.
func benchmark(b *testing.B, x *Task, threads int) {
	var p *pool.Pool
	if threads > 1 {
		p = pool.New(threads)
		defer p.Close()
		p.Begin()
		defer p.End()
	}
	b.ReportAllocs()
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		if err := x.Run(p); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	work := 2 * float64(x.items()) * float64(x.M) * float64(x.N) * float64(x.K)
	b.ReportMetric(work/float64(best.Nanoseconds()), "GFLOP/s")
	b.ReportMetric(float64(best.Nanoseconds())/1000, "best-us/op")
}

func newBench(m, n, k int) *Task {
	return &Task{Product: Product{M: m, N: n, K: k,
		A: Matrix{Data: floatsOf(m * k), Stride: k},
		C: Matrix{Data: floatsOf(m * n), Stride: n}}}
}

// BenchmarkGemm multiplies by packed weights.
func BenchmarkGemm(b *testing.B) {
	for _, s := range [][3]int{
		{1024, 1024, 1024}, {128, 3072, 768}, {128, 768, 3072},
		{128, 384, 384}, {128, 1536, 384}, {128, 384, 1536}, // MiniLM
		{8, 3072, 768}, {1, 3072, 768}, {1, 1000, 2048}, {64, 10, 64}, {1024, 1, 1024},
	} {
		for _, threads := range []int{1, 2} {
			for _, l := range cpu.Levels() {
				b.Run(fmt.Sprintf("%dx%dx%d/%v/threads=%d", s[0], s[1], s[2], l, threads), func(b *testing.B) {
					defer cpu.Force(l)()
					x := newBench(s[0], s[1], s[2])
					w := Matrix{Data: floatsOf(s[1] * s[2]), Stride: s[1]}
					var err error
					if x.Packed, err = PackB(floatsOf(PackedSize(x.K, x.N, 1)), w, x.K, x.N, 1, 0); err != nil {
						b.Fatal(err)
					}
					benchmark(b, x, threads)
				})
			}
		}
	}
}

// BenchmarkWeights multiplies by the weights of several layers in turn, which one layer's caches
// don't hold.
func BenchmarkWeights(b *testing.B) {
	for _, s := range [][3]int{{16, 384, 384}, {16, 1536, 384}, {16, 384, 1536}, {16, 768, 768}} {
		for _, layers := range []int{1, 24} {
			for _, l := range cpu.Levels()[1:] {
				b.Run(fmt.Sprintf("%dx%dx%d/layers=%d/%v", s[0], s[1], s[2], layers, l), func(b *testing.B) {
					defer cpu.Force(l)()
					tasks := make([]*Task, layers)
					for i := range tasks {
						x := newBench(s[0], s[1], s[2])
						w := Matrix{Data: floatsOf(x.N * x.K), Stride: x.N}
						var err error
						if x.Packed, err = PackB(floatsOf(PackedSize(x.K, x.N, 1)), w, x.K, x.N, 1, 0); err != nil {
							b.Fatal(err)
						}
						tasks[i] = x
					}
					for i := 0; b.Loop(); i++ {
						if err := tasks[i%layers].Run(nil); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(2*float64(s[0])*float64(s[1])*float64(s[2])*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
				})
			}
		}
	}
}

// BenchmarkDynamic multiplies by matrices that change from run to run.
func BenchmarkDynamic(b *testing.B) {
	for _, s := range []struct {
		name           string
		heads, m, n, k int
		trans          bool
	}{
		{"scores", 12, 128, 128, 32, true},
		{"context", 12, 128, 32, 128, false},
		{"conv1x1", 1, 64, 3136, 64, false},
		{"conv1x1", 1, 512, 784, 128, false},
		{"conv1x1", 1, 512, 49, 2048, false},
		{"square", 1, 1024, 1024, 1024, false},
		{"square", 1, 1024, 1024, 1024, true},
		{"square", 1, 192, 1024, 1024, false},
		{"row", 1, 1, 1024, 1024, false},
		{"row", 1, 1, 1024, 1024, true},
		{"row", 1, 1, 800, 800, true},
	} {
		for _, l := range cpu.Levels()[1:] {
			b.Run(fmt.Sprintf("%s/%dx%dx%dx%d,trans=%v/%v", s.name, s.heads, s.m, s.n, s.k, s.trans, l), func(b *testing.B) {
				defer cpu.Force(l)()
				x := newBench(s.heads*s.m, s.n, s.k)
				x.M, x.Batch = s.m, []int{s.heads}
				x.A.Steps, x.B.Steps, x.C.Steps = []int{s.m * s.k}, []int{s.n * s.k}, []int{s.m * s.n}
				x.B.Data, x.B.Stride, x.B.Trans = floatsOf(s.heads*s.n*s.k), s.n, s.trans
				if s.trans {
					x.B.Stride = s.k
				}
				benchmark(b, x, 1)
			})
		}
	}
}
