package bconv

import (
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
)

// Threads get equally many chunks: bands of large images, whose weights are few, or
// panels of small ones.
func TestCutForThreads(t *testing.T) {
	for _, c := range []struct{ in, out, side, kernel, threads, bands, rows, cols int }{
		{16, 96, 112, 1, 2, 8, 0, 0},
		{96, 24, 56, 1, 2, 4, 0, 0},
		{32, 192, 28, 1, 2, 2, 0, 0},
		{64, 384, 14, 1, 2, 2, 0, 0},
		{160, 960, 7, 1, 2, 1, 1, 2},
		{960, 160, 7, 1, 2, 1, 2, 1}, // five panels
		{8, 8, 7, 1, 2, 1, 0, 0},     // not worth a second thread
		{256, 256, 14, 3, 2, 1, 1, 8},
		{64, 64, 56, 3, 2, 4, 0, 0},
	} {
		d := dim(c.side, c.kernel, 1, 1, c.kernel/2, c.kernel/2)
		pl := New(Params{In: c.in, Out: c.out, H: d, W: d, Places: [2]Place{{d.Out, 0, 1}, {d.Out, 0, 1}}, InBF16: true, OutBF16: true}, cpu.Generic)
		got := pl.newCut(1, c.threads)
		if got.bands != c.bands || got.rows != c.rows || got.cols != c.cols {
			t.Errorf("%+v: %d bands, parts of %d and %d", c, got.bands, got.rows, got.cols)
		}
		if n := got.chunks(); n > 1 && n%c.threads != 0 {
			t.Errorf("%+v: %d chunks", c, n)
		}
	}
}
