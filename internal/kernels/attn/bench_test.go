package attn

import (
	"fmt"
	"testing"
)

func BenchmarkAttention(b *testing.B) {
	for _, s := range []struct{ h, m, n, d int }{{12, 16, 16, 32}, {12, 128, 128, 32}, {12, 128, 128, 64}, {12, 197, 197, 64}, {6, 1500, 1500, 64}, {1, 8192, 8192, 64}, {32, 1, 2048, 128}} {
		b.Run(fmt.Sprintf("%dx%dx%dx%d", s.h, s.m, s.n, s.d), func(b *testing.B) {
			p := heads(b, 1, s.h, s.m, s.n, s.d, s.d)
			task := Task{Problem: *p}
			task.Scratch = make([]float32, task.ScratchSize(1))
			for b.Loop() {
				if err := task.Run(nil); err != nil {
					b.Fatal(err)
				}
			}
			flops := 4 * float64(s.h*s.m*s.n*s.d) * float64(b.N)
			b.ReportMetric(flops/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
