package blockq

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
)

// stream is more than the caches hold.
const stream = 512 << 20

// benchWeights are as many copies of a packed matrix as make a stream.
func benchWeights(b *testing.B, f block.Format, n, k int, total int) []*Packed {
	size, err := PackedSize(f, n, k)
	if err != nil {
		b.Fatal(err)
	}
	copies := max(1, total/size)
	buf := mmap.Alloc(copies * size)
	b.Cleanup(buf.Free)
	data := buf.Bytes()
	if _, err := Pack(data[:size], f, n, k, randomRows(f, n, k, 1)); err != nil {
		b.Fatal(err)
	}
	out := make([]*Packed, copies)
	for i := range out {
		copy(data[i*size:(i+1)*size], data[:size])
		if out[i], err = Prepacked(data[i*size:], f, n, k); err != nil {
			b.Fatal(err)
		}
	}
	return out
}

// BenchmarkDecode multiplies few rows by weights that come from memory. A read
// loop over as many bytes runs between the products. Figures are those of the
// fastest of each; read% is the loop's time over the product's.
func BenchmarkDecode(b *testing.B) {
	const n, k = 5632, 2048
	for _, f := range append(formats(), block.F16, block.BF16) {
		for _, threads := range []int{1, 2} {
			for _, m := range []int{1, 2, 4, 16} {
				b.Run(fmt.Sprintf("%v/threads=%d/m=%d", f, threads, m), func(b *testing.B) {
					weights := benchWeights(b, f, n, k, stream)
					p := pool.New(threads)
					defer p.Close()
					task := Task{Product: Product{M: m, N: n, K: k, X: noise(m*k, 1), StrideX: k, Packed: weights[0], Y: make([]float32, m*n), StrideY: n}}
					p.Begin()
					defer p.End()
					read := &reader{parts: 16}
					reading, multiplying := time.Hour, time.Hour
					for i := 0; b.Loop(); i++ {
						w := weights[i%len(weights)]
						read.data = weights[(i+len(weights)/2)%len(weights)].data
						start := time.Now()
						p.Run(read.parts, read)
						middle := time.Now()
						task.Packed = w
						if err := task.Run(p); err != nil {
							b.Fatal(err)
						}
						reading, multiplying = min(reading, middle.Sub(start)), min(multiplying, time.Since(middle))
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(len(weights[0].data))/multiplying.Seconds()/1e9, "GB/s")
					b.ReportMetric(100*float64(reading)/float64(multiplying), "read%")
					b.ReportMetric(multiplying.Seconds()*1e6, "µs")
				})
			}
		}
	}
}

// BenchmarkPrompt multiplies many rows, as tokens of prompts and as others.
func BenchmarkPrompt(b *testing.B) {
	for _, f := range append(formats(), block.F16, block.BF16) {
		for _, s := range [][4]int{{512, 256, 2048}, {512, 128, 5632}, {512, 256, 2048, 1}, {512, 128, 5632, 1}, {256, 5632, 2048, 1}, {256, 2048, 5632, 1}, {128, 2048, 2048, 1}} {
			m, n, k, prompt := s[0], s[1], s[2], s[3] == 1
			b.Run(fmt.Sprintf("%v/%dx%dx%d/prompt=%v", f, m, n, k, prompt), func(b *testing.B) {
				w := benchWeights(b, f, n, k, 0)[0]
				task := Task{Product: Product{M: m, N: n, K: k, X: noise(m*k, 1), StrideX: k, Packed: w, Y: make([]float32, m*n), StrideY: n, Prompt: prompt}}
				best := time.Hour
				for b.Loop() {
					start := time.Now()
					if err := task.Run(nil); err != nil {
						b.Fatal(err)
					}
					best = min(best, time.Since(start))
				}
				b.ReportMetric(2*float64(m)*float64(n)*float64(k)/best.Seconds()/1e9, "Gop/s")
			})
		}
	}
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

// BenchmarkPack packs on one processor what its caches hold. Figures are those of the fastest.
func BenchmarkPack(b *testing.B) {
	const n, k = 4 * cols, 2048
	for _, f := range formats() {
		b.Run(f.String(), func(b *testing.B) {
			size, err := PackedSize(f, n, k)
			if err != nil {
				b.Fatal(err)
			}
			dst, rows := make([]byte, size), randomRows(f, n, k, 1)
			packing := time.Hour
			for b.Loop() {
				start := time.Now()
				if _, err := Pack(dst, f, n, k, rows); err != nil {
					b.Fatal(err)
				}
				packing = min(packing, time.Since(start))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(len(rows))/packing.Seconds()/1e9, "GB/s")
		})
	}
}
