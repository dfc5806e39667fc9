package bgemm

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
)

// BenchmarkDecode multiplies few rows by weights that come from memory. A read
// loop over as many bytes runs between the products; read% is its time over the
// product's, each the fastest.
func BenchmarkDecode(b *testing.B) {
	if !mma.Available() {
		b.Skip("no tiles")
	}
	const stream = 512 << 20 // more than the caches hold
	for _, s := range [][2]int{{1536, 576}, {5632, 2048}} {
		n, k := s[0], s[1]
		size := PackedSize(k, n, 1)
		buf := streamOf(size, stream)
		data := buf.Bytes()
		for _, threads := range []int{1, 2} {
			for _, m := range []int{1, 16} {
				b.Run(fmt.Sprintf("%dx%d/threads=%d/m=%d", n, k, threads, m), func(b *testing.B) {
					p := pool.New(threads)
					defer p.Close()
					p.Begin()
					defer p.End()
					x := &Task{Product: gemm.Product{M: m, N: n, K: k, A: gemm.Matrix{Data: make([]float32, m*k), Stride: k}, C: gemm.Matrix{Data: make([]float32, m*n), Stride: n}}}
					read := &reader{parts: 16}
					reading, multiplying := time.Hour, time.Hour
					for i := 0; b.Loop(); i += 2 {
						copies := len(data) / size
						read.data = data[i%copies*size:][:size]
						w, err := Prepacked(data[(i+1)%copies*size:][:size], k, n, 1)
						if err != nil {
							b.Fatal(err)
						}
						x.Weights = w
						start := time.Now()
						p.Run(read.parts, read)
						middle := time.Now()
						if err := x.Run(p); err != nil {
							b.Fatal(err)
						}
						reading, multiplying = min(reading, middle.Sub(start)), min(multiplying, time.Since(middle))
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(size)/multiplying.Seconds()/1e9, "GB/s")
					b.ReportMetric(100*float64(reading)/float64(multiplying), "read%")
				})
			}
		}
		buf.Free()
	}
}

// streamOf is memory for as many packed matrices of a size as make a stream.
func streamOf(size, stream int) *mmap.Buffer {
	buf := mmap.Alloc(stream / size * size)
	data := buf.Bytes()
	for i := range data {
		data[i] = byte(i % 61)
	}
	return buf
}

// reader reads memory and does nothing else.
type reader struct {
	data  []byte
	parts int
	sums  [16]int
}

func (r *reader) Do(i int) {
	n := len(r.data)
	r.sums[i] = bytes.Count(r.data[n*i/r.parts:n*(i+1)/r.parts], []byte{0}) // which is vectorized
}

// BenchmarkProduct multiplies by packed weights, which stay in the caches ("hot") or
// come from memory ("cold"), and reports the best of its runs.
func BenchmarkProduct(b *testing.B) {
	if !mma.Available() {
		b.Skip("no tiles")
	}
	const stream = 192 << 20 // more than a core's share of the caches
	for _, s := range [][3]int{{16, 1536, 384}, {128, 768, 768}, {128, 3072, 768}, {128, 768, 3072}, {197, 2304, 768}, {1024, 1024, 1024}, {1500, 1536, 384}, {1500, 384, 1536}} {
		m, n, k := s[0], s[1], s[2]
		size := PackedSize(k, n, 1)
		buf := streamOf(size, stream)
		data := buf.Bytes()
		for _, threads := range []int{1, 2} {
			for _, copies := range []int{1, len(data) / size} {
				name := "hot"
				if copies > 1 {
					name = "cold"
				}
				b.Run(fmt.Sprintf("%dx%dx%d/threads=%d/%s", m, n, k, threads, name), func(b *testing.B) {
					p := pool.New(threads)
					defer p.Close()
					p.Begin()
					defer p.End()
					x := &Task{Product: gemm.Product{M: m, N: n, K: k, A: gemm.Matrix{Data: make([]float32, m*k), Stride: k}, C: gemm.Matrix{Data: make([]float32, m*n), Stride: n}}}
					best := time.Hour
					for i := 0; b.Loop(); i++ {
						w, err := Prepacked(data[i%copies*size:][:size], k, n, 1)
						if err != nil {
							b.Fatal(err)
						}
						x.Weights = w
						start := time.Now()
						if err := x.Run(p); err != nil {
							b.Fatal(err)
						}
						best = min(best, time.Since(start))
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(2*m*n*k)/best.Seconds()/1e9, "GFLOP/s")
				})
			}
		}
		buf.Free()
	}
}
