package explain

import (
	"time"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
)

// Roofline is what this machine can do at best with the threads given, as
// measured: the bound of arithmetic and the bound of memory (Williams, Waterman
// and Patterson, "Roofline", 2009).
type Roofline struct {
	GFlops float64 `json:"gflop_s"`
	GBytes float64 `json:"gbyte_s"`
}

// Predict is the least time for so much arithmetic and traffic.
func (r Roofline) Predict(flops, bytes float64) time.Duration {
	return time.Duration(max(flops/r.GFlops, bytes/r.GBytes)) // GFLOP/s are operations a nanosecond
}

// MeasureRoofline takes about 100 ms: a product of matrices that fit into the
// second-level cache, and reads of memory far larger than the caches.
func MeasureRoofline(p *pool.Pool) Roofline {
	p.Begin()
	defer p.End()
	return Roofline{GFlops: measureProduct(p), GBytes: measureReads(p)}
}

// best repeats f for a while and gives the shortest time.
func best(f func()) time.Duration {
	shortest := time.Duration(1<<63 - 1)
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
		t := time.Now()
		f()
		shortest = min(shortest, time.Since(t))
	}
	return max(shortest, 1)
}

func measureProduct(p *pool.Pool) float64 {
	const n = 256
	buf := mmap.Alloc(3 * 4 * n * n)
	defer buf.Free()
	f := buf.Float32s()
	for i := range f {
		f[i] = 1
	}
	m := func(i int) gemm.Matrix { return gemm.Matrix{Data: f[i*n*n : (i+1)*n*n], Stride: n} }
	t := gemm.Task{Product: gemm.Product{M: n, N: n, K: n, A: m(0), B: m(1), C: m(2)}}
	shortest := best(func() { _ = t.Run(p) }) // sizes fit
	return 2 * n * n * n / float64(shortest.Nanoseconds())
}

// reader sums a part of a buffer.
type reader struct {
	data []float32
	sums []float32
}

func (r *reader) Do(i int) {
	n := len(r.data) / len(r.sums)
	part := r.data[i*n : (i+1)*n]
	var s [4]float32
	for len(part) >= 64 { // one element a cache line reaches the memory's speed
		s[0] += part[0]
		s[1] += part[16]
		s[2] += part[32]
		s[3] += part[48]
		part = part[64:]
	}
	r.sums[i] = s[0] + s[1] + s[2] + s[3]
}

func measureReads(p *pool.Pool) float64 {
	const size = 64 << 20
	buf := mmap.Alloc(size)
	defer buf.Free()
	r := &reader{data: buf.Float32s(), sums: make([]float32, 64)}
	for i := range r.data {
		r.data[i] = 1
	}
	return size / float64(best(func() { p.Run(len(r.sums), r) }).Nanoseconds())
}
