package attn

import (
	"fmt"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/kernels/mma"
)

// BenchmarkAttention reports the best of its runs.
func BenchmarkAttention(b *testing.B) {
	for _, s := range []struct{ h, m, n, d int }{{12, 16, 16, 32}, {12, 128, 128, 32}, {12, 128, 128, 64}, {12, 197, 197, 64}, {1, 256, 1536, 64}, {6, 1500, 1500, 64}, {1, 8192, 8192, 64}, {32, 1, 2048, 128}} {
		for _, precision := range []string{"fp32", "bf16"} {
			b.Run(fmt.Sprintf("%dx%dx%dx%d/%s", s.h, s.m, s.n, s.d, precision), func(b *testing.B) {
				p := heads(b, 1, s.h, s.m, s.n, s.d, s.d)
				if p.BF16 = precision == "bf16"; p.BF16 && !mma.Available() {
					b.Skip("no tiles")
				}
				task := Task{Problem: *p}
				task.Scratch = make([]float32, task.ScratchSize(1))
				best := time.Hour
				for b.Loop() {
					start := time.Now()
					if err := task.Run(nil); err != nil {
						b.Fatal(err)
					}
					best = min(best, time.Since(start))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(4*float64(s.h*s.m*s.n*s.d)/best.Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
