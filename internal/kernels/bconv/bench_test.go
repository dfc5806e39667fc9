package bconv

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/mmap"
)

// BenchmarkLayers times layers of common networks on one thread (the best of
// their runs), and reports the rates.
func BenchmarkLayers(b *testing.B) {
	if !mma.Available() {
		b.Skip("no tiles")
	}
	for _, l := range []struct {
		in, out, size, kernel, stride int
		residual                      bool
	}{
		{3, 64, 224, 7, 2, false}, {64, 64, 56, 1, 1, false}, {64, 64, 56, 3, 1, false}, {64, 256, 56, 1, 1, true}, {256, 64, 56, 1, 1, false},
		{256, 128, 56, 1, 1, false}, {128, 128, 56, 3, 2, false}, {128, 512, 28, 1, 1, true}, {256, 512, 56, 1, 2, false}, {512, 128, 28, 1, 1, false},
		{128, 128, 28, 3, 1, false}, {512, 1024, 28, 1, 2, false}, {256, 1024, 14, 1, 1, true}, {1024, 256, 14, 1, 1, false}, {256, 256, 14, 3, 1, false},
		{512, 2048, 7, 1, 1, true}, {2048, 512, 7, 1, 1, false}, {512, 512, 7, 3, 1, false},
		{32, 32, 256, 3, 1, false}, {64, 32, 256, 3, 1, false}, {64, 64, 128, 3, 1, false}, {16, 32, 320, 3, 2, false}, {16, 16, 160, 3, 1, false},
	} {
		b.Run(fmt.Sprintf("%d→%d/%d²/%d×%d÷%d", l.in, l.out, l.size, l.kernel, l.kernel, l.stride), func(b *testing.B) {
			d := dim(l.size, l.kernel, l.stride, 1, l.kernel/2, l.kernel/2)
			p := Params{In: l.in, Out: l.out, Plain: l.in <= 4, H: d, W: d, Places: [2]Place{{d.Out, 0, 1}, {d.Out, 0, 1}}, Clamp: true, Hi: 6, Residual: l.residual,
				InBF16: l.in > 4, ResidualBF16: true, OutBF16: true}
			pl := New(p, cpu.Level())
			rng := rand.New(rand.NewPCG(1, 2))
			memory := func(n int) []byte { // in huge pages, as in a session
				m := mmap.Alloc(n)
				b.Cleanup(m.Free)
				for i := 0; i+2 <= n; i += 2 { // zeros take the tiles less power, and time
					*(*uint16)(unsafe.Pointer(&m.Bytes()[i])) = mma.Round(float32(rng.NormFloat64()))
				}
				return m.Bytes()
			}
			op := Operands{N: 1, In: memory(pl.InSize(1)), Packed: memory(pl.PackedSize()), Out: memory(pl.OutSize(1)), Residual: memory(pl.ResidualSize(1)), Scratch: memory(pl.ScratchSize(1))}
			r := pl.NewRunner()
			best := time.Hour
			for b.Loop() {
				start := time.Now()
				if err := r.Run(nil, op); err != nil {
					b.Fatal(err)
				}
				best = min(best, time.Since(start))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(best.Nanoseconds())/1e3, "µs")
			b.ReportMetric(2*float64(pl.work)/float64(best.Nanoseconds()), "GF")
		})
	}
}
